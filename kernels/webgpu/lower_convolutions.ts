/** Stages that multiply by a filter: pointwise and spatial convolutions, each one dispatch. */
import type {PointwiseStage, Shape4D, SpatialStage} from '../../ops/index.js';
import {elements, resolvePad} from '../../ops/shapes.js';
import {type BufferName, type Constants, divideUp, type WeightValue} from '../plan.js';
import {type Ending, gridOf, type Lowering, type Rows} from './lowering.js';
import {matrixProduct} from './lower_matrix.js';
import type {MatmulTile} from './tiling.js';
import {blur, mapConstants, windowConstants} from './lower_resampling.js';

export function pointwise(
  lowering: Lowering,
  stage: PointwiseStage,
  given: Rows,
  ending: Ending,
  into: BufferName | undefined,
): Rows {
  const rows = given.joined ? blur(lowering, {taps: 1, stride: 1, mode: 'zero'}, given, undefined) : given;
  const shape: Shape4D = [rows.shape[0], rows.shape[1], rows.shape[2], stage.channels];
  return matmul(lowering, 'pointwise', stage, rows, shape, {taps: 1, constants: {}}, ending, into);
}

export function spatial(
  lowering: Lowering,
  stage: SpatialStage,
  rows: Rows,
  ending: Ending,
  into: BufferName | undefined,
): Rows {
  const [n, h, w] = rows.shape;
  const [top, bottom, left, right] = resolvePad(stage, rows.shape);
  const reach = (axis: 0 | 1): number => (stage.kernel[axis] - 1) * stage.dilation[axis] + 1;
  const height = Math.floor((h + top + bottom - reach(0)) / stage.stride[0]) + 1;
  const width = Math.floor((w + left + right - reach(1)) / stage.stride[1]) + 1;
  const shape: Shape4D = [n, height, width, stage.channels];
  const constants = {
    ...windowConstants(stage.kernel, stage.stride, [top, left]),
    DILATION_H: stage.dilation[0],
    DILATION_W: stage.dilation[1],
    ...mapConstants(rows.shape, shape),
  };
  if (stage.group === rows.channels && !(stage.group === 1 && stage.channels > 1)) {
    const taps = stage.kernel[0] * stage.kernel[1];
    return matmul(lowering, 'convolution', stage, rows, shape, {taps, constants}, ending, into);
  }
  if (stage.group === 1 && stage.channels === rows.channels)
    return depthwise(lowering, stage, rows, shape, constants, ending, into);
  return grouped(lowering, stage, rows, shape, constants, ending, into);
}

/** What each thread stages per step: pairs of vectors of the source, vectors of the filter. */
function loadsOf({TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N}: MatmulTile): Constants {
  const team = (TILE_M / THREAD_M) * (TILE_N / THREAD_N);
  return {X_LOADS: divideUp((TILE_M * TILE_K) / 8, team), W_LOADS: divideUp((TILE_K * TILE_N) / 4, team)};
}

function matmul(
  lowering: Lowering,
  kernel: 'pointwise' | 'convolution',
  stage: PointwiseStage | SpatialStage,
  rows: Rows,
  shape: Shape4D,
  source: {taps: number; constants: Constants},
  ending: Ending,
  into: BufferName | undefined,
): Rows {
  const onMatrices = matrixProduct(lowering, kernel, stage, {rows, shape, ...source, ending, into});
  if (onMatrices) return onMatrices;
  const filter: WeightValue = {
    form: 'filter',
    filter: `${stage.name}Filter`,
    rowScale: rows.norm?.stage.affine ? `${rows.norm.stage.name}Gain` : undefined,
    columnScale: ending.scale ? `${ending.scale.name}Gain` : undefined,
  };
  const rowOffset = rows.norm?.stage.affine ? `${rows.norm.stage.name}Offset` : rows.rowOffset;
  const channels4 = divideUp(rows.channels, 4);
  const k = source.taps * channels4 * 4;
  const m = shape[0] * shape[1] * shape[2];
  const n = stage.channels;
  const tile = lowering.tiling.matmul({m, n, k});
  const constants: Constants = {
    ...source.constants,
    M: m,
    N: n,
    K: k,
    ...tile,
    ...loadsOf(tile),
    FILTER: lowering.packer.add({taps: source.taps, rows: rows.channels, columns: n, padRows: true}, filter),
    ...lowering.ending(stage, ending, {rowOffset, columnScale: filter.columnScale}),
    HAS_SCALES: rows.scales !== undefined,
    PIXELS: rows.shape[1] * rows.shape[2],
    HAS_NORM: rows.norm !== undefined,
    NORM_BLOCKS: rows.norm?.blocks ?? 1,
    'NORM_EPSILON:f32': rows.norm?.stage.epsilon ?? 0,
    COLUMN_SUMS: rows.norm
      ? lowering.packer.add({rows: rows.channels, columns: n}, {...filter, form: 'columnsums'})
      : 0,
    ...(kernel === 'convolution' ? {X_CHANNELS4: channels4} : {}),
  };
  const buffers = {scales: rows.scales ?? 'unused', norms: rows.norm?.moments ?? 'unused'} as const;
  const [across, down] = gridOf(m, tile.TILE_M);
  const workgroups = [across, divideUp(n, tile.TILE_N), down] as const;
  return lowering.emit(kernel, rows, shape, {
    constants,
    buffers,
    workgroups,
    macs: m * n * k,
    weights: k * n,
    ending,
    into,
  });
}

function depthwise(
  lowering: Lowering,
  stage: SpatialStage,
  rows: Rows,
  shape: Shape4D,
  window: Constants,
  ending: Ending,
  into: BufferName | undefined,
): Rows {
  const hasSums = ending.next?.op === 'gate';
  const hasMoments = ending.next?.op === 'layernorm';
  const tile = lowering.tiling.depthwise({shape, stage});
  const parts = divideUp(shape[1], tile.TILE_H) * divideUp(shape[2], tile.TILE_W);
  const blocks = divideUp(divideUp(stage.channels, 4), tile.LANES);
  const m = shape[0] * shape[1] * shape[2];
  const statistics = hasSums
    ? lowering.scratchFor('sums', shape[0] * parts * divideUp(stage.channels, 4) * 4)
    : hasMoments
      ? lowering.scratchFor('moments', m * blocks * 4)
      : 'unused';
  const taps = stage.kernel[0] * stage.kernel[1];
  const constants: Constants = {
    ...window,
    ...tile,
    // Input under one strip.
    WINDOW_H: (tile.STRIP_H - 1) * stage.stride[0] + (stage.kernel[0] - 1) * stage.dilation[0] + 1,
    WINDOW_W: (tile.STRIP_W - 1) * stage.stride[1] + (stage.kernel[1] - 1) * stage.dilation[1] + 1,
    FILTER: lowering.packer.add(
      {rows: taps, columns: stage.channels},
      {form: 'filter', filter: `${stage.name}Filter`},
    ),
    ...lowering.ending(stage, ending, {}),
    HAS_SUMS: hasSums,
    SUM_PARTS: parts,
    HAS_MOMENTS: hasMoments,
  };
  const emitted = lowering.emit('depthwise', rows, shape, {
    constants,
    buffers: {statistics},
    workgroups: [parts, blocks, shape[0]],
    macs: elements(shape) * taps,
    weights: taps * stage.channels,
    ending,
    into,
  });
  if (hasSums) return {...emitted, sums: {buffer: statistics, parts}};
  return hasMoments ? {...emitted, moments: {buffer: statistics, blocks}} : emitted;
}

function grouped(
  lowering: Lowering,
  stage: SpatialStage,
  rows: Rows,
  shape: Shape4D,
  window: Constants,
  ending: Ending,
  into: BufferName | undefined,
): Rows {
  const tile = lowering.tiling.grouped({shape});
  const groups = rows.channels / stage.group;
  const byFour = stage.group % 4 === 0 && (stage.channels / groups) % 4 === 0;
  const taps = stage.kernel[0] * stage.kernel[1] * stage.group;
  const constants: Constants = {
    ...window,
    ...tile,
    GROUPS: groups,
    GROUP: stage.group,
    CHANNEL_STEP: byFour ? 4 : 1,
    FILTER: lowering.packer.add(
      {rows: taps, columns: stage.channels},
      {form: 'filter', filter: `${stage.name}Filter`},
    ),
    ...lowering.ending(stage, ending, {}),
  };
  const strips = shape[1] * divideUp(shape[2], tile.STRIP);
  const workgroups = [
    divideUp(strips, tile.STRIPS),
    divideUp(divideUp(stage.channels, 4), tile.LANES),
    shape[0],
  ] as const;
  return lowering.emit('grouped', rows, shape, {
    constants,
    buffers: {},
    workgroups,
    macs: elements(shape) * taps,
    weights: taps * stage.channels,
    ending,
    into,
  });
}
