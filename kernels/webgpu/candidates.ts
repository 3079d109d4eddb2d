/**
 * The tiles each kernel can take, beside the rule that chooses one (tiling.ts): one table that tune, explain and the tests loop
 * over. A tile from anywhere else — a file — is used only if it is among the candidates of its problem.
 * The estimates rank candidates and prune hopeless ones; of the constants here only those of the matrix product and DEPTHWISE_LOAD are fitted.
 */
import type {Constants, DispatchCost} from '../plan.js';
import {divideUp} from '../plan.js';
import {convolution} from './convolution_candidates.js';
import {denseCandidates} from './dense_tiling.js';
import {
  depthwiseProjectCandidates,
  depthwiseProjectTiles,
  estimateDepthwiseProject,
} from './depthwise_project_tiling.js';
import {type DeviceModel, H200, processorTime} from './device_model.js';
import {expandRowsCandidates, expandRowsTiles} from './expand_rows_tiling.js';
import {estimateFeedForward, feedForwardCandidates, feedForwardTiles} from './feed_forward_tiling.js';
import {type Apart, APART, FUSED_RATES} from './fused_tiling.js';
import {estimateGate, estimateReduce, formOfGate, gateCandidates, isInProduct} from './gate_tiling.js';
import {
  groupedMicroseconds,
  type GroupedProblem,
  groupedProductTiles,
  type GroupedStripTile,
  type GroupedTile,
} from './grouped_tiling.js';
import {
  apartMicroseconds,
  depthwiseCandidates,
  type DepthwiseTile,
  type DeviceLimits,
  estimateExpand,
  estimateMatmul,
  expandPatchCandidates,
  type ExpandTile,
  isPatchTile,
  LAUNCH,
  matmulCandidates,
  type MatmulTile,
  matmulTileOf,
  MOST_WORKGROUPS,
  type Tiling,
  tilingFor,
} from './tiling.js';
import {lineOf, stemCandidates} from './stem_tiling.js';

/** Those of a tiling's members that choose a tile. */
export type TiledKernel = {
  [K in keyof Tiling]-?: Tiling[K] extends (problem: never) => unknown ? K : never;
}[keyof Tiling];
type ProblemOf<K extends TiledKernel> = Parameters<Tiling[K]>[0];
type TileOf<K extends TiledKernel> = ReturnType<Tiling[K]>;

/** What an estimate may look at besides the tile and its problem. */
export interface EstimateContext {
  readonly device: DeviceModel;
  readonly cost: DispatchCost;
}

export interface TileRow<Problem, Tile> {
  /** Those that are correct and within the limits; the rule's own choice need not be listed. */
  readonly candidates: (problem: Problem, limits: DeviceLimits) => readonly Tile[];
  /** Where those are but the best by estimate: all of them. */
  readonly every?: (problem: Problem, limits: DeviceLimits) => Iterable<Tile>;
  /** Microseconds of the processors; launch and device memory apart. */
  readonly estimate: (tile: Tile, problem: Problem, context: EstimateContext) => number;
  /** Microseconds of the other dispatches that come with the tile, where their number depends on it; left out where it does not. */
  readonly besides?: (tile: Tile, problem: Problem, context: EstimateContext) => number;
  /** Names the way a tile has the stage made, where there are several, of which tune is to measure each. */
  readonly formOf?: (tile: Tile) => string;
}

const FLOAT_BYTES = 4;
/** Of four floats: a fused multiply-add, and a load from a cache, which takes four times as long on today's GPUs. */
const FMA4 = 8;
const LOAD4 = 32;

/** A cache line of 128 bytes. Neighbouring threads that read less of one in a row make each load dearer by that. */
const LINE4 = 8;

const loadCost = (lanes: number, vectors: number): number =>
  LOAD4 * Math.max(1, Math.min(LINE4, vectors) / lanes);

const isWithin = (threads: number, floats: number, limits: DeviceLimits): boolean =>
  threads <= limits.maxComputeInvocationsPerWorkgroup &&
  FLOAT_BYTES * floats <= limits.maxComputeWorkgroupStorageSize;

/** All combinations of one value of each. */
const product = (a: readonly number[], b: readonly number[]): (readonly [number, number])[] =>
  a.flatMap((x) => b.map((y) => [x, y] as const));

/** 1, 2, 4, … up to the first that covers `value`, none above `most`. */
const powersUpTo = (value: number, most: number): readonly number[] => {
  const powers = [1];
  for (let next = 2; next / 2 < value && next <= most; next *= 2) powers.push(next);
  return powers;
};

/** Microseconds of an H200's processors on those of `device`. */
function scaledFromH200(microseconds: number, device: DeviceModel): number {
  const perProcessor = ({operationsPerSecond, limits}: DeviceModel): number =>
    operationsPerSecond / limits.processors;
  return (microseconds * perProcessor(H200)) / perProcessor(device);
}

const matmul: TileRow<ProblemOf<'matmul'>, MatmulTile> = {
  candidates: (problem, limits) => matmulCandidates(problem, limits).map(matmulTileOf),
  estimate: (tile, problem, {device}) => {
    const rated = matmulCandidates(problem, device.limits).find((one) =>
      Object.entries(tile).every(([name, value]) => one[name as keyof MatmulTile] === value),
    );
    if (!rated) return Infinity;
    return scaledFromH200(estimateMatmul(rated, problem, device.limits) - LAUNCH, device);
  },
};

interface FusedRow<Problem, Tile> {
  readonly candidates: (problem: Problem, limits: DeviceLimits) => readonly Tile[];
  readonly every: (problem: Problem, limits: DeviceLimits) => Iterable<Tile>;
  /** Microseconds on an H200, launches included: in one dispatch, and of the stages apart. */
  readonly estimate: (tile: Tile, problem: Problem) => number;
  readonly apart: (problem: Problem, limits: DeviceLimits) => number;
}

/** A fused kernel's choices hold the stages apart as well: then the estimate is of the dispatches these are, less one launch. */
const fused = <Problem, Tile extends {readonly FUSED: true}>(
  row: FusedRow<Problem, Tile>,
): TileRow<Problem, Tile | Apart> => ({
  candidates: (problem, limits) => [APART, ...row.candidates(problem, limits)],
  every: row.every,
  estimate: (tile, problem, {device}) =>
    scaledFromH200(
      (tile.FUSED ? row.estimate(tile, problem) : row.apart(problem, device.limits)) - FUSED_RATES.launch,
      device,
    ),
});

const feedForward = fused({
  candidates: feedForwardCandidates,
  every: feedForwardTiles,
  estimate: estimateFeedForward,
  apart: apartMicroseconds.feedForward,
});

const depthwiseProject = fused({
  candidates: depthwiseProjectCandidates,
  every: depthwiseProjectTiles,
  estimate: estimateDepthwiseProject,
  apart: apartMicroseconds.depthwiseProject,
});

const expandDepthwise: TileRow<ProblemOf<'expandDepthwise'>, ExpandTile | Apart> = {
  candidates: (problem, limits) => [
    APART,
    ...expandPatchCandidates(problem, limits),
    ...expandRowsCandidates(problem, limits),
  ],
  every: expandRowsTiles,
  estimate: (tile, problem, {device}) => {
    const {limits} = device;
    const own = tile.FUSED ? estimateExpand(tile, problem, limits) : apartMicroseconds.expandDepthwise(problem, limits); // prettier-ignore
    return scaledFromH200(own - FUSED_RATES.launch, device);
  },
  formOf: (tile) => (tile.FUSED ? (isPatchTile(tile) ? 'patch' : `rows ${tile.STAGED}`) : 'apart'),
};

const WORKGROUPS_TO_TRY = [32, 64, 128, 256];
/** Vectors a thread keeps; above, sums were seen to fall out of registers and cost several times more. */
const MOST_VECTORS = 20;

/**
 * A load of a depth-wise convolution with its address and the test of its column, over one alone. Fitted to 26 of them on an H200: of the
 * measured tiles the one of least estimate is on average 6 % slower than the best.
 */
const DEPTHWISE_LOAD = 2;

const depthwise: TileRow<ProblemOf<'depthwise'>, DepthwiseTile> = {
  candidates: ({shape, stage}, limits) =>
    depthwiseCandidates(shape, stage, limits).filter(
      ({TILE_H, TILE_W}) => divideUp(shape[1], TILE_H) * divideUp(shape[2], TILE_W) <= MOST_WORKGROUPS,
    ),
  estimate: (tile, {shape: [n, h, w], stage}, {device}) => {
    const {TILE_H, TILE_W, STRIP_H, STRIP_W, LANES} = tile;
    const [kh, kw] = stage.kernel;
    const reach = (axis: 0 | 1, outputs: number): number =>
      (outputs - 1) * stage.stride[axis] + (stage.kernel[axis] - 1) * stage.dilation[axis] + 1;
    const loads = reach(0, STRIP_H) * reach(1, STRIP_W) + kh * kw * STRIP_H;
    const vectors = divideUp(stage.channels, 4);
    const perThread = FMA4 * STRIP_H * STRIP_W * kh * kw + DEPTHWISE_LOAD * loadCost(LANES, vectors) * loads;
    const workgroups = n * divideUp(h, TILE_H) * divideUp(w, TILE_W) * divideUp(vectors, LANES);
    const workgroup = LANES * divideUp(TILE_H, STRIP_H) * divideUp(TILE_W, STRIP_W);
    const spilled = STRIP_H * STRIP_W + reach(1, STRIP_W) > MOST_VECTORS ? 2 : 1;
    return processorTime({operations: spilled * perThread * workgroups * workgroup, workgroups, workgroup}, device); // prettier-ignore
  },
};

/** Products listed for a problem, those of least estimate. */
const GROUPED_PRODUCTS = 40;

const groupedStrips = ({shape: [, h, w, c]}: GroupedProblem, limits: DeviceLimits): GroupedStripTile[] =>
  [1, 2, 4, 8]
    .filter((STRIP) => STRIP <= w)
    .flatMap((STRIP) =>
      product(powersUpTo(divideUp(c, 4), 32), WORKGROUPS_TO_TRY)
        .map(([LANES, threads]) => ({STAGED: false, STRIP, LANES, STRIPS: divideUp(threads, LANES)}) as const)
        .filter(({LANES, STRIPS}) => {
          const strips = h * divideUp(w, STRIP);
          const groups = divideUp(strips, STRIPS);
          return STRIPS < 2 * strips && groups <= MOST_WORKGROUPS && isWithin(LANES * STRIPS, 0, limits);
        }),
    );

const grouped: TileRow<GroupedProblem, GroupedTile> = {
  candidates: (problem, limits) => [
    ...groupedProductTiles(problem, limits)
      .map((tile) => ({tile, cost: groupedMicroseconds(tile, problem, limits)}))
      .sort((a, b) => a.cost - b.cost)
      .slice(0, GROUPED_PRODUCTS)
      .map(({tile}) => tile),
    ...groupedStrips(problem, limits),
  ],
  every: groupedProductTiles,
  estimate: (tile, problem, {device, cost}) => {
    if (tile.STAGED) return scaledFromH200(groupedMicroseconds(tile, problem, device.limits), device);
    const {STRIP, LANES, STRIPS} = tile;
    const [n, h, w, c] = problem.shape;
    const threads = LANES * STRIPS;
    const across = divideUp(divideUp(c, 4), LANES);
    const workgroups = n * divideUp(h * divideUp(w, STRIP), STRIPS) * across;
    const used = (n * h * w * divideUp(c, 4)) / (workgroups * threads * STRIP);
    const vectors = cost.macs / 4;
    const operations = FMA4 * vectors + loadCost(LANES, divideUp(c, 4)) * (vectors / 4 + vectors / STRIP);
    return processorTime({operations: operations / used, workgroups, workgroup: threads}, device);
  },
  // Only the product takes the statistics along; behind strips they are a sweep over the map.
  besides: ({STAGED}, {shape, statistics}, {device}) => {
    if (STAGED || statistics === 'none') return 0;
    const bytes = FLOAT_BYTES * shape.reduce((all, one) => all * one, 1);
    return device.launchMicroseconds + (1e6 * bytes) / device.bytesPerSecond;
  },
  formOf: ({STAGED}) => `${STAGED}`,
};

const stem: TileRow<ProblemOf<'stem'>, TileOf<'stem'>> = {
  candidates: stemCandidates,
  estimate: (tile, problem, {device}) => {
    const {STRIP, VECTORS, LANES, STRIPS} = tile;
    const {shape: [n, h, w, c], channels, kernel} = problem; // prettier-ignore
    const values = kernel[1] * channels;
    // A value of the line is one of four floats that a load could bring.
    const loads = lineOf(tile, problem) * channels + values * VECTORS;
    const perThread = kernel[0] * (LOAD4 / 2 * loads + FMA4 * values * VECTORS * STRIP); // prettier-ignore
    const workgroup = LANES * STRIPS;
    const workgroups =
      n * divideUp(h * divideUp(w, STRIP), STRIPS) * divideUp(divideUp(c, 4), VECTORS * LANES);
    return processorTime({operations: perThread * workgroups * workgroup, workgroups, workgroup}, device);
  },
};

const dense: TileRow<ProblemOf<'dense'>, TileOf<'dense'>> = {
  candidates: denseCandidates,
  estimate: ({LANES, TEAMS, IMAGES, STEP}, {batch, k, columns}, {device}) => {
    const [k4, n4] = [divideUp(k, 4), divideUp(columns, 4)];
    const workgroups = divideUp(n4, LANES) * divideUp(batch, IMAGES);
    const steps = divideUp(divideUp(k4, TEAMS), STEP) * STEP;
    // Loads of one step are in flight together, so its latency counts once.
    const perThread = steps * ((4 + IMAGES) * loadCost(LANES, n4) / STEP + 4 * IMAGES * FMA4) + IMAGES * Math.log2(2 * TEAMS) * LOAD4; // prettier-ignore
    const workgroup = LANES * TEAMS;
    return processorTime({operations: perThread * workgroups * workgroup, workgroups, workgroup}, device);
  },
};

const normalize: TileRow<ProblemOf<'normalize'>, TileOf<'normalize'>> = {
  candidates: ({channels}, limits) =>
    product(powersUpTo(divideUp(channels, 4), 64), WORKGROUPS_TO_TRY)
      .map(([LANES, WORKGROUP]) => ({LANES, WORKGROUP}))
      .filter(
        ({LANES, WORKGROUP}) =>
          LANES <= WORKGROUP &&
          divideUp(divideUp(channels, 4), LANES) <= MOST_VECTORS &&
          isWithin(WORKGROUP, WORKGROUP, limits),
      ),
  estimate: ({LANES, WORKGROUP}, {channels}, {device, cost}) => {
    const rows = Math.max(1, cost.bytes / (2 * FLOAT_BYTES * channels));
    const vectors = divideUp(divideUp(channels, 4), LANES) * LANES;
    const workgroups = divideUp(rows * LANES, WORKGROUP);
    // Each vector is read three times; each step of the two sums over lanes waits for two barriers.
    const operations =
      rows * (3 * loadCost(LANES, divideUp(channels, 4)) * vectors + 2 * LANES * Math.log2(LANES) * LOAD4);
    return processorTime({operations, workgroups, workgroup: WORKGROUP}, device);
  },
};

const gate: TileRow<ProblemOf<'gate'>, TileOf<'gate'>> = {
  candidates: gateCandidates,
  estimate: (tile, problem, {device}) =>
    scaledFromH200(estimateGate(tile, problem, device.limits.processors), device),
  formOf: formOfGate,
  // One that a product makes has no launch of its own.
  besides: (tile, problem, {device}) =>
    scaledFromH200(estimateReduce(tile, problem, device.limits.processors), device) -
    (isInProduct(tile) ? device.launchMicroseconds : 0),
};

const sum: TileRow<ProblemOf<'sum'>, TileOf<'sum'>> = {
  candidates: ({pixels, channels}, limits) =>
    powersUpTo(divideUp(channels, 4), 32).flatMap((LANES) =>
      product([64, 128, 256], powersUpTo(divideUp(pixels, 16), 64))
        .map(([threads, SUM_PARTS]) => ({LANES, ROWS: divideUp(threads, LANES), SUM_PARTS}))
        .filter(({ROWS}) => ROWS < 2 * pixels && isWithin(LANES * ROWS, 4 * LANES * ROWS, limits)),
    ),
  estimate: ({LANES, ROWS, SUM_PARTS}, {pixels, channels}, {device, cost}) => {
    const images = Math.max(1, Math.round(cost.bytes / (FLOAT_BYTES * pixels * channels)));
    const workgroups = images * SUM_PARTS * divideUp(divideUp(channels, 4), LANES);
    const steps = divideUp(divideUp(pixels, SUM_PARTS), ROWS) + ROWS / LANES;
    const operations = workgroups * LANES * ROWS * steps * loadCost(LANES, divideUp(channels, 4));
    // Whoever reads the sums reads every part.
    const parts = images * SUM_PARTS * divideUp(channels, 4) * LOAD4;
    return processorTime({operations: operations + parts, workgroups, workgroup: LANES * ROWS}, device);
  },
};

export const TILE_TABLE: {readonly [K in TiledKernel]: TileRow<ProblemOf<K>, TileOf<K>>} = {
  matmul,
  convolution,
  depthwise,
  feedForward,
  depthwiseProject,
  expandDepthwise,
  grouped,
  stem,
  dense,
  normalize,
  gate,
  sum,
};

export const isTiledKernel = (name: string): name is TiledKernel => Object.hasOwn(TILE_TABLE, name);

/** A kernel's row for callers that got its problem and its tile from the same row, which the type system cannot follow. */
export const rowOf = (kernel: TiledKernel): TileRow<unknown, Constants> =>
  TILE_TABLE[kernel] as unknown as TileRow<unknown, Constants>;

/** What `tiling` chooses; the same holds of problem and tile. */
export const chosenBy = (tiling: Tiling, kernel: TiledKernel, problem: unknown): Constants =>
  (tiling as unknown as Readonly<Record<TiledKernel, (problem: unknown) => Constants>>)[kernel](problem);

export const sameTile = (a: Constants, b: Constants): boolean =>
  Object.keys(a).length === Object.keys(b).length &&
  Object.entries(a).every(([name, value]) => b[name] === value);

/** The rule's choice, then the row's other candidates. */
export function candidatesOf(
  {kernel, problem}: {readonly kernel: TiledKernel; readonly problem: unknown},
  limits: DeviceLimits,
): readonly Constants[] {
  const chosen = chosenBy(tilingFor(limits), kernel, problem);
  const others = rowOf(kernel).candidates(problem, limits);
  return [chosen, ...others.filter((tile) => !sameTile(tile, chosen))];
}

/** Whether `tile`, wherever it comes from, may be used for the problem. */
export function isCandidate(
  posed: {readonly kernel: TiledKernel; readonly problem: unknown},
  tile: Constants,
  limits: DeviceLimits,
): boolean {
  if (candidatesOf(posed, limits).some((one) => sameTile(one, tile))) return true;
  for (const one of rowOf(posed.kernel).every?.(posed.problem, limits) ?? [])
    if (sameTile(one, tile)) return true;
  return false;
}
