/** Spatial convolution: depth-wise, grouped of any width, or full, with any kernel, stride, dilation and padding. */
import * as tf from '@tensorflow/tfjs-core';
import {BlockError, type SpatialStage} from '../block.js';
import {padMap, resolvePad, slideWindow} from '../shapes.js';
import {applyEnding, NO_ENDING, type StockEnding, stockEnding} from './ending.js';
import {need, type StageDefinition, type WeightShapes} from './stage.js';

export const spatial: StageDefinition<SpatialStage> = {
  weights: ({kernel, group, channels, bias, activation}) =>
    convWeights([...kernel, group, channels], channels, bias, activation.fn),

  outShape(stage, input, _blockInput, at) {
    const {group, channels, stride, dilation} = stage;
    if (input[3] % group !== 0) {
      throw new BlockError(
        `${at}: ${input[3]} channels do not divide into groups of ${group}; the filter is for other channels.`,
      );
    }
    const groups = input[3] / group;
    if (channels % groups !== 0) {
      throw new BlockError(
        `${at}: ${channels} output channels do not divide among ${groups} groups; make them a multiple.`,
      );
    }
    if (Math.max(...stride) > 1 && Math.max(...dilation) > 1) {
      throw new BlockError(
        `${at}: stride ${stride.join('×')} and dilation ${dilation.join('×')} cannot both exceed 1; set one to 1.`,
      );
    }
    if (stride[0] !== stride[1]) {
      throw new BlockError(
        `${at}: strides ${stride.join(' and ')} differ; TensorFlow has only equal strides for both axes.`,
      );
    }
    return [input[0], ...slideWindow(stage, input, at), channels];
  },

  macs: ({kernel, group}, _input, output) =>
    output[0] * output[1] * output[2] * output[3] * kernel[0] * kernel[1] * group,

  apply(stage, x, weights, _blockInput, {differentiable}) {
    const isGrouped = stage.group > 1 && stage.group !== x.shape[3];
    const ending = differentiable || isGrouped ? NO_ENDING : stockEnding(stage, weights);
    const sums = convolve(stage, x, need(weights, 'Filter') as tf.Tensor4D, {differentiable, ending});
    return applyEnding(stage, ending, sums, weights);
  },
};

/** The weights of any convolution: the filter, and where wanted a bias and prelu's slopes, both `[channels]`. */
export function convWeights(
  filter: readonly number[],
  channels: number,
  bias: boolean,
  fn: string,
): WeightShapes {
  return {
    Filter: filter,
    ...(bias ? {Bias: [channels]} : {}),
    ...(fn === 'prelu' ? {Alpha: [channels]} : {}),
  };
}

function convolve(
  stage: SpatialStage,
  x: tf.Tensor4D,
  filter: tf.Tensor4D,
  {differentiable, ending}: {differentiable: boolean; ending: StockEnding},
): tf.Tensor4D {
  const dilated = Math.max(...stage.dilation) > 1;
  // TF.js has no gradient of a dilated convolution, but the same convolution with zeros inside the filter has one.
  const spread = dilated && differentiable;
  const taps = spread ? dilateFilter(filter, stage.dilation) : filter;
  const dilations = spread ? ([1, 1] as const) : stage.dilation;
  const asStock = stage.pad === 'valid' || (stage.pad === 'same' && !dilated);
  const source = asStock ? x : padMap(x, resolvePad(stage, x.shape));
  const pad = asStock && stage.pad === 'same' ? 'same' : 'valid';
  const run: Convolve = {strides: [...stage.stride], dilations: [...dilations], pad, ...ending};
  if (stage.group === 1) return depthwise(source, taps, run);
  if (stage.group === x.shape[3]) return tf.fused.conv2d({x: source, filter: taps, ...run});
  return grouped(source, taps, stage.group, run);
}

interface Convolve extends StockEnding {
  readonly strides: [number, number];
  readonly dilations: [number, number];
  readonly pad: 'same' | 'valid';
}

/** Filter `[kh, kw, 1, C · multiplier]`. */
function depthwise(x: tf.Tensor4D, filter: tf.Tensor4D, run: Convolve): tf.Tensor4D {
  const [kh, kw, , channels] = filter.shape;
  const perChannel: tf.Tensor4D = tf.reshape(filter, [kh, kw, x.shape[3], channels / x.shape[3]]);
  return tf.fused.depthwiseConv2d({x, filter: perChannel, ...run});
}

/**
 * TF.js has no grouped convolution. Few groups: one full convolution a group. Many groups: a sum over the position within
 * the group, each term a depth-wise convolution of the channels at that position.
 */
function grouped(x: tf.Tensor4D, filter: tf.Tensor4D, group: number, run: Convolve): tf.Tensor4D {
  const groups = x.shape[3] / group;
  if (groups <= group) {
    const filters = tf.split(filter, groups, 3);
    const convolved = tf
      .split(x, groups, 3)
      .map((part, i) => tf.fused.conv2d({x: part as tf.Tensor4D, filter: filters[i] as tf.Tensor4D, ...run}));
    return tf.concat(convolved, 3);
  }
  const [n, h, w] = x.shape;
  const [kh, kw, , channels] = filter.shape;
  const terms = Array.from({length: group}, (_, i) => {
    const positions = tf.slice(tf.reshape(x, [n * h * w, groups, group]), [0, 0, i], [-1, -1, 1]);
    const taps = tf.slice(filter, [0, 0, i, 0], [-1, -1, 1, -1]);
    return depthwise(tf.reshape(positions, [n, h, w, groups]), tf.reshape(taps, [kh, kw, 1, channels]), run);
  });
  return terms.reduce((sum, term) => tf.add(sum, term));
}

/** Puts `dilation − 1` zeros between the taps of `[kh, kw, group, channels]`. */
function dilateFilter(filter: tf.Tensor4D, dilation: readonly [number, number]): tf.Tensor4D {
  const [kh, kw, group, channels] = filter.shape;
  const rows = tf.pad(tf.reshape(filter, [kh, 1, kw * group * channels]), [
    [0, 0],
    [0, dilation[0] - 1],
    [0, 0],
  ]);
  const height = kh * dilation[0];
  const columns = tf.pad(tf.reshape(rows, [height * kw, 1, group * channels]), [
    [0, 0],
    [0, dilation[1] - 1],
    [0, 0],
  ]);
  const spread: tf.Tensor4D = tf.reshape(columns, [height, kw * dilation[1], group, channels]);
  return tf.slice(
    spread,
    [0, 0, 0, 0],
    [height - dilation[0] + 1, kw * dilation[1] - dilation[1] + 1, group, channels],
  );
}
