/**
 * The universal inverted bottleneck of MobileNetV4 (Qin et al. 2024, figure 4): an inverted residual with one more depth-wise
 * convolution in front. Its other forms are blocks of their own: without the one in front MBConv, without the one in the middle
 * ConvFirst, with neither a feed-forward pair.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type {ActivationLike} from './activation.js';
import type {Stage} from './block.js';
import {casesOf, makeCase, type Variation} from './cases.js';
import type {BlockSpec} from './spec.js';
import {givenStage, pointwiseStage, spatialStage, residualStage} from './stages/make.js';
import {runTyped, type SpatialConfig, WeightReader} from './typed.js';

type Option = 'residual' | 'grouped';

const build =
  (...options: readonly Option[]) =>
  (v: Variation): readonly Stage[] => {
    const has = (option: Option): boolean => options.includes(option);
    const hidden = v.channels * 3;
    const group = has('grouped') ? Math.max(2, v.channels / 2) : 1;
    const start = {...v, stride: 1, group, channels: v.channels, activation: 'linear'} as const;
    return [
      spatialStage('start', start),
      pointwiseStage('expand', hidden, v.activation, v.bias),
      spatialStage('spatial', {...v, group, channels: hidden}),
      pointwiseStage('project', has('residual') ? v.channels : v.channels + 4, 'linear', v.bias),
      ...(has('residual') ? [residualStage()] : []),
    ];
  };

export const uibSpec: BlockSpec = {
  kind: 'BlockUIB',
  summary:
    'depth-wise convolution, expand 1×1, [depth-wise or grouped convolution], project 1×1, add the input',
  slots: [
    // Activations tell it from two separable convolutions in a row, MobileNetV1's or Xception's.
    {name: 'start', op: 'spatial', spatial: ['depthwise', 'grouped'], activation: 'none'},
    {name: 'expand', op: 'pointwise'},
    {name: 'spatial', op: 'spatial', spatial: ['depthwise', 'grouped'], activation: 'some', optional: true},
    {name: 'project', op: 'pointwise', activation: 'none'},
    {name: 'residual', op: 'residual', optional: true},
  ],
  cases: [
    ...casesOf(build()).filter(({name}) => name !== 'activation linear'),
    makeCase('residual', build('residual')),
    makeCase('5×5, residual', build('residual'), {
      kernel: 5,
      activation: 'relu',
      batch: 2,
    }),
    makeCase('strides in front, none in the middle', (v) => [
      spatialStage('start', {...v, stride: 2, group: 1, channels: v.channels, activation: 'linear'}),
      pointwiseStage('expand', 20, v.activation),
      pointwiseStage('project', 12),
    ]),
    makeCase('given a map', (v) => [...build()(v), givenStage()]),
    makeCase('grouped', build('residual', 'grouped')),
    makeCase('odd channels', build('residual'), {channels: 5, height: 6}),
    makeCase('wide', build('residual'), {channels: 72, kernel: 5}),
    makeCase('strides in front', (v) => [
      spatialStage('start', {...v, stride: 2, group: 1, channels: v.channels, activation: 'linear'}),
      pointwiseStage('expand', 20, 'relu'),
      spatialStage('spatial', {...v, group: 1, channels: 20}),
      pointwiseStage('project', 12),
    ]),
  ],
};

/** Filters `[kh, kw, group, C]` and `[C, C']`; biases and prelu slopes `[channels]`. All float32. */
export interface UIBWeights {
  readonly startFilter: tf.Tensor4D;
  readonly startBias?: tf.Tensor1D;
  readonly expandFilter: tf.Tensor2D;
  readonly expandBias?: tf.Tensor1D;
  readonly expandAlpha?: tf.Tensor1D;
  readonly spatialFilter?: tf.Tensor4D;
  readonly spatialBias?: tf.Tensor1D;
  readonly spatialAlpha?: tf.Tensor1D;
  readonly projectFilter: tf.Tensor2D;
  readonly projectBias?: tf.Tensor1D;
  /** `[N, H', W', C']` like the output: added in the place of x. */
  readonly residualMap?: tf.Tensor4D;
}

export interface UIBOptions extends SpatialConfig {
  /** After expand and the middle convolution; 'relu' unless given. */
  readonly activation?: ActivationLike;
  /** Adds x; it must have the output's shape. False unless given. */
  readonly residual?: boolean;
}

/**
 * One universal inverted bottleneck; batch norm must be folded into the weights. `stride`, `dilation` and `pad` are the middle
 * convolution's, or those of the one in front where there is no other.
 * @param x `[N, H, W, C]`, float32. @returns `[N, H', W', C']`.
 * @throws {BlockError} for shapes that do not fit, naming both.
 */
export function universalInvertedBottleneck(
  x: tf.Tensor4D,
  weights: UIBWeights,
  options: UIBOptions = {},
): tf.Tensor4D {
  const {activation = 'relu', residual = false, ...config} = options;
  const read = new WeightReader(uibSpec.kind, {...weights});
  const hasMiddle = read.has('spatialFilter');
  const stages = [
    read.spatial('start', hasMiddle ? {} : config),
    read.pointwise('expand', activation),
    hasMiddle && read.spatial('spatial', config, activation),
    read.pointwise('project'),
    read.residual(residual),
  ];
  return runTyped(uibSpec, stages, x, {...weights});
}
