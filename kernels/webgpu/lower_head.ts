/** A network's head: the mean over all pixels as partial sums, which the first dense layer takes in, with a LayerNorm between. */
import type {LayerNormStage, PointwiseStage, Shape4D} from '../../ops/index.js';
import {type BufferName, type Constants, divideUp, roundUp} from '../plan.js';
import {denseTile} from './dense_tiling.js';
import type {Lowering, Rows} from './lowering.js';
import {sumsOf} from './lower_statistics.js';

/** Rows that are vectors: `parts` partial sums each over `pixels` pixels, of `channels` channels. */
export interface Vectors {
  readonly parts: number;
  readonly pixels: number;
  readonly channels: number;
  readonly norm?: LayerNormStage;
}

/** Of a map; the sums' channels are padded to vectors of four. */
export function mean(lowering: Lowering, rows: Rows): Rows {
  const [n, h, w, channels] = rows.shape;
  const {buffer, parts} = sumsOf(lowering, rows, false);
  const padded = roundUp(channels, 4);
  return {
    buffer,
    shape: [n, parts, 1, padded],
    channels: padded,
    vectors: {parts, pixels: h * w, channels},
  };
}

/** The vectors by themselves, where no dense layer takes them in. */
export function vectorsAlone(
  lowering: Lowering,
  rows: Rows,
  vectors: Vectors,
  into: BufferName | undefined,
): Rows {
  const {norm, channels} = vectors;
  const isAffine = norm?.affine === true;
  const tile = {
    ...denseTile({batch: rows.shape[0], k: channels, columns: channels, isNormed: norm !== undefined}),
    IMAGES: 1,
  };
  return emitDense(lowering, rows, vectors, channels, {
    constants: {
      ...tile,
      HAS_FILTER: false,
      FILTER: 0,
      IS_AFFINE: isAffine,
      GAIN: isAffine ? lowering.packer.vector(`${norm.name}Gain`, channels) : 0,
      OFFSET: isAffine ? lowering.packer.vector(`${norm.name}Offset`, channels) : 0,
      ...lowering.ending({name: 'mean', bias: false, channels, activation: {fn: 'linear'}}, {}, {}),
    },
    workgroups: [1, rows.shape[0], 1],
    weights: isAffine ? 2 * channels : 0,
    into,
  });
}

export function dense(
  lowering: Lowering,
  stage: PointwiseStage,
  rows: Rows,
  vectors: Vectors,
  into: BufferName | undefined,
): Rows {
  const {norm, channels: k} = vectors;
  const affine = norm?.affine ? norm.name : undefined;
  const columns = stage.channels;
  const tile = lowering.tiling.dense({batch: rows.shape[0], k, columns, isNormed: norm !== undefined});
  const filter = {
    form: 'filter',
    filter: `${stage.name}Filter`,
    rowScale: affine && `${affine}Gain`,
  } as const;
  return emitDense(lowering, rows, vectors, columns, {
    constants: {
      ...tile,
      HAS_FILTER: true,
      FILTER: lowering.packer.add({rows: k, columns, padRows: true}, filter),
      IS_AFFINE: false,
      GAIN: 0,
      OFFSET: 0,
      ...lowering.ending(stage, {}, {rowOffset: affine && `${affine}Offset`}),
    },
    workgroups: [divideUp(divideUp(columns, 4), tile.LANES), divideUp(rows.shape[0], tile.IMAGES), 1],
    weights: k * columns,
    into,
  });
}

function emitDense(
  lowering: Lowering,
  rows: Rows,
  {parts, pixels, channels, norm}: Vectors,
  columns: number,
  given: {
    readonly constants: Constants;
    readonly workgroups: readonly [number, number, number];
    readonly weights: number;
    readonly into: BufferName | undefined;
  },
): Rows {
  const batch = rows.shape[0];
  const shape: Shape4D = [batch, 1, 1, columns];
  const {constants, ...rest} = given;
  const emitted = lowering.emit('dense', rows, shape, {
    ...rest,
    constants: {
      ...constants,
      QUADS: divideUp(Number(constants['IMAGES']), 4),
      BATCH: batch,
      K: channels,
      SUM_PARTS: parts,
      PIXELS: pixels,
      HAS_NORM: norm !== undefined,
      'NORM_EPSILON:f32': norm?.epsilon ?? 0,
    },
    buffers: {},
    macs: constants['HAS_FILTER'] === true ? batch * channels * columns : 0,
    ending: {},
  });
  return {...emitted, vectors: {parts: 1, pixels: 1, channels: columns}};
}
