/**
 * Two steps of a block's gradient for which a backend may have kernels of its own: the gradient of a convolution by its filter and
 * bias, and an activation with its derivative. Where it has none, stock ops say the same.
 */
import * as tf from '@tensorflow/tfjs-core';
import {applyActivation} from '../activation.js';
import {type Activation, BlockError, decodeStages, encodeStages, type SpatialStage} from '../block.js';
import {nestedGrads} from '../nested_grads.js';
import {padMap, resolvePad} from '../shapes.js';

/** Inputs x `[N, H, W, C]` and dy, attribute `stage`; outputs the gradients of filter and, where the stage has one, bias. */
export const FILTER_GRADIENT = 'BlockFilterGradient';
/** Inputs x and, for the gradient, dy of the same shape; attribute `activation`. */
export const ACTIVATION = 'BlockActivation';

/** Whether the active backend has a kernel of that name; TF.js's own type says there always is one. */
export const isRegistered = (name: string): boolean =>
  (tf.getKernel(name, tf.getBackend()) as tf.KernelConfig | undefined) !== undefined;

/** Gradients of a filter `[kernel_h, kernel_w, group, C_out]` and of the bias `[C_out]`, where the stage has one. */
export interface FilterGradient {
  readonly filter: tf.Tensor;
  readonly bias?: tf.Tensor | undefined;
}

/** @param x `[N, H, W, C]`. @param dy Of the convolution's output, before its activation. */
export function filterGradient(stage: SpatialStage, x: tf.Tensor4D, dy: tf.Tensor4D): FilterGradient {
  const [filter, bias] = isRegistered(FILTER_GRADIENT)
    ? runKernel(FILTER_GRADIENT, [x, dy], {stage: encodeStages([stage])})
    : filterGradientByOps(stage, x, dy);
  return {filter: filter as tf.Tensor, bias};
}

// TF.js takes inputs in an array and may give outputs in one, though its type says a record and a tensor.
const runKernel = (name: string, inputs: readonly tf.Tensor[], attrs: tf.NamedAttrMap): tf.Tensor[] =>
  [
    tf.engine().runKernel<tf.Tensor | tf.Tensor[]>(name, inputs as unknown as tf.NamedTensorMap, attrs),
  ].flat();

const textOf = (attrs: tf.NamedAttrMap | undefined, name: string): string => {
  const text = attrs?.[name];
  return typeof text === 'string' ? text : '';
};

/** What a FILTER_GRADIENT kernel was called with. */
export function readFilterGradient(
  inputs: tf.NamedTensorInfoMap,
  attrs: tf.NamedAttrMap | undefined,
): {readonly stage: SpatialStage; readonly x: tf.TensorInfo; readonly dy: tf.TensorInfo} {
  const [x, dy] = Object.values(inputs) as tf.TensorInfo[];
  const [stage] = decodeStages(textOf(attrs, 'stage'));
  if (!x || !dy || stage?.op !== 'spatial')
    throw new BlockError(`${FILTER_GRADIENT} takes x and dy, and a spatial stage; call filterGradient.`);
  return {stage, x, dy};
}

/** By stock ops. @returns the gradients of filter and, where the stage has one, bias. */
export function filterGradientByOps(stage: SpatialStage, x: tf.Tensor4D, dy: tf.Tensor4D): tf.Tensor[] {
  const filter = isPlainDepthwise(stage, x)
    ? depthwiseGradient(stage, x, dy)
    : gatheredGradient(stage, x, dy);
  return stage.bias ? [filter, tf.sum(tf.reshape(dy, [-1, stage.channels]), 0)] : [filter];
}

const isPlainDepthwise = ({group, dilation}: SpatialStage, x: tf.Tensor4D): boolean =>
  group === 1 && x.shape[3] > 1 && Math.max(...dilation) === 1;

/** By TF.js's own kernel, which knows no explicit padding. */
function depthwiseGradient(
  {kernel, stride, pad, channels}: SpatialStage,
  x: tf.Tensor4D,
  dy: tf.Tensor4D,
): tf.Tensor {
  const attrs = {
    strides: [...stride],
    pad: typeof pad === 'string' ? pad : 'valid',
    dilations: [1, 1],
    filterShape: [...kernel, x.shape[3], channels / x.shape[3]],
  };
  const source = typeof pad === 'string' ? x : padMap(x, pad);
  const found = tf.engine().runKernel<tf.Tensor>('DepthwiseConv2dNativeBackpropFilter', {x: source, dy}, attrs); // prettier-ignore
  return tf.reshape(found, [...kernel, 1, channels]);
}

/** Any stride, dilation and group width: each group's windows, gathered, times its dy. */
function gatheredGradient(stage: SpatialStage, x: tf.Tensor4D, dy: tf.Tensor4D): tf.Tensor {
  const {
    kernel: [kh, kw],
    stride,
    dilation,
    group,
    channels,
  } = stage;
  const [n, height, width] = dy.shape;
  const [pixels, inputs] = [n * height * width, x.shape[3]];
  const groups = inputs / group;
  const isPixel = kh * kw === 1 && Math.max(...stride) === 1;
  const source = padMap(x, resolvePad(stage, x.shape));
  const taps = Array.from({length: kh * kw}, (_, tap) => {
    const [top, left] = [Math.floor(tap / kw) * dilation[0], (tap % kw) * dilation[1]];
    const [reachH, reachW] = [(height - 1) * stride[0] + 1, (width - 1) * stride[1] + 1];
    if (isPixel) return tf.reshape(source, [pixels, inputs]);
    const window =
      Math.max(...stride) === 1
        ? tf.slice(source, [0, top, left, 0], [n, height, width, inputs])
        : tf.stridedSlice(
            source,
            [0, top, left, 0],
            [n, top + reachH, left + reachW, inputs],
            [1, ...stride, 1],
          );
    return tf.reshape(window, [pixels, inputs]);
  });
  const windows = taps.length > 1 ? tf.concat(taps, 1) : (taps[0] as tf.Tensor2D);
  if (groups === 1) {
    const product = tf.matMul(windows, tf.reshape(dy, [pixels, channels]), true, false);
    return tf.reshape(product, [kh, kw, group, channels]);
  }
  const split = tf.reshape(windows, [pixels, kh * kw, groups, group]);
  const byGroup = tf.reshape(tf.transpose(split, [2, 0, 1, 3]), [groups, pixels, kh * kw * group]);
  const slopes = tf.transpose(tf.reshape(dy, [pixels, groups, channels / groups]), [1, 0, 2]);
  const products = tf.matMul(byGroup, slopes, true, false); // [groups, taps · group, outputs of a group]
  return tf.reshape(tf.transpose(products, [1, 0, 2]), [kh, kw, group, channels]);
}

/** x activated, in one op where the backend has a kernel for it. @param alpha prelu's slopes `[C]`. */
export function activate<T extends tf.Tensor>(activation: Activation, x: T, alpha?: tf.Tensor): T {
  if (activation.fn === 'prelu' || !isRegistered(ACTIVATION)) return applyActivation(activation, x, alpha);
  return runKernel(ACTIVATION, [x], {activation: encodeActivation(activation)})[0] as T;
}

/**
 * dy times the derivative at x: what came out of relu and relu6, what went into any other activation.
 * @returns undefined for prelu, whose slopes have a gradient of their own.
 */
export function activationGradient<T extends tf.Tensor>(activation: Activation, x: T, dy: T): T | undefined {
  if (activation.fn === 'prelu') return undefined;
  return isRegistered(ACTIVATION)
    ? (runKernel(ACTIVATION, [x, dy], {activation: encodeActivation(activation)})[0] as T)
    : (derivativeByOps(activation, x, dy) as T);
}

/** With the infinite bounds that JSON has no word for. */
const encodeActivation = (activation: Activation): string => encodeStages([{op: 'residual', name: '', shortcut: [], activation}]); // prettier-ignore

/** What an ACTIVATION kernel was called with. */
export interface ActivationCall {
  readonly activation: Activation;
  readonly x: tf.TensorInfo;
  readonly dy: tf.TensorInfo | undefined;
}

export function readActivation(
  inputs: tf.NamedTensorInfoMap,
  attrs: tf.NamedAttrMap | undefined,
): ActivationCall {
  const [x, dy] = Object.values<tf.TensorInfo | undefined>(inputs);
  const [stage] = decodeStages(textOf(attrs, 'activation'));
  if (!x || stage?.op !== 'residual')
    throw new BlockError(`${ACTIVATION} takes x and an activation; call activate or activationGradient.`);
  return {activation: stage.activation, x, dy};
}

/** By stock ops. Kernels are given Tensors. */
export const activationByOps = ({activation, x, dy}: ActivationCall): tf.Tensor =>
  dy
    ? derivativeByOps(activation, x as tf.Tensor, dy as tf.Tensor)
    : applyActivation(activation, x as tf.Tensor);

function derivativeByOps(activation: Activation, x: tf.Tensor, dy: tf.Tensor): tf.Tensor {
  if (activation.fn === 'relu') return tf.mul(dy, tf.step(x));
  // 0 at 0 and at 6, above 0 between them.
  if (activation.fn === 'relu6') return tf.mul(dy, tf.step(tf.mod(x, 6)));
  return nestedGrads((value) => applyActivation(activation, value), [x], dy)[0] as tf.Tensor;
}
