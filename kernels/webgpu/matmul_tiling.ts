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
 * `overhead` on each workgroup. Fitted by benchmarks/fit_tiles.py on an H200, tiles of up to 64 rows by 32 or 32 by 64 to 55 products as they
 * stand in their blocks at batches 1 and 8, the others to 155 bare ones of EfficientNet-B0, MobileNetV2 and ConvNeXt-T at batches 1 to 128:
 * mean error of a tile 1 to 16 %, and the tile of least estimate is on average 6 and 3 % slower than the best. Elsewhere only their ratios
 * count.
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

/** Its rates were fitted to 55 products as they stand in their blocks, at batches 1 and 8 (benchmarks/product_tiles.ts): mean error 10 to 23 %. */
const direct = (...given: Parameters<typeof rated>): RatedTile => ({...rated(...given), DIRECT: true});

export const MATMUL_TILES: readonly RatedTile[] = [
  rated([64, 128, 16, 8, 8, 1], 2, [0.871, 0.788], [1.53, 0.963]),
  rated([128, 40, 16, 8, 4, 1], 2, [0.876, 0.68], [1.21, 0.711]),
  rated([64, 96, 16, 8, 8, 1], 3, [0.902, 0.73], [1.26, 0.769]),
  rated([64, 96, 16, 8, 4, 1], 2, [0.914, 0.685], [0.911, 0.649]),
  rated([64, 80, 16, 8, 4, 1], 2, [0.931, 0.595], [0.749, 0.436]),
  rated([64, 64, 16, 8, 4, 1], 2, [0.522, 0.432], [1, 0.376]),
  rated([64, 48, 16, 8, 4, 1], 2, [0.52, 0.407], [0.916, 0.279]),
  rated([64, 32, 16, 8, 4, 1], 2, [0.467, 0.263], [0.534, 0.126]),
  rated([64, 16, 16, 8, 4, 1], 6, [0.598, 0.176], [0.911, 0.15]),
  rated([32, 64, 16, 8, 4, 2], 3, [0.89, 0.467], [0.237, 1.42]),
  rated([32, 64, 16, 8, 4, 1], 2, [0.449, 0.25], [0.467, 0.0798]),
  rated([32, 32, 32, 4, 4, 2], 1, [0.837, 0.209], [0.6, 0.3]),
  rated([32, 32, 16, 4, 4, 1], 2, [0.322, 0.26], [0.52, 0.0429]),
  rated([16, 64, 32, 4, 4, 4], 1, [1.34, 1.51], [1.59, 1.08]),
  rated([16, 32, 32, 4, 4, 4], 1, [1.04, 0.00864], [0.714, 0.3]),
  rated([16, 32, 16, 4, 4, 8], 1, [0.954, 0.239], [1.24, 0.3]),
  rated([16, 16, 32, 4, 4, 8], 1, [1.35, 0.223], [0.954, 0.3]),
  direct([16, 16, 24, 4, 4, 16], 4, [1.68, 1.3], [0.147, 0.0104]),
  direct([32, 16, 16, 4, 4, 8], 2, [1.18, 0.995], [0.24, 0.021]),
  direct([16, 32, 16, 4, 4, 8], 3, [1.09, 0.871], [0.224, 0.0151]),
  direct([8, 32, 16, 4, 4, 16], 5, [1.04, 0.849], [0.385, 0.00981]),
  direct([8, 32, 8, 2, 4, 8], 4, [0.727, 0.297], [0.0828, 0.0219]),
  direct([8, 16, 16, 4, 4, 32], 2, [1.17, 0.912], [0.222, 0.0161]),
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

/** Microseconds of the processors: latency where few workgroups wait for each step, arithmetic where there are many. */
export function processorMicroseconds(
  t: RatedTile,
  {m, n, k}: MatmulProblem,
  {processors}: DeviceLimits,
): number {
  const workgroups = divideUp(m, t.TILE_M) * divideUp(n, t.TILE_N) * t.PARTS;
  const steps = divideUp(divideUp(k, t.TILE_K), t.SPLIT_K * t.PARTS);
  const latency = divideUp(workgroups, processors * t.slots) * (steps * t.latency + t.fixed);
  const work = divideUp(workgroups, processors) * (steps * t.work + t.overhead);
  return Math.max(latency, work);
}

/** Microseconds of the dispatch that adds the sums of PARTS workgroups a tile. */
export const mergeMicroseconds = ({PARTS: parts}: MatmulTile, {m, n}: MatmulProblem): number =>
  parts > 1 ? MERGE + (FLOAT_BYTES * (parts + 1) * m * n) / BANDWIDTH : 0;

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
/** Microseconds that one more dispatch has to save: its launch, and 3 µs of JavaScript to encode it. */
const MERGE = 5;
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
