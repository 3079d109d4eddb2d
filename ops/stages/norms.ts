/** Stages that rescale channels: LayerNorm, GRN, layer scale, and the squeeze-and-excite gate. */
import * as tf from '@tensorflow/tfjs-core';
import {applyActivation} from '../activation.js';
import type {GateStage, GrnStage, LayerNormStage, ScaleStage, Shape4D} from '../block.js';
import {need, type StageDefinition} from './stage.js';

const unchanged = (_stage: unknown, input: Shape4D): Shape4D => input;
const none = (): number => 0;

export const layerNorm: StageDefinition<LayerNormStage> = {
  weights: ({affine}, input) => (affine ? {Gain: [input[3]], Offset: [input[3]]} : {}),
  outShape: unchanged,
  macs: none,
  apply({epsilon, affine}, x, weights) {
    const {mean, variance} = tf.moments(x, 3, true);
    const normal: tf.Tensor4D = tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, epsilon)));
    return affine ? tf.add(tf.mul(normal, need(weights, 'Gain')), need(weights, 'Offset')) : normal;
  },
};

/** Far below any sum of squares that is not 0, and its root below what epsilon lets count. */
const TINY = 1e-30;

export const grn: StageDefinition<GrnStage> = {
  weights: (_stage, input) => ({Gain: [input[3]], Offset: [input[3]]}),
  outShape: unchanged,
  macs: none,
  apply({epsilon}, x, weights, _blockInput, {differentiable}) {
    const squares = tf.sum(tf.square(x), [1, 2], true);
    // The root has no slope at 0: a channel that is 0 everywhere would make every gradient NaN.
    const norm = tf.sqrt(differentiable ? tf.maximum(squares, TINY) : squares);
    const relative = tf.div(norm, tf.add(tf.mean(norm, 3, true), epsilon));
    const response = tf.add(tf.mul(need(weights, 'Gain'), tf.mul(x, relative)), need(weights, 'Offset'));
    return tf.add(x, response);
  },
};

export const scale: StageDefinition<ScaleStage> = {
  weights: (_stage, input) => ({Gain: [input[3]]}),
  outShape: unchanged,
  macs: none,
  apply: (_stage, x, weights) => tf.mul(x, need(weights, 'Gain')),
};

export const gate: StageDefinition<GateStage> = {
  weights({channels, bias, activation}, input) {
    const filters = {ReduceFilter: [input[3], channels], ExpandFilter: [channels, input[3]]};
    const biases = bias ? {ReduceBias: [channels], ExpandBias: [input[3]]} : {};
    return {...filters, ...biases, ...(activation.fn === 'prelu' ? {Alpha: [channels]} : {})};
  },
  outShape: unchanged,
  macs: ({channels}, input) => 2 * input[0] * input[3] * channels,
  apply(stage, x, weights) {
    const dense = (v: tf.Tensor2D, side: 'Reduce' | 'Expand'): tf.Tensor2D => {
      const product: tf.Tensor2D = tf.matMul(v, need(weights, `${side}Filter`));
      return stage.bias ? tf.add(product, need(weights, `${side}Bias`)) : product;
    };
    const mean: tf.Tensor2D = tf.mean(x, [1, 2]);
    const squeezed = applyActivation(stage.activation, dense(mean, 'Reduce'), weights['Alpha']);
    const gates = applyActivation(stage.gate, dense(squeezed, 'Expand'));
    return tf.mul(x, tf.reshape(gates, [x.shape[0], 1, 1, x.shape[3]]));
  },
};
