/**
 * Gradients of convolutions. By the filter: a kernel of the backend's, or matrix products of gathered windows; TF.js's own kernels sum
 * over all pixels in one thread per weight. By x: a 1×1 convolution is a matrix product; a grouped or dilated one is the same
 * convolution with the filter turned around; others by TF.js's kernels.
 */
import * as tf from '@tensorflow/tfjs-core';
import {encodeStages, type Pair, type PointwiseStage, type SpatialStage} from '../block.js';
import {type Padding, resolvePad} from '../shapes.js';
import {FILTER_GRADIENT, type FilterGradient, filterGradient, isRegistered} from './gradient_kernels.js';
import {spatialStage} from './make.js';
import {spatial} from './spatial.js';
import type {StageWeights} from './stage.js';

/** A block of one convolution; see ops/conv.ts. */
const KERNEL = 'BlockConv';

/** Of a convolution without activation, by its input, its filter and its bias. */
export interface ConvGradient extends FilterGradient {
  /** Made when it is asked for. */
  readonly x: () => tf.Tensor4D;
}

/** @param filter `[C_in, C_out]`. @param dy `[N, H, W, C_out]`. */
export function pointwiseGradient(
  {name, channels, bias}: PointwiseStage,
  x: tf.Tensor4D,
  filter: tf.Tensor2D,
  dy: tf.Tensor4D,
): ConvGradient {
  const asSpatial = spatialStage(name, {kernel: 1, group: x.shape[3], channels, pad: 'valid', bias});
  const found = filterGradient(asSpatial, x, dy);
  return {
    filter: tf.reshape(found.filter, filter.shape),
    bias: found.bias,
    x: () => tf.reshape(tf.matMul(tf.reshape(dy, [-1, channels]), filter, false, true), x.shape),
  };
}

/**
 * @param filter `[kernel_h, kernel_w, group, C_out]`.
 * @returns Undefined for what only TF.js itself differentiates: padding wider than the filter reaches, where groups or dilation forbid
 *   TF.js's kernels.
 */
export function spatialGradient(
  stage: SpatialStage,
  x: tf.Tensor4D,
  filter: tf.Tensor4D,
  dy: tf.Tensor4D,
): ConvGradient | undefined {
  const isStock = stage.group === 1 || stage.group === x.shape[3];
  if (isStock && Math.max(...stage.dilation) === 1)
    return {...filterGradient(stage, x, dy), x: () => stockInputGradient(stage, x.shape, filter, dy)};
  const turned = turnedPad(stage, x.shape, dy.shape);
  if (Math.min(...turned) < 0) return undefined;
  const turn = {groups: x.shape[3] / stage.group, pad: turned};
  return {...filterGradient(stage, x, dy), x: () => turnedConvolution(stage, filter, dy, turn)};
}

/** By the kernels that TF.js has for depth-wise and full convolutions. @param shape x's. */
function stockInputGradient(
  {stride, pad, group}: SpatialStage,
  shape: tf.Tensor4D['shape'],
  filter: tf.Tensor4D,
  dy: tf.Tensor4D,
): tf.Tensor4D {
  const [n, height, width, channels] = shape;
  const [kh, kw, , outputs] = filter.shape;
  const isDepthwise = group === 1 && channels > 1;
  const taps = isDepthwise ? tf.reshape(filter, [kh, kw, channels, outputs / channels]) : filter;
  const kernel = isDepthwise ? 'DepthwiseConv2dNativeBackpropInput' : 'Conv2DBackpropInput';
  const run = (by: string | readonly number[][], inputShape: readonly number[]): tf.Tensor4D => {
    const attrs = {strides: [...stride], pad: by, dilations: [1, 1], dataFormat: 'NHWC', inputShape};
    // TF.js's type of attributes knows no nested lists, which its kernels take for padding.
    const given = {...attrs, filterShape: taps.shape} as unknown as tf.NamedAttrMap;
    return tf.engine().runKernel<tf.Tensor4D>(kernel, {dy, filter: taps}, given);
  };
  if (typeof pad === 'string') return run(pad, shape);
  const [top, bottom, left, right] = pad;
  // Not every backend's kernels take explicit padding; WebGPU's do.
  if (isRegistered(FILTER_GRADIENT)) return run([[0, 0], [top, bottom], [left, right], [0, 0]], shape); // prettier-ignore
  const padded = run('valid', [n, height + top + bottom, width + left + right, channels]);
  return tf.slice(padded, [0, top, left, 0], shape);
}

/**
 * A grouped convolution by the plugin's own kernel, where there is one: stock TF.js has none, and takes dozens of ops.
 * @param weights `Filter`, and where the stage has them `Bias` and `Alpha`.
 */
export function convolveGroups(stage: SpatialStage, x: tf.Tensor4D, weights: StageWeights): tf.Tensor4D {
  const known = tf.getKernel(KERNEL, tf.getBackend()) as tf.KernelConfig | undefined;
  if (!known) return spatial.apply(stage, x, weights, x, {differentiable: false});
  const inputs = [x, weights['Filter'], weights['Bias'], weights['Alpha']].filter(
    (input) => input !== undefined,
  );
  const stages = encodeStages([{...stage, name: 'spatial'}]);
  // TF.js takes inputs of a varying number as an array, though its type says a record.
  return tf.engine().runKernel<tf.Tensor4D>(KERNEL, inputs as unknown as tf.NamedTensorMap, {stages});
}

/** Zeros around dy, its pixels a stride apart, so that the turned filter gives x's size; less than none is not possible. */
function turnedPad(stage: SpatialStage, x: tf.Tensor4D['shape'], dy: tf.Tensor4D['shape']): Padding {
  const {kernel, stride, dilation} = stage;
  const [top, , left] = resolvePad(stage, x);
  const reach = (axis: 0 | 1): number => (kernel[axis] - 1) * dilation[axis];
  const spread = (axis: 0 | 1): number => (dy[axis === 0 ? 1 : 2] - 1) * stride[axis] + 1;
  return [reach(0) - top, x[1] - spread(0) + top, reach(1) - left, x[2] - spread(1) + left];
}

/** By x: dy convolved with the filter turned around, inputs and outputs of each group swapped. */
function turnedConvolution(
  {kernel: [kh, kw], group, stride, dilation}: SpatialStage,
  filter: tf.Tensor4D,
  dy: tf.Tensor4D,
  {groups, pad}: {readonly groups: number; readonly pad: Padding},
): tf.Tensor4D {
  const own = dy.shape[3] / groups;
  const split = tf.reshape(tf.reverse(filter, [0, 1]), [kh * kw, group, groups, own]);
  const turned: tf.Tensor4D = tf.reshape(tf.transpose(split, [0, 3, 2, 1]), [kh, kw, own, groups * group]);
  const options = {
    kernel: [kh, kw] as const,
    group: own,
    channels: groups * group,
    dilation,
    pad,
    bias: false,
  };
  return convolveGroups(spatialStage('spatial', options), spreadMap(dy, stride), {Filter: turned});
}

/** Puts `stride − 1` zeros between the pixels of `[N, H, W, C]`. */
function spreadMap(map: tf.Tensor4D, [down, across]: Pair): tf.Tensor4D {
  if (Math.max(down, across) === 1) return map;
  const [n, height, width, channels] = map.shape;
  const rows = tf.pad(tf.reshape(map, [n * height, 1, width * channels]), [[0, 0], [0, down - 1], [0, 0]]); // prettier-ignore
  const pixels = tf.reshape(rows, [n * height * down * width, 1, channels]);
  const columns = tf.pad(pixels, [[0, 0], [0, across - 1], [0, 0]]); // prettier-ignore
  const spread: tf.Tensor4D = tf.reshape(columns, [n, height * down, width * across, channels]);
  return tf.slice(spread, [0, 0, 0, 0], [n, (height - 1) * down + 1, (width - 1) * across + 1, channels]);
}
