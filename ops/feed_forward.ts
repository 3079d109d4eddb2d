/**
 * The feed-forward block, two 1×1 convolutions: MobileNetV4's FFN (Qin et al. 2024), the channel MLP of MetaFormer (Yu et al.
 * 2022) with a LayerNorm in front, and the widening and narrowing 1×1 that detectors put behind a backbone.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type {ActivationLike} from './activation.js';
import type {Stage} from './block.js';
import {casesOf, makeCase, type Variation} from './cases.js';
import type {BlockSpec} from './spec.js';
import {givenStage, pointwiseStage, residualStage} from './stages/make.js';
import {runTyped, WeightReader} from './typed.js';

const norm = (epsilon: number): Stage => ({op: 'layernorm', name: 'norm', epsilon, affine: true});

const pair = (v: Variation, channels = v.channels): readonly Stage[] => [
  pointwiseStage('expand', v.channels * 4, v.activation, v.bias),
  pointwiseStage('project', channels, 'linear', v.bias),
];

export const feedForwardSpec: BlockSpec = {
  kind: 'BlockFeedForward',
  summary: '[LayerNorm], expand 1×1, activation, project 1×1, layer scale, add, activation',
  slots: [
    {name: 'norm', op: 'layernorm', optional: true},
    {name: 'expand', op: 'pointwise'},
    {name: 'project', op: 'pointwise'},
    {name: 'scale', op: 'scale', optional: true},
    {name: 'residual', op: 'residual', optional: true, activationAfter: true},
  ],
  cases: [
    ...casesOf((v) => pair(v, v.channels + 4), {stride1: true}).filter(
      ({name}) => !/kernel|dilat/.test(name),
    ),
    makeCase('MobileNetV4', (v) => [...pair(v), residualStage()], {activation: 'relu'}),
    makeCase('activation after the add', (v) => [...pair(v), residualStage([], 'relu')], {batch: 2}),
    makeCase('LayerNorm, layer scale', (v) => [norm(1e-6), ...pair(v), {op: 'scale', name: 'scale'}], {
      activation: 'gelu',
      channels: 16,
    }),
    makeCase(
      'MetaFormer: the sum is of the map in front of the norm',
      (v) => [norm(1e-6), ...pair(v), {op: 'scale', name: 'scale'}, residualStage()],
      {activation: 'gelu', channels: 13},
    ),
    makeCase('given a map', (v) => [...pair(v, 12), givenStage()], {activation: 'hardswish'}),
  ],
};

/** Filters `[C, αC]` and `[αC, C']`; the rest `[channels]`. All float32. */
export interface FeedForwardWeights {
  readonly normGain?: tf.Tensor1D;
  readonly normOffset?: tf.Tensor1D;
  readonly expandFilter: tf.Tensor2D;
  readonly expandBias?: tf.Tensor1D;
  readonly expandAlpha?: tf.Tensor1D;
  readonly projectFilter: tf.Tensor2D;
  readonly projectBias?: tf.Tensor1D;
  /** Layer scale `[C']`. */
  readonly scaleGain?: tf.Tensor1D;
  /** `[N, H, W, C']` like the output: added in the place of x. */
  readonly residualMap?: tf.Tensor4D;
}

export interface FeedForwardOptions {
  /** After expand; 'relu' unless given. */
  readonly activation?: ActivationLike;
  /** Of LayerNorm, which is there with `normGain`; 1e-6 unless given. */
  readonly epsilon?: number;
  /** Adds x; true unless given. */
  readonly residual?: boolean;
}

/**
 * One feed-forward block; batch norm must be folded into the weights.
 * @param x `[N, H, W, C]`, float32. @returns `[N, H, W, C']`. @throws {BlockError} for shapes that do not fit.
 */
export function feedForward(
  x: tf.Tensor4D,
  weights: FeedForwardWeights,
  options: FeedForwardOptions = {},
): tf.Tensor4D {
  const {activation = 'relu', epsilon = 1e-6, residual = true} = options;
  const read = new WeightReader(feedForwardSpec.kind, {...weights});
  const stages = [
    read.has('normGain') && norm(epsilon),
    read.pointwise('expand', activation),
    read.pointwise('project'),
    read.has('scaleGain') && ({op: 'scale', name: 'scale'} as const),
    read.residual(residual),
  ];
  return runTyped(feedForwardSpec, stages, x, {...weights});
}
