/**
 * Which tile a matrix product on subgroup matrices gets, and what of f16 a device has: the fragment sizes come from the device,
 * the tiles from a list, and the cheapest legal one by an estimate is taken, as in tiling.ts.
 */
import {type Constants, divideUp} from '../plan.js';
import type {DeviceLimits, MatmulProblem, Tiling} from './tiling.js';

/** A product of fragments the device multiplies as one: f16 operands, f32 sums. */
export interface MatrixUnit {
  readonly FRAGMENT_M: number;
  readonly FRAGMENT_N: number;
  readonly FRAGMENT_K: number;
  /** Lanes of a subgroup. */
  readonly SUBGROUP_SIZE: number;
}

export interface MatrixTile {
  readonly TILE_M: number;
  readonly TILE_N: number;
  readonly TILE_K: number;
  readonly SUBGROUPS_M: number;
  readonly SUBGROUPS_N: number;
}

export interface FittedTile extends MatrixTile, MatrixUnit {
  /** Fragments of a row finished together. */
  readonly STORE_FRAGMENTS: number;
}

export interface HalfTiling {
  /** Left out where the device has no subgroup matrices; nothing where no tile fits it. */
  readonly matrix?: (problem: MatmulProblem) => FittedTile | undefined;
}

/** What a device offers for f16. */
export interface HalfFeatures {
  /** In the device's own order, which is taken as that of preference among units of the same size. */
  readonly matrices: readonly MatrixUnit[];
}

/** One of `GPUAdapterInfo.subgroupMatrixConfigs`, which has no type yet. */
interface MatrixConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

type MatrixInfo = GPUAdapterInfo & {readonly subgroupMatrixConfigs?: Iterable<MatrixConfig>};

const adapters = new WeakMap<GPUDevice, GPUAdapterInfo>();

/** Dawn lists subgroup matrices in the info of the adapter alone, not in its device's: whoever makes a device keeps them here. */
export function rememberAdapter(device: GPUDevice, info: GPUAdapterInfo): void {
  adapters.set(device, info);
}

/** What `device` offers, or nothing where it has no f16. */
export function halfFeaturesOf(device: GPUDevice): HalfFeatures | undefined {
  const features = device.features as ReadonlySet<string>; // The experimental ones have no name in the types yet.
  if (!features.has('shader-f16')) return undefined;
  if (!features.has('subgroups') || !features.has('chromium-experimental-subgroup-matrix'))
    return {matrices: []};
  const {subgroupMinSize, subgroupMaxSize} = device.adapterInfo;
  const subgroupMatrixConfigs = [device.adapterInfo, adapters.get(device)].flatMap((info) => [
    ...((info as MatrixInfo | undefined)?.subgroupMatrixConfigs ?? []),
  ]);
  // The kernel deals its fragments out by subgroup, so the plan has to know how many lanes one has.
  if (subgroupMinSize !== subgroupMaxSize) return {matrices: []};
  return {
    matrices: subgroupMatrixConfigs
      .filter(
        ({componentType, resultComponentType}) => componentType === 'f16' && resultComponentType === 'f32',
      )
      .map(({M, N, K}) => ({FRAGMENT_M: M, FRAGMENT_N: N, FRAGMENT_K: K, SUBGROUP_SIZE: subgroupMaxSize})),
  };
}

/**
 * A tile and its cost on one processor, in microseconds, as RatedTile's: fitted to 24 products of ConvNeXt-T at batches 1, 8 and
 * 32 with all that stands before and behind them, measured on an H200 by benchmarks/matrix_tiles.ts for 41 tiles. The mean error is
 * 8 %; the tile of least estimate is on average 1 % slower than the best of all 41.
 */
export interface RatedMatrixTile extends MatrixTile {
  readonly slots: number;
  readonly latency: number;
  readonly work: number;
  readonly fixed: number;
  readonly overhead: number;
}

const rated = (
  tile: readonly [number, number, number, number, number],
  slots: number,
  [latency, work]: readonly [number, number],
  [fixed, overhead]: readonly [number, number],
): RatedMatrixTile => {
  const [TILE_M, TILE_N, TILE_K, SUBGROUPS_M, SUBGROUPS_N] = tile;
  return {TILE_M, TILE_N, TILE_K, SUBGROUPS_M, SUBGROUPS_N, slots, latency, work, fixed, overhead};
};

export const MATRIX_TILES: readonly RatedMatrixTile[] = [
  rated([192, 96, 64, 4, 2], 1, [1.28, 0.298], [6.53, 1]),
  rated([128, 192, 64, 2, 4], 1, [1.56, 0.301], [6.46, 1]),
  rated([128, 192, 32, 2, 4], 1, [0.922, 0.301], [5.94, 1]),
  rated([128, 96, 64, 2, 2], 1, [1.01, 0.301], [5.64, 1]),
  rated([128, 64, 64, 2, 2], 1, [0.707, 0.149], [4.25, 1]),
  rated([96, 96, 64, 2, 2], 1, [0.809, 0.301], [4.52, 1]),
  rated([64, 192, 64, 2, 4], 1, [1.04, 0.624], [3.81, 1]),
  rated([64, 96, 96, 2, 2], 1, [0.993, 0.299], [3.05, 1]),
  rated([64, 96, 64, 2, 2], 1, [0.629, 0.0699], [2.64, 1]),
  rated([64, 64, 64, 2, 2], 1, [0.447, 0.101], [2.13, 1]),
  rated([64, 32, 64, 2, 2], 2, [0.324, 0.334], [2.57, 0.953]),
  rated([64, 32, 32, 2, 2], 4, [0.296, 0.196], [2.57, 0.495]),
  rated([32, 64, 128, 2, 2], 1, [0.646, 0.0686], [1.93, 1]),
  rated([32, 32, 128, 2, 2], 1, [0.215, 0.483], [1.06, 0.787]),
  rated([32, 32, 64, 2, 2], 2, [0.281, 0.213], [1.1, 0.406]),
];

const LAUNCH = 2;
/** Bytes a microsecond from device memory: an H200's copy. */
const BANDWIDTH = 4.1e6;
const HALF_BYTES = 2;
const FLOAT_BYTES = 4;
/** Halves that pad a row of a staged tile. */
const PADDING = 8;

/** The tile on the unit's fragments, or nothing where they do not divide it or the device's limits are too low. */
export function fitTile(tile: MatrixTile, unit: MatrixUnit, limits: DeviceLimits): FittedTile | undefined {
  const {TILE_M, TILE_N, TILE_K, SUBGROUPS_M, SUBGROUPS_N} = tile;
  const {FRAGMENT_M, FRAGMENT_N, FRAGMENT_K, SUBGROUP_SIZE} = unit;
  const subgroups = SUBGROUPS_M * SUBGROUPS_N;
  const invocations = subgroups * SUBGROUP_SIZE;
  const isWhole = [
    TILE_M / SUBGROUPS_M / FRAGMENT_M,
    TILE_N / SUBGROUPS_N / FRAGMENT_N,
    TILE_K / FRAGMENT_K,
    FRAGMENT_N / 8,
    FRAGMENT_K / 8,
    (TILE_M * TILE_K) / 8 / invocations,
    (TILE_K * TILE_N) / 8 / invocations,
  ].every(Number.isInteger);
  if (!isWhole || invocations > limits.maxComputeInvocationsPerWorkgroup) return undefined;
  const staged = HALF_BYTES * (TILE_M * (TILE_K + PADDING) + TILE_K * (TILE_N + PADDING));
  const stored = (fragments: number): number =>
    FLOAT_BYTES * subgroups * FRAGMENT_M * (fragments * FRAGMENT_N + 4);
  const across = TILE_N / SUBGROUPS_N / FRAGMENT_N;
  for (let fragments = across; fragments > 0; fragments--) {
    const fits = Math.max(staged, stored(fragments)) <= limits.maxComputeWorkgroupStorageSize;
    if (across % fragments === 0 && fits) return {...tileOf(tile), ...unit, STORE_FRAGMENTS: fragments};
  }
  return undefined;
}

const tileOf = ({TILE_M, TILE_N, TILE_K, SUBGROUPS_M, SUBGROUPS_N}: MatrixTile): MatrixTile => ({
  TILE_M,
  TILE_N,
  TILE_K,
  SUBGROUPS_M,
  SUBGROUPS_N,
});

/** Microseconds, as estimateMatmul's. */
export function estimateMatrix(
  t: RatedMatrixTile,
  {m, n, k}: MatmulProblem,
  {processors}: DeviceLimits,
): number {
  const workgroups = divideUp(m, t.TILE_M) * divideUp(n, t.TILE_N);
  const steps = divideUp(k, t.TILE_K);
  const latency = divideUp(workgroups, processors * t.slots) * (steps * t.latency + t.fixed);
  const work = divideUp(workgroups, processors) * (steps * t.work + t.overhead);
  const memory = (HALF_BYTES * (m * k + m * n + k * n)) / BANDWIDTH;
  return LAUNCH + Math.max(latency, work, memory);
}

/** The constants of wgsl/matrix.ts that follow from the tile. */
export function matrixConstants(tile: FittedTile): Constants {
  const {TILE_M, TILE_N, TILE_K, SUBGROUPS_M, SUBGROUPS_N, SUBGROUP_SIZE} = tile;
  const {FRAGMENT_M, FRAGMENT_N, STORE_FRAGMENTS} = tile;
  const WORKGROUP = SUBGROUPS_M * SUBGROUPS_N * SUBGROUP_SIZE;
  return {
    ...tile,
    WORKGROUP,
    X_UNITS: (TILE_M * TILE_K) / 8 / WORKGROUP,
    W_UNITS: (TILE_K * TILE_N) / 8 / WORKGROUP,
    STORE_UNITS: divideUp((FRAGMENT_M * STORE_FRAGMENTS * FRAGMENT_N) / 4, SUBGROUP_SIZE),
  };
}

/**
 * `tiling` for plans in f16. Of the device's units the largest is taken that fits any tile, since a larger fragment takes fewer
 * loads from workgroup memory a product.
 */
export function withHalf(tiling: Tiling, limits: DeviceLimits, {matrices}: HalfFeatures): Tiling {
  const volume = ({FRAGMENT_M, FRAGMENT_N, FRAGMENT_K}: MatrixUnit): number =>
    FRAGMENT_M * FRAGMENT_N * FRAGMENT_K;
  const units = [...matrices].sort((a, b) => volume(b) - volume(a));
  for (const unit of units) {
    const fitted = MATRIX_TILES.flatMap((tile) => {
      const fit = fitTile(tile, unit, limits);
      return fit ? [{tile, fit}] : [];
    });
    if (fitted.length > 0) return {...tiling, half: {matrix: (problem) => cheapest(fitted, problem, limits)}};
  }
  return {...tiling, half: {}};
}

interface Fitted {
  readonly tile: RatedMatrixTile;
  readonly fit: FittedTile;
}

function cheapest(
  fitted: readonly Fitted[],
  problem: MatmulProblem,
  limits: DeviceLimits,
): FittedTile | undefined {
  // No step that is half empty, if there is a choice: what little it costs here the model does not see.
  const full = fitted.filter(({fit}) => fit.TILE_K <= 32 || fit.TILE_K < 2 * problem.k);
  let best: {fit: FittedTile; cost: number} | undefined;
  for (const {tile, fit} of full.length > 0 ? full : fitted) {
    const cost = estimateMatrix(tile, problem, limits);
    if (!best || cost < best.cost) best = {fit, cost};
  }
  return best?.fit;
}
