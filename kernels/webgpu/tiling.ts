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

const tile = (
  TILE_M: number,
  TILE_N: number,
  TILE_K: number,
  THREAD_M: number,
  THREAD_N: number,
  SPLIT_K = 1,
): MatmulTile => ({TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N, SPLIT_K});

export const MATMUL_TILES: readonly MatmulTile[] = [
  tile(128, 128, 16, 8, 8),
  tile(128, 128, 8, 8, 8),
  tile(128, 64, 16, 8, 4),
  tile(128, 64, 8, 8, 4),
  tile(64, 64, 16, 4, 4),
  tile(64, 64, 8, 4, 4),
  tile(64, 32, 16, 4, 4),
  tile(128, 32, 16, 8, 4),
  tile(32, 64, 16, 4, 4),
  tile(32, 32, 16, 4, 4),
  tile(32, 32, 16, 4, 4, 2),
  tile(32, 32, 8, 4, 4, 4),
  tile(64, 16, 16, 4, 4),
  tile(16, 32, 16, 4, 4, 2),
  tile(16, 32, 16, 4, 4, 4),
  tile(16, 32, 16, 4, 4, 8),
  tile(16, 16, 16, 2, 4, 4),
  tile(16, 16, 16, 2, 4, 8),
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

/** Cycles of the busiest processor: FMAs and workgroup-memory loads of all its tiles, and what each step costs besides. */
export function estimateMatmul(t: MatmulTile, {m, n, k}: MatmulProblem, {processors}: DeviceLimits): number {
  const workgroups = divideUp(m, t.TILE_M) * divideUp(n, t.TILE_N);
  const threads = (t.TILE_M / t.THREAD_M) * (t.TILE_N / t.THREAD_N) * t.SPLIT_K;
  const perK = t.THREAD_M * t.THREAD_N + t.THREAD_M + t.THREAD_N;
  const steps = divideUp(divideUp(k, t.TILE_K), t.SPLIT_K);
  const cycles = steps * (t.TILE_K * perK * (threads / 128) + 80) + 1500 + 100 * (t.SPLIT_K - 1);
  return divideUp(workgroups, processors) * cycles;
}

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
    matmul: (problem) => bestOf(legal, (t) => estimateMatmul(t, problem, limits)),
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
      powerOfTwoUpTo(Math.max(channels / 4, reduced), limits.maxComputeInvocationsPerWorkgroup),
    sum: ({pixels, channels}) => {
      const LANES = powerOfTwoUpTo(divideUp(channels, 4), 16);
      return {LANES, ROWS: 64 / LANES, SUM_PARTS: Math.min(32, divideUp(pixels, 256))};
    },
  };
}
