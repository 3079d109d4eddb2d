/** Pointwise and full convolutions on subgroup matrices, where the plan is f16 and the device has them. */
import type {PointwiseStage, Shape4D, SpatialStage} from '../../ops/index.js';
import {type BufferName, type Constants, divideUp, type WeightValue} from '../plan.js';
import {type Ending, gridOf, type Lowering, type Rows} from './lowering.js';
import {matrixConstants} from './matrix_tiling.js';

interface Product {
  readonly rows: Rows;
  readonly shape: Shape4D;
  readonly taps: number;
  readonly constants: Constants;
  readonly ending: Ending;
  readonly into: BufferName | undefined;
}

/** The kernels read source and filter by eight halves; a residual may be narrower, but comes by four. */
const isByEights = ({rows, shape, ending}: Product): boolean =>
  rows.channels % 8 === 0 && shape[3] % 8 === 0 && (ending.shortcut?.channels ?? 0) % 4 === 0;

/** The product as one dispatch, or nothing where no matrix kernel takes it. */
export function matrixProduct(
  lowering: Lowering,
  kernel: 'pointwise' | 'convolution',
  stage: PointwiseStage | SpatialStage,
  product: Product,
): Rows | undefined {
  const {rows, shape, taps, ending, into} = product;
  const m = shape[0] * shape[1] * shape[2];
  const n = stage.channels;
  const k = taps * rows.channels;
  const tile = isByEights(product) ? lowering.tiling.half?.matrix?.({m, n, k}) : undefined;
  if (!tile) return undefined;
  const norm = rows.norm?.stage;
  const filter: WeightValue = {
    form: 'filter',
    filter: `${stage.name}Filter`,
    rowScale: norm?.affine ? `${norm.name}Gain` : undefined,
  };
  const rowOffset = norm?.affine ? `${norm.name}Offset` : rows.rowOffset;
  const columnScale = ending.scale ? `${ending.scale.name}Gain` : undefined;
  const constants: Constants = {
    ...product.constants,
    M: m,
    N: n,
    K: k,
    ...matrixConstants(tile),
    FILTER: lowering.packer.add({taps, rows: rows.channels, columns: n, dtype: 'f16'}, filter),
    // A layer scale can be as small as 1e-6, which would push a filter it is multiplied into below the range of f16.
    HAS_COLUMN_SCALE: columnScale !== undefined,
    COLUMN_SCALE: columnScale === undefined ? 0 : lowering.packer.vector(columnScale, n),
    ...lowering.ending(stage, ending, {rowOffset, columnScale}),
    HAS_SCALES: rows.scales !== undefined,
    PIXELS: rows.shape[1] * rows.shape[2],
    HAS_NORM: rows.norm !== undefined,
    NORM_BLOCKS: rows.norm?.blocks ?? 1,
    'NORM_EPSILON:f32': norm?.epsilon ?? 0,
  };
  const [across, down] = gridOf(m, tile.TILE_M);
  return lowering.emit(kernel === 'pointwise' ? 'matrix' : 'matrixConvolution', rows, shape, {
    constants,
    buffers: {filters: 'weights', scales: rows.scales ?? 'unused', norms: rows.norm?.moments ?? 'unused'},
    workgroups: [across, divideUp(n, tile.TILE_N), down],
    macs: m * n * k,
    weights: k * n,
    ending,
    into,
  });
}
