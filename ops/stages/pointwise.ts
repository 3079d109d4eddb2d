/** 1×1 convolution of stride 1. */
import * as tf from '@tensorflow/tfjs-core';
import {applyActivation} from '../activation.js';
import type {PointwiseStage} from '../block.js';
import {convWeights} from './spatial.js';
import {need, type StageDefinition} from './stage.js';

export const pointwise: StageDefinition<PointwiseStage> = {
  weights: ({channels, bias, activation}, input) =>
    convWeights([input[3], channels], channels, bias, activation.fn),

  outShape: ({channels}, input) => [input[0], input[1], input[2], channels],

  macs: ({channels}, input) => input[0] * input[1] * input[2] * input[3] * channels,

  apply(stage, x, weights) {
    const filter = tf.reshape(need(weights, 'Filter'), [1, 1, x.shape[3], stage.channels]);
    const conv = tf.conv2d(x, filter as tf.Tensor4D, 1, 'valid');
    const biased: tf.Tensor4D = stage.bias ? tf.add(conv, need(weights, 'Bias')) : conv;
    return applyActivation(stage.activation, biased, weights['Alpha']);
  },
};
