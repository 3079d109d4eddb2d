/**
 * Squeeze-and-excite (Hu et al. 2018) where no block takes it in: behind a join, or in front of several heads. Stock TF.js takes
 * a mean, two products, two activations and a multiplication over the whole map for it.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type {ActivationLike} from './activation.js';
import {makeCase} from './cases.js';
import type {BlockSpec} from './spec.js';
import {gateStage, givenStage, residualStage} from './stages/make.js';
import {runTyped, WeightReader} from './typed.js';

export const squeezeExciteSpec: BlockSpec = {
  kind: 'BlockSqueezeExcite',
  summary: 'squeeze-and-excite, add, activation',
  slots: [
    {name: 'gate', op: 'gate'},
    {name: 'residual', op: 'residual', optional: true, activationAfter: true},
  ],
  cases: [
    makeCase('base', () => [gateStage(2)]),
    makeCase('relu and hard sigmoid, no biases', () => [gateStage(3, 'relu', 'hardsigmoid', false)], {
      channels: 16,
      batch: 2,
    }),
    makeCase('prelu, odd channels', () => [gateStage(3, 'prelu')], {channels: 7}),
    makeCase('one pixel', () => [gateStage(4)], {height: 1, width: 1, channels: 24}),
    makeCase('residual', () => [gateStage(2), residualStage([], 'relu')], {batch: 3, channels: 40}),
    makeCase('given a map', () => [gateStage(2), givenStage()]),
  ],
};

/** Filters `[C, reduced]` and `[reduced, C]`; biases and prelu slopes `[channels]`. All float32. */
export interface SqueezeExciteWeights {
  readonly gateReduceFilter: tf.Tensor2D;
  /** Both biases or neither. */
  readonly gateReduceBias?: tf.Tensor1D;
  readonly gateAlpha?: tf.Tensor1D;
  readonly gateExpandFilter: tf.Tensor2D;
  readonly gateExpandBias?: tf.Tensor1D;
  /** `[N, H, W, C]`: added in the place of x. */
  readonly residualMap?: tf.Tensor4D;
}

export interface SqueezeExciteOptions {
  /** Between the two products; 'relu' unless given. */
  readonly activation?: ActivationLike;
  /** 'sigmoid' unless given. */
  readonly gate?: ActivationLike;
  /** Adds x; false unless given. */
  readonly residual?: boolean;
  /** After the add; 'linear' unless given. */
  readonly activationAfter?: ActivationLike;
}

/**
 * x · gate(expand(activation(reduce(mean of x over pixels)))).
 * @param x `[N, H, W, C]`, float32. @returns the same shape. @throws {BlockError} for shapes that do not fit.
 */
export function squeezeExcite(
  x: tf.Tensor4D,
  weights: SqueezeExciteWeights,
  options: SqueezeExciteOptions = {},
): tf.Tensor4D {
  const {activation = 'relu', gate = 'sigmoid', residual = false, activationAfter} = options;
  const read = new WeightReader(squeezeExciteSpec.kind, {...weights});
  return runTyped(
    squeezeExciteSpec,
    [read.gate(activation, gate), read.residual(residual, [], activationAfter)],
    x,
    {...weights},
  );
}
