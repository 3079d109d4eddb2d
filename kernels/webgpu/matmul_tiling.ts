/**
 * Tiles of a matrix product in float32: the rated ones, which of them are legal, and what each is estimated to take. Counts issue
 * slots of a processor by constants fitted to measurements.
 */
import {type Constants, divideUp} from '../plan.js';
import type {DeviceLimits} from './tiling.js';

export interface MatmulTile {
  readonly TILE_M: number;
  readonly TILE_N: number;
  readonly TILE_K: number;
  readonly THREAD_M: number;
  readonly THREAD_N: number;
  readonly SPLIT_K: number;
  /** Workgroups that share a tile, each with a part of K; where more than one, another dispatch merges their sums. */
  readonly PARTS: number;
  /** Operands go straight from memory to registers (wgsl/direct.ts), TILE_K channels in flight; else through workgroup memory. */
  readonly DIRECT?: true;
}

export interface MatmulProblem {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** False where the sums cannot be merged by another dispatch. */
  readonly canPart?: boolean;
  /** Whether its rows are pixels: only these can be read straight from memory. */
  readonly isPointwise?: boolean;
}

/**
 * A tile and its cost on one processor, in microseconds. Up to `slots` workgroups run side by side, and each waits `latency` a step
 * along K and `fixed` besides; the processor spends `work` on each step and `overhead` on each workgroup. Together they take the root of
 * the sum of both squares. Fitted by benchmarks/fit_tiles.py on an H200 to products as they stand in the blocks of seven networks at
 * batches 1 to 128, 55 alone and 168 behind other kernels, and for tiles of more than 2048 outputs to 155 bare ones: mean error of a
 * tile 4 to 15 %, and the tile of least estimate is on average 1.6, 2.7 to 4.7 and 1.8 % slower than the best measured of these
 * (NOTES.md says by what). Elsewhere only their ratios count.
 */
export interface RatedTile extends MatmulTile {
  readonly slots: number;
  readonly latency: number;
  readonly work: number;
  readonly fixed: number;
  readonly overhead: number;
}

const rated = (
  tile: readonly [number, number, number, number, number, number],
  slots: number,
  [latency, work]: readonly [number, number],
  [fixed, overhead]: readonly [number, number],
): RatedTile => {
  const [TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N, SPLIT_K] = tile;
  return {
    TILE_M,
    TILE_N,
    TILE_K,
    THREAD_M,
    THREAD_N,
    SPLIT_K,
    PARTS: 1,
    slots,
    latency,
    work,
    fixed,
    overhead,
  };
};

/** A step of it is a share of one where K ends: what it reads beyond is in the cache. */
const direct = (...given: Parameters<typeof rated>): RatedTile => ({...rated(...given), DIRECT: true});

export const MATMUL_TILES: readonly RatedTile[] = [
  rated([64, 128, 16, 8, 8, 1], 3, [0.713, 0.737], [2.93, 0.873]),
  rated([128, 40, 16, 8, 4, 1], 3, [0.577, 0.64], [2.07, 0.475]),
  rated([64, 96, 16, 8, 4, 1], 3, [0.571, 0.648], [1.79, 0.364]),
  rated([64, 80, 16, 8, 4, 1], 4, [0.731, 0.546], [1.39, 0.329]),
  rated([64, 64, 16, 8, 4, 1], 5, [0.452, 0.408], [1.36, 0.307]),
  rated([64, 48, 16, 8, 4, 1], 5, [0.499, 0.363], [1.78, 0.207]),
  rated([64, 32, 16, 8, 4, 1], 8, [0.603, 0.226], [0.636, 0.393]),
  rated([64, 16, 16, 8, 4, 1], 8, [0.762, 0.114], [0.199, 0.539]),
  rated([32, 64, 16, 8, 4, 2], 3, [0.732, 0.378], [0.151, 1.18]),
  rated([32, 64, 16, 8, 4, 1], 8, [0.593, 0.206], [0.633, 0.296]),
  rated([32, 32, 32, 4, 4, 2], 2, [0.548, 0.661], [0.31, 0.819]),
  rated([32, 32, 16, 4, 4, 1], 6, [0.415, 0.148], [0.0962, 0.0807]),
  rated([16, 64, 32, 4, 4, 4], 1, [1.47, 0], [1.42, 0.306]),
  rated([16, 32, 32, 4, 4, 4], 1, [1.06, 0], [0.692, 0.305]),
  rated([16, 32, 16, 4, 4, 8], 1, [0.922, 0.238], [1.18, 0.303]),
  rated([16, 16, 32, 4, 4, 8], 1, [0.00136, 1.46], [1.57, 0.305]),
  direct([16, 16, 24, 4, 4, 16], 3, [1.13, 1.46], [0.599, 0.224]),
  direct([32, 32, 8, 4, 4, 4], 5, [0.548, 0.391], [0.134, 0.143]),
  direct([32, 16, 16, 4, 4, 8], 5, [0.764, 0.945], [0.762, 0.261]),
  direct([16, 32, 16, 4, 4, 8], 5, [0.765, 0.841], [0.702, 0.188]),
  direct([16, 32, 8, 4, 4, 8], 6, [0.515, 0.384], [0.255, 0.214]),
  direct([8, 32, 16, 4, 4, 16], 3, [0.588, 0.912], [0.92, 0.0775]),
  direct([8, 32, 8, 2, 4, 8], 5, [0.708, 0.216], [0.0895, 0.109]),
  direct([8, 16, 16, 4, 4, 32], 3, [1.06, 1], [0.623, 0.226]),
  direct([4, 16, 16, 4, 4, 64], 8, [1.72, 1.02], [0.447, 0.448]),
];

export const FLOAT_BYTES = 4;

/** Of a workgroup. */
export const matmulThreads = ({TILE_M, TILE_N, THREAD_M, THREAD_N, SPLIT_K}: MatmulTile): number =>
  (TILE_M / THREAD_M) * (TILE_N / THREAD_N) * SPLIT_K;

/** Of workgroup memory. */
export function matmulBytes(t: MatmulTile): number {
  if (t.DIRECT) return FLOAT_BYTES * t.SPLIT_K * t.TILE_M * t.TILE_N;
  const source = t.SPLIT_K * t.TILE_K * (t.TILE_M + 4);
  const filter = Math.max(t.SPLIT_K * t.TILE_K, (t.SPLIT_K - 1) * t.TILE_M) * t.TILE_N;
  return FLOAT_BYTES * (source + filter);
}

export const matmulIsLegal = (t: MatmulTile, limits: DeviceLimits): boolean =>
  matmulThreads(t) <= limits.maxComputeInvocationsPerWorkgroup &&
  matmulBytes(t) <= limits.maxComputeWorkgroupStorageSize;

/** Microseconds until a dispatch that waited for the one before it has begun. */
export const LAUNCH = 2;

/** Bytes a microsecond from device memory: an H200's copy. */
export const BANDWIDTH = 4.1e6;

/** Channels that direct tiles were measured with at least. */
const FEWEST_DIRECT = 32;

/** Microseconds of the processors: latency where few workgroups wait for each step, arithmetic where there are many. */
export function processorMicroseconds(
  t: RatedTile,
  {m, n, k}: MatmulProblem,
  {processors}: DeviceLimits,
): number {
  const workgroups = divideUp(m, t.TILE_M) * divideUp(n, t.TILE_N) * t.PARTS;
  // What a direct tile reads beyond K is in the cache.
  const steps = t.DIRECT
    ? Math.max(k, FEWEST_DIRECT) / (t.TILE_K * t.SPLIT_K)
    : divideUp(divideUp(k, t.TILE_K), t.SPLIT_K * t.PARTS);
  const wait = steps * t.latency + t.fixed;
  const work = steps * t.work + t.overhead;
  // What runs side by side hides each other's waiting the better the more there is.
  const together = (count: number): number => Math.hypot(count * work, wait);
  const each = divideUp(workgroups, processors);
  const rest = each % t.slots;
  return Math.floor(each / t.slots) * together(t.slots) + (rest > 0 ? together(rest) : 0);
}

/** Microseconds of the dispatch that adds the sums of PARTS workgroups a tile. */
export const mergeMicroseconds = ({PARTS: parts}: MatmulTile, {m, n}: MatmulProblem): number =>
  parts > 1 ? MERGE + ENCODE + (FLOAT_BYTES * (parts + 1) * m * n) / MERGE_BANDWIDTH : 0;

/** Microseconds: the launch and the longest of what latency, arithmetic and memory take; with PARTS, the merge besides. */
export function estimateMatmul(t: RatedTile, problem: MatmulProblem, limits: DeviceLimits): number {
  const {m, n, k} = problem;
  const memory = (FLOAT_BYTES * (m * k + t.PARTS * m * n + k * n)) / BANDWIDTH;
  return LAUNCH + Math.max(processorMicroseconds(t, problem, limits), memory) + mergeMicroseconds(t, problem);
}

/** The tile without its rates: what becomes a kernel's constants. */
export function matmulTileOf(tile: MatmulTile): MatmulTile {
  const {TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N, SPLIT_K, PARTS, DIRECT} = tile;
  return {TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N, SPLIT_K, PARTS, ...(DIRECT && {DIRECT})};
}

/** What each thread stages per step: pairs of vectors of the source, vectors of the filter; or the vectors it finishes. */
export function loadsOf(tile: MatmulTile): Constants {
  const {TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N, DIRECT} = tile;
  if (DIRECT) return {FINISHED: divideUp((TILE_M * TILE_N) / 4, matmulThreads(tile))};
  const team = (TILE_M / THREAD_M) * (TILE_N / THREAD_N);
  return {X_LOADS: divideUp((TILE_M * TILE_K) / 8, team), W_LOADS: divideUp((TILE_K * TILE_N) / 4, team)};
}

const PARTS = [1, 2, 3, 4, 6, 8];
/**
 * Microseconds of a merge behind its product, launch included, and bytes a microsecond: the sums are still in the second-level cache. Fitted
 * to 237 of them, mean error 14 %.
 */
const MERGE = 2.9;
const MERGE_BANDWIDTH = 5.1e6;
/** Of the 3 µs of JavaScript that encode one more dispatch, what counts: most of them pass while the GPU is busy. */
const ENCODE = 1;
/** A part shorter than this many steps is all prologue. */
const LEAST_STEPS = 4;

/** Every legal tile, each with every number of parts that leaves a part work to do. */
export function matmulCandidates(
  {k, canPart = true, isPointwise = false}: MatmulProblem,
  limits: DeviceLimits,
  tiles: readonly RatedTile[] = MATMUL_TILES,
): RatedTile[] {
  return tiles
    .filter((t) => (isPointwise || !t.DIRECT) && matmulIsLegal(t, limits))
    .flatMap((t) =>
      PARTS.filter(
        (parts) => parts === 1 || (canPart && !t.DIRECT && k >= parts * LEAST_STEPS * t.TILE_K * t.SPLIT_K),
      ).map((parts) => ({...t, PARTS: parts})),
    );
}

export const bestOf = <T>(candidates: readonly T[], cost: (candidate: T) => number): T => {
  const [first, ...rest] = candidates;
  if (first === undefined)
    throw new Error('No tile fits this device; its limits are below those WebGPU guarantees.');
  return rest.reduce((best, candidate) => (cost(candidate) < cost(best) ? candidate : best), first);
};
