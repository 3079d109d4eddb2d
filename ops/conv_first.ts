/**
 * ConvFirst, the block of Lavin's paper (figure 6b and c): a grouped 3×3 convolution of group width 8 without activation,
 * then the 1×1 feed-forward pair, then add. The stride-2 form joins the block's input behind the convolution and
 * blur-pools both before the pair.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type {ActivationLike} from './activation.js';
import type {BlurPoolStage, Stage} from './block.js';
import {casesOf, makeCase, type Variation} from './cases.js';
import type {BlockSpec} from './spec.js';
import {pointwiseStage, residualStage, spatialStage} from './stages/make.js';
import {runTyped, type SpatialConfig, WeightReader} from './typed.js';

const blur = (taps: number, mode: BlurPoolStage['mode']): readonly Stage[] => [
  {op: 'concat', name: 'concat'},
  {op: 'blurpool', name: 'blur', taps, stride: 2, mode},
];

const build =
  (middle: readonly Stage[] = [], residual = false) =>
  (v: Variation): readonly Stage[] => [
    spatialStage('spatial', {
      ...v,
      activation: 'linear',
      group: v.channels > 8 && v.channels % 8 === 0 ? 8 : v.channels / 2,
      channels: v.channels,
    }),
    ...middle,
    pointwiseStage('expand', v.channels * 4, v.activation, v.bias),
    pointwiseStage('project', residual ? v.channels : v.channels * 2, 'linear', v.bias),
    ...(residual ? [residualStage()] : []),
  ];

export const convFirstSpec: BlockSpec = {
  kind: 'BlockConvFirst',
  summary:
    'grouped convolution, [concat with the input, blur-pool], expand 1×1, activation, project 1×1, add',
  slots: [
    {name: 'spatial', op: 'spatial', spatial: ['depthwise', 'grouped']},
    {name: 'concat', op: 'concat', optional: true},
    {name: 'blur', op: 'blurpool', optional: true},
    {name: 'expand', op: 'pointwise'},
    {name: 'project', op: 'pointwise'},
    {name: 'residual', op: 'residual', optional: true},
  ],
  cases: [
    ...casesOf(build()),
    ...casesOf(build(blur(3, 'reflect')), {stride1: true}).filter(({input}) => input[1] > 1),
    makeCase('residual', build([], true), {channels: 16, activation: 'relu'}),
    makeCase('residual, swish, 5×5', build([], true), {channels: 32, kernel: 5, activation: 'swish'}),
    makeCase('zero-padded blur of 5 taps', build(blur(5, 'zero')), {channels: 16}),
  ],
};

/** Filters `[kh, kw, group, C]`, `[C, αC]` (`[2C, αC]` behind a concat) and `[αC, C']`; biases and prelu slopes `[channels]`. All float32. */
export interface ConvFirstWeights {
  readonly spatialFilter: tf.Tensor4D;
  readonly spatialBias?: tf.Tensor1D;
  readonly expandFilter: tf.Tensor2D;
  readonly expandBias?: tf.Tensor1D;
  readonly expandAlpha?: tf.Tensor1D;
  readonly projectFilter: tf.Tensor2D;
  readonly projectBias?: tf.Tensor1D;
  /** `[N, H', W', C']` like the output: added in the place of x. */
  readonly residualMap?: tf.Tensor4D;
}

export interface ConvFirstOptions extends SpatialConfig {
  /** After expand; 'relu' unless given. */
  readonly activation?: ActivationLike;
  /** The paper's stride-2 form: concat with x, then blur-pool by 2. False unless given. */
  readonly blurPool?: boolean | {readonly taps: number; readonly mode: BlurPoolStage['mode']};
  /** Adds x; true unless given, except with blurPool, where shapes forbid it. */
  readonly residual?: boolean;
}

/**
 * One ConvFirst block; batch norm must be folded into the weights.
 * @param x `[N, H, W, C]`, float32. @returns `[N, H', W', C']`. @throws {BlockError} for shapes that do not fit.
 */
export function convFirst(
  x: tf.Tensor4D,
  weights: ConvFirstWeights,
  options: ConvFirstOptions = {},
): tf.Tensor4D {
  const {activation = 'relu', blurPool = false, residual = blurPool === false} = options;
  const {taps, mode} = typeof blurPool === 'object' ? blurPool : ({taps: 3, mode: 'reflect'} as const);
  const read = new WeightReader(convFirstSpec.kind, {...weights});
  const stages = [
    read.spatial('spatial', options),
    ...(blurPool === false ? [] : blur(taps, mode)),
    read.pointwise('expand', activation),
    read.pointwise('project'),
    read.residual(residual),
  ];
  return runTyped(convFirstSpec, stages, x, {...weights});
}
