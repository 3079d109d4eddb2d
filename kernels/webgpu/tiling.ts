/**
 * Which tile each kernel gets: legal candidates from the device's limits, an estimate for each, the cheapest. The estimates
 * count issue slots of a processor; their constants were fitted to measurements and carry them in a comment.
 */
import type {Shape4D, SpatialStage} from '../../ops/index.js';
import {divideUp} from '../plan.js';
import {
  depthwiseProjectApart,
  depthwiseProjectCandidates,
  depthwiseProjectMacs,
  type DepthwiseProjectProblem,
  type DepthwiseProjectTile,
  estimateDepthwiseProject,
} from './depthwise_project_tiling.js';
import {
  estimateFeedForward,
  feedForwardApart,
  feedForwardCandidates,
  feedForwardMacs,
  type FeedForwardProblem,
  type FeedForwardTile,
} from './feed_forward_tiling.js';
import {type Apart, fusedIfWorthwhile} from './fused_tiling.js';
import type {HalfTiling} from './matrix_tiling.js';

/** What a plan may rely on; `stockLimits` are WebGPU's guaranteed ones. */
export interface DeviceLimits {
  readonly maxComputeInvocationsPerWorkgroup: number;
  readonly maxComputeWorkgroupStorageSize: number;
  /** Independent processors (SMs, compute units), where known; WebGPU does not tell. */
  readonly processors: number;
}

export const stockLimits: DeviceLimits = {
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupStorageSize: 16384,
  processors: 132,
};

/** What nearly every adapter offers, and TF.js asks for: plans made without a device count with it. */
export const usualLimits: DeviceLimits = {...stockLimits, maxComputeWorkgroupStorageSize: 32768};

export interface MatmulTile {
  readonly TILE_M: number;
  readonly TILE_N: number;
  readonly TILE_K: number;
  readonly THREAD_M: number;
  readonly THREAD_N: number;
  readonly SPLIT_K: number;
  /** Workgroups that share a tile, each with a part of K; where more than one, another dispatch merges their sums. */
  readonly PARTS: number;
}

export interface MatmulProblem {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** False where the sums cannot be merged by another dispatch. */
  readonly canPart?: boolean;
}

/** A workgroup's tile of output pixels, a thread's strip of it, and the groups of four channels a workgroup takes. */
export interface DepthwiseTile {
  readonly TILE_H: number;
  readonly TILE_W: number;
  readonly STRIP_H: number;
  readonly STRIP_W: number;
  readonly LANES: number;
}

/** A depth-wise tile whose input is expanded on the spot, PIXELS a thread at a time. */
export interface ExpandTile extends DepthwiseTile {
  readonly PIXELS: number;
}

export interface ExpandProblem {
  /** Of the rows before the expansion. */
  readonly input: Shape4D;
  readonly shape: Shape4D;
  readonly stage: SpatialStage;
}

export interface Tiling {
  /** Where the plan is to hold f16 between its dispatches. */
  readonly half?: HalfTiling;
  matmul(problem: MatmulProblem): MatmulTile;
  depthwise(problem: {readonly shape: Shape4D; readonly stage: SpatialStage}): DepthwiseTile;
  /** Undefined where expansion and depth-wise convolution are faster as two dispatches. */
  expandDepthwise(problem: ExpandProblem): ExpandTile | undefined;
  /** Whether two pointwise stages are one dispatch. */
  feedForward(problem: FeedForwardProblem): FeedForwardTile | Apart;
  /** Whether a depth-wise convolution and its projection are one dispatch, with the expansion before them if there is one. */
  depthwiseProject(problem: DepthwiseProjectProblem): DepthwiseProjectTile | Apart;
  grouped(problem: {readonly shape: Shape4D}): {
    readonly STRIP: number;
    readonly LANES: number;
    readonly STRIPS: number;
  };
  normalize(problem: {readonly channels: number}): {readonly LANES: number; readonly WORKGROUP: number};
  /** `SHARES` workgroups an image, each of which makes its share of the scales. */
  gate(problem: {readonly batch: number; readonly channels: number; readonly reduced: number}): {
    readonly WORKGROUP: number;
    readonly SHARES: number;
  };
  sum(problem: {readonly pixels: number; readonly channels: number}): {
    readonly LANES: number;
    readonly ROWS: number;
    readonly SUM_PARTS: number;
  };
}

/**
 * A tile and its cost on one processor, in microseconds. Up to `slots` workgroups run side by side: each takes `latency` a step
 * along K and `fixed` besides, however few there are; when there are many, the processor spends `work` on each step and
 * `overhead` on each workgroup. Fitted by benchmarks/fit_tiles.py to 155 matrix products of EfficientNet-B0, MobileNetV2 and
 * ConvNeXt-T at batches 1 to 128 on an H200: mean error of a tile 1 to 7 %, and the tile of least estimate is on average 3 %
 * slower than the best of 69. Elsewhere only their ratios count.
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
  rated([32, 64, 16, 8, 4, 2], 2, [0.511, 0.488], [1.59, 0.95]),
  rated([32, 64, 16, 8, 4, 1], 2, [0.449, 0.25], [0.467, 0.0798]),
  rated([32, 32, 32, 4, 4, 2], 4, [0.735, 0.744], [0.943, 0.558]),
  rated([32, 32, 16, 4, 4, 1], 3, [0.28, 0.171], [0.666, 0.124]),
  rated([16, 64, 32, 4, 4, 4], 1, [1.43, 0.154], [1.34, 0.3]),
  rated([16, 32, 32, 4, 4, 4], 1, [0.588, 0.87], [1.5, 1.02]),
  rated([16, 32, 16, 4, 4, 8], 1, [0.581, 0.829], [1.8, 1.31]),
  rated([16, 16, 32, 4, 4, 8], 1, [1.06, 0.227], [1.36, 0.3]),
];

const FLOAT_BYTES = 4;

export function matmulIsLegal(t: MatmulTile, limits: DeviceLimits): boolean {
  const invocations = (t.TILE_M / t.THREAD_M) * (t.TILE_N / t.THREAD_N) * t.SPLIT_K;
  const source = t.SPLIT_K * t.TILE_K * (t.TILE_M + 4);
  const filter = Math.max(t.SPLIT_K * t.TILE_K, (t.SPLIT_K - 1) * t.TILE_M) * t.TILE_N;
  return (
    invocations <= limits.maxComputeInvocationsPerWorkgroup &&
    FLOAT_BYTES * (source + filter) <= limits.maxComputeWorkgroupStorageSize
  );
}

/** Microseconds until a dispatch that waited for the one before it has begun. */
export const LAUNCH = 2;

/** Bytes a microsecond from device memory: an H200's copy. */
const BANDWIDTH = 4.1e6;

/** Microseconds: the launch and the longest of what latency, arithmetic and memory take; with PARTS, the merge besides. */
export function estimateMatmul(t: RatedTile, {m, n, k}: MatmulProblem, {processors}: DeviceLimits): number {
  const workgroups = divideUp(m, t.TILE_M) * divideUp(n, t.TILE_N) * t.PARTS;
  const steps = divideUp(divideUp(k, t.TILE_K), t.SPLIT_K * t.PARTS);
  const latency = divideUp(workgroups, processors * t.slots) * (steps * t.latency + t.fixed);
  const work = divideUp(workgroups, processors) * (steps * t.work + t.overhead);
  const memory = (FLOAT_BYTES * (m * k + t.PARTS * m * n + k * n)) / BANDWIDTH;
  const merge = t.PARTS > 1 ? MERGE + (FLOAT_BYTES * (t.PARTS + 1) * m * n) / BANDWIDTH : 0;
  return LAUNCH + Math.max(latency, work, memory) + merge;
}

/** The tile without its rates: what becomes a kernel's constants. */
export function matmulTileOf(tile: MatmulTile): MatmulTile {
  const {TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N, SPLIT_K, PARTS} = tile;
  return {TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N, SPLIT_K, PARTS};
}

const PARTS = [1, 2, 3, 4, 6, 8];
/** Microseconds that one more dispatch has to save: its launch, and 3 µs of JavaScript to encode it. */
const MERGE = 5;
/** A part shorter than this many steps is all prologue. */
const LEAST_STEPS = 4;

/** Every legal tile, each with every number of parts that leaves a part work to do. */
export function matmulCandidates({k, canPart = true}: MatmulProblem, limits: DeviceLimits): RatedTile[] {
  return MATMUL_TILES.filter((t) => matmulIsLegal(t, limits)).flatMap((t) =>
    PARTS.filter((parts) => parts === 1 || (canPart && k >= parts * LEAST_STEPS * t.TILE_K * t.SPLIT_K)).map(
      (parts) => ({...t, PARTS: parts}),
    ),
  );
}

/** Workgroups along one axis that every device allows. */
export const MOST_WORKGROUPS = 65535;

const bestOf = <T>(candidates: readonly T[], cost: (candidate: T) => number): T => {
  const [first, ...rest] = candidates;
  if (first === undefined)
    throw new Error('No tile fits this device; its limits are below those WebGPU guarantees.');
  return rest.reduce((best, candidate) => (cost(candidate) < cost(best) ? candidate : best), first);
};

const powerOfTwoUpTo = (value: number, most: number): number =>
  Math.min(most, 2 ** Math.ceil(Math.log2(Math.max(1, value))));

function isLegalDepthwise(t: DepthwiseTile, limits: DeviceLimits): boolean {
  const threads = t.LANES * divideUp(t.TILE_H, t.STRIP_H) * divideUp(t.TILE_W, t.STRIP_W);
  const statistics = FLOAT_BYTES * threads * Math.max(4, t.STRIP_H * t.STRIP_W);
  return (
    threads <= limits.maxComputeInvocationsPerWorkgroup && statistics <= limits.maxComputeWorkgroupStorageSize
  );
}

/** Strips of a map, as many as make about `threads` threads with the lanes, as square as they come. */
function tileOf(
  [, h, w]: Shape4D,
  strip: {readonly STRIP_H: number; readonly STRIP_W: number; readonly LANES: number},
  threads: number,
): Pick<DepthwiseTile, 'TILE_H' | 'TILE_W'> {
  const [rows, columns] = [divideUp(h, strip.STRIP_H), divideUp(w, strip.STRIP_W)];
  const strips = Math.max(1, Math.floor(threads / strip.LANES));
  const across = divideUp(columns, divideUp(columns, strips));
  const down = Math.min(rows, Math.max(1, Math.floor(strips / across)));
  return {TILE_H: divideUp(rows, divideUp(rows, down)) * strip.STRIP_H, TILE_W: across * strip.STRIP_W};
}

const STRIPS: readonly (readonly [number, number])[] = [[1, 2], [1, 4], [1, 7], [1, 8], [2, 2], [2, 4], [2, 7], [4, 4]]; // prettier-ignore

/** Every tile worth a measurement: strips, lanes, threads a workgroup. */
export function depthwiseCandidates(
  shape: Shape4D,
  stage: SpatialStage,
  limits: DeviceLimits,
): DepthwiseTile[] {
  const vectors = divideUp(stage.channels, 4);
  const found = new Map<string, DepthwiseTile>();
  for (const [STRIP_H, STRIP_W] of STRIPS) {
    if (STRIP_H > shape[1] || STRIP_W > shape[2]) continue;
    for (const lanes of [4, 8, 16]) {
      const strip = {STRIP_H, STRIP_W, LANES: powerOfTwoUpTo(vectors, lanes)};
      for (const threads of [64, 128]) {
        const tile = {...tileOf(shape, strip, threads), ...strip};
        if (isLegalDepthwise(tile, limits)) found.set(JSON.stringify(tile), tile);
      }
    }
  }
  return [...found.values()];
}

/**
 * Long strips read less, short ones fill a GPU. Measured on an H200 over the depth-wise convolutions of EfficientNet-B0 and
 * ConvNeXt-T: below some 150,000 vectors of output 2×2 with 16 lanes is within a tenth of the best of 60 tiles, whatever the
 * window; above, one row of seven with 8 lanes for 7×7 (59 µs at [32, 56, 56, 96]) and 2×4 or 1×4 for smaller windows.
 */
export function depthwiseTile(shape: Shape4D, stage: SpatialStage, limits: DeviceLimits): DepthwiseTile {
  const [n, h, w] = shape;
  const vectors = divideUp(stage.channels, 4);
  const isDense = stage.stride[0] === 1 && stage.dilation[0] === 1;
  const [rows, columns, lanes] =
    n * h * w * vectors < 150_000
      ? [2, 2, 16]
      : stage.kernel[1] > 5
        ? [1, 7, 8]
        : [isDense ? 2 : 1, 4, isDense ? 16 : 8];
  const threads = lanes === 16 && rows === 2 && columns === 2 ? 64 : 128;
  const strip = {
    STRIP_H: Math.min(rows, h),
    STRIP_W: Math.min(columns, w),
    LANES: powerOfTwoUpTo(vectors, lanes),
  };
  const tile = {...tileOf(shape, strip, threads), ...strip};
  return isLegalDepthwise(tile, limits) ? tile : {...tileOf(shape, strip, strip.LANES), ...strip};
}

/** Pixels of input under a tile. */
export function patchOf(t: DepthwiseTile, {kernel, stride, dilation}: SpatialStage): number {
  const reach = (axis: 0 | 1, extent: number): number =>
    (extent - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1;
  return reach(0, t.TILE_H) * reach(1, t.TILE_W);
}

const EXPAND_STRIPS: readonly (readonly [number, number])[] = [[1, 2], [2, 2], [1, 4], [2, 4], [1, 7]]; // prettier-ignore

/** Every tile of an expansion with its depth-wise convolution that is worth a measurement. */
export function expandCandidates({shape, stage}: ExpandProblem, limits: DeviceLimits): ExpandTile[] {
  const vectors = divideUp(stage.channels, 4);
  const found = new Map<string, ExpandTile>();
  for (const [STRIP_H, STRIP_W] of EXPAND_STRIPS) {
    if (STRIP_H > shape[1] || STRIP_W > shape[2]) continue;
    for (const LANES of [4, 6, 8, 12, 16]) {
      if (divideUp(vectors, LANES) * LANES > 1.12 * vectors) continue;
      for (const threads of [64, 128]) {
        for (const PIXELS of [4, 8]) {
          const strip = {STRIP_H, STRIP_W, LANES};
          const tile = {...tileOf(shape, strip, threads), ...strip, PIXELS};
          const bytes = 16 * LANES * (patchOf(tile, stage) + divideUp(threads, LANES));
          if (isLegalDepthwise(tile, limits) && bytes <= limits.maxComputeWorkgroupStorageSize)
            found.set(JSON.stringify(tile), tile);
        }
      }
    }
  }
  return [...found.values()];
}

/**
 * One dispatch instead of two saves its launch and the expanded map's way through memory, but makes halos twice and multiplies
 * at a third of the matrix product's rate. Measured on an H200: at batch 1 and up to 40 channels 1 to 2 µs of 8 to 11 saved
 * on maps of 56² and 28²; with more channels or larger batches slower everywhere, by up to three times.
 */
function expandTile({input, shape, stage}: ExpandProblem, limits: DeviceLimits): ExpandTile | undefined {
  const [n, h, w, channels] = input;
  const vectors = divideUp(stage.channels, 4);
  if (channels > 40 || n * h * w * vectors > 150_000 || n * h * w * vectors < 20_000) return undefined;
  const strip = {STRIP_H: 1, STRIP_W: Math.min(2, shape[2]), LANES: 4};
  const tile = {...tileOf(shape, strip, 112), ...strip, PIXELS: 8};
  const bytes = 16 * tile.LANES * (patchOf(tile, stage) + 32);
  return isLegalDepthwise(tile, limits) && bytes <= limits.maxComputeWorkgroupStorageSize ? tile : undefined;
}

const bestMatmul = (problem: MatmulProblem, limits: DeviceLimits): RatedTile =>
  bestOf(matmulCandidates(problem, limits), (t) => estimateMatmul(t, problem, limits));

/** Microseconds on an H200 of what a fused dispatch replaces, launches included. */
export const apartMicroseconds = {
  feedForward: (problem: FeedForwardProblem, limits: DeviceLimits): number =>
    feedForwardApart(problem, (one) => estimateMatmul(bestMatmul(one, limits), one, limits)),
  depthwiseProject: (problem: DepthwiseProjectProblem, limits: DeviceLimits): number =>
    depthwiseProjectApart(
      problem,
      (one) => estimateMatmul(bestMatmul(one, limits), one, limits),
      problem.expand && expandTile(problem, limits) !== undefined,
    ),
} as const;

export function tilingFor(limits: DeviceLimits): Tiling {
  return {
    matmul: (problem) => matmulTileOf(bestMatmul(problem, limits)),
    feedForward: (problem) =>
      fusedIfWorthwhile(
        () => feedForwardCandidates(problem, limits),
        (tile) => estimateFeedForward(tile, problem),
        {apart: apartMicroseconds.feedForward(problem, limits), macs: feedForwardMacs(problem)},
      ),
    depthwiseProject: (problem) =>
      fusedIfWorthwhile(
        () => depthwiseProjectCandidates(problem, limits),
        (tile) => estimateDepthwiseProject(tile, problem),
        {apart: apartMicroseconds.depthwiseProject(problem, limits), macs: depthwiseProjectMacs(problem)},
      ),
    depthwise: ({shape, stage}) => depthwiseTile(shape, stage, limits),
    expandDepthwise: (problem) => expandTile(problem, limits),
    grouped: ({shape}) => {
      const LANES = powerOfTwoUpTo(divideUp(shape[3], 4), 16);
      return {STRIP: Math.min(4, shape[2]), LANES, STRIPS: 64 / LANES};
    },
    // Three or four vectors a thread; more lanes only where registers would run out.
    normalize: ({channels}) => ({
      LANES: Math.min(32, powerOfTwoUpTo(divideUp(channels, 12), 32)),
      WORKGROUP: 128,
    }),
    gate: ({batch, channels, reduced}) => ({
      WORKGROUP: powerOfTwoUpTo(
        // A map of few channels has many partial sums, which want threads, too.
        Math.max(channels, reduced, 256),
        Math.min(1024, limits.maxComputeInvocationsPerWorkgroup),
      ),
      // One processor takes 7 µs to read the weights of 1152 channels; each share reads half of them and its part of the rest.
      SHARES: batch * 8 <= limits.processors ? powerOfTwoUpTo(divideUp(channels, 128), 8) : 1,
    }),
    sum: ({pixels, channels}) => {
      const LANES = powerOfTwoUpTo(divideUp(channels, 4), 16);
      return {LANES, ROWS: 64 / LANES, SUM_PARTS: Math.min(32, divideUp(pixels, 256))};
    },
  };
}
