/** Stages that multiply by a filter: pointwise and spatial convolutions, each one dispatch unless its product wants more. */
import type {PointwiseStage, Shape4D, SpatialStage} from '../../ops/index.js';
import {elements, resolvePad} from '../../ops/shapes.js';
import {type BufferName, type Constants, divideUp} from '../plan.js';
import {isReduced} from './gate_tiling.js';
import type {Ending, Lowering, Rows} from './lowering.js';
import {grouped} from './lower_grouped.js';
import {matrixProduct} from './lower_matrix.js';
import {fullConvolution, pointwiseProduct} from './lower_product.js';
import {blur, mapConstants, windowConstants} from './lower_resampling.js';
import {reducing, sumsForGate} from './lower_statistics.js';
import {threadsOf} from './tiling.js';

export function pointwise(
  lowering: Lowering,
  stage: PointwiseStage,
  given: Rows,
  ending: Ending,
  into: BufferName | undefined,
): Rows {
  const rows = given.joined ? blur(lowering, {taps: 1, stride: 1, mode: 'zero'}, given, undefined) : given;
  const shape: Shape4D = [rows.shape[0], rows.shape[1], rows.shape[2], stage.channels];
  const product = {rows, shape, taps: 1, constants: {}, ending, into};
  return matrixProduct(lowering, 'pointwise', stage, product) ?? pointwiseProduct(lowering, stage, product);
}

/** The shape of a convolution's output, and what pads its input above and to the left. */
export function windowOf(stage: SpatialStage, input: Shape4D): {shape: Shape4D; top: number; left: number} {
  const [n, h, w] = input;
  const [top, bottom, left, right] = resolvePad(stage, input);
  const reach = (axis: 0 | 1): number => (stage.kernel[axis] - 1) * stage.dilation[axis] + 1;
  const height = Math.floor((h + top + bottom - reach(0)) / stage.stride[0]) + 1;
  const width = Math.floor((w + left + right - reach(1)) / stage.stride[1]) + 1;
  return {shape: [n, height, width, stage.channels], top, left};
}

export function spatial(
  lowering: Lowering,
  stage: SpatialStage,
  rows: Rows,
  ending: Ending,
  into: BufferName | undefined,
): Rows {
  const {shape, top, left} = windowOf(stage, rows.shape);
  const constants = {
    ...windowConstants(stage.kernel, stage.stride, [top, left]),
    DILATION_H: stage.dilation[0],
    DILATION_W: stage.dilation[1],
    ...mapConstants(rows.shape, shape),
  };
  if (stage.group === rows.channels && !(stage.group === 1 && stage.channels > 1)) {
    const product = {rows, shape, taps: stage.kernel[0] * stage.kernel[1], constants, ending, into};
    return (
      matrixProduct(lowering, 'convolution', stage, product) ?? fullConvolution(lowering, stage, product)
    );
  }
  if (stage.group === 1 && stage.channels === rows.channels)
    return depthwise(lowering, stage, rows, shape, constants, ending, into);
  return grouped(lowering, stage, {rows, shape, constants, ending, into});
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
  const gate = ending.next?.op === 'gate' ? ending.next : undefined;
  const hasMoments = ending.next?.op === 'layernorm';
  const tile = lowering.tiling.depthwise({
    shape,
    stage,
    ...(gate && {squeezed: divideUp(gate.channels, 4)}),
  });
  const threads = threadsOf(tile);
  const parts = divideUp(shape[1], tile.TILE_H) * divideUp(shape[2], tile.TILE_W);
  const blocks = divideUp(divideUp(stage.channels, 4), tile.LANES);
  const m = shape[0] * shape[1] * shape[2];
  const sums =
    gate && sumsForGate(lowering, gate, shape, {threads, tiles: parts, blocks, next: ending.afterNext});
  const statistics = sums
    ? sums.buffer
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
    HAS_SUMS: sums !== undefined,
    SUM_PARTS: parts,
    ...reducing(lowering, gate, sums?.gate, {threads, lanes: tile.LANES, channels: stage.channels}),
    HAS_MOMENTS: hasMoments,
  };
  const reduced = gate && sums?.gate && isReduced(sums.gate) ? gate.channels : 0;
  const emitted = lowering.emit('depthwise', rows, shape, {
    constants,
    buffers: {statistics},
    workgroups: [parts, blocks, shape[0]],
    macs: elements(shape) * taps + shape[0] * parts * stage.channels * reduced,
    weights: (taps + reduced) * stage.channels,
    ending,
    into,
  });
  if (sums) return {...emitted, sums};
  return hasMoments ? {...emitted, moments: {buffer: statistics, blocks}} : emitted;
}
