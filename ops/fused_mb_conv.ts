/** Fused-MBConv of EfficientNet-EdgeTPU and EfficientNetV2: a full k×k convolution expands, a 1×1 projects (absent at expansion 1). */
import type * as tf from '@tensorflow/tfjs-core';
import type {ActivationLike} from './activation.js';
import type {Stage} from './block.js';
import {casesOf, makeCase, type Variation} from './cases.js';
import type {BlockSpec} from './spec.js';
import {gateStage, pointwiseStage, residualStage, spatialStage} from './stages/make.js';
import {runTyped, type SpatialConfig, WeightReader} from './typed.js';

const expand = (v: Variation, channels: number): Stage =>
  spatialStage('expand', {...v, group: v.channels, channels});

export const fusedMBConvSpec: BlockSpec = {
  kind: 'BlockFusedMBConv',
  summary: 'full convolution that expands, squeeze-and-excite, project 1×1, add',
  slots: [
    {name: 'expand', op: 'spatial', spatial: ['full']},
    {name: 'gate', op: 'gate', optional: true},
    {name: 'project', op: 'pointwise', optional: true},
    {name: 'residual', op: 'residual', optional: true},
  ],
  anyOf: ['project', 'residual'],
  cases: [
    ...casesOf((v) => [
      expand(v, v.channels * 2),
      pointwiseStage('project', v.channels + 4, 'linear', v.bias),
    ]),
    makeCase('residual', (v) => [
      expand(v, v.channels * 4),
      pointwiseStage('project', v.channels),
      residualStage(),
    ]),
    makeCase(
      'gate',
      (v) => [
        expand(v, v.channels * 4),
        gateStage(2),
        pointwiseStage('project', v.channels),
        residualStage(),
      ],
      {activation: 'swish'},
    ),
    makeCase('no projection', (v) => [expand(v, v.channels), residualStage()], {activation: 'swish'}),
    makeCase('odd channels', (v) => [expand(v, 9), pointwiseStage('project', v.channels), residualStage()], {
      channels: 3,
    }),
  ],
};

/** Filters `[kh, kw, C_in, C_out]` and `[C_in, C_out]`; biases and prelu slopes `[C_out]`. All float32. */
export interface FusedMBConvWeights {
  readonly expandFilter: tf.Tensor4D;
  readonly expandBias?: tf.Tensor1D;
  readonly expandAlpha?: tf.Tensor1D;
  readonly gateReduceFilter?: tf.Tensor2D;
  readonly gateReduceBias?: tf.Tensor1D;
  /** Prelu slopes of the squeezed channels. */
  readonly gateAlpha?: tf.Tensor1D;
  readonly gateExpandFilter?: tf.Tensor2D;
  readonly gateExpandBias?: tf.Tensor1D;
  readonly projectFilter?: tf.Tensor2D;
  readonly projectBias?: tf.Tensor1D;
  /** `[N, H', W', C']` like the output: added in the place of x. */
  readonly residualMap?: tf.Tensor4D;
}

export interface FusedMBConvOptions extends SpatialConfig {
  /** After the full convolution; 'swish' unless given. */
  readonly activation?: ActivationLike;
  /** Inside squeeze-and-excite; the block's own unless given. */
  readonly gateActivation?: ActivationLike;
  readonly residual?: boolean;
}

/**
 * One Fused-MBConv block; batch norm must be folded into the weights.
 * @param x `[N, H, W, C]`, float32. @returns `[N, H', W', C']`. @throws {BlockError} for shapes that do not fit.
 */
export function fusedMBConv(
  x: tf.Tensor4D,
  weights: FusedMBConvWeights,
  options: FusedMBConvOptions = {},
): tf.Tensor4D {
  const {activation = 'swish', gateActivation = activation, residual = false} = options;
  const read = new WeightReader(fusedMBConvSpec.kind, {...weights});
  const stages = [
    read.spatial('expand', options, activation),
    read.has('gateReduceFilter') && read.gate(gateActivation),
    read.has('projectFilter') && read.pointwise('project'),
    read.residual(residual),
  ];
  return runTyped(fusedMBConvSpec, stages, x, {...weights});
}
