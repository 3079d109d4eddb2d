/**
 * Gradients of convolutions. TF.js differentiates them by kernels that sum over all pixels in one thread per weight; where
 * a matrix product says the same, it is many times faster. A 1×1 convolution is one; a grouped one is a batch of them over
 * its gathered windows, and its gradient by x is the same convolution with the filter turned around.
 */
import * as tf from '@tensorflow/tfjs-core';
import {encodeStages, type SpatialStage} from '../block.js';
import {padMap, type Padding, resolvePad} from '../shapes.js';
import {spatialStage} from './make.js';
import {spatial} from './spatial.js';
import type {StageWeights} from './stage.js';

/** A block of one convolution; see ops/conv.ts. */
const KERNEL = 'BlockConv';

/** Of a convolution without bias and activation, by its input and its filter. */
export interface ConvGradient {
  readonly x: tf.Tensor4D;
  readonly filter: tf.Tensor;
}

/** @param filter `[C_in, C_out]`. @param dy `[N, H, W, C_out]`. */
export function pointwiseGradient(x: tf.Tensor4D, filter: tf.Tensor2D, dy: tf.Tensor4D): ConvGradient {
  const [inputs, outputs] = filter.shape;
  const rows = tf.reshape(dy, [-1, outputs]);
  const dx = tf.matMul(rows, filter, false, true);
  return {x: tf.reshape(dx, x.shape), filter: tf.matMul(tf.reshape(x, [-1, inputs]), rows, true, false)};
}

/**
 * @param filter `[kernel_h, kernel_w, group, C_out]`.
 * @returns Undefined for what only TF.js itself differentiates: dilation, and strided groups.
 */
export function spatialGradient(
  stage: SpatialStage,
  x: tf.Tensor4D,
  filter: tf.Tensor4D,
  dy: tf.Tensor4D,
): ConvGradient | undefined {
  if (Math.max(...stage.dilation) > 1) return undefined;
  if (stage.group === 1 || stage.group === x.shape[3]) return stockGradient(stage, x, filter, dy);
  const pad = resolvePad(stage, x.shape);
  const turned = turnedPad(stage, pad);
  if (Math.max(...stage.stride) > 1 || !turned) return undefined;
  return {
    x: turnedConvolution(stage, filter, dy, {groups: x.shape[3] / stage.group, pad: turned}),
    filter: gatheredGradient(stage, padMap(x, pad), dy),
  };
}

/** By the kernels that TF.js has for depth-wise and full convolutions. Explicit padding is done, and undone, outside. */
function stockGradient(
  {stride, pad, group}: SpatialStage,
  x: tf.Tensor4D,
  filter: tf.Tensor4D,
  dy: tf.Tensor4D,
): ConvGradient {
  const isPadded = typeof pad !== 'string';
  const source = isPadded ? padMap(x, pad) : x;
  const channels = x.shape[3];
  const [kh, kw, , outputs] = filter.shape;
  const isDepthwise = group === 1 && channels > 1;
  const taps = isDepthwise ? tf.reshape(filter, [kh, kw, channels, outputs / channels]) : filter;
  const [byInput, byFilter] = isDepthwise
    ? ['DepthwiseConv2dNativeBackpropInput', 'DepthwiseConv2dNativeBackpropFilter']
    : ['Conv2DBackpropInput', 'Conv2DBackpropFilter'];
  const attrs = {
    strides: [...stride],
    pad: isPadded ? 'valid' : pad,
    dilations: [1, 1],
    dataFormat: 'NHWC',
    inputShape: source.shape,
    filterShape: taps.shape,
  };
  const dx = tf.engine().runKernel<tf.Tensor4D>(byInput, {dy, filter: taps}, attrs);
  const dFilter = tf.engine().runKernel<tf.Tensor>(byFilter, {x: source, dy}, attrs);
  return {
    x: isPadded ? tf.slice(dx, [0, pad[0], pad[2], 0], x.shape) : dx,
    filter: tf.reshape(dFilter, filter.shape),
  };
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

/** Zeros around dy so that the turned filter gives x's size; undefined where that would be less than none. */
function turnedPad(
  {kernel: [kh, kw]}: SpatialStage,
  [top, bottom, left, right]: Padding,
): Padding | undefined {
  const pad = [kh - 1 - top, kh - 1 - bottom, kw - 1 - left, kw - 1 - right] as const;
  return Math.min(...pad) < 0 ? undefined : pad;
}

/** By x, at stride 1: dy convolved with the filter turned around, inputs and outputs of each group swapped. */
function turnedConvolution(
  {kernel: [kh, kw], group}: SpatialStage,
  filter: tf.Tensor4D,
  dy: tf.Tensor4D,
  {groups, pad}: {readonly groups: number; readonly pad: Padding},
): tf.Tensor4D {
  const own = dy.shape[3] / groups;
  const split = tf.reshape(tf.reverse(filter, [0, 1]), [kh * kw, group, groups, own]);
  const turned: tf.Tensor4D = tf.reshape(tf.transpose(split, [0, 3, 2, 1]), [kh, kw, own, groups * group]);
  const options = {kernel: [kh, kw] as const, group: own, channels: groups * group, pad, bias: false};
  return convolveGroups(spatialStage('spatial', options), dy, {Filter: turned});
}

/** By the filter, at stride 1: each group's windows times its dy. @param source The input, padded. */
function gatheredGradient(
  {kernel: [kh, kw], group, channels}: SpatialStage,
  source: tf.Tensor4D,
  dy: tf.Tensor4D,
): tf.Tensor {
  const [n, height, width] = dy.shape;
  const [pixels, inputs] = [n * height * width, source.shape[3]];
  const groups = inputs / group;
  const taps = Array.from({length: kh * kw}, (_, tap) => {
    const at = [0, Math.floor(tap / kw), tap % kw, 0];
    return tf.reshape(tf.slice(source, at, [n, height, width, inputs]), [pixels, inputs]);
  });
  const windows = tf.reshape(tf.concat(taps, 1), [pixels, kh * kw, groups, group]);
  const byGroup = tf.reshape(tf.transpose(windows, [2, 0, 1, 3]), [groups, pixels, kh * kw * group]);
  const slopes = tf.transpose(tf.reshape(dy, [pixels, groups, channels / groups]), [1, 0, 2]);
  const products = tf.matMul(byGroup, slopes, true, false); // [groups, taps · group, outputs of a group]
  return tf.reshape(tf.transpose(products, [1, 0, 2]), [kh, kw, group, channels]);
}
