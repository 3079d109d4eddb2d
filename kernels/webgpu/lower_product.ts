/** Pointwise and full convolutions as matrix products in float32: one dispatch, unless K is shared among workgroups. */
import type {PointwiseStage, Shape4D, SpatialStage} from '../../ops/index.js';
import {type BufferName, type Constants, divideUp, roundUp, type WeightValue} from '../plan.js';
import {isWinograd} from './convolution_tiling.js';
import {bareEnding, type Ending, gridOf, type Lowering, type Rows} from './lowering.js';
import {stem} from './lower_stem.js';
import {winograd} from './lower_winograd.js';
import {isStem} from './stem_tiling.js';
import {loadsOf, type MatmulProblem, type MatmulTile} from './tiling.js';

export interface Product {
  readonly rows: Rows;
  readonly shape: Shape4D;
  readonly taps: number;
  /** Of the source of its rows. */
  readonly constants: Constants;
  readonly ending: Ending;
  readonly into: BufferName | undefined;
}

/** Of a pointwise stage over rows of that shape. */
export const productProblem = (
  stage: PointwiseStage,
  [n, h, w, channels]: Shape4D,
  hasNorm: boolean,
): MatmulProblem => ({
  m: n * h * w,
  n: stage.channels,
  k: roundUp(channels, 4),
  canPart: !hasNorm,
  isPointwise: true,
});

export function pointwiseProduct(lowering: Lowering, stage: PointwiseStage, product: Product): Rows {
  const {rows, shape} = product;
  const [n, h, w] = shape;
  const problem = productProblem(stage, [n, h, w, rows.channels], rows.norm !== undefined);
  const tile = lowering.tiling.matmul(problem);
  const kernel = rows.gate ? 'gatedPointwise' : tile.DIRECT ? 'directPointwise' : 'pointwise';
  return matmul(lowering, kernel, stage, product, tile);
}

export function fullConvolution(lowering: Lowering, stage: SpatialStage, product: Product): Rows {
  const {rows, shape} = product;
  const {kernel, stride, dilation} = stage;
  if (isStem(kernel, stride, rows.channels)) return stem(lowering, stage, product);
  const isHalf = lowering.tiling.half !== undefined;
  const tile = lowering.tiling.convolution({input: rows.shape, shape, kernel, stride, dilation, isHalf});
  if (isWinograd(tile)) return winograd(lowering, stage, product, tile);
  const gathered = rows.channels % 4 === 0 ? 'convolution' : 'packedConvolution';
  return matmul(lowering, gathered, stage, product, tile);
}

function matmul(
  lowering: Lowering,
  kernel: 'pointwise' | 'gatedPointwise' | 'directPointwise' | 'convolution' | 'packedConvolution',
  stage: PointwiseStage | SpatialStage,
  {rows, shape, taps, constants: source, ending, into}: Product,
  tile: MatmulTile,
): Rows {
  const filter: WeightValue = {
    form: 'filter',
    filter: `${stage.name}Filter`,
    rowScale: rows.norm?.stage.affine ? `${rows.norm.stage.name}Gain` : undefined,
    columnScale: ending.scale ? `${ending.scale.name}Gain` : undefined,
  };
  const rowOffset = rows.norm?.stage.affine ? `${rows.norm.stage.name}Offset` : rows.rowOffset;
  const m = shape[0] * shape[1] * shape[2];
  const n = stage.channels;
  // Where channels are no multiple of four, the taps of a window follow each other without gaps.
  const isPacked = kernel === 'packedConvolution';
  const section = isPacked ? {rows: taps * rows.channels} : {taps, rows: rows.channels};
  const k = isPacked ? roundUp(taps * rows.channels, 4) : taps * roundUp(rows.channels, 4);
  const isParted = tile.PARTS > 1;
  const own = lowering.ending(stage, ending, {rowOffset, columnScale: filter.columnScale});
  const constants: Constants = {
    ...source,
    M: m,
    N: n,
    K: k,
    ...tile,
    ...loadsOf(tile),
    FILTER: lowering.packer.add({...section, columns: n, padRows: true}, filter),
    ...(isParted ? bareEnding(lowering, n) : own),
    HAS_SCALES: rows.scales !== undefined,
    ...rows.gate?.constants,
    PIXELS: rows.shape[1] * rows.shape[2],
    HAS_NORM: rows.norm !== undefined,
    NORM_BLOCKS: rows.norm?.blocks ?? 1,
    'NORM_EPSILON:f32': rows.norm?.stage.epsilon ?? 0,
    COLUMN_SUMS: rows.norm
      ? lowering.packer.add({rows: rows.channels, columns: n}, {...filter, form: 'columnsums'})
      : 0,
  };
  const buffers = {
    scales: rows.scales ?? rows.gate?.sums ?? 'unused',
    norms: rows.norm?.moments ?? 'unused',
  } as const;
  const [across, down] = gridOf(m, tile.TILE_M);
  const shared = {
    constants,
    buffers,
    workgroups: [across, divideUp(n, tile.TILE_N) * tile.PARTS, down] as const,
    // Each workgroup makes its part of the scales anew.
    macs: m * n * k + divideUp(m, tile.TILE_M) * divideUp(n, tile.TILE_N) * (rows.gate?.weights ?? 0),
    weights: k * n + (rows.gate?.weights ?? 0),
  };
  if (!isParted) return lowering.emit(kernel, rows, shape, {...shared, ending, into});
  const [images, height, width] = shape;
  const sums = lowering.emit(kernel, rows, [tile.PARTS * images, height, width, n], {
    ...shared,
    ending: {},
    into: undefined,
  });
  return lowering.perPixel('merge', sums, shape, {...own, PARTS: tile.PARTS}, into, ending.shortcut);
}
