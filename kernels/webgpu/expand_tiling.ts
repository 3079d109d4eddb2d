/**
 * Tiles of an expansion with the depth-wise convolution behind it in one dispatch (wgsl/expand_depthwise.ts), and what they take
 * in one and apart.
 */
import type {Shape4D, SpatialStage} from '../../ops/index.js';
import {elements} from '../../ops/shapes.js';
import {type Constants, divideUp, roundUp} from '../plan.js';
import {
  chunksFor,
  FLOAT_BYTES,
  FUSED_RATES,
  odd,
  partsFor,
  type ProductTime,
  remembered,
  stepsOf,
  unrolled,
} from './fused_tiling.js';
import type {DeviceLimits} from './tiling.js';

/** expand 1×1 · depth-wise. */
export interface ExpandProblem {
  /** Of the rows before the expansion. */
  readonly input: Shape4D;
  /** Of the depth-wise convolution's output. */
  readonly shape: Shape4D;
  readonly stage: SpatialStage;
}

/** A workgroup's threads and its tile of output pixels, a thread's strip of it, and how a chunk's product is dealt out to threads. */
export interface ExpandTile {
  readonly FUSED: true;
  readonly WORKGROUP: number;
  readonly TILE_H: number;
  readonly TILE_W: number;
  readonly STRIP_H: number;
  readonly STRIP_W: number;
  readonly HIDDEN_CHUNK: number;
  /** Channels of x in workgroup memory: all of them, where they fit. */
  readonly STEP_K: number;
  readonly EXPAND_ROWS: number;
  readonly EXPAND_COLUMNS: number;
  /** Workgroups that share a tile of pixels, each with a part of the chunks. */
  readonly PARTS: number;
}

type Geometry = Pick<ExpandTile, 'TILE_H' | 'TILE_W' | 'STRIP_H' | 'STRIP_W'>;

const VECTOR_BYTES = 16;
const CHUNKS = [16, 24, 32, 48];
const EXTENTS = [2, 4, 6, 7, 8, 14, 16];
const STRIPS: readonly (readonly [number, number])[] = [[1, 2], [1, 4], [2, 2], [2, 4], [1, 7], [1, 8]]; // prettier-ignore
const WORKGROUPS = [64, 96, 128, 144, 192, 256];
/** Sums of a thread, in vectors, and its rows: beyond, registers spill. */
const MOST_SUMS = 16;
const MOST_ROWS = 12;
/** Vectors of x, of the filter or of the taps that a thread has registers for. */
const MOST_LOADS = 12;
const MOST_PIXELS = 128;

const reach = ({kernel, stride, dilation}: SpatialStage, axis: 0 | 1, extent: number): number =>
  (extent - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1;

/** Pixels under a tile. */
export const patchOf = ({TILE_H, TILE_W}: Pick<Geometry, 'TILE_H' | 'TILE_W'>, stage: SpatialStage): number =>
  reach(stage, 0, TILE_H) * reach(stage, 1, TILE_W);

/** Extents of a tile along an axis, in whole strips: those that leave little over. */
const extentsOf = (length: number, strip: number): readonly number[] => {
  const most = Math.max(roundUp(length, strip), 1.15 * length);
  return EXTENTS.filter((extent) => extent % strip === 0 && roundUp(length, extent) <= most);
};

function* geometriesOf({shape: [, height, width]}: ExpandProblem): Iterable<Geometry> {
  for (const [STRIP_H, STRIP_W] of STRIPS)
    for (const TILE_H of extentsOf(height, STRIP_H))
      for (const TILE_W of extentsOf(width, STRIP_W))
        if (TILE_H * TILE_W <= MOST_PIXELS) yield {TILE_H, TILE_W, STRIP_H, STRIP_W};
}

/** Vectors of workgroup memory. */
export function vectorsOf(tile: Omit<ExpandTile, 'PARTS'>, {stage}: ExpandProblem): number {
  const {WORKGROUP, HIDDEN_CHUNK, STEP_K, EXPAND_ROWS, EXPAND_COLUMNS} = tile;
  const chunk4 = HIDDEN_CHUNK / 4;
  const rows = EXPAND_ROWS * Math.floor(WORKGROUP / (chunk4 / EXPAND_COLUMNS));
  const taps = stage.kernel[0] * stage.kernel[1];
  // Sums for a gate: of each thread, and of each group of channels.
  const sums = WORKGROUP + roundUp(stage.channels, HIDDEN_CHUNK) / 4;
  return chunk4 * (patchOf(tile, stage) + taps) + (STEP_K / 4) * odd(rows) + STEP_K * chunk4 + sums;
}

/** All of a geometry and a chunk that fit. */
function* threadings(
  problem: ExpandProblem,
  geometry: Geometry,
  HIDDEN_CHUNK: number,
  limits: DeviceLimits,
): Iterable<Omit<ExpandTile, 'PARTS'>> {
  const patch = patchOf(geometry, problem.stage);
  const chunk4 = HIDDEN_CHUNK / 4;
  for (const WORKGROUP of WORKGROUPS) {
    if (WORKGROUP > limits.maxComputeInvocationsPerWorkgroup) continue;
    for (const EXPAND_COLUMNS of [1, 2, 3, 4]) {
      if (chunk4 % EXPAND_COLUMNS !== 0) continue;
      const EXPAND_ROWS = divideUp(patch, Math.floor(WORKGROUP / (chunk4 / EXPAND_COLUMNS)));
      if (EXPAND_ROWS > MOST_ROWS || EXPAND_ROWS * EXPAND_COLUMNS > MOST_SUMS) continue;
      for (const STEP_K of stepsOf(roundUp(problem.input[3], 4), false)) {
        const tile = {FUSED: true, WORKGROUP, ...geometry, HIDDEN_CHUNK, STEP_K, EXPAND_ROWS, EXPAND_COLUMNS} as const; // prettier-ignore
        const {X_LOADS, EXPAND_LOADS, TAP_LOADS} = expandLoads(tile, problem.stage);
        if (Math.max(X_LOADS, EXPAND_LOADS, TAP_LOADS) > MOST_LOADS) continue;
        if (VECTOR_BYTES * vectorsOf(tile, problem) > limits.maxComputeWorkgroupStorageSize) continue;
        yield tile;
        break;
      }
    }
  }
}

/** All that fit. */
export function* expandTiles(problem: ExpandProblem, limits: DeviceLimits): Iterable<ExpandTile> {
  const hidden = problem.stage.channels;
  for (const geometry of geometriesOf(problem))
    for (const chunk of chunksFor(hidden, CHUNKS))
      for (const tile of threadings(problem, geometry, chunk, limits))
        for (const PARTS of partsFor(divideUp(hidden, chunk))) yield {...tile, PARTS};
}

const MOST_CANDIDATES = 24;

/** Those of them worth a measurement, the lowest estimate first. */
export const expandCandidates = remembered(
  (problem: ExpandProblem, limits: DeviceLimits): readonly ExpandTile[] =>
    [...expandTiles(problem, limits)]
      .map((tile) => ({tile, microseconds: estimateExpand(tile, problem)}))
      .sort((a, b) => a.microseconds - b.microseconds)
      .slice(0, MOST_CANDIDATES)
      .map(({tile}) => tile),
);

const RATES = {rate: 43e6, load: 4, processors: 132, launch: 2.2, fixed: 1, chunk: 0.5, bandwidth: 4.1e6};

/** Microseconds on an H200, launch included. */
export function estimateExpand(tile: ExpandTile, {input, shape, stage}: ExpandProblem): number {
  const {TILE_H, TILE_W, STRIP_H, STRIP_W, HIDDEN_CHUNK, WORKGROUP, PARTS, EXPAND_ROWS, EXPAND_COLUMNS} = tile;
  const chunk4 = HIDDEN_CHUNK / 4;
  const chunks = divideUp(divideUp(stage.channels, HIDDEN_CHUNK), PARTS);
  const workgroups = shape[0] * divideUp(shape[1], TILE_H) * divideUp(shape[2], TILE_W) * PARTS;
  const product =
    divideUp(input[3], 4) *
      (16 * EXPAND_ROWS * EXPAND_COLUMNS + RATES.load * (EXPAND_ROWS + 4 * EXPAND_COLUMNS)) +
    16 * EXPAND_ROWS * EXPAND_COLUMNS;
  const [kh, kw] = stage.kernel;
  const teams = Math.floor(WORKGROUP / chunk4);
  const strips = divideUp((TILE_H / STRIP_H) * (TILE_W / STRIP_W), teams);
  const perStrip =
    4 * kh * kw * STRIP_H * STRIP_W +
    RATES.load * (reach(stage, 0, STRIP_H) * reach(stage, 1, STRIP_W) + kh * kw * STRIP_H) +
    16 * STRIP_H * STRIP_W;
  const macs = chunks * WORKGROUP * (product + strips * perStrip);
  const perProcessor = divideUp(workgroups, RATES.processors);
  const work = (perProcessor * 2 * macs * RATES.processors) / RATES.rate;
  const latency = RATES.fixed + chunks * RATES.chunk;
  const bytes = FLOAT_BYTES * (elements(input) + elements(shape));
  return RATES.launch + Math.max(work + latency, bytes / RATES.bandwidth);
}

/** Microseconds of a depth-wise convolution as a dispatch of its own, launch included. */
export function depthwiseTime({input, shape, stage}: ExpandProblem): number {
  const {launch, bandwidth, depthwiseRate, depthwiseFixed} = FUSED_RATES;
  const pixels = ([images, height, width]: Shape4D): number => images * height * width;
  const memory = (FLOAT_BYTES * stage.channels * (pixels(input) + pixels(shape))) / bandwidth;
  const arithmetic = (2 * stage.kernel[0] * stage.kernel[1] * stage.channels * pixels(shape)) / depthwiseRate;
  return launch + depthwiseFixed + Math.max(memory, arithmetic);
}

/** Microseconds of both as dispatches of their own, launches included. */
export function expandApart(problem: ExpandProblem, product: ProductTime): number {
  const [images, height, width, channels] = problem.input;
  const m = images * height * width;
  const k = roundUp(channels, 4);
  return (
    product({m, n: problem.stage.channels, k, canPart: true, isPointwise: true}) + depthwiseTime(problem)
  );
}

/** Multiply-adds of both without any waste. */
export const expandMacs = ({input, shape, stage}: ExpandProblem): number =>
  stage.channels * elements(input) + elements(shape) * stage.kernel[0] * stage.kernel[1];

/** Vectors that a thread loads ahead. */
const expandLoads = (
  {WORKGROUP, HIDDEN_CHUNK, STEP_K, ...tile}: Omit<ExpandTile, 'PARTS'>,
  stage: SpatialStage,
): {readonly X_LOADS: number; readonly EXPAND_LOADS: number; readonly TAP_LOADS: number} => ({
  X_LOADS: divideUp((patchOf(tile, stage) * STEP_K) / 4, WORKGROUP),
  EXPAND_LOADS: divideUp((STEP_K * HIDDEN_CHUNK) / 4, WORKGROUP),
  TAP_LOADS: divideUp((stage.kernel[0] * stage.kernel[1] * HIDDEN_CHUNK) / 4, WORKGROUP),
});

/** The constants that follow from a tile. */
export const expandConstants = (tile: ExpandTile, stage: SpatialStage): Constants => ({
  ...tile,
  ...expandLoads(tile, stage),
  UNROLL_K: unrolled(tile.STEP_K),
  // Of the patch, under a strip.
  WINDOW_H: reach(stage, 0, tile.STRIP_H),
  WINDOW_W: reach(stage, 1, tile.STRIP_W),
});
