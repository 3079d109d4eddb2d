/**
 * Which tile each kernel gets: legal candidates from the device's limits, an estimate for each, the cheapest. The estimates
 * count issue slots of a processor; their constants were fitted to measurements and carry them in a comment.
 */
import type {Shape4D, SpatialStage} from '../../ops/index.js';
import {divideUp} from '../plan.js';
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
  processors: 64,
};

export interface MatmulTile {
  readonly TILE_M: number;
  readonly TILE_N: number;
  readonly TILE_K: number;
  readonly THREAD_M: number;
  readonly THREAD_N: number;
  readonly SPLIT_K: number;
}

export interface MatmulProblem {
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

export interface DepthwiseTile {
  readonly STRIP_H: number;
  readonly STRIP_W: number;
  readonly LANES: number;
  readonly STRIPS: number;
}

export interface Tiling {
  /** Where the plan is to hold f16 between its dispatches. */
  readonly half?: HalfTiling;
  matmul(problem: MatmulProblem): MatmulTile;
  depthwise(problem: {readonly shape: Shape4D; readonly stage: SpatialStage}): DepthwiseTile;
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
 * A tile and its cost on one processor, in microseconds: `step` per step along K, `fixed` per wave of workgroups, `slots`
 * workgroups at a time. Fitted to 86 matrix products of EfficientNet-B0, MobileNetV2 and ConvNeXt-T on an H200, errors of 1 to 12 %;
 * the tile of least estimate is on average 4 % slower than the best one. Elsewhere only their ratios count.
 */
export interface RatedTile extends MatmulTile {
  readonly slots: number;
  readonly step: number;
  readonly fixed: number;
}

const rated = (
  tile: readonly [number, number, number, number, number, number],
  slots: number,
  step: number,
  fixed: number,
): RatedTile => {
  const [TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N, SPLIT_K] = tile;
  return {TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N, SPLIT_K, slots, step, fixed};
};

export const MATMUL_TILES: readonly RatedTile[] = [
  rated([256, 96, 16, 8, 8, 1], 1, 2.492, 3.686),
  rated([128, 192, 8, 8, 8, 1], 1, 1.34, 3.622),
  rated([64, 96, 16, 8, 4, 1], 1, 0.776, 0.242),
  rated([64, 128, 16, 8, 8, 1], 1, 0.902, 1.595),
  rated([128, 128, 8, 8, 8, 1], 1, 0.818, 2.64),
  rated([128, 32, 16, 8, 4, 1], 1, 0.544, 0.853),
  rated([64, 64, 16, 4, 4, 1], 1, 0.621, 0.543),
  rated([128, 64, 8, 8, 4, 1], 1, 0.509, 1.05),
  rated([32, 64, 16, 4, 4, 1], 1, 0.337, 0.247),
  rated([64, 64, 8, 4, 4, 1], 1, 0.384, 0.097),
  rated([64, 32, 16, 4, 4, 1], 1, 0.344, 0.289),
  rated([64, 16, 16, 4, 4, 1], 2, 0.408, 0.519),
  rated([32, 32, 16, 4, 4, 2], 1, 0.407, 0.441),
  rated([16, 32, 16, 4, 4, 2], 2, 0.39, 0.606),
  rated([16, 16, 16, 4, 4, 4], 1, 0.345, 0.34),
  rated([16, 32, 16, 4, 4, 4], 1, 0.487, 1.035),
  rated([32, 32, 16, 4, 4, 4], 1, 0.765, 1.292),
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
const LAUNCH = 2;

/** Microseconds: the launch, and waves of workgroups times what one wave takes. */
export function estimateMatmul(t: RatedTile, {m, n, k}: MatmulProblem, {processors}: DeviceLimits): number {
  const waves = divideUp(divideUp(m, t.TILE_M) * divideUp(n, t.TILE_N), processors * t.slots);
  const steps = divideUp(divideUp(k, t.TILE_K), t.SPLIT_K);
  return LAUNCH + waves * (steps * t.step + t.fixed);
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

/**
 * Windows of 7×7 want one row a thread: with two, or with eight columns, the sums fall out of registers (400 to 600 instead of
 * 65 µs at [32, 56, 56, 96] on an H200). Short strips fill a GPU that a small map leaves idle.
 */
function largeWindow([n, h, w]: Shape4D, vectors: number): DepthwiseTile {
  const isLarge = n * h * w * vectors >= 1 << 19;
  const STRIP_W = Math.min(isLarge ? 7 : 4, w);
  const LANES = powerOfTwoUpTo(vectors, isLarge ? 8 : 16);
  return {STRIP_H: 1, STRIP_W, LANES, STRIPS: powerOfTwoUpTo(h * divideUp(w, STRIP_W), 64 / LANES)};
}

export function tilingFor(limits: DeviceLimits): Tiling {
  const legal = MATMUL_TILES.filter((t) => matmulIsLegal(t, limits));
  return {
    matmul: (problem) => {
      const {TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N, SPLIT_K} = bestOf(legal, (t) =>
        estimateMatmul(t, problem, limits),
      );
      return {TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N, SPLIT_K};
    },
    depthwise: ({shape, stage}) => {
      const vectors = divideUp(stage.channels, 4);
      if (stage.kernel[1] > 5) return largeWindow(shape, vectors);
      const STRIP_W = Math.min(4, shape[2]);
      const STRIP_H = Math.min(stage.stride[0] === 1 && stage.dilation[0] === 1 ? 2 : 1, shape[1]);
      const LANES = powerOfTwoUpTo(vectors, 16);
      const strips = divideUp(shape[1], STRIP_H) * divideUp(shape[2], STRIP_W);
      return {STRIP_H, STRIP_W, LANES, STRIPS: powerOfTwoUpTo(strips, 128 / LANES)};
    },
    grouped: ({shape}) => {
      const LANES = powerOfTwoUpTo(divideUp(shape[3], 4), 16);
      return {STRIP: Math.min(4, shape[2]), LANES, STRIPS: 64 / LANES};
    },
    normalize: ({channels}) => ({LANES: powerOfTwoUpTo(divideUp(channels, 4), 32), WORKGROUP: 128}),
    gate: ({batch, channels, reduced}) => ({
      WORKGROUP: powerOfTwoUpTo(
        Math.max(channels, reduced),
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
