/**
 * LayerNorm over channels where no block takes it in: behind a stem, in front of a down-sampling convolution, or of the one
 * 1×1 that merges patches (Swin). Stock TF.js sweeps over the map eight times for it.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type {Stage} from './block.js';
import {ACTIVATION_NAMES, type ActivationLike} from './activation.js';
import {makeCase} from './cases.js';
import type {BlockSpec} from './spec.js';
import {pointwiseStage} from './stages/make.js';
import {runTyped, WeightReader} from './typed.js';

const norm = (epsilon: number, affine: boolean): Stage => ({op: 'layernorm', name: 'norm', epsilon, affine});

export const layerNormSpec: BlockSpec = {
  kind: 'BlockLayerNorm',
  summary: 'LayerNorm over channels, 1×1',
  slots: [
    {name: 'norm', op: 'layernorm'},
    {name: 'project', op: 'pointwise', optional: true},
  ],
  cases: [
    makeCase('base', () => [norm(1e-6, true)]),
    makeCase('plain', () => [norm(1e-5, false)], {batch: 2}),
    makeCase('odd channels', () => [norm(1e-6, true)], {channels: 13}),
    makeCase('one channel', () => [norm(1e-3, true)], {channels: 1}),
    makeCase('one pixel', () => [norm(1e-6, true)], {height: 1, width: 1, channels: 72}),
    makeCase('patch merging', (v) => [norm(1e-5, false), pointwiseStage('project', v.channels * 2)]),
    ...ACTIVATION_NAMES.map((activation) =>
      makeCase(
        `1×1, ${activation}`,
        (v) => [norm(1e-6, true), pointwiseStage('project', 12, v.activation, false)],
        {activation, height: 3, width: 5},
      ),
    ),
    // More vectors than the lanes of a row, and not a multiple of them.
    makeCase('wide', () => [norm(1e-6, true)], {channels: 196, batch: 2}),
  ],
};

export interface LayerNormWeights {
  /** `[C]`, float32; both or neither. */
  readonly normGain?: tf.Tensor1D;
  readonly normOffset?: tf.Tensor1D;
  /** `[C, C']`: the 1×1 behind, where there is one. */
  readonly projectFilter?: tf.Tensor2D;
  readonly projectBias?: tf.Tensor1D;
  readonly projectAlpha?: tf.Tensor1D;
}

export interface LayerNormOptions {
  /** Added to the variance; 1e-6 unless given. */
  readonly epsilon?: number;
  /** After the 1×1; 'linear' unless given. */
  readonly activation?: ActivationLike;
}

/**
 * (x − mean) / √(variance + epsilon) · gain + offset over the channels of each pixel (Ba et al. 2016).
 * @param x `[N, H, W, C]`, float32. @returns the same shape, of the 1×1's channels where there is one. @throws {BlockError} for shapes that do not fit.
 */
export function layerNorm(
  x: tf.Tensor4D,
  weights: LayerNormWeights = {},
  options: LayerNormOptions = {},
): tf.Tensor4D {
  const affine = weights.normGain !== undefined || weights.normOffset !== undefined;
  const read = new WeightReader(layerNormSpec.kind, {...weights});
  const project = read.has('projectFilter') && read.pointwise('project', options.activation);
  return runTyped(layerNormSpec, [norm(options.epsilon ?? 1e-6, affine), project], x, {...weights});
}
