/**
 * How a squeeze-and-excite gate is made from a map's sums: all of it in one dispatch, or its first layer by the depth-wise kernel
 * that took the sums (wgsl/gate.ts, wgsl/gate_expand.ts). Either way it is a chain of loads, each of which waits for the last.
 */
import {type Constants, divideUp, powerOfTwoUpTo} from '../plan.js';
import type {DeviceLimits} from './tiling.js';

export interface GateProblem {
  readonly batch: number;
  readonly channels: number;
  readonly reduced: number;
  /** Partial sums of an image, each of all channels, where the depth-wise kernel took them. */
  readonly sums?: DepthwiseSums;
}

/** By tiles of pixels and blocks of channels, a workgroup of so many threads each. */
export interface DepthwiseSums {
  readonly tiles: number;
  readonly blocks: number;
  readonly threads: number;
}

/** `SHARES` workgroups an image, each of which makes its share of the scales. */
export interface GateTile {
  readonly WORKGROUP: number;
  readonly SHARES: number;
  /** Whether the depth-wise kernel leaves its part of the squeezed channels in the place of its channels' sums. */
  readonly IS_REDUCED: boolean;
}

const FLOAT_BYTES = 4;
const VECTOR_BYTES = 16;
/** Vectors of a filter that a thread asks for at once, beside the rest of what it holds. */
const MOST_EARLY = 16;
const MOST_EARLY_LANES = 4;

/** Rows of the expanding filter that a thread multiplies, all of them on their way while the parts are added up. */
const expandRows = ({WORKGROUP, SHARES}: GateTile, {channels, reduced}: GateProblem): number =>
  divideUp(reduced, Math.floor(WORKGROUP / divideUp(divideUp(channels, 4), SHARES)));

export const expandConstants = (tile: GateTile, problem: GateProblem): Constants => ({
  EXPAND_ROWS: expandRows(tile, problem),
});

/** Lanes of a depth-wise tile whose rows of the reducing filter a thread asks for before its outputs are finished. */
export function reduceConstants(threads: number, lanes: number, reduced: number): Constants {
  const teams = Math.min(Math.floor(threads / divideUp(reduced, 4)), lanes);
  return {REDUCE_EARLY: Math.min(MOST_EARLY_LANES, divideUp(lanes, teams))};
}

function isLegal(tile: GateTile, problem: GateProblem, limits: DeviceLimits): boolean {
  const {channels, reduced, sums} = problem;
  const [vectors, squeezed] = [divideUp(channels, 4), divideUp(reduced, 4)];
  const memory = VECTOR_BYTES * (tile.WORKGROUP + squeezed + (tile.IS_REDUCED ? 0 : vectors));
  // A thread at least for each vector of the squeezed channels.
  const fits =
    squeezed <= tile.WORKGROUP &&
    tile.WORKGROUP <= limits.maxComputeInvocationsPerWorkgroup &&
    memory <= limits.maxComputeWorkgroupStorageSize;
  if (!tile.IS_REDUCED) return fits && (tile.SHARES === 1 || vectors >= 8 * tile.SHARES);
  const isWide = divideUp(vectors, tile.SHARES) <= tile.WORKGROUP;
  return fits && isWide && sums !== undefined && squeezed <= sums.threads && expandRows(tile, problem) <= MOST_EARLY; // prettier-ignore
}

/** Vectors of scales a workgroup makes from parts that come reduced. */
const SHARE_VECTORS = [8, 16, 32, 64];

/** All in one, then those whose first layer comes from the depth-wise kernel. */
export function gateCandidates(problem: GateProblem, limits: DeviceLimits): readonly GateTile[] {
  const vectors = divideUp(problem.channels, 4);
  const whole = [32, 64, 128, 256, 512, 1024].flatMap((WORKGROUP) =>
    [1, 2, 4, 8, 16].map((SHARES) => ({WORKGROUP, SHARES, IS_REDUCED: false})),
  );
  const shares = new Set(SHARE_VECTORS.map((share) => divideUp(vectors, share)));
  const reduced = [64, 128, 256, 512].flatMap((WORKGROUP) =>
    [...shares].map((SHARES) => ({WORKGROUP, SHARES, IS_REDUCED: true})),
  );
  return [...whole, ...reduced].filter((tile) => isLegal(tile, problem, limits));
}

/**
 * Microseconds of an H200's processors: a chain of loads, then what a processor reads, the workgroups that share one after another.
 */
const RATES = {
  /** Latency of the whole gate, of one that expands alone, and what reducing adds to the depth-wise kernel. */
  whole: 2.5,
  expand: 0.8,
  reduce: 0.4,
  /** Bytes a microsecond that one processor reads from the cache; of few threads, less. */
  bytes: 80e3,
  fullThreads: 256,
} as const;

/** Bytes that a workgroup of the gate reads. */
function bytesOf({SHARES, IS_REDUCED}: GateTile, {channels, reduced, sums}: GateProblem): number {
  const {tiles = 1, blocks = 1} = sums ?? {};
  const expand = (channels * reduced) / SHARES;
  return FLOAT_BYTES * (expand + (IS_REDUCED ? tiles * blocks * reduced : channels * (reduced + tiles)));
}

/** Of the gate alone. */
export function estimateGate(tile: GateTile, problem: GateProblem, processors: number): number {
  const turns = divideUp(problem.batch * tile.SHARES, processors);
  const rate = RATES.bytes * Math.min(1, tile.WORKGROUP / RATES.fullThreads);
  return (tile.IS_REDUCED ? RATES.expand : RATES.whole) + (turns * bytesOf(tile, problem)) / rate;
}

/** What the tile adds to the depth-wise kernel before it. */
export function estimateReduce(
  {IS_REDUCED}: GateTile,
  {batch, channels, reduced, sums}: GateProblem,
  processors: number,
): number {
  if (!IS_REDUCED || !sums) return 0;
  const turns = divideUp(batch * sums.tiles * sums.blocks, processors);
  return RATES.reduce + (turns * FLOAT_BYTES * divideUp(channels, sums.blocks) * reduced) / RATES.bytes;
}

/** The gate in one dispatch. One processor takes 7 µs to read the weights of 1152 channels; each share reads half of them and its part of the rest. */
function wholeTile({batch, channels, reduced}: GateProblem, limits: DeviceLimits): GateTile {
  return {
    // A map of few channels has many partial sums, which want threads, too.
    WORKGROUP: powerOfTwoUpTo(
      Math.max(channels, reduced, 256),
      Math.min(1024, limits.maxComputeInvocationsPerWorkgroup),
    ),
    SHARES: batch * 8 <= limits.processors ? powerOfTwoUpTo(divideUp(channels, 128), 8) : 1,
    IS_REDUCED: false,
  };
}

export function gateTile(problem: GateProblem, limits: DeviceLimits): GateTile {
  const {processors} = limits;
  const rate = (tile: GateTile): number =>
    estimateGate(tile, problem, processors) + estimateReduce(tile, problem, processors);
  let best = wholeTile(problem, limits);
  for (const tile of gateCandidates(problem, limits))
    if (tile.IS_REDUCED && rate(tile) < rate(best)) best = tile;
  return best;
}
