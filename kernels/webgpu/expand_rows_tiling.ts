/**
 * Tiles of an expansion with the depth-wise convolution behind it whose threads expand row by row (wgsl/expand_rows.ts), and which of
 * them is faster than both apart.
 */
import type {SpatialStage} from '../../ops/index.js';
import {elements} from '../../ops/shapes.js';
import {type Constants, divideUp, roundUp} from '../plan.js';
import type {ExpandProblem} from './expand_apart.js';
import {FLOAT_BYTES, remembered} from './fused_tiling.js';
import type {DeviceLimits} from './tiling.js';

/** A workgroup's tile of output pixels, a thread's strip of it, rows of x a step, and groups of four channels a workgroup. */
export interface ExpandRowsTile {
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
  {TILE_H, TILE_W}: Pick<ExpandRowsTile, 'TILE_H' | 'TILE_W'>,
  stage: SpatialStage,
): number => reach(stage, 0, TILE_H) * reach(stage, 1, TILE_W);

/** Threads of a workgroup. */
export const threadsOf = ({TILE_H, TILE_W, STRIP_H, STRIP_W, LANES}: ExpandRowsTile): number =>
  (TILE_H / STRIP_H) * (TILE_W / STRIP_W) * LANES;

/** Taps in registers; one where they are read as they are needed. */
const heldTaps = ({kernel}: SpatialStage): number =>
  kernel[0] * kernel[1] <= MOST_TAPS ? kernel[0] * kernel[1] : 1;

/** Rows of outputs that a step begins and leaves to later ones. */
const carriedRows = (stage: SpatialStage): number => Math.floor((reach(stage, 0, 1) - 1) / stage.stride[0]);

/** Vectors that a thread holds while it expands. */
const vectorsOf = ({STRIP_W, STEP_ROWS}: ExpandRowsTile, stage: SpatialStage): number =>
  STEP_ROWS * reach(stage, 1, STRIP_W) + carriedRows(stage) * STRIP_W + heldTaps(stage) + 4;

/** Vectors of x and of the filter in workgroup memory. */
const stagedVectors = (tile: ExpandRowsTile, channels: number, stage: SpatialStage): number =>
  (patchOf(tile, stage) + 4 * tile.LANES) * divideUp(channels, 4);

function isLegal(tile: ExpandRowsTile, {input, stage}: ExpandProblem, limits: DeviceLimits): boolean {
  const threads = threadsOf(tile);
  const staged = tile.STAGED ? stagedVectors(tile, input[3], stage) : 2;
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
  {STRIP_H, STRIP_W}: Pick<ExpandRowsTile, 'STRIP_H' | 'STRIP_W'>,
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
export function* expandRowsTiles(problem: ExpandProblem, limits: DeviceLimits): Iterable<ExpandRowsTile> {
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
export const expandRowsCandidates = remembered(
  (problem: ExpandProblem, limits: DeviceLimits): readonly ExpandRowsTile[] =>
    [...expandRowsTiles(problem, limits)]
      .map((tile) => ({tile, microseconds: estimateExpandRows(tile, problem)}))
      .sort((a, b) => a.microseconds - b.microseconds)
      .slice(0, MOST_CANDIDATES)
      .map(({tile}) => tile),
);

/**
 * Fitted to 400 tiles of the expansions of MobileNetV2 and EfficientNet-B0 at batches 1, 8 and 32, measured on an H200 by
 * benchmarks/expand_tiles.ts: mean error 15 %. Cycles of a processor: an instruction; a vector of x from workgroup memory, for each of
 * the places that a warp's strips stand at; a vector from memory; and an instruction of a thread's own chain. A processor has
 * `workgroupBytes` for all its workgroups, and a thread `registers` besides its vectors.
 */
const RATES = {
  launch: 2.2,
  cycles: 1750,
  instruction: 0.2,
  shared: 2.6,
  loaded: 1,
  chain: 2.75,
  registers: 97,
  allRegisters: 65536,
  workgroupBytes: 100e3,
  processors: 132,
  bandwidth: 4.1e6,
} as const;
const WARP = 32;

/** Microseconds on an H200, launch included. */
export function estimateExpandRows(tile: ExpandRowsTile, problem: ExpandProblem): number {
  const {input, shape, stage, gated} = problem;
  const {TILE_H, TILE_W, STRIP_H, STRIP_W, STEP_ROWS, LANES, STAGED} = tile;
  const k4 = divideUp(input[3], 4);
  const outputs = STEP_ROWS / stage.stride[0];
  const steps = divideUp(STRIP_H + carriedRows(stage), outputs);
  const pixels = STEP_ROWS * reach(stage, 1, STRIP_W);
  const taps = stage.kernel[0] * stage.kernel[1];
  const threads = threadsOf(tile);
  const warps = divideUp(threads, WARP);
  const instructions = pixels * (16 * k4 + 12) + (4 * taps + 20) * STRIP_W * outputs;
  // Strips of a warp stand at different pixels.
  const places = Math.min(4, Math.ceil(WARP / Math.min(WARP, LANES)) + (LANES % WARP === 0 ? 0 : 0.5));
  const taken = heldTaps(stage) > 1 ? 0 : 4 * taps * outputs;
  const loads = STAGED
    ? RATES.shared * k4 * pixels * places + RATES.loaded * taken
    : RATES.loaded * (k4 * (pixels * places + 16) + taken);
  const busy = warps * steps * (RATES.instruction * instructions + loads);
  const blocks = divideUp(divideUp(stage.channels, 4), LANES);
  const workgroups = shape[0] * divideUp(shape[1], TILE_H) * divideUp(shape[2], TILE_W) * blocks;
  const perProcessor = divideUp(workgroups, RATES.processors);
  const vectors = (STAGED ? stagedVectors(tile, input[3], stage) : 2) + (gated ? 2 * threads : 0);
  const registers = Math.min(255, 4 * vectorsOf(tile, stage) + RATES.registers);
  const byRegisters = RATES.allRegisters / (registers * WARP * warps);
  const resident = Math.max(1, Math.floor(Math.min(byRegisters, RATES.workgroupBytes / (VECTOR_BYTES * vectors + 1024)))); // prettier-ignore
  const waves = divideUp(perProcessor, resident);
  const work = (perProcessor * busy + waves * RATES.chain * steps * instructions) / RATES.cycles;
  const memory = (FLOAT_BYTES * (elements(input) + elements(shape))) / RATES.bandwidth;
  return RATES.launch + Math.max(work, memory);
}

/**
 * A tile by `blocks` workgroups along the channels, and the vectors of the expanded map from which on, and up to which, it is chosen: close
 * to those it was measured at, since with fewer its workgroups would not fill an H200; and all that are larger than the largest of these.
 */
interface Chosen {
  readonly from: number;
  readonly to: number;
  readonly blocks: number;
  readonly tile: Omit<ExpandRowsTile, 'FUSED' | 'LANES'>;
}

const tileFrom = (
  [TILE_H, TILE_W]: readonly [number, number],
  [STRIP_H, STRIP_W]: readonly [number, number],
  STEP_ROWS: number,
  STAGED: boolean,
): Chosen['tile'] => ({TILE_H, TILE_W, STRIP_H, STRIP_W, STEP_ROWS, STAGED});

/** 3×3 of stride 2, 16 channels of x: 10.1 → 7.6 µs at batch 1, 34.2 → 30.7 at 8, 128 → 97 at 32; with swish and a gate 11.3 → 9.4, 36.6 → 33.8, 134 → 114. */
const DOWN_16: readonly Chosen[] = [
  {from: 250e3, to: 500e3, blocks: 1, tile: tileFrom([4, 2], [2, 1], 2, true)},
  {from: 2.3e6, to: 5e6, blocks: 1, tile: tileFrom([28, 2], [7, 2], 2, false)},
  {from: 9e6, to: Infinity, blocks: 1, tile: tileFrom([28, 15], [28, 3], 2, false)},
];
/** The same of 24: 20.4 → 16.7 at batch 8, 67 → 50 at 32. */
const DOWN_24: readonly Chosen[] = [
  {from: 800e3, to: 1.9e6, blocks: 1, tile: tileFrom([7, 7], [7, 1], 4, true)},
  {from: 3.4e6, to: Infinity, blocks: 2, tile: tileFrom([7, 28], [7, 4], 2, false)},
];
/** 3×3 of stride 1, 24 channels: 25.7 → 22.4 at batch 8, 87 → 76 at 32; with swish and a gate 30.2 → 27.7, 96 → 85. */
const LEVEL_24: readonly Chosen[] = [
  {from: 800e3, to: 1e6, blocks: 1, tile: tileFrom([28, 7], [4, 7], 1, true)},
  {from: 3.4e6, to: Infinity, blocks: 2, tile: tileFrom([28, 28], [28, 4], 2, false)},
];
/** 5×5 of stride 2, 24 channels, with swish and a gate: 80 → 73 at batch 32, and slower at 1 and 8. */
const WIDE_24: readonly Chosen[] = [
  {from: 3.4e6, to: Infinity, blocks: 2, tile: tileFrom([7, 28], [7, 4], 2, false)},
];

function rowsFor({input: [, , , channels], stage}: ExpandProblem): readonly Chosen[] {
  const is = (pair: readonly [number, number], value: number): boolean => pair.every((one) => one === value);
  if (!is(stage.dilation, 1) || channels < 9 || channels > 24) return [];
  if (is(stage.kernel, 5)) return is(stage.stride, 2) && channels > 16 ? WIDE_24 : [];
  if (!is(stage.kernel, 3)) return [];
  if (is(stage.stride, 2)) return channels > 16 ? DOWN_24 : DOWN_16;
  return is(stage.stride, 1) && channels > 16 ? LEVEL_24 : [];
}

/** On maps of 28² and 32 or 40 channels two dispatches were faster, but at batch 1. */
const LEAST_EXTENT = 48;

/** The tile, where one dispatch was faster than two on an H200 by 8 % at least (benchmarks/NOTES.md); undefined elsewhere. */
export function expandRowsTile(problem: ExpandProblem, limits: DeviceLimits): ExpandRowsTile | undefined {
  const {input, shape, stage} = problem;
  const vectors = divideUp(stage.channels, 4);
  if (vectors < 16 || vectors > 36 || Math.min(input[1], input[2]) < LEAST_EXTENT) return undefined;
  const size = input[0] * input[1] * input[2] * vectors;
  const chosen = rowsFor(problem).find(({from, to}) => size >= from && size < to);
  if (!chosen) return undefined;
  const tile: ExpandRowsTile = {FUSED: true, ...chosen.tile, LANES: divideUp(vectors, chosen.blocks)};
  const covered = waste(shape[1], tile.TILE_H) * waste(shape[2], tile.TILE_W);
  return covered <= MOST_WASTE && isLegal(tile, problem, limits) ? tile : undefined;
}

/** Pixels that a workgroup expands, those at the edges of strips more than once. */
export function expandedPixels(tile: ExpandRowsTile, stage: SpatialStage): number {
  const {TILE_H, TILE_W, STRIP_H, STRIP_W, STEP_ROWS} = tile;
  const steps = divideUp(STRIP_H + carriedRows(stage), STEP_ROWS / stage.stride[0]);
  return (TILE_H / STRIP_H) * (TILE_W / STRIP_W) * steps * STEP_ROWS * reach(stage, 1, STRIP_W);
}

/** The constants that follow from a tile. */
export function expandRowsConstants(
  tile: ExpandRowsTile,
  {input, stage}: Pick<ExpandProblem, 'input' | 'stage'>,
): Constants {
  const k4 = divideUp(input[3], 4);
  const vectors = tile.STAGED ? Math.max(patchOf(tile, stage), 4 * tile.LANES) * k4 : 1;
  const CARRIED = carriedRows(stage);
  const OUTPUTS = tile.STEP_ROWS / stage.stride[0];
  return {
    ...tile,
    CARRIED,
    OUTPUTS,
    SLOTS: CARRIED + OUTPUTS,
    HELD_TAPS: heldTaps(stage),
    WINDOW_W: reach(stage, 1, tile.STRIP_W),
    X_LOADS: Math.min(MOST_LOADS, divideUp(vectors, threadsOf(tile))),
  };
}
