/**
 * The unit of ShuffleNet V1 (Zhang et al. 2018, figure 2): a grouped 1×1 convolution, whose channels are exchanged between the groups,
 * a depth-wise one that reads them so, and a grouped 1×1 one. V2's units have no groups and are bottlenecks.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type {ActivationLike} from './activation.js';
import {BlockError, type ShuffleStage, type Stage} from './block.js';
import {casesOf, makeCase, type Variation} from './cases.js';
import type {BlockSpec} from './spec.js';
import {givenStage, residualStage, spatialStage} from './stages/make.js';
import {runTyped, type SpatialConfig, WeightReader} from './typed.js';

const shuffle = (groups: number): ShuffleStage => ({op: 'shuffle', name: 'shuffle', groups});

/** @param each Groups' width behind the first convolution. */
const build =
  (groups = 2, each = 4, ...ending: readonly Stage[]) =>
  (v: Variation): readonly Stage[] => {
    const [group, hidden] = [v.channels / groups, groups * each];
    const {activation, bias} = v;
    return [
      spatialStage('reduce', {kernel: 1, group, channels: hidden, activation, bias}),
      shuffle(groups),
      spatialStage('spatial', {...v, group: 1, channels: hidden, activation: 'linear'}),
      spatialStage('expand', {kernel: 1, group: each, channels: v.channels, bias}),
      ...ending,
    ];
  };

export const shuffleSpec: BlockSpec = {
  kind: 'BlockShuffle',
  summary:
    'grouped 1×1 convolution, channel shuffle, depth-wise convolution, grouped 1×1 convolution, add a shortcut, activation',
  slots: [
    {name: 'reduce', op: 'spatial', spatial: ['grouped', 'depthwise']},
    {name: 'shuffle', op: 'shuffle'},
    {name: 'spatial', op: 'spatial', spatial: ['depthwise']},
    {name: 'expand', op: 'spatial', spatial: ['grouped', 'depthwise'], optional: true},
    {name: 'residual', op: 'residual', optional: true, shortcut: 'any', activationAfter: true},
  ],
  cases: [
    ...casesOf(build()),
    makeCase('ShuffleNet', build(2, 4, residualStage([], 'relu')), {activation: 'relu', batch: 2}),
    makeCase('three groups', build(3, 5, residualStage([], 'relu')), {channels: 15, activation: 'relu'}),
    makeCase('four groups, wide', build(4, 20, residualStage([], 'relu')), {
      channels: 80,
      activation: 'relu',
    }),
    makeCase('groups of one', build(8, 1, residualStage()), {channels: 8, activation: 'prelu'}),
    makeCase('given a map', build(2, 6, givenStage('relu')), {kernel: 5}),
    makeCase('without the last convolution', (v) => build(2, 4)(v).slice(0, -1), {stride: 2}),
  ],
};

/** Filters `[1, 1, group width, C']` and `[kh, kw, 1, C']`; biases and prelu slopes `[C']`. All float32. */
export interface ShuffleWeights {
  readonly reduceFilter: tf.Tensor4D;
  readonly reduceBias?: tf.Tensor1D;
  readonly reduceAlpha?: tf.Tensor1D;
  readonly spatialFilter: tf.Tensor4D;
  readonly spatialBias?: tf.Tensor1D;
  readonly expandFilter?: tf.Tensor4D;
  readonly expandBias?: tf.Tensor1D;
  /** Prelu slopes after the add. */
  readonly residualAlpha?: tf.Tensor1D;
  /** `[N, H', W', C']` like the output: added in the place of x. */
  readonly residualMap?: tf.Tensor4D;
}

export interface ShuffleOptions extends SpatialConfig {
  /** After the first convolution and after the add; 'relu' unless given. */
  readonly activation?: ActivationLike;
  /** Adds x; true unless given. */
  readonly residual?: boolean;
}

/**
 * One unit of ShuffleNet V1; batch norm must be folded into the weights. There are as many groups as `reduceFilter` says.
 * @param x `[N, H, W, C]`, float32. @returns `[N, H', W', C']`. @throws {BlockError} for shapes that do not fit.
 */
export function shuffleUnit(
  x: tf.Tensor4D,
  weights: ShuffleWeights,
  options: ShuffleOptions = {},
): tf.Tensor4D {
  const {activation = 'relu', residual = true, ...config} = options;
  const read = new WeightReader(shuffleSpec.kind, {...weights});
  const reduce = read.spatial('reduce', {}, activation);
  if (x.shape[3] % reduce.group !== 0)
    throw new BlockError(
      `${shuffleSpec.kind}.reduce: ${x.shape[3]} channels do not divide into groups of ${reduce.group}; the filter is for other channels.`,
    );
  const stages = [
    reduce,
    shuffle(x.shape[3] / reduce.group),
    read.spatial('spatial', config),
    read.has('expandFilter') && read.spatial('expand', {}),
    read.residual(residual, [], activation),
  ];
  return runTyped(shuffleSpec, stages, x, {...weights});
}
