/** What needs a whole map or a whole row first: gates, GRN and the moments of LayerNorm. */
import type {GateStage, GrnStage, LayerNormStage} from '../../ops/index.js';
import {type BufferName, type Constants, divideUp} from '../plan.js';
import {activationConstants} from './activation_codes.js';
import {momentsTile} from './tiling.js';
import {FLOAT_BYTES, gridOf, type Lowering, type Rows} from './lowering.js';

/** Of a thread of the gate, whose time is latency alone. */
const LOADS_IN_FLIGHT = 8;

export function gate(lowering: Lowering, stage: GateStage, rows: Rows): BufferName {
  const c = rows.channels;
  const sums = rows.sums ?? sumsOf(lowering, rows, false);
  const bias = (side: 'Reduce' | 'Expand', columns: number): number =>
    stage.bias ? lowering.packer.vector(`gate${side}Bias`, columns) : 0;
  const tile = lowering.tiling.gate({batch: rows.shape[0], channels: c, reduced: stage.channels});
  return emitGate(lowering, rows, sums, {
    CHANNELS: c,
    REDUCED: stage.channels,
    ...tile,
    IS_GRN: false,
    GAIN: 0,
    'EPSILON:f32': 0,
    REDUCE_FILTER: lowering.packer.add(
      {rows: c, columns: stage.channels},
      {form: 'filter', filter: 'gateReduceFilter'},
    ),
    EXPAND_FILTER: lowering.packer.add(
      {rows: stage.channels, columns: c},
      {form: 'filter', filter: 'gateExpandFilter'},
    ),
    HAS_BIAS: stage.bias,
    REDUCE_BIAS: bias('Reduce', stage.channels),
    EXPAND_BIAS: bias('Expand', c),
    ...lowering.slope('SLOPE', stage.activation.fn === 'prelu' ? 'gateAlpha' : undefined, stage.channels),
    ...activationConstants('ACTIVATION', stage.activation),
    ...activationConstants('GATE', stage.gate),
  });
}

export function grn(lowering: Lowering, stage: GrnStage, rows: Rows): BufferName {
  const gain = lowering.packer.vector(`${stage.name}Gain`, rows.channels);
  return emitGate(lowering, rows, sumsOf(lowering, rows, true), {
    CHANNELS: rows.channels,
    REDUCED: 4,
    ...lowering.tiling.gate({batch: rows.shape[0], channels: rows.channels, reduced: 4}),
    SHARES: 1,
    IS_GRN: true,
    GAIN: gain,
    'EPSILON:f32': stage.epsilon,
    ...Object.fromEntries(
      ['REDUCE_FILTER', 'EXPAND_FILTER', 'REDUCE_BIAS', 'EXPAND_BIAS'].map((name) => [name, 0]),
    ),
    HAS_BIAS: false,
    HAS_SLOPE: false,
    SLOPE: 0,
    ...activationConstants('ACTIVATION', {fn: 'linear'}),
    ...activationConstants('GATE', {fn: 'linear'}),
  });
}

function emitGate(
  lowering: Lowering,
  rows: Rows,
  sums: {buffer: BufferName; parts: number},
  constants: Constants,
): BufferName {
  const [n, h, w] = rows.shape;
  const scales = lowering.scratchFor('scales', n * divideUp(rows.channels, 4) * 4);
  const weights = rows.channels * 2 * Number(constants['REDUCED']);
  lowering.dispatches.push({
    kernel: 'gate',
    constants: {...constants, PIXELS: h * w, SUM_PARTS: sums.parts, IN_FLIGHT: LOADS_IN_FLIGHT},
    buffers: {sums: sums.buffer, weights: 'weights', scales},
    workgroups: [n, Number(constants['SHARES']), 1],
    cost: {macs: n * weights, bytes: FLOAT_BYTES * (n * rows.channels * (sums.parts + 1) + weights)},
  });
  return scales;
}

export function sumsOf(
  lowering: Lowering,
  rows: Rows,
  squared: boolean,
): {buffer: BufferName; parts: number} {
  const [n, h, w] = rows.shape;
  const {LANES, ROWS, SUM_PARTS} = lowering.tiling.sum({pixels: h * w, channels: rows.channels});
  const buffer = lowering.scratchFor('sums', n * SUM_PARTS * divideUp(rows.channels, 4) * 4);
  lowering.sweep('sum', rows, {
    constants: {LANES, ROWS, SUM_PARTS, PIXELS: h * w, SQUARED: squared, IS_MEAN: false},
    buffers: {sums: buffer},
    workgroups: [SUM_PARTS, divideUp(divideUp(rows.channels, 4), LANES), n],
  });
  return {buffer, parts: SUM_PARTS};
}

/** The mean over all pixels where a workgroup sums all of its channels' pixels, so that nothing is left to merge. */
export function meanInOne(lowering: Lowering, rows: Rows, into: BufferName | undefined): Rows | undefined {
  const [n, h, w] = rows.shape;
  const {LANES, ROWS, SUM_PARTS} = lowering.tiling.sum({pixels: h * w, channels: rows.channels});
  if (SUM_PARTS > 1) return undefined;
  return lowering.emit('sum', rows, [n, 1, 1, rows.channels], {
    constants: {LANES, ROWS, SUM_PARTS, PIXELS: h * w, SQUARED: false, IS_MEAN: true},
    buffers: {},
    workgroups: [1, divideUp(divideUp(rows.channels, 4), LANES), n],
    macs: 0,
    weights: 0,
    ending: {},
    into,
  });
}

export function momentsOf(lowering: Lowering, rows: Rows): {moments: BufferName; blocks: number} {
  if (rows.moments) return {moments: rows.moments.buffer, blocks: rows.moments.blocks};
  const m = rows.shape[0] * rows.shape[1] * rows.shape[2];
  const moments = lowering.scratchFor('moments', m * 4);
  const {LANES, WORKGROUP} = momentsTile(rows.channels);
  lowering.sweep('moments', rows, {
    constants: {M: m, LANES, WORKGROUP, VECTORS: divideUp(divideUp(rows.channels, 4), LANES)},
    buffers: {moments},
    workgroups: gridOf(m * LANES, WORKGROUP),
  });
  return {moments, blocks: 1};
}

/** A LayerNorm that no matrix product takes in. */
export function normalize(
  lowering: Lowering,
  stage: LayerNormStage,
  rows: Rows,
  into: BufferName | undefined,
): Rows {
  const m = rows.shape[0] * rows.shape[1] * rows.shape[2];
  const {LANES, WORKGROUP} = lowering.tiling.normalize({channels: rows.channels});
  return lowering.emit('normalize', rows, rows.shape, {
    constants: {
      M: m,
      LANES,
      WORKGROUP,
      VECTORS: divideUp(divideUp(rows.channels, 4), LANES),
      'EPSILON:f32': stage.epsilon,
      IS_AFFINE: stage.affine,
      GAIN: stage.affine ? lowering.packer.vector(`${stage.name}Gain`, rows.channels) : 0,
      OFFSET: stage.affine ? lowering.packer.vector(`${stage.name}Offset`, rows.channels) : 0,
    },
    buffers: {},
    workgroups: gridOf(m * LANES, WORKGROUP),
    macs: 0,
    weights: stage.affine ? 2 * rows.channels : 0,
    ending: {},
    into,
  });
}
