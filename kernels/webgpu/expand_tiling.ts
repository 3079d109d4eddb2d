/**
 * Tiles of an expansion with the depth-wise convolution behind it in one dispatch (wgsl/expand_depthwise.ts), and what they take
 * in one and apart.
 */
import type {Shape4D, SpatialStage} from '../../ops/index.js';
import {elements} from '../../ops/shapes.js';
import {type Constants, divideUp, roundUp} from '../plan.js';
import {FLOAT_BYTES, FUSED_RATES, type ProductTime, remembered} from './fused_tiling.js';
import type {DeviceLimits} from './tiling.js';

/** expand 1×1 · depth-wise. */
export interface ExpandProblem {
  /** Of the rows before the expansion. */
  readonly input: Shape4D;
  /** Of the depth-wise convolution's output. */
  readonly shape: Shape4D;
  readonly stage: SpatialStage;
}

/** A workgroup's tile of output pixels, a thread's strip of it, rows of x a step, and groups of four channels a workgroup. */
export interface ExpandTile {
  readonly FUSED: true;
  readonly TILE_H: number;
  readonly TILE_W: number;
  readonly STRIP_H: number;
  readonly STRIP_W: number;
  readonly STEP_ROWS: number;
  readonly LANES: number;
  /** Whether the pixels under the tile and the filter of these lanes are staged in workgroup memory. */
  readonly STAGED: boolean;
}

const VECTOR_BYTES = 16;
const STRIP_HEIGHTS = [1, 2, 4, 7, 14, 28];
const STRIP_WIDTHS = [1, 2, 3, 4, 7];
/** Of what strips cover, over what there is to cover. */
const MOST_WASTE = 1.15;
/** Workgroups along the channels. */
const BLOCKS = [1, 2, 3, 4, 6];
const THREADS = [64, 96, 128, 192, 256];
/** Vectors of a thread: beyond, registers spill. */
const MOST_VECTORS = 36;
/** Taps that a thread keeps in registers. */
const MOST_TAPS = 9;
/** Vectors of x that a thread has on their way. */
const MOST_LOADS = 8;

const reach = ({kernel, stride, dilation}: SpatialStage, axis: 0 | 1, extent: number): number =>
  (extent - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1;

/** Pixels under a tile. */
export const patchOf = (
  {TILE_H, TILE_W}: Pick<ExpandTile, 'TILE_H' | 'TILE_W'>,
  stage: SpatialStage,
): number => reach(stage, 0, TILE_H) * reach(stage, 1, TILE_W);

/** Threads of a workgroup. */
export const threadsOf = ({TILE_H, TILE_W, STRIP_H, STRIP_W, LANES}: ExpandTile): number =>
  (TILE_H / STRIP_H) * (TILE_W / STRIP_W) * LANES;

/** Taps in registers; one where they are read as they are needed. */
const heldTaps = ({kernel}: SpatialStage): number =>
  kernel[0] * kernel[1] <= MOST_TAPS ? kernel[0] * kernel[1] : 1;

/** Rows of outputs that a step begins and leaves to later ones. */
const carriedRows = (stage: SpatialStage): number => Math.floor((reach(stage, 0, 1) - 1) / stage.stride[0]);

/** Vectors that a thread holds while it expands. */
const vectorsOf = ({STRIP_W, STEP_ROWS}: ExpandTile, stage: SpatialStage): number =>
  STEP_ROWS * reach(stage, 1, STRIP_W) + carriedRows(stage) * STRIP_W + heldTaps(stage) + 4;

function isLegal(tile: ExpandTile, {input, stage}: ExpandProblem, limits: DeviceLimits): boolean {
  const threads = threadsOf(tile);
  const k4 = divideUp(input[3], 4);
  const staged = tile.STAGED ? patchOf(tile, stage) * k4 + 4 * k4 * tile.LANES : 2;
  // A gate's sums are two vectors a thread.
  const vectors = staged + 2 * threads;
  return (
    threads <= limits.maxComputeInvocationsPerWorkgroup &&
    vectorsOf(tile, stage) <= MOST_VECTORS &&
    VECTOR_BYTES * vectors <= limits.maxComputeWorkgroupStorageSize
  );
}

/** Of a map's axis in so many strips: those that strips of a workgroup in steps of `step` cover, over those there are. */
const waste = (strips: number, step: number): number => (divideUp(strips, step) * step) / strips;

/** Up to `most` strips of a workgroup, down and across, that leave little over and have the smallest window. */
function stripsOf(
  {shape: [, height, width], stage}: ExpandProblem,
  {STRIP_H, STRIP_W}: Pick<ExpandTile, 'STRIP_H' | 'STRIP_W'>,
  most: number,
): readonly [number, number] {
  const [rows, columns] = [divideUp(height, STRIP_H), divideUp(width, STRIP_W)];
  let [best, least] = [[1, 1] as readonly [number, number], Infinity];
  for (let across = 1; across <= Math.min(columns, most); across++) {
    const down = Math.min(rows, Math.floor(most / across));
    const covered = waste(rows, down) * waste(columns, across);
    const patch = patchOf({TILE_H: down * STRIP_H, TILE_W: across * STRIP_W}, stage);
    // Of a strip, window and what is left over; few strips are few threads.
    const cost = (covered * patch) / (down * across);
    if (covered <= MOST_WASTE && 2 * down * across > most && cost < least)
      [best, least] = [[down, across], cost];
  }
  return best;
}

/** All that fit. */
export function* expandTiles(problem: ExpandProblem, limits: DeviceLimits): Iterable<ExpandTile> {
  const {shape, stage} = problem;
  const vectors = divideUp(stage.channels, 4);
  const lanes = new Set(BLOCKS.map((blocks) => divideUp(vectors, blocks)));
  const fits = (length: number, strip: number): boolean =>
    strip === 1 || roundUp(length, strip) <= MOST_WASTE * length;
  const strips = STRIP_HEIGHTS.flatMap((STRIP_H) => STRIP_WIDTHS.map((STRIP_W) => ({STRIP_H, STRIP_W})));
  const seen = new Set<string>();
  for (const strip of strips.filter(
    ({STRIP_H, STRIP_W}) => fits(shape[1], STRIP_H) && fits(shape[2], STRIP_W),
  ))
    for (const LANES of lanes)
      for (const threads of THREADS) {
        const [down, across] = stripsOf(problem, strip, Math.max(1, Math.floor(threads / LANES)));
        const shared = {...strip, TILE_H: down * strip.STRIP_H, TILE_W: across * strip.STRIP_W, LANES};
        for (const outputs of strip.STRIP_H > 1 ? [1, 2] : [1])
          for (const STAGED of [false, true]) {
            const tile = {FUSED: true, ...shared, STEP_ROWS: outputs * stage.stride[0], STAGED} as const;
            const key = JSON.stringify(tile);
            if (seen.has(key) || !isLegal(tile, problem, limits)) continue;
            seen.add(key);
            yield tile;
          }
      }
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

const RATES = {
  cycles: 1750,
  processors: 132,
  registers: 65536,
  workgroupBytes: 100e3,
  launch: 2.2,
  fixed: 1.5,
  bandwidth: 4.1e6,
};
const WARP = 32;

/** Microseconds on an H200, launch included. */
export function estimateExpand(tile: ExpandTile, {input, shape, stage}: ExpandProblem): number {
  const {TILE_H, TILE_W, STRIP_H, STRIP_W, STEP_ROWS, LANES} = tile;
  const k4 = divideUp(input[3], 4);
  const outputs = STEP_ROWS / stage.stride[0];
  const steps = divideUp(STRIP_H + carriedRows(stage), outputs);
  const pixels = STEP_ROWS * reach(stage, 1, STRIP_W);
  const taps = stage.kernel[0] * stage.kernel[1];
  // Of a step, by a processor's pipes: arithmetic of four warps at once, loads of 128 bytes.
  const loads = k4 * (16 + 2 * pixels) + (heldTaps(stage) > 1 ? 0 : 4 * taps * outputs);
  const fmas = pixels * (16 * k4 + 12) + 4 * taps * STRIP_W * outputs + 20 * STRIP_W * outputs + 8 * k4;
  const perWarp = steps * Math.max(loads, fmas / 4);
  const warps = divideUp(threadsOf(tile), WARP);
  const blocks = divideUp(divideUp(stage.channels, 4), LANES);
  const workgroups = shape[0] * divideUp(shape[1], TILE_H) * divideUp(shape[2], TILE_W) * blocks;
  const registers = 4 * vectorsOf(tile, stage) + 40;
  const bytes4 = tile.STAGED ? VECTOR_BYTES * (patchOf(tile, stage) + 4 * LANES) * k4 : 0;
  const resident = Math.max(1, Math.floor(Math.min(RATES.registers / (registers * WARP * warps), RATES.workgroupBytes / (bytes4 + 1024)))); // prettier-ignore
  // Few warps hide no latency: of one, arithmetic takes four times as long as of four.
  const waves = divideUp(workgroups, RATES.processors * resident);
  const perProcessor = Math.min(divideUp(workgroups, RATES.processors), resident);
  const alone = steps * fmas * 1.3;
  const wave = Math.max(perProcessor * warps * perWarp, alone);
  const staging = tile.STAGED ? (patchOf(tile, stage) * k4 * 16 * workgroups) / 20e6 : 0;
  const bytes = FLOAT_BYTES * (elements(input) + elements(shape));
  const work = (waves * wave) / RATES.cycles;
  return RATES.launch + RATES.fixed + Math.max(work + staging, bytes / RATES.bandwidth);
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

/** The constants that follow from a tile. */
export function expandConstants(
  tile: ExpandTile,
  {input, stage}: Pick<ExpandProblem, 'input' | 'stage'>,
): Constants {
  const k4 = divideUp(input[3], 4);
  const vectors = tile.STAGED ? Math.max(patchOf(tile, stage), 4 * tile.LANES) * k4 : 1;
  const CARRIED = carriedRows(stage);
  const OUTPUTS = tile.STEP_ROWS / stage.stride[0];
  return {
    ...tile,
    K_BOUND: 0,
    CARRIED,
    OUTPUTS,
    SLOTS: CARRIED + OUTPUTS,
    HELD_TAPS: heldTaps(stage),
    WINDOW_W: reach(stage, 1, tile.STRIP_W),
    LOADS: Math.min(MOST_LOADS, divideUp(vectors, threadsOf(tile))),
  };
}
