/**
 * LayerNorm over channels where no block takes it in: behind a stem, whose first block also adds it. Stock TF.js sweeps over the
 * map eight times for it.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type {Stage} from './block.js';
import {makeCase} from './cases.js';
import type {BlockSpec} from './spec.js';
import {runTyped} from './typed.js';

const norm = (epsilon: number, affine: boolean): Stage => ({op: 'layernorm', name: 'norm', epsilon, affine});

export const layerNormSpec: BlockSpec = {
  kind: 'BlockLayerNorm',
  summary: 'LayerNorm over channels',
  slots: [{name: 'norm', op: 'layernorm'}],
  cases: [
    makeCase('base', () => [norm(1e-6, true)]),
    makeCase('plain', () => [norm(1e-5, false)], {batch: 2}),
    makeCase('odd channels', () => [norm(1e-6, true)], {channels: 13}),
    makeCase('one channel', () => [norm(1e-3, true)], {channels: 1}),
    makeCase('one pixel', () => [norm(1e-6, true)], {height: 1, width: 1, channels: 72}),
    // More vectors than the lanes of a row, and not a multiple of them.
    makeCase('wide', () => [norm(1e-6, true)], {channels: 196, batch: 2}),
  ],
};

export interface LayerNormWeights {
  /** `[C]`, float32; both or neither. */
  readonly normGain?: tf.Tensor1D;
  readonly normOffset?: tf.Tensor1D;
}

export interface LayerNormOptions {
  /** Added to the variance; 1e-6 unless given. */
  readonly epsilon?: number;
}

/**
 * (x − mean) / √(variance + epsilon) · gain + offset over the channels of each pixel (Ba et al. 2016).
 * @param x `[N, H, W, C]`, float32. @returns the same shape. @throws {BlockError} for shapes that do not fit.
 */
export function layerNorm(
  x: tf.Tensor4D,
  weights: LayerNormWeights = {},
  options: LayerNormOptions = {},
): tf.Tensor4D {
  const affine = weights.normGain !== undefined || weights.normOffset !== undefined;
  return runTyped(layerNormSpec, [norm(options.epsilon ?? 1e-6, affine)], x, {...weights});
}
