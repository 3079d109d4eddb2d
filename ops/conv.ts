/**
 * A lone convolution with what stock TF.js runs as ops of their own: an activation it cannot fuse (in front of a pool, also where
 * the network has it behind), a residual, a shortcut, the activation after that. The matcher takes it where no larger block fits
 * and where that saves a dispatch.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type {ActivationLike} from './activation.js';
import {BlockError, type ShortcutStage, type Stage} from './block.js';
import {casesOf, makeCase, type Variation} from './cases.js';
import type {BlockSpec} from './spec.js';
import {givenStage, pointwiseStage, residualStage, spatialStage} from './stages/make.js';
import {runTyped, type SpatialConfig, WeightReader} from './typed.js';

const spatial = (v: Variation, group: number, extra = 4): Stage =>
  spatialStage('spatial', {...v, group, channels: group === 1 ? v.channels : v.channels + extra});

const maxPool = {op: 'pool', name: 'pool', mode: 'max', kernel: [3, 3], stride: [2, 2], pad: 'same'} as const;
const maxPool2 = {...maxPool, name: 'pool2'} as const;

const pooled = (v: Variation): readonly ShortcutStage[] => [
  {op: 'pool', name: 'pool', mode: 'avg', kernel: [2, 2], stride: [2, 2], pad: 'same'},
  pointwiseStage('shortcut', v.channels, 'linear'),
];

export const convSpec: BlockSpec = {
  kind: 'BlockConv',
  summary: 'one convolution, any activation, pool, add a shortcut, activation',
  slots: [
    {name: 'spatial', op: 'spatial', optional: true},
    {name: 'pointwise', op: 'pointwise', optional: true},
    {name: 'pool', op: 'pool', optional: true},
    {name: 'residual', op: 'residual', optional: true, shortcut: 'any', activationAfter: true},
  ],
  anyOf: ['spatial', 'pointwise'],
  cases: [
    ...casesOf((v) => [spatial(v, v.channels)]),
    ...casesOf((v) => [spatial(v, 1)]).slice(0, 16),
    makeCase('1×1', (v) => [pointwiseStage('pointwise', 24, v.activation)], {activation: 'swish'}),
    makeCase('1×1, few pixels', (v) => [pointwiseStage('pointwise', 40, v.activation, false)], {
      activation: 'gelu',
      height: 1,
      width: 1,
      batch: 2,
    }),
    makeCase('1×1, residual', (v) => [
      pointwiseStage('pointwise', v.channels, 'linear'),
      residualStage([], 'relu'),
    ]),
    makeCase('residual', (v) => [spatial(v, v.channels, 0), residualStage([], 'hardswish')], {
      activation: 'prelu',
    }),
    makeCase('depth-wise, residual', (v) => [spatial(v, 1), residualStage()], {activation: 'swish'}),
    makeCase('pooled shortcut', (v) => [spatial(v, v.channels, 0), residualStage(pooled(v), 'relu')], {
      stride: 2,
      height: 8,
    }),
    makeCase(
      'grouped',
      (v) => [spatialStage('spatial', {...v, group: v.channels / 2, channels: v.channels})],
      {activation: 'swish'},
    ),
    makeCase('max-pool', (v) => [spatial(v, v.channels), maxPool], {activation: 'relu', pad: 'valid'}),
    makeCase('depth-wise, max-pool, residual', (v) => [spatial(v, 1), maxPool, residualStage([maxPool2])], {
      channels: 5,
    }),
    makeCase('feature pyramid: 1×1, given a map', (v) => [
      pointwiseStage('pointwise', v.channels + 4, 'linear'),
      givenStage(),
    ]),
    makeCase(
      'given a map, prelu, stride 2',
      (v) => [spatial({...v, stride: 2}, v.channels), givenStage('prelu')],
      {activation: 'relu', batch: 2},
    ),
    makeCase('depth-wise, given a map of odd channels', (v) => [spatial(v, 1), givenStage('relu')], {
      channels: 7,
    }),
    makeCase(
      'spatial and 1×1 convolution, projected shortcut',
      (v) => [
        spatial(v, v.channels),
        pointwiseStage('pointwise', 12, 'linear'),
        residualStage([pointwiseStage('shortcut', 12, 'linear')], 'swish'),
      ],
      {activation: 'hardswish'},
    ),
  ],
};

/** Filters `[kh, kw, group, C']` and `[C, C']`, of which one is needed; biases and prelu slopes `[C']`. All float32. */
export interface ConvWeights {
  readonly spatialFilter?: tf.Tensor4D;
  readonly spatialBias?: tf.Tensor1D;
  readonly spatialAlpha?: tf.Tensor1D;
  readonly pointwiseFilter?: tf.Tensor2D;
  readonly pointwiseBias?: tf.Tensor1D;
  readonly pointwiseAlpha?: tf.Tensor1D;
  /** prelu's slopes after the add. */
  readonly residualAlpha?: tf.Tensor1D;
  /** `[N, H', W', C']` like the output: added in the place of x. */
  readonly residualMap?: tf.Tensor4D;
}

export interface ConvOptions extends SpatialConfig {
  /** After the convolution, or after both; 'linear' unless given. */
  readonly activation?: ActivationLike;
  /** Adds x; false unless given. */
  readonly residual?: boolean;
  /** After the add; 'linear' unless given. */
  readonly activationAfter?: ActivationLike;
}

/**
 * One convolution and what follows it; batch norm must be folded into the weights.
 * @param x `[N, H, W, C]`, float32. @returns `[N, H', W', C']`. @throws {BlockError} for shapes that do not fit.
 */
export function conv(x: tf.Tensor4D, weights: ConvWeights, options: ConvOptions = {}): tf.Tensor4D {
  const {activation, residual = false, activationAfter} = options;
  const read = new WeightReader(convSpec.kind, {...weights});
  if (!read.has('spatialFilter') && !read.has('pointwiseFilter'))
    throw new BlockError(`${convSpec.kind}: there is no filter; pass spatialFilter or pointwiseFilter.`);
  const stages = [
    read.has('spatialFilter') && read.spatial('spatial', options, activation),
    read.has('pointwiseFilter') && read.pointwise('pointwise', activation),
    read.residual(residual, [], activationAfter),
  ];
  return runTyped(convSpec, stages, x, {...weights});
}
