/** Bias and activation behind a convolution: inside the op where TF.js has one that takes them, else as ops of their own. */
import * as tf from '@tensorflow/tfjs-core';
import {applyActivation} from '../activation.js';
import type {PointwiseStage, SpatialStage} from '../block.js';
import {need, type StageWeights} from './stage.js';

/** What a fused op of TF.js takes in; every backend has these activations. */
export interface StockEnding {
  readonly bias?: tf.Tensor;
  readonly activation: 'linear' | 'relu' | 'relu6';
}

export const NO_ENDING: StockEnding = {activation: 'linear'};

type Ended = Pick<PointwiseStage | SpatialStage, 'bias' | 'activation'>;

/** The ending as far as a fused op takes it in: all of it, the bias alone, or nothing. */
export function stockEnding({bias, activation}: Ended, weights: StageWeights): StockEnding {
  const {fn} = activation;
  const known = fn === 'linear' || fn === 'relu' || fn === 'relu6' ? fn : 'linear';
  return bias ? {bias: need(weights, 'Bias'), activation: known} : {activation: known};
}

/** What is left to do behind an op that took `taken` in. */
export function applyEnding(
  {bias, activation}: Ended,
  taken: StockEnding,
  x: tf.Tensor4D,
  weights: StageWeights,
): tf.Tensor4D {
  const biased: tf.Tensor4D = bias && !taken.bias ? tf.add(x, need(weights, 'Bias')) : x;
  return taken.activation === activation.fn ? biased : applyActivation(activation, biased, weights['Alpha']);
}
