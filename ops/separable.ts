/**
 * Depth-wise then pointwise convolution: plain as in MobileNetV1, or with the residual of BlazeFace (Bazarevsky et al.
 * 2019), whose shortcut is max-pooled and zero-padded in channels. MediaPipe's iris model halves its map by a 2×2 convolution
 * in front.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type {ActivationLike} from './activation.js';
import type {ShortcutStage, Stage} from './block.js';
import {casesOf, makeCase, type Variation} from './cases.js';
import type {BlockSpec} from './spec.js';
import {pointwiseStage, residualStage, spatialStage} from './stages/make.js';
import {runTyped, type SpatialConfig, WeightReader} from './typed.js';

const maxPool = (stride: number): ShortcutStage => ({
  op: 'pool',
  name: 'pool',
  mode: 'max',
  kernel: [stride, stride],
  stride: [stride, stride],
  pad: 'same',
});
const padTo = (channels: number): ShortcutStage => ({op: 'padchannels', name: 'widen', channels});

const build =
  (extra = 4, residual: (v: Variation) => readonly Stage[] = () => []) =>
  (v: Variation): readonly Stage[] => [
    spatialStage('spatial', {...v, group: 1, channels: v.channels}),
    pointwiseStage('project', v.channels + extra, v.activation, v.bias),
    ...residual(v),
  ];

export const separableSpec: BlockSpec = {
  kind: 'BlockSeparable',
  summary:
    '[full convolution], depth-wise convolution, 1×1, add a pooled and channel-padded shortcut, activation',
  slots: [
    {name: 'reduce', op: 'spatial', spatial: ['full'], optional: true},
    {name: 'spatial', op: 'spatial', spatial: ['depthwise', 'grouped']},
    {name: 'project', op: 'pointwise'},
    {name: 'residual', op: 'residual', optional: true, shortcut: 'any', activationAfter: true},
  ],
  cases: [
    ...casesOf(build()),
    makeCase(
      'BlazeFace',
      build(0, () => [residualStage([], 'relu')]),
      {kernel: 5, activation: 'linear'},
    ),
    makeCase(
      'BlazeFace, prelu',
      build(0, () => [residualStage([], 'prelu')]),
      {activation: 'linear'},
    ),
    makeCase(
      'BlazeFace, wider',
      build(8, (v) => [residualStage([padTo(v.channels + 8)], 'relu')]),
    ),
    makeCase(
      'BlazeFace, stride 2',
      build(8, (v) => [residualStage([maxPool(2), padTo(v.channels + 8)], 'relu')]),
      {stride: 2, height: 8, width: 8},
    ),
    makeCase(
      'BlazeFace, stride 2, odd map',
      build(8, (v) => [residualStage([maxPool(2), padTo(v.channels + 8)], 'prelu')]),
      {stride: 2},
    ),
    makeCase(
      'iris, stride 2',
      (v) => [
        spatialStage('reduce', {...v, kernel: 2, stride: 2, group: v.channels, channels: 6}),
        spatialStage('spatial', {...v, stride: 1, group: 1, channels: 6, activation: 'linear'}),
        pointwiseStage('project', v.channels + 8, 'linear'),
        residualStage([maxPool(2), padTo(v.channels + 8)], 'prelu'),
      ],
      {activation: 'prelu', height: 8, width: 6},
    ),
    makeCase('full, then separable', (v) => [
      spatialStage('reduce', {...v, group: v.channels, channels: 12}),
      spatialStage('spatial', {...v, group: 1, channels: 12}),
      pointwiseStage('project', v.channels, 'linear'),
      residualStage(),
    ]),
  ],
};

/** Filters `[kh, kw, 1, C]` and `[C, C']`; biases and prelu slopes `[channels]`. All float32. */
export interface SeparableWeights {
  readonly spatialFilter: tf.Tensor4D;
  readonly spatialBias?: tf.Tensor1D;
  readonly spatialAlpha?: tf.Tensor1D;
  readonly projectFilter: tf.Tensor2D;
  readonly projectBias?: tf.Tensor1D;
  readonly projectAlpha?: tf.Tensor1D;
  /** prelu's slopes after the add. */
  readonly residualAlpha?: tf.Tensor1D;
  /** `[N, H', W', C']` like the output: added in the place of x. */
  readonly residualMap?: tf.Tensor4D;
}

export interface SeparableOptions extends SpatialConfig {
  /** After the depth-wise convolution; none unless given. */
  readonly spatialActivation?: ActivationLike;
  /** After the 1×1, or after the add where there is one; 'relu' unless given. */
  readonly activation?: ActivationLike;
  /** Adds x, max-pooled by the stride and padded with zero channels where shapes ask for it; false unless given. */
  readonly residual?: boolean;
}

/**
 * One separable convolution; batch norm must be folded into the weights.
 * @param x `[N, H, W, C]`, float32. @returns `[N, H', W', C']`. @throws {BlockError} for shapes that do not fit.
 */
export function separable(
  x: tf.Tensor4D,
  weights: SeparableWeights,
  options: SeparableOptions = {},
): tf.Tensor4D {
  const {spatialActivation, activation = 'relu', residual = false, stride = 1} = options;
  const read = new WeightReader(separableSpec.kind, {...weights});
  const project = read.pointwise('project', residual ? 'linear' : activation);
  const shortcut = [
    ...(stride > 1 ? [maxPool(stride)] : []),
    ...(project.channels > x.shape[3] ? [padTo(project.channels)] : []),
  ];
  const stages = [
    read.spatial('spatial', options, spatialActivation),
    project,
    read.residual(residual, shortcut, activation),
  ];
  return runTyped(separableSpec, stages, x, {...weights});
}
