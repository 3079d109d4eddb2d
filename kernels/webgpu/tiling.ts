/**
 * Which tile each kernel gets: legal candidates from the device's limits, an estimate for each, the cheapest. The estimates
 * count issue slots of a processor; their constants were fitted to measurements and carry them in a comment.
 */
import type {Shape4D, SpatialStage} from '../../ops/index.js';
import {divideUp} from '../plan.js';

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
  matmul(problem: MatmulProblem): MatmulTile;
  depthwise(problem: {
    readonly shape: Shape4D;
    readonly stage: SpatialStage;
    readonly hasMoments: boolean;
  }): DepthwiseTile;
  grouped(problem: {readonly shape: Shape4D}): {
    readonly STRIP: number;
    readonly LANES: number;
    readonly STRIPS: number;
  };
  gate(problem: {readonly channels: number; readonly reduced: number}): number;
  sum(problem: {readonly pixels: number; readonly channels: number}): {
    readonly LANES: number;
    readonly ROWS: number;
    readonly SUM_PARTS: number;
  };
}

/**
 * A tile and its cost on one processor, in microseconds: `step` per step along K, `fixed` per wave of workgroups, `slots`
 * workgroups at a time. Fitted to 62 matrix products of EfficientNet-B0, MobileNetV2 and ConvNeXt-T on an H200, mean error 8 %;
 * the tile of least estimate is on average 5 % slower than the best one. Elsewhere only their ratios count.
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
  rated([128, 128, 16, 8, 8, 1], 1, 1.553, 2.43),
  rated([128, 128, 8, 8, 8, 1], 1, 0.881, 2.431),
  rated([256, 64, 16, 8, 8, 1], 1, 1.592, 2.642),
  rated([128, 64, 8, 8, 4, 1], 1, 0.495, 1.275),
  rated([128, 32, 16, 8, 4, 1], 1, 0.531, 0.955),
  rated([64, 128, 16, 8, 8, 1], 1, 0.9, 1.711),
  rated([64, 64, 16, 8, 8, 1], 2, 0.865, 1.768),
  rated([64, 64, 16, 4, 4, 1], 1, 0.624, 0.614),
  rated([64, 64, 8, 4, 4, 1], 2, 0.467, 1.15),
  rated([64, 64, 16, 4, 4, 2], 1, 1.171, 1.747),
  rated([64, 32, 16, 4, 4, 1], 1, 0.348, 0.304),
  rated([32, 64, 16, 4, 4, 1], 1, 0.338, 0.282),
  rated([64, 16, 16, 4, 4, 1], 2, 0.407, 0.563),
  rated([32, 32, 16, 4, 4, 1], 2, 0.334, 0.368),
  rated([32, 32, 16, 4, 4, 2], 1, 0.406, 0.468),
  rated([16, 32, 16, 4, 4, 2], 2, 0.388, 0.642),
  rated([16, 32, 16, 4, 4, 4], 1, 0.481, 1.062),
  rated([16, 16, 16, 2, 4, 4], 1, 0.346, 0.346),
  rated([16, 16, 16, 2, 4, 8], 1, 0.723, 0.882),
];

const FLOAT_BYTES = 4;

export function matmulIsLegal(t: MatmulTile, limits: DeviceLimits): boolean {
  const invocations = (t.TILE_M / t.THREAD_M) * (t.TILE_N / t.THREAD_N) * t.SPLIT_K;
  const stages = 2 * t.SPLIT_K * t.TILE_K * (t.TILE_M + t.TILE_N);
  const sums = Math.max(4, (t.SPLIT_K - 1) * t.TILE_M * t.TILE_N);
  return (
    invocations <= limits.maxComputeInvocationsPerWorkgroup &&
    FLOAT_BYTES * (stages + sums) <= limits.maxComputeWorkgroupStorageSize
  );
}

/** Microseconds: waves of workgroups times what one wave takes. From four waves on, the next begins before the last ends. */
export function estimateMatmul(t: RatedTile, {m, n, k}: MatmulProblem, {processors}: DeviceLimits): number {
  const load = (divideUp(m, t.TILE_M) * divideUp(n, t.TILE_N)) / (processors * t.slots);
  const waves = load < 4 ? Math.ceil(load) : load + 0.3;
  const steps = divideUp(divideUp(k, t.TILE_K), t.SPLIT_K);
  return waves * (steps * t.step + t.fixed);
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

export function tilingFor(limits: DeviceLimits): Tiling {
  const legal = MATMUL_TILES.filter((t) => matmulIsLegal(t, limits));
  return {
    matmul: (problem) => {
      const {TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N, SPLIT_K} = bestOf(legal, (t) =>
        estimateMatmul(t, problem, limits),
      );
      return {TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N, SPLIT_K};
    },
    depthwise: ({shape, stage, hasMoments}) => {
      const STRIP_W = stage.kernel[1] > 5 ? Math.min(7, shape[2]) : Math.min(4, shape[2]);
      const STRIP_H = Math.min(stage.stride[0] === 1 && stage.dilation[0] === 1 ? 2 : 1, shape[1]);
      const LANES = powerOfTwoUpTo(divideUp(stage.channels, 4), hasMoments ? 32 : 16);
      const strips = divideUp(shape[1], STRIP_H) * divideUp(shape[2], STRIP_W);
      return {STRIP_H, STRIP_W, LANES, STRIPS: powerOfTwoUpTo(strips, 128 / LANES)};
    },
    grouped: ({shape}) => {
      const LANES = powerOfTwoUpTo(divideUp(shape[3], 4), 16);
      return {STRIP: Math.min(4, shape[2]), LANES, STRIPS: 64 / LANES};
    },
    gate: ({channels, reduced}) =>
      powerOfTwoUpTo(Math.max(channels, reduced), Math.min(1024, limits.maxComputeInvocationsPerWorkgroup)),
    sum: ({pixels, channels}) => {
      const LANES = powerOfTwoUpTo(divideUp(channels, 4), 16);
      return {LANES, ROWS: 64 / LANES, SUM_PARTS: Math.min(32, divideUp(pixels, 256))};
    },
  };
}
