/**
 * How a full convolution is made: as one matrix product that gathers its rows from the map (implicit im2col), in any tile, or where it
 * is 3×3 with stride and dilation 1 by Winograd's F(2×2, 3×3) or F(4×4, 3×3): transform the map, 16 or 36 products, transform back. That
 * multiplies 2.25 or 4 times less, but writes and reads 4 or 2.25 times the input and the output on the way, in two dispatches more.
 */
import type {Pair, Shape4D} from '../../ops/index.js';
import {divideUp, roundUp} from '../plan.js';
import {
  BANDWIDTH,
  bestOf,
  firstVectors,
  FLOAT_BYTES,
  MATMUL_TILES,
  matmulCandidates,
  type MatmulProblem,
  type MatmulTile,
  matmulTileOf,
  mergeMicroseconds,
  processorMicroseconds,
  type RatedTile,
} from './matmul_tiling.js';
import type {DeviceLimits} from './tiling.js';

export interface ConvolutionProblem {
  readonly input: Shape4D;
  /** Of the output. */
  readonly shape: Shape4D;
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly dilation: Pair;
  /** Whether the plan holds f16 between its dispatches: a transformed map grows fourfold, to cancel out again behind the products. */
  readonly isHalf: boolean;
}

/** A side of Winograd's output tiles. */
export type WinogradSide = 2 | 4;
export const WINOGRAD_SIDES: readonly WinogradSide[] = [2, 4];

/** The tile of the product, or, where WINOGRAD is the side of an output tile, of each component's. */
export interface ConvolutionTile extends MatmulTile {
  readonly WINOGRAD: 0 | WinogradSide;
}

export interface WinogradTile extends ConvolutionTile {
  readonly WINOGRAD: WinogradSide;
}

export const isWinograd = (tile: ConvolutionTile): tile is WinogradTile => tile.WINOGRAD !== 0;

/** Of a transformed tile: the input under a tile of 2×2 is 4×4, and of 4×4 6×6. */
export const winogradComponents = (side: WinogradSide): number => (side + 2) ** 2;

/**
 * What the estimates count with: medians over 140 tiles of 28 convolutions of ResNet-50 and EfficientNetV2-S at batches 8 and 32,
 * measured on an H200 by benchmarks/convolution_tiles.ts. The transforms move their bytes nearly as fast as a copy.
 */
export const CONVOLUTION_RATES = {
  /** Time of a product, its merge included, over that of a pointwise one of the same size and tile; so tiles rank as there. */
  implicit: 1.03,
  winograd: 0.97,
  /** Bytes a microsecond of the transforms. */
  transformBytes: 3.8e6,
  /** Microseconds until a dispatch has begun. */
  launch: 2.2,
  /** Microseconds of JavaScript to encode one dispatch more, which a choice counts though no GPU spends them. */
  encode: 3,
  /** Winograd is chosen where it is estimated to take at most so much of the implicit product's time. */
  most: 0.85,
} as const;

/**
 * Where only half of the threads have rows to gather, as in 64×128 with stacks of four, each of them finds its way for four rows. Of ResNet-50's
 * convolutions at batch 32 tune took 128×64 on an H200 wherever 64×128 was estimated up to 3 % faster; with all it took the network went from 5.68 to 5.56 ms
 * (f52efe3). By how much is a guess: enough for that choice. With it the network took 1.3 % less at batch 128, at 8 and 32 the same (c22e80a).
 */
const GATHERED_BY_HALF = 1.1;

/** Of the product that gathers its rows: those of MATMUL_TILES until they are rated by measurements of their own. */
export const CONVOLUTION_TILES: readonly RatedTile[] = MATMUL_TILES.map((tile) =>
  firstVectors(tile) > 0
    ? {...tile, latency: GATHERED_BY_HALF * tile.latency, work: GATHERED_BY_HALF * tile.work}
    : tile,
);

const STOCK_BINDING = 2 ** 27;

/** The one product. Channels in multiples of four stay apart by taps; others are packed without gaps. */
export function implicitProduct({input, shape, kernel}: ConvolutionProblem): MatmulProblem {
  const k = roundUp(kernel[0] * kernel[1] * input[3], 4);
  return {m: shape[0] * shape[1] * shape[2], n: shape[3], k};
}

/** Output tiles of all images. */
export const winogradTiles = ([n, h, w]: Shape4D, side: WinogradSide): number =>
  n * divideUp(h, side) * divideUp(w, side);

/** The products of all components as one, the rows of each padded to whole tiles of TILE_M. */
export function winogradProduct(
  {input, shape}: Pick<ConvolutionProblem, 'input' | 'shape'>,
  {TILE_M, WINOGRAD}: Pick<WinogradTile, 'TILE_M' | 'WINOGRAD'>,
): MatmulProblem {
  const rows = roundUp(winogradTiles(shape, WINOGRAD), TILE_M);
  return {m: winogradComponents(WINOGRAD) * rows, n: roundUp(shape[3], 4), k: roundUp(input[3], 4)};
}

export function winogradIsLegal(
  problem: ConvolutionProblem,
  tile: WinogradTile,
  {maxStorageBufferBindingSize = STOCK_BINDING}: DeviceLimits,
): boolean {
  const {kernel, stride, dilation, isHalf} = problem;
  const is = (pair: Pair, value: number): boolean => pair[0] === value && pair[1] === value;
  if (isHalf || !is(kernel, 3) || !is(stride, 1) || !is(dilation, 1)) return false;
  const {m, n, k} = winogradProduct(problem, tile);
  return FLOAT_BYTES * m * Math.max(k, tile.PARTS * n) <= maxStorageBufferBindingSize;
}

/** Every legal tile of one form. */
function tilesOf(
  problem: ConvolutionProblem,
  limits: DeviceLimits,
  WINOGRAD: ConvolutionTile['WINOGRAD'],
): readonly ConvolutionTile[] {
  const product = WINOGRAD ? winogradProduct(problem, {TILE_M: 1, WINOGRAD}) : implicitProduct(problem);
  return matmulCandidates(product, limits, WINOGRAD ? MATMUL_TILES : CONVOLUTION_TILES)
    .map((rated) => ({...matmulTileOf(rated), WINOGRAD}))
    .filter((tile) => !isWinograd(tile) || winogradIsLegal(problem, tile, limits));
}

/** All legal tiles: of the implicit product, then of Winograd's. */
export const convolutionCandidates = (
  problem: ConvolutionProblem,
  limits: DeviceLimits,
): readonly ConvolutionTile[] =>
  ([0, ...WINOGRAD_SIDES] as const).flatMap((side) => tilesOf(problem, limits, side));

const bytesOf = (elements: number): number => FLOAT_BYTES * elements;
const sizeOf = (shape: Shape4D): number => shape[0] * shape[1] * shape[2] * shape[3];

/** Microseconds of the product on an H200, without its launch. Infinity for a tile that is not rated. */
export function productMicroseconds(
  tile: ConvolutionTile,
  problem: ConvolutionProblem,
  limits: DeviceLimits,
): number {
  const rated = ratedOf(tile);
  if (!rated) return Infinity;
  const {winograd, implicit} = CONVOLUTION_RATES;
  if (isWinograd(tile)) {
    const product = winogradProduct(problem, tile);
    const {m, n, k} = product;
    const filters = winogradComponents(tile.WINOGRAD) * k * n;
    const memory = bytesOf(m * k + tile.PARTS * m * n + filters) / BANDWIDTH;
    return winograd * Math.max(processorMicroseconds(rated, product, limits), memory);
  }
  const product = implicitProduct(problem);
  const {m, n, k} = product;
  const memory = bytesOf(sizeOf(problem.input) + tile.PARTS * m * n + k * n) / BANDWIDTH;
  return implicit * Math.max(processorMicroseconds(rated, product, limits), memory);
}

function ratedOf(tile: ConvolutionTile): RatedTile | undefined {
  const tiles = isWinograd(tile) ? MATMUL_TILES : CONVOLUTION_TILES;
  const names = ['TILE_M', 'TILE_N', 'TILE_K', 'THREAD_M', 'THREAD_N', 'SPLIT_K'] as const;
  const found = tiles.find((one) => names.every((name) => one[name] === tile[name]));
  return found && {...found, PARTS: tile.PARTS};
}

/** Microseconds of the dispatches besides the product on an H200: the transforms, or the merge of PARTS. */
export function besidesMicroseconds(tile: ConvolutionTile, problem: ConvolutionProblem): number {
  const {implicit, transformBytes, launch} = CONVOLUTION_RATES;
  if (!isWinograd(tile)) return implicit * mergeMicroseconds(tile, implicitProduct(problem));
  const {input, shape} = problem;
  const moved = winogradComponents(tile.WINOGRAD) * winogradTiles(shape, tile.WINOGRAD);
  const into = sizeOf(input) + moved * roundUp(input[3], 4);
  const back = tile.PARTS * moved * roundUp(shape[3], 4) + sizeOf(shape);
  return 2 * launch + bytesOf(into + back) / transformBytes;
}

/** Microseconds of all dispatches on an H200. */
export const estimateConvolution = (
  tile: ConvolutionTile,
  problem: ConvolutionProblem,
  limits: DeviceLimits,
): number =>
  CONVOLUTION_RATES.launch + productMicroseconds(tile, problem, limits) + besidesMicroseconds(tile, problem);

/** The cheapest tile of the implicit product, or that of Winograd's where it saves what CONVOLUTION_RATES asks for. */
export function convolutionTile(problem: ConvolutionProblem, limits: DeviceLimits): ConvolutionTile {
  const estimate = (tile: ConvolutionTile): number => estimateConvolution(tile, problem, limits);
  const implicit = bestOf(tilesOf(problem, limits, 0), estimate);
  const transformed = WINOGRAD_SIDES.flatMap((side) => tilesOf(problem, limits, side));
  if (transformed.length === 0) return implicit;
  const winograd = bestOf(transformed, estimate);
  const {encode, most} = CONVOLUTION_RATES;
  return estimate(winograd) + 2 * encode <= most * estimate(implicit) ? winograd : implicit;
}
