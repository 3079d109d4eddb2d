/**
 * How a squeeze-and-excite gate is made from a map's sums: all of it in one dispatch (wgsl/gate.ts), or its first layer by the
 * depth-wise kernel that took the sums, and the second by a dispatch of its own or by the matrix product that is to be gated
 * (wgsl/squeeze.ts). Any way it is a chain of loads, each of which waits for the last.
 */
import {type Constants, divideUp, powerOfTwoUpTo} from '../plan.js';
import {
  bestOf,
  LAUNCH,
  matmulBytes,
  type MatmulProblem,
  matmulThreads,
  type MatmulTile,
} from './matmul_tiling.js';
import type {DeviceLimits} from './tiling.js';

export interface GateProblem {
  readonly batch: number;
  readonly channels: number;
  readonly reduced: number;
  /** Partial sums of an image, each of all channels, where the depth-wise kernel took them. */
  readonly sums?: DepthwiseSums;
  /** The matrix product behind it, where that could make the scales for itself. */
  readonly product?: GatedProduct;
}

/** By tiles of pixels and blocks of channels, a workgroup of so many threads each. */
export interface DepthwiseSums {
  readonly tiles: number;
  readonly blocks: number;
  readonly threads: number;
}

/** Its workgroups; of each the threads, the vectors of scales it wants, and the bytes of workgroup memory it takes without them. */
export interface GatedProduct {
  readonly workgroups: number;
  readonly threads: number;
  readonly vectors: number;
  readonly bytes: number;
}

/** `SHARES` workgroups an image, each of which makes its share of the scales. */
export interface GateDispatch {
  readonly WORKGROUP: number;
  readonly SHARES: number;
  /** Whether the depth-wise kernel leaves its part of the squeezed channels in the place of its channels' sums. */
  readonly IS_REDUCED: boolean;
}

/** No dispatch: the depth-wise kernel squeezes, and each workgroup of the product makes the scales it wants. */
export interface GateInProduct {
  readonly IN_PRODUCT: true;
}

export type GateTile = GateDispatch | GateInProduct;

export const IN_PRODUCT: GateInProduct = {IN_PRODUCT: true};

export const isInProduct = (tile: GateTile): tile is GateInProduct => 'IN_PRODUCT' in tile;
export const isReduced = (tile: GateTile): boolean => isInProduct(tile) || tile.IS_REDUCED;
export const formOfGate = (tile: GateTile): 'whole' | 'reduced' | 'in product' =>
  isInProduct(tile) ? 'in product' : tile.IS_REDUCED ? 'reduced' : 'whole';

const FLOAT_BYTES = 4;
const VECTOR_BYTES = 16;
/** Vectors of a filter that a thread asks for at once, beside the rest of what it holds. */
const MOST_EARLY = 24;
const MOST_EARLY_LANES = 4;

/** The product as a gate before it sees it; undefined where it reads its rows straight from memory, or a workgroup's may be of several images. */
export function gatedProduct(
  tile: MatmulTile,
  {m, n, k}: MatmulProblem,
  pixels: number,
): GatedProduct | undefined {
  if (tile.DIRECT || (m !== pixels && pixels % tile.TILE_M !== 0)) return undefined;
  const split = tile.SPLIT_K * tile.PARTS;
  const steps = divideUp(divideUp(k, tile.TILE_K), split);
  return {
    workgroups: divideUp(m, tile.TILE_M) * divideUp(n, tile.TILE_N) * tile.PARTS,
    threads: matmulThreads(tile),
    vectors: (steps * tile.SPLIT_K * tile.TILE_K) / 4,
    bytes: matmulBytes(tile),
  };
}

/** Threads of a workgroup that expands, and the vectors of scales it makes. */
function expanding(tile: GateTile, {channels, product}: GateProblem): readonly [number, number] {
  if (isInProduct(tile)) return [product?.threads ?? 0, product?.vectors ?? 1];
  return [tile.WORKGROUP, divideUp(divideUp(channels, 4), tile.SHARES)];
}

/** Rows of the expanding filter that a thread multiplies, all of them on their way while the parts are added up. */
function expandRows(tile: GateTile, problem: GateProblem): number {
  const [threads, vectors] = expanding(tile, problem);
  return divideUp(problem.reduced, Math.floor(threads / vectors));
}

export const expandConstants = (tile: GateTile, problem: GateProblem): Constants => ({
  EXPAND_ROWS: expandRows(tile, problem),
});

/** Lanes of a depth-wise tile whose rows of the reducing filter a thread asks for before its outputs are finished. */
export function reduceConstants(threads: number, lanes: number, reduced: number): Constants {
  const teams = Math.min(Math.floor(threads / divideUp(reduced, 4)), lanes);
  return {REDUCE_EARLY: Math.min(MOST_EARLY_LANES, divideUp(lanes, teams))};
}

function isLegalWhole(tile: GateDispatch, {channels, reduced}: GateProblem, limits: DeviceLimits): boolean {
  const [vectors, squeezed] = [divideUp(channels, 4), divideUp(reduced, 4)];
  return (
    // A thread at least for each vector of the squeezed channels.
    squeezed <= tile.WORKGROUP &&
    tile.WORKGROUP <= limits.maxComputeInvocationsPerWorkgroup &&
    VECTOR_BYTES * (tile.WORKGROUP + squeezed + vectors) <= limits.maxComputeWorkgroupStorageSize &&
    (tile.SHARES === 1 || vectors >= 8 * tile.SHARES)
  );
}

function isLegalReduced(tile: GateTile, problem: GateProblem, limits: DeviceLimits): boolean {
  const {reduced, sums, product} = problem;
  const [threads, vectors] = expanding(tile, problem);
  const squeezed = divideUp(reduced, 4);
  const bytes = isInProduct(tile) ? (product?.bytes ?? Infinity) + VECTOR_BYTES * vectors : 0;
  return (
    sums !== undefined &&
    squeezed <= Math.min(sums.threads, threads) &&
    vectors <= threads &&
    threads <= limits.maxComputeInvocationsPerWorkgroup &&
    expandRows(tile, problem) <= MOST_EARLY &&
    bytes + VECTOR_BYTES * (threads + squeezed) <= limits.maxComputeWorkgroupStorageSize
  );
}

/** Vectors of scales a workgroup makes from parts that come reduced. */
const SHARE_VECTORS = [8, 16, 32, 64];

/** All in one, then those whose first layer comes from the depth-wise kernel. */
export function gateCandidates(problem: GateProblem, limits: DeviceLimits): readonly GateTile[] {
  const vectors = divideUp(problem.channels, 4);
  const whole = [32, 64, 128, 256, 512, 1024].flatMap((WORKGROUP) =>
    [1, 2, 4, 8, 16].map((SHARES) => ({WORKGROUP, SHARES, IS_REDUCED: false})),
  );
  const shares = new Set(SHARE_VECTORS.map((share) => divideUp(vectors, share)));
  const reduced = [64, 128, 256, 512].flatMap((WORKGROUP) =>
    [...shares].map((SHARES) => ({WORKGROUP, SHARES, IS_REDUCED: true})),
  );
  return [
    ...whole.filter((tile) => isLegalWhole(tile, problem, limits)),
    ...[...reduced, IN_PRODUCT].filter((tile) => isLegalReduced(tile, problem, limits)),
  ];
}

/**
 * Microseconds on an H200, fitted to 342 tiles of the gates of EfficientNet-B0 and MobileNetV3-L at batches 8 and 32
 * (benchmarks/gate_tiles.ts): mean error 6 %. A dispatch takes `start`, launch included; then of each workgroup that a
 * processor makes one after another `thread` a thread and a byte's share of `bytes` a microsecond; and of each of a thread's loads `load`.
 */
interface Rates {
  readonly start: number;
  readonly bytes: number;
  readonly thread: number;
  readonly load: number;
}

const WHOLE: Rates = {start: 4.03, bytes: 730e3, thread: 0.99 / 256, load: 0.059};
const REDUCED: Rates = {start: 3.5, bytes: 160e3, thread: 0.24 / 256, load: 0};
/** In a product, where 12 gates at batches 1 and 8 took 1.0 to 2.1 µs. */
const IN_ONE: Rates = {start: 1.1, bytes: 160e3, thread: 0.24 / 256, load: 0};
/**
 * What reducing adds to the depth-wise kernel: latency, and bytes a microsecond of one processor. Set by eye; of 45 such kernels at
 * batches 1 to 32 off by 0.7 µs on average, of which the noise is a good part.
 */
const REDUCING = {start: 0.4, bytes: 80e3} as const;

const ratesOf = (tile: GateTile): Rates => (isInProduct(tile) ? IN_ONE : tile.IS_REDUCED ? REDUCED : WHOLE);

/** Bytes that a workgroup reads for the gate. */
function bytesOf(tile: GateTile, problem: GateProblem): number {
  const {channels, reduced, sums} = problem;
  const {tiles = 1, blocks = 1} = sums ?? {};
  const expand = 4 * expanding(tile, problem)[1] * reduced;
  return FLOAT_BYTES * (expand + (isReduced(tile) ? tiles * blocks * reduced : channels * (reduced + tiles)));
}

/** Microseconds of the gate, apart from the launch of its dispatch, where it has one. */
export function estimateGate(tile: GateTile, problem: GateProblem, processors: number): number {
  const {start, bytes: rate, thread, load} = ratesOf(tile);
  const bytes = bytesOf(tile, problem);
  const [threads] = expanding(tile, problem);
  const workgroups = isInProduct(tile) ? (problem.product?.workgroups ?? 1) : problem.batch * tile.SHARES;
  const turns = divideUp(workgroups, processors);
  const loads = bytes / (VECTOR_BYTES * threads);
  const launch = isInProduct(tile) ? 0 : LAUNCH; // Which `start` includes.
  return start - launch + turns * (bytes / rate + thread * threads) + load * loads;
}

/** What the tile adds to the depth-wise kernel before it. */
export function estimateReduce(
  tile: GateTile,
  {batch, channels, reduced, sums}: GateProblem,
  processors: number,
): number {
  if (!isReduced(tile) || !sums) return 0;
  const turns = divideUp(batch * sums.tiles * sums.blocks, processors);
  const bytes = FLOAT_BYTES * divideUp(channels, sums.blocks) * reduced;
  return REDUCING.start + (turns * bytes) / REDUCING.bytes;
}

/** Microseconds of the gate, its launch and what the kernel before it has more to do for it. */
export const gateCost = (tile: GateTile, problem: GateProblem, processors: number): number =>
  (isInProduct(tile) ? 0 : LAUNCH) +
  estimateGate(tile, problem, processors) +
  estimateReduce(tile, problem, processors);

/** The gate in one dispatch. One processor takes 7 µs to read the weights of 1152 channels; each share reads half of them and its part of the rest. */
function wholeTile({batch, channels, reduced}: GateProblem, limits: DeviceLimits): GateDispatch {
  return {
    // A map of few channels has many partial sums, which want threads, too.
    WORKGROUP: powerOfTwoUpTo(
      Math.max(channels, reduced, 256),
      Math.min(1024, limits.maxComputeInvocationsPerWorkgroup),
    ),
    SHARES: batch * 8 <= limits.processors ? powerOfTwoUpTo(divideUp(channels, 128), 8) : 1,
    IS_REDUCED: false,
  };
}

export function gateTile(problem: GateProblem, limits: DeviceLimits): GateTile {
  const {processors} = limits;
  const rate = (tile: GateTile): number => gateCost(tile, problem, processors);
  const [whole, reduced] = [false, true].map((isOf) => gateCandidates(problem, limits).filter((tile) => isReduced(tile) === isOf)); // prettier-ignore
  const plain: GateTile = wholeTile(problem, limits);
  // Estimates of one form rank its tiles well, but more shares are too cheap beside the other form: that is compared with the plain tile.
  const best = bestOf([plain, ...(reduced ?? [])], rate);
  return isReduced(best) ? best : bestOf([plain, ...(whole ?? [])], rate);
}
