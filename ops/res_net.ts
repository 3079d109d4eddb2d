/**
 * The blocks of ResNet, ResNeXt and RegNet (He et al. 2016, Xie et al. 2017, Radosavovic et al. 2020): bottleneck and basic,
 * with an identity, projection or pooled shortcut, and an activation after the add. RegNetY's gate sits before the last 1×1.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type {ActivationLike} from './activation.js';
import type {ShortcutStage, SpreadStage, Stage} from './block.js';
import {casesOf, makeCase, type Variation} from './cases.js';
import type {BlockCase, BlockSpec} from './spec.js';
import {gateStage, givenStage, pointwiseStage, residualStage, spatialStage} from './stages/make.js';
import {type OptionalWeights, runTyped, type SpatialConfig, WeightReader} from './typed.js';

/** The 1×1 shortcut with the block's own stride. */
const projection = (v: Variation, channels: number): ShortcutStage =>
  spatialStage('shortcut', {
    kernel: 1,
    group: v.channels,
    channels,
    stride: v.stride,
    pad: 'same',
    bias: v.bias,
  });

const GROUP_WIDTHS = {
  full: (channels: number) => channels,
  grouped: (channels: number) => Math.max(1, channels / 2),
  depthwise: () => 1,
} as const;

const bottleneck =
  (group: 'full' | 'grouped' | 'depthwise', ...options: readonly ('gate' | 'projection' | 'plain')[]) =>
  (v: Variation): readonly Stage[] => {
    const middle = v.channels;
    const out = options.includes('projection') ? v.channels * 2 : v.channels;
    return [
      pointwiseStage('reduce', middle, v.activation, v.bias),
      spatialStage('spatial', {...v, group: GROUP_WIDTHS[group](middle), channels: middle}),
      ...(options.includes('gate') ? [gateStage(3, 'relu')] : []),
      pointwiseStage('expand', out, 'linear', v.bias),
      ...(options.includes('plain')
        ? []
        : [residualStage(options.includes('projection') ? [projection(v, out)] : [], v.activation)]),
    ];
  };

const basic =
  (shortcut: 'identity' | 'projection' | 'none') =>
  (v: Variation): readonly Stage[] => {
    const out = shortcut === 'identity' ? v.channels : v.channels + 4;
    return [
      spatialStage('first', {...v, group: v.channels, channels: out}),
      spatialStage('second', {...v, stride: 1, pad: 'same', group: out, channels: out, activation: 'linear'}),
      ...(shortcut === 'none'
        ? []
        : [residualStage(shortcut === 'projection' ? [projection(v, out)] : [], v.activation)]),
    ];
  };

const pooledShortcut = (v: Variation): readonly Stage[] => {
  const main = bottleneck('full', 'plain')(v);
  const shortcut: readonly ShortcutStage[] = [
    {op: 'pool', name: 'pool', mode: 'avg', kernel: [2, 2], stride: [2, 2], pad: 'same'},
    pointwiseStage('shortcut', v.channels, 'linear'),
  ];
  return [...main, residualStage(shortcut, 'relu')];
};

const spread = (channels: number, of: Partial<SpreadStage>): SpreadStage => {
  const places = {from: 0, every: 1, count: channels / 2, at: 0, step: 2};
  return {op: 'spread', name: 'spread', ...places, channels, ...of};
};

/** ShuffleNet V2's units: the channels of both paths come out by turns, so a filter has zeros where the other path goes. */
const shuffleUnit =
  (of: Partial<SpreadStage> = {}) =>
  (v: Variation): readonly Stage[] => [
    ...bottleneck('depthwise', 'plain')(v).slice(0, -1),
    pointwiseStage('expand', v.channels, 'relu', v.bias),
    residualStage([spread(v.channels, of)]),
  ];

const shuffleCases: readonly BlockCase[] = [
  makeCase('channels by turns', shuffleUnit(), {activation: 'relu'}),
  makeCase('channels by turns, odd half', shuffleUnit(), {channels: 10, activation: 'relu', batch: 2}),
  makeCase('every second channel, then the rest', shuffleUnit({every: 2, step: 1}), {activation: 'relu'}),
  makeCase('the last half first', (v) => shuffleUnit({from: v.channels / 2, step: 1})(v), {channels: 24}),
  makeCase(
    'channels by turns, stride 2',
    (v) => [
      ...bottleneck('depthwise', 'plain')(v).slice(0, -1),
      pointwiseStage('expand', v.channels * 2, 'relu'),
      residualStage([
        spatialStage('shortcut', {...v, group: 1, activation: 'linear'}),
        pointwiseStage('shortcut2', v.channels, 'relu'),
        spread(v.channels * 2, {at: 1}),
      ]),
    ],
    {stride: 2, activation: 'relu'},
  ),
];

export const bottleneckSpec: BlockSpec = {
  kind: 'BlockBottleneck',
  summary: 'reduce 1×1, convolution of any group width, gate, expand 1×1, add a shortcut, activation',
  slots: [
    {name: 'reduce', op: 'pointwise'},
    {name: 'spatial', op: 'spatial'},
    {name: 'gate', op: 'gate', optional: true},
    {name: 'expand', op: 'pointwise'},
    {name: 'residual', op: 'residual', optional: true, shortcut: 'any', activationAfter: true},
  ],
  cases: [
    ...casesOf(bottleneck('full', 'plain')),
    ...casesOf(bottleneck('grouped', 'gate', 'plain')).slice(0, 12),
    makeCase('ResNet', bottleneck('full'), {activation: 'relu'}),
    makeCase('ResNet, stride 2', bottleneck('full', 'projection'), {activation: 'relu', stride: 2}),
    makeCase('ResNeXt', bottleneck('grouped'), {activation: 'relu'}),
    makeCase('RegNetY', bottleneck('grouped', 'gate'), {activation: 'relu', batch: 2}),
    makeCase('RegNetY, stride 2', bottleneck('grouped', 'gate', 'projection'), {
      activation: 'relu',
      stride: 2,
    }),
    makeCase('RegNetY, groups of 16', bottleneck('grouped', 'gate'), {
      activation: 'relu',
      channels: 32,
      height: 11,
    }),
    makeCase('prelu after the add', bottleneck('full'), {activation: 'prelu'}),
    makeCase('depth-wise, prelu after the add', bottleneck('depthwise'), {activation: 'prelu'}),
    makeCase('pooled shortcut', pooledShortcut, {stride: 2}),
    ...shuffleCases,
  ],
};

export const basicSpec: BlockSpec = {
  kind: 'BlockBasic',
  summary: 'two full convolutions, gate, add a shortcut, activation',
  slots: [
    {name: 'first', op: 'spatial', spatial: ['full']},
    {name: 'second', op: 'spatial', spatial: ['full']},
    {name: 'gate', op: 'gate', optional: true},
    {name: 'residual', op: 'residual', optional: true, shortcut: 'any', activationAfter: true},
  ],
  cases: [
    ...casesOf(basic('none')),
    makeCase('ResNet', basic('identity'), {activation: 'relu'}),
    makeCase('ResNet, stride 2', basic('projection'), {activation: 'relu', stride: 2}),
    makeCase('gate', (v) => [...basic('none')(v), gateStage(2, 'relu')]),
    makeCase('gate, given a map', (v) => [...basic('none')(v), gateStage(2, 'relu'), givenStage('relu')]),
  ],
};

/**
 * Filters `[kh, kw, C_in or group, C_out]` and `[C_in, C_out]`; `shortcutFilter` is `[1, 1, C_in, C_out]`; biases and
 * prelu slopes `[channels]`. All float32.
 */
export interface BottleneckWeights {
  readonly reduceFilter: tf.Tensor2D;
  readonly reduceBias?: tf.Tensor1D;
  readonly reduceAlpha?: tf.Tensor1D;
  readonly spatialFilter: tf.Tensor4D;
  readonly spatialBias?: tf.Tensor1D;
  readonly spatialAlpha?: tf.Tensor1D;
  readonly gateReduceFilter?: tf.Tensor2D;
  readonly gateReduceBias?: tf.Tensor1D;
  readonly gateExpandFilter?: tf.Tensor2D;
  readonly gateExpandBias?: tf.Tensor1D;
  readonly expandFilter: tf.Tensor2D;
  readonly expandBias?: tf.Tensor1D;
  readonly shortcutFilter?: tf.Tensor4D;
  readonly shortcutBias?: tf.Tensor1D;
  /** Prelu slopes after the add. */
  readonly residualAlpha?: tf.Tensor1D;
  /** `[N, H', W', C']` like the output: added in the place of x. */
  readonly residualMap?: tf.Tensor4D;
}

export interface BasicWeights {
  readonly firstFilter: tf.Tensor4D;
  readonly firstBias?: tf.Tensor1D;
  readonly firstAlpha?: tf.Tensor1D;
  readonly secondFilter: tf.Tensor4D;
  readonly secondBias?: tf.Tensor1D;
  readonly shortcutFilter?: tf.Tensor4D;
  readonly shortcutBias?: tf.Tensor1D;
  /** Prelu slopes after the add. */
  readonly residualAlpha?: tf.Tensor1D;
  /** `[N, H', W', C']` like the output: added in the place of x. */
  readonly residualMap?: tf.Tensor4D;
}

export interface ResNetOptions extends SpatialConfig {
  /** Between the convolutions and after the add; 'relu' unless given. */
  readonly activation?: ActivationLike;
  /** Adds x, through `shortcutFilter` where that is given; true unless given. */
  readonly residual?: boolean;
}

const shortcutOf = (
  read: WeightReader,
  weights: OptionalWeights,
  {stride = 1, activation = 'relu', residual = true}: ResNetOptions,
): Stage | false =>
  read.residual(residual, weights['shortcutFilter'] ? [read.spatial('shortcut', {stride})] : [], activation);

/**
 * One bottleneck block; batch norm must be folded into the weights. The stride is the spatial convolution's (ResNet v1.5).
 * @param x `[N, H, W, C]`, float32. @returns `[N, H', W', C']`. @throws {BlockError} for shapes that do not fit.
 */
export function bottleneckBlock(
  x: tf.Tensor4D,
  weights: BottleneckWeights,
  options: ResNetOptions = {},
): tf.Tensor4D {
  const {activation = 'relu'} = options;
  const read = new WeightReader(bottleneckSpec.kind, {...weights});
  const stages = [
    read.pointwise('reduce', activation),
    read.spatial('spatial', options, activation),
    read.has('gateReduceFilter') && read.gate('relu'),
    read.pointwise('expand'),
    shortcutOf(read, {...weights}, options),
  ];
  return runTyped(bottleneckSpec, stages, x, {...weights});
}

/**
 * One basic block; batch norm must be folded into the weights. The stride is the first convolution's.
 * @param x `[N, H, W, C]`, float32. @returns `[N, H', W', C']`. @throws {BlockError} for shapes that do not fit.
 */
export function basicBlock(x: tf.Tensor4D, weights: BasicWeights, options: ResNetOptions = {}): tf.Tensor4D {
  const read = new WeightReader(basicSpec.kind, {...weights});
  const stages = [
    read.spatial('first', options, options.activation ?? 'relu'),
    read.spatial('second', {}),
    shortcutOf(read, {...weights}, options),
  ];
  return runTyped(basicSpec, stages, x, {...weights});
}
