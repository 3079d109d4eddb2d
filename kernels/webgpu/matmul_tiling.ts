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
  /** Both operands are staged twice by turns, at one barrier a step instead of two. */
  readonly BUFFERS?: 2;
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
 * the sum of both squares. Fitted by benchmarks/fit_tiles.py on an H200 to products of seven networks at batches 1 to 128, 143 as they stand
 * in their blocks, 168 so and behind other kernels, and 192 bare ones: mean error of a tile 3 to 13 %, and the tile of least
 * estimate is on average 2.0, 2.8 to 3.3, and 1 to 2 % slower than the best measured of these (NOTES.md says by what). 128×64 has got a twentieth more:
 * behind a LayerNorm it is slower than 64×128. Elsewhere only their ratios count.
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

/** Its steps are half as long, as each has half the barriers. */
const double = (...given: Parameters<typeof rated>): RatedTile => ({...rated(...given), BUFFERS: 2});

export const MATMUL_TILES: readonly RatedTile[] = [
  rated([128, 64, 16, 8, 8, 1], 3, [0.51, 0.743], [2.39, 0.721]),
  rated([64, 128, 16, 8, 8, 1], 3, [0.73, 0.697], [2.43, 0.758]),
  rated([128, 40, 16, 8, 4, 1], 3, [0.614, 0.637], [1.9, 0.53]),
  rated([64, 96, 16, 8, 4, 1], 3, [0.666, 0.647], [1.49, 0.501]),
  rated([64, 80, 16, 8, 4, 1], 8, [0.714, 0.563], [1.37, 0.44]),
  rated([64, 64, 16, 8, 4, 1], 5, [0.494, 0.401], [1.64, 0.304]),
  rated([64, 48, 16, 8, 4, 1], 5, [0.52, 0.359], [2.2, 0.157]),
  rated([64, 32, 16, 8, 4, 1], 8, [0.617, 0.225], [0.921, 0.35]),
  rated([64, 16, 16, 8, 4, 1], 8, [0.722, 0.125], [0.235, 0.429]),
  rated([32, 64, 16, 8, 4, 2], 3, [0.68, 0.385], [0.252, 1.23]),
  rated([32, 64, 16, 8, 4, 1], 8, [0.608, 0.206], [1.05, 0.272]),
  rated([32, 32, 32, 4, 4, 2], 2, [0.667, 0.561], [0.227, 0.944]),
  rated([32, 32, 16, 4, 4, 1], 8, [0.43, 0.153], [0.0911, 0.123]),
  rated([16, 64, 32, 4, 4, 4], 1, [1.41, 0.312], [1.38, 0.305]),
  rated([16, 32, 32, 4, 4, 4], 1, [0, 1.1], [1.52, 0.22]),
  rated([16, 32, 16, 4, 4, 8], 1, [0.391, 0.842], [1.66, 0.305]),
  rated([16, 16, 32, 4, 4, 8], 1, [1.02, 0.25], [1.24, 0.304]),
  // A quarter above what six products of a prototype took: on an H200 no estimate is to choose it, elsewhere tune may.
  double([64, 64, 8, 8, 8, 1], 2, [0.435, 0.127], [0.969, 0.361]),
  direct([16, 16, 24, 4, 4, 16], 3, [0.959, 1.58], [0.647, 0.219]),
  direct([32, 32, 8, 4, 4, 4], 5, [0.712, 0.353], [0.0774, 0.235]),
  direct([32, 16, 16, 4, 4, 8], 2, [0.785, 0.978], [0.559, 0.293]),
  direct([16, 32, 16, 4, 4, 8], 4, [0.642, 0.959], [0.877, 0.114]),
  direct([16, 32, 8, 4, 4, 8], 3, [0.439, 0.438], [0.616, 0.101]),
  direct([8, 32, 16, 4, 4, 16], 4, [0.36, 1.01], [1.22, 0.0462]),
  direct([8, 32, 8, 2, 4, 8], 8, [0.66, 0.221], [0.243, 0.129]),
  direct([8, 16, 16, 4, 4, 32], 3, [1.1, 0.995], [0.59, 0.253]),
  direct([4, 16, 16, 4, 4, 64], 8, [1.68, 0.992], [0.645, 0.423]),
];

export const FLOAT_BYTES = 4;

/** Of a workgroup. */
export const matmulThreads = ({TILE_M, TILE_N, THREAD_M, THREAD_N, SPLIT_K}: MatmulTile): number =>
  (TILE_M / THREAD_M) * (TILE_N / THREAD_N) * SPLIT_K;

/** Of workgroup memory, each a float wide: by so much the groups of a step are set apart in all. */
const BANKS = 32;

/** Of workgroup memory. */
export function matmulBytes(t: MatmulTile): number {
  if (t.DIRECT) return FLOAT_BYTES * t.SPLIT_K * t.TILE_M * t.TILE_N;
  const {BUFFERS = 1} = t;
  const source = BUFFERS * t.SPLIT_K * (t.TILE_K * t.TILE_M + BANKS);
  const filter = Math.max(BUFFERS * t.SPLIT_K * t.TILE_K, (t.SPLIT_K - 1) * t.TILE_M) * t.TILE_N;
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
  const {TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N, SPLIT_K, PARTS, DIRECT, BUFFERS} = tile;
  const flags = {...(DIRECT && {DIRECT}), ...(BUFFERS && {BUFFERS})};
  return {TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N, SPLIT_K, PARTS, ...flags};
}

/** Sums of a thread from which on rows are staged by fours; wgsl/matmul.ts says why. */
const FOURS = 64;

/** Rows that are staged together. */
const stackOf = ({THREAD_M, THREAD_N}: MatmulTile): 2 | 4 => (THREAD_M * THREAD_N < FOURS ? 2 : 4);

/** Of a team: units of four k of a stack's rows that it stages per step, vectors of the filter, and threads that get no unit. */
function staged(tile: MatmulTile): {units: number; vectors: number; spare: number; team: number} {
  const {TILE_M, TILE_N, TILE_K, SPLIT_K} = tile;
  const team = matmulThreads(tile) / SPLIT_K;
  const units = (TILE_M * TILE_K) / (4 * stackOf(tile));
  return {units, vectors: (TILE_K * TILE_N) / 4, spare: Math.max(0, team - units), team};
}

/** Vectors of the filter that a thread without rows to stage begins with. Of pairs so few threads have none that they load what they do not need. */
export function firstVectors(tile: MatmulTile): number {
  const {vectors, spare} = staged(tile);
  const isShared = !tile.DIRECT && stackOf(tile) === 4 && spare > 0;
  return isShared ? Math.min(4, Math.floor(vectors / spare)) : 0;
}

/**
 * What each thread stages per step: units of four k of STACK rows of the source, vectors of the filter, and first W_FIRST of these where
 * it has no unit; or the vectors it finishes.
 */
export function loadsOf(tile: MatmulTile): Constants {
  const {TILE_M, TILE_N, DIRECT, BUFFERS = 1} = tile;
  if (DIRECT) return {FINISHED: divideUp((TILE_M * TILE_N) / 4, matmulThreads(tile))};
  const {units, vectors, spare, team} = staged(tile);
  const W_FIRST = firstVectors(tile);
  return {
    STACK: stackOf(tile),
    BUFFERS,
    X_LOADS: divideUp(units, team),
    W_FIRST,
    W_LOADS: divideUp(vectors - W_FIRST * spare, team),
  };
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
