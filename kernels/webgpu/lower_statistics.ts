/** What needs a whole map or a whole row first: gates, GRN and the moments of LayerNorm. */
import type {GateStage, GrnStage, LayerNormStage, Shape4D, Stage} from '../../ops/index.js';
import {type BufferName, type Constants, divideUp} from '../plan.js';
import {activationConstants} from './activation_codes.js';
import {
  expandConstants,
  gatedProduct,
  type GatedProduct,
  type GateProblem,
  type GateTile,
  isInProduct,
  isReduced,
  reduceConstants,
} from './gate_tiling.js';
import {productProblem} from './lower_product.js';
import {FLOAT_BYTES, gridOf, type Lowering, type PartialSums, type Rows} from './lowering.js';
import {momentsTile} from './tiling.js';

/** Of a thread of the gate, whose time is latency alone. */
const LOADS_IN_FLIGHT = 8;

/** What the rows are to be multiplied by: scales, or a gate that the product behind it makes. */
export function gate(lowering: Lowering, stage: GateStage, rows: Rows): Pick<Rows, 'scales' | 'gate'> {
  const c = rows.channels;
  const sums = rows.sums ?? sumsOf(lowering, rows, false);
  const problem = sums.problem ?? {batch: rows.shape[0], channels: c, reduced: stage.channels};
  const tile = sums.gate ?? lowering.tiling.gate(problem);
  const layers: Constants = {...layerConstants(lowering, stage, c), ...tile};
  const expand = isReduced(tile) ? expandConstants(tile, problem) : {};
  if (isInProduct(tile)) {
    const constants = {...layers, ...expand, SUM_PARTS: sums.parts, IN_FLIGHT: LOADS_IN_FLIGHT};
    return {gate: {sums: sums.buffer, constants, weights: c * stage.channels}};
  }
  if (tile.IS_REDUCED) return {scales: emitGate(lowering, 'gateExpand', rows, sums, {...layers, ...expand})};
  return {
    scales: emitGate(lowering, 'gate', rows, sums, {
      ...layers,
      IS_GRN: false,
      GAIN: 0,
      'EPSILON:f32': 0,
      REDUCE_FILTER: reduceFilter(lowering, c, stage.channels),
    }),
  };
}

/** All but the filter of the first layer. */
function layerConstants(lowering: Lowering, stage: GateStage, channels: number): Constants {
  const bias = (side: 'Reduce' | 'Expand', columns: number): number =>
    stage.bias ? lowering.packer.vector(`gate${side}Bias`, columns) : 0;
  return {
    CHANNELS: channels,
    REDUCED: stage.channels,
    EXPAND_FILTER: lowering.packer.add(
      {rows: stage.channels, columns: channels},
      {form: 'filter', filter: 'gateExpandFilter'},
    ),
    HAS_GATE_BIAS: stage.bias,
    REDUCE_BIAS: bias('Reduce', stage.channels),
    EXPAND_BIAS: bias('Expand', channels),
    ...lowering.slope(
      'SQUEEZE_SLOPE',
      stage.activation.fn === 'prelu' ? 'gateAlpha' : undefined,
      stage.channels,
    ),
    ...activationConstants('SQUEEZE_ACTIVATION', stage.activation),
    ...activationConstants('GATE', stage.gate),
  };
}

/** Rows padded to fours, so that a vector of channels has four. */
const reduceFilter = (lowering: Lowering, channels: number, reduced: number): number =>
  lowering.packer.add(
    {rows: channels, columns: reduced, padRows: true},
    {form: 'filter', filter: 'gateReduceFilter'},
  );

interface SummedTiles {
  /** Of a workgroup. */
  readonly threads: number;
  /** Tiles of pixels, and blocks of channels. */
  readonly tiles: number;
  readonly blocks: number;
  /** The stage behind the gate. */
  readonly next: Stage | undefined;
}

/** Where a depth-wise convolution leaves the sums for the gate behind it, and in which form. */
export function sumsForGate(
  lowering: Lowering,
  stage: GateStage,
  shape: Shape4D,
  {threads, tiles, blocks, next}: SummedTiles,
): PartialSums {
  const [batch, , , channels] = shape;
  const product = productBehind(lowering, shape, next);
  const problem: GateProblem = {
    batch,
    channels,
    reduced: stage.channels,
    sums: {tiles, blocks, threads},
    ...(product ? {product} : {}),
  };
  const gate = lowering.tiling.gate(problem);
  const parts = isReduced(gate) ? tiles * blocks : tiles;
  const vectors = divideUp(isReduced(gate) ? stage.channels : channels, 4);
  return {buffer: lowering.scratchFor('sums', batch * parts * vectors * 4), parts, gate, problem};
}

/** The product of a pointwise stage behind a gate; those on subgroup matrices stage their rows another way. */
function productBehind(
  lowering: Lowering,
  [n, h, w, channels]: Shape4D,
  next: Stage | undefined,
): GatedProduct | undefined {
  if (next?.op !== 'pointwise' || lowering.tiling.half?.matrix) return undefined;
  const problem = productProblem(next, [n, h, w, channels], false);
  return gatedProduct(lowering.tiling.matmul(problem), problem, h * w);
}

/** The constants by which a depth-wise kernel takes in a gate's first layer, or does not. */
export function reducing(
  lowering: Lowering,
  stage: GateStage | undefined,
  gate: GateTile | undefined,
  {threads, lanes, channels}: {readonly threads: number; readonly lanes: number; readonly channels: number},
): Constants {
  if (!stage || !gate || !isReduced(gate))
    return {IS_REDUCED: false, REDUCED: 4, REDUCE_FILTER: 0, REDUCE_EARLY: 0};
  return {
    IS_REDUCED: true,
    REDUCED: stage.channels,
    REDUCE_FILTER: reduceFilter(lowering, channels, stage.channels),
    ...reduceConstants(threads, lanes, stage.channels),
  };
}

export function grn(lowering: Lowering, stage: GrnStage, rows: Rows): BufferName {
  const gain = lowering.packer.vector(`${stage.name}Gain`, rows.channels);
  const problem = {batch: rows.shape[0], channels: rows.channels, reduced: 4};
  return emitGate(lowering, 'gate', rows, sumsOf(lowering, rows, true), {
    CHANNELS: rows.channels,
    REDUCED: 4,
    ...lowering.tiling.gate(problem),
    SHARES: 1,
    IS_GRN: true,
    GAIN: gain,
    'EPSILON:f32': stage.epsilon,
    ...Object.fromEntries(
      ['REDUCE_FILTER', 'EXPAND_FILTER', 'REDUCE_BIAS', 'EXPAND_BIAS'].map((name) => [name, 0]),
    ),
    HAS_GATE_BIAS: false,
    HAS_SQUEEZE_SLOPE: false,
    SQUEEZE_SLOPE: 0,
    ...activationConstants('SQUEEZE_ACTIVATION', {fn: 'linear'}),
    ...activationConstants('GATE', {fn: 'linear'}),
  });
}

function emitGate(
  lowering: Lowering,
  kernel: 'gate' | 'gateExpand',
  rows: Rows,
  sums: PartialSums,
  constants: Constants,
): BufferName {
  const [n, h, w] = rows.shape;
  const scales = lowering.scratchFor('scales', n * divideUp(rows.channels, 4) * 4);
  const reduced = Number(constants['REDUCED']);
  const isWhole = kernel === 'gate';
  const weights = rows.channels * reduced * (isWhole ? 2 : 1);
  const read = sums.parts * (isWhole ? rows.channels : reduced);
  lowering.dispatches.push({
    kernel,
    constants: {...constants, PIXELS: h * w, SUM_PARTS: sums.parts, IN_FLIGHT: LOADS_IN_FLIGHT},
    buffers: {sums: sums.buffer, weights: 'weights', scales},
    workgroups: [n, Number(constants['SHARES']), 1],
    cost: {macs: n * weights, bytes: FLOAT_BYTES * (n * (read + rows.channels) + weights)},
  });
  return scales;
}

export function sumsOf(lowering: Lowering, rows: Rows, squared: boolean): PartialSums {
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
