/**
 * A lone convolution with what belongs to it: a LayerNorm in front, as in ConvNeXt's down-sampling or the 1×1 that merges patches
 * (Swin), any activation (in front of a pool, also where the network has it behind), a residual, a shortcut, the activation after
 * that. The matcher takes it where no larger block fits, also for one op of TF.js: ConvNeXt-T's stem and down-sampling
 * convolutions took 89, 325, 327 and 343 µs there, and 70, 113, 145 and 145 µs here (WebGPU on an H200, batch 32).
 */
import type * as tf from '@tensorflow/tfjs-core';
import type {ActivationLike} from './activation.js';
import {BlockError, type Pad, type ShortcutStage, type Stage} from './block.js';
import {casesOf, makeCase, type Variation} from './cases.js';
import type {BlockCase, BlockSpec} from './spec.js';
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

const norm = (affine: boolean, epsilon = 1e-6): Stage => ({op: 'layernorm', name: 'norm', epsilon, affine});

/** ConvNeXt's: each window once, nothing padded. */
const patches = (v: Variation, pad: Pad = 'valid'): Stage =>
  spatialStage('spatial', {...v, stride: 2, pad, group: v.channels, channels: v.channels * 2});

const normCases: readonly BlockCase[] = [
  makeCase('down-sampling', (v) => [norm(false), patches(v)], {
    kernel: 2,
    height: 8,
    activation: 'linear',
    batch: 2,
  }),
  makeCase('down-sampling, odd map', (v) => [norm(true, 1e-5), patches(v)], {
    kernel: 2,
    activation: 'linear',
  }),
  makeCase('norm, wide', (v) => [norm(true), patches(v)], {kernel: 2, height: 4, width: 4, channels: 136}),
  makeCase('norm, odd channels', (v) => [norm(true), patches(v)], {kernel: 2, channels: 13}),
  // The zeros around the map are not normalised.
  makeCase('norm, padded', (v) => [norm(true), patches(v, 'same')], {activation: 'swish'}),
  makeCase('norm, depth-wise', (v) => [norm(true), spatial(v, 1)], {kernel: 5}),
  makeCase('norm, 1×1', (v) => [norm(true), pointwiseStage('pointwise', 12, v.activation)], {
    activation: 'gelu',
  }),
  makeCase('norm, residual', (v) => [norm(false), spatial(v, v.channels, 0), residualStage()]),
];

export const convSpec: BlockSpec = {
  kind: 'BlockConv',
  summary: 'LayerNorm, one convolution, any activation, pool, add a shortcut, activation',
  slots: [
    {name: 'norm', op: 'layernorm', optional: true},
    {name: 'spatial', op: 'spatial', optional: true},
    {name: 'pointwise', op: 'pointwise', optional: true},
    {name: 'pool', op: 'pool', optional: true},
    {name: 'residual', op: 'residual', optional: true, shortcut: 'any', activationAfter: true},
  ],
  anyOf: ['spatial', 'pointwise'],
  replaces: 1,
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
    makeCase(
      'max-pool of a map with edges, as in ResNet',
      (v) => [spatial(v, v.channels), {...maxPool, pad: [1, 0, 2, 1]}],
      {activation: 'relu', batch: 2, height: 9},
    ),
    makeCase(
      'pooled shortcut of a map with edges',
      (v) => [
        spatial(v, v.channels, 0),
        residualStage([{...maxPool, mode: 'avg', pad: [1, 1, 1, 1]}], 'relu'),
      ],
      {stride: 2, height: 8},
    ),
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
    ...normCases,
  ],
};

/** Filters `[kh, kw, group, C']` and `[C, C']`, of which one is needed; biases and prelu slopes `[C']`. All float32. */
export interface ConvWeights {
  /** Of a LayerNorm in front, `[C]`; both or neither. */
  readonly normGain?: tf.Tensor1D;
  readonly normOffset?: tf.Tensor1D;
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
  /** Added to the variance of the LayerNorm; there is one where this or `normGain` is given, and 1e-6 is its usual value. */
  readonly epsilon?: number;
  /** After the convolution, or after both; 'linear' unless given. */
  readonly activation?: ActivationLike;
  /** Adds x; false unless given. */
  readonly residual?: boolean;
  /** After the add; 'linear' unless given. */
  readonly activationAfter?: ActivationLike;
}

/**
 * One convolution, a LayerNorm in front of it and what follows it; batch norm must be folded into the weights.
 * @param x `[N, H, W, C]`, float32. @returns `[N, H', W', C']`. @throws {BlockError} for shapes that do not fit.
 */
export function conv(x: tf.Tensor4D, weights: ConvWeights, options: ConvOptions = {}): tf.Tensor4D {
  const {activation, epsilon, residual = false, activationAfter} = options;
  const read = new WeightReader(convSpec.kind, {...weights});
  if (!read.has('spatialFilter') && !read.has('pointwiseFilter'))
    throw new BlockError(`${convSpec.kind}: there is no filter; pass spatialFilter or pointwiseFilter.`);
  const isAffine = read.has('normGain');
  const stages = [
    (isAffine || epsilon !== undefined) && norm(isAffine, epsilon),
    read.has('spatialFilter') && read.spatial('spatial', options, activation),
    read.has('pointwiseFilter') && read.pointwise('pointwise', activation),
    read.residual(residual, [], activationAfter),
  ];
  return runTyped(convSpec, stages, x, {...weights});
}
