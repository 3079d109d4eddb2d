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
 * A tile and its cost on one processor, in microseconds. Up to `slots` workgroups run side by side: each takes `latency` a step
 * along K and `fixed` besides, however few there are; when there are many, the processor spends `work` on each step and
 * `overhead` on each workgroup. Fitted by benchmarks/fit_tiles.py on an H200 to products as they stand in the blocks of EfficientNet-B0,
 * MobileNetV2 and ConvNeXt-T at batches 1 to 32, 55 alone and 89 behind other kernels, and for tiles of more than 2048 outputs
 * to 155 bare ones at batches 1 to 128: mean error of a tile 5 to 18 %, and the tile of least estimate is on average 3, 5, 8 and
 * 5 % slower than the best measured (NOTES.md says by what). Elsewhere only their ratios count.
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
  rated([64, 128, 16, 8, 8, 1], 2, [0.99, 0.8], [2.71, 1.06]),
  rated([128, 40, 16, 8, 4, 1], 2, [0.878, 0.677], [1.33, 0.753]),
  rated([64, 96, 16, 8, 4, 1], 2, [0.907, 0.682], [1.04, 0.594]),
  rated([64, 80, 16, 8, 4, 1], 2, [0.913, 0.608], [0.884, 0.435]),
  rated([64, 64, 16, 8, 4, 1], 2, [0.628, 0.432], [0.828, 0.368]),
  rated([64, 48, 16, 8, 4, 1], 2, [0.61, 0.406], [0.875, 0.299]),
  rated([64, 32, 16, 8, 4, 1], 4, [0.79, 0.26], [0.329, 0.401]),
  rated([64, 16, 16, 8, 4, 1], 8, [0.905, 0.178], [0.795, 0.431]),
  rated([32, 64, 16, 8, 4, 2], 3, [0.882, 0.478], [0.4, 1]),
  rated([32, 64, 16, 8, 4, 1], 5, [0.773, 0.241], [0.29, 0.287]),
  rated([32, 32, 32, 4, 4, 2], 2, [0.875, 0.74], [0.677, 0.719]),
  rated([32, 32, 16, 4, 4, 1], 3, [0.312, 0.217], [0.728, 0.0166]),
  rated([16, 64, 32, 4, 4, 4], 1, [1.41, 1.45], [1, 1.42]),
  rated([16, 32, 32, 4, 4, 4], 1, [1.07, 0.0457], [0.65, 0.3]),
  rated([16, 32, 16, 4, 4, 8], 1, [0.952, 0.903], [1.22, 0.3]),
  rated([16, 16, 32, 4, 4, 8], 1, [1.36, 0.183], [0.947, 0.3]),
  direct([16, 16, 24, 4, 4, 16], 2, [1.81, 1.55], [0.589, 0.272]),
  direct([32, 32, 8, 4, 4, 4], 2, [0.649, 0.457], [0.207, 0.0946]),
  direct([32, 16, 16, 4, 4, 8], 2, [1.22, 0.993], [0.609, 0.297]),
  direct([16, 32, 16, 4, 4, 8], 2, [1.15, 0.873], [0.522, 0.241]),
  direct([16, 32, 8, 4, 4, 8], 2, [0.622, 0.428], [0.393, 0.181]),
  direct([8, 32, 16, 4, 4, 16], 2, [1.15, 0.889], [0.524, 0.254]),
  direct([8, 32, 8, 2, 4, 8], 5, [0.697, 0.281], [0.579, 0.0832]),
  direct([8, 16, 16, 4, 4, 32], 2, [1.38, 1.13], [0.666, 0.274]),
  direct([4, 16, 16, 4, 4, 64], 3, [0.516, 1.21], [1.56, 0.396]),
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
  const latency = divideUp(workgroups, processors * t.slots) * (steps * t.latency + t.fixed);
  const work = divideUp(workgroups, processors) * (steps * t.work + t.overhead);
  return Math.max(latency, work);
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
