/** 1×1 convolution of stride 1. */
import * as tf from '@tensorflow/tfjs-core';
import type {PointwiseStage} from '../block.js';
import {applyEnding, NO_ENDING, stockEnding} from './ending.js';
import {convWeights} from './spatial.js';
import {need, type StageDefinition} from './stage.js';

export const pointwise: StageDefinition<PointwiseStage> = {
  weights: ({channels, bias, activation}, input) =>
    convWeights([input[3], channels], channels, bias, activation.fn),

  outShape: ({channels}, input) => [input[0], input[1], input[2], channels],

  macs: ({channels}, input) => input[0] * input[1] * input[2] * input[3] * channels,

  apply(stage, x, weights, _blockInput, {differentiable}) {
    const filter: tf.Tensor4D = tf.reshape(need(weights, 'Filter'), [1, 1, x.shape[3], stage.channels]);
    const ending = differentiable ? NO_ENDING : stockEnding(stage, weights);
    const product = tf.fused.conv2d({x, filter, strides: 1, pad: 'valid', ...ending});
    return applyEnding(stage, ending, product, weights);
  },
};
