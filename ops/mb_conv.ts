/**
 * MBConv, the inverted residual of MobileNetV2, V3, MnasNet and EfficientNet: expand, spatial convolution (depth-wise, or
 * grouped as in Lavin's variant), squeeze-and-excite, project, add the input. Figure 2(d) of the paper. Either 1×1 may be
 * missing: depth-wise then pointwise, and pointwise then depth-wise, fuse like the whole.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type {ActivationLike} from './activation.js';
import {casesOf, makeCase, type Variation} from './cases.js';
import type {Stage} from './block.js';
import type {BlockSpec} from './spec.js';
import {gateStage, givenStage, pointwiseStage, residualStage, spatialStage} from './stages/make.js';
import {runTyped, type SpatialConfig, WeightReader} from './typed.js';

type Option = 'expand' | 'gate' | 'residual' | 'grouped';

const build =
  (...options: readonly Option[]) =>
  (v: Variation): readonly Stage[] => {
    const has = (option: Option): boolean => options.includes(option);
    const hidden = has('expand') ? v.channels * 3 : v.channels;
    const group = has('grouped') ? Math.max(2, v.channels / 2) : 1;
    return [
      ...(has('expand') ? [pointwiseStage('expand', hidden, v.activation, v.bias)] : []),
      spatialStage('spatial', {...v, group, channels: hidden}),
      ...(has('gate') ? [gateStage(Math.ceil(v.channels / 4), v.activation, 'sigmoid', v.bias)] : []),
      pointwiseStage('project', has('residual') ? v.channels : v.channels + 4, 'linear', v.bias),
      ...(has('residual') ? [residualStage()] : []),
    ];
  };

export const mbConvSpec: BlockSpec = {
  kind: 'BlockMBConv',
  summary: 'expand 1×1, depth-wise or grouped convolution, squeeze-and-excite, project 1×1, add',
  slots: [
    {name: 'expand', op: 'pointwise', optional: true},
    {name: 'spatial', op: 'spatial', spatial: ['depthwise', 'grouped']},
    {name: 'gate', op: 'gate', optional: true},
    {name: 'project', op: 'pointwise', optional: true},
    {name: 'residual', op: 'residual', optional: true},
  ],
  anyOf: ['expand', 'project'],
  cases: [
    ...casesOf(build('expand')),
    ...casesOf(build('expand', 'gate')),
    makeCase('residual', build('expand', 'residual')),
    makeCase('gate, residual', build('expand', 'gate', 'residual')),
    makeCase('no expansion', build('residual')),
    makeCase('no expansion, gate, stride 2', build('gate'), {stride: 2}),
    makeCase('no expansion, gate, residual', build('gate', 'residual'), {activation: 'hardswish'}),
    makeCase('grouped', build('expand', 'grouped', 'residual')),
    makeCase('grouped, gate, stride 2', build('expand', 'grouped', 'gate'), {stride: 2, kernel: 5}),
    makeCase('groups of 12, gate, stride 2', build('expand', 'grouped', 'gate'), {
      stride: 2,
      channels: 24,
      batch: 2,
    }),
    makeCase('odd channels', build('expand', 'gate', 'residual'), {channels: 5, height: 6}),
    makeCase('wide', build('expand', 'gate', 'residual'), {channels: 72, kernel: 5}),
    makeCase('no projection', (v) => build('expand')(v).slice(0, 2), {activation: 'swish'}),
    makeCase('no projection, gate, stride 2', (v) => build('expand', 'gate')(v).slice(0, 3), {stride: 2}),
    makeCase('no projection, residual', (v) => [
      pointwiseStage('expand', v.channels, v.activation),
      spatialStage('spatial', {...v, group: 1, channels: v.channels}),
      residualStage(),
    ]),
    makeCase('given a map, gate, stride 2', (v) => [...build('expand', 'gate')(v), givenStage()], {
      stride: 2,
      batch: 2,
    }),
    makeCase('depth multiplier', (v) => [
      spatialStage('spatial', {...v, group: 1, channels: 16}),
      gateStage(3),
      pointwiseStage('project', 12),
    ]),
  ],
};

/** Filters `[kh, kw, group, C_out]` and `[C_in, C_out]`, one of the two 1×1 at least; biases and prelu slopes `[C_out]`. All float32. */
export interface MBConvWeights {
  readonly expandFilter?: tf.Tensor2D;
  readonly expandBias?: tf.Tensor1D;
  readonly expandAlpha?: tf.Tensor1D;
  readonly spatialFilter: tf.Tensor4D;
  readonly spatialBias?: tf.Tensor1D;
  readonly spatialAlpha?: tf.Tensor1D;
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

export interface MBConvOptions extends SpatialConfig {
  /** After expand and the spatial convolution; 'relu6' unless given. */
  readonly activation?: ActivationLike;
  /** Inside squeeze-and-excite; the block's own unless given. */
  readonly gateActivation?: ActivationLike;
  /** 'sigmoid' unless given. */
  readonly gate?: ActivationLike;
  /** Adds x; it must have the output's shape. */
  readonly residual?: boolean;
}

/**
 * One MBConv block; batch norm must be folded into the weights.
 * @param x `[N, H, W, C]`, float32. @returns `[N, H', W', C']`.
 * @throws {BlockError} for shapes that do not fit, naming both.
 */
export function mbConv(x: tf.Tensor4D, weights: MBConvWeights, options: MBConvOptions = {}): tf.Tensor4D {
  const {activation = 'relu6', gateActivation = activation, gate = 'sigmoid', residual = false} = options;
  const read = new WeightReader(mbConvSpec.kind, {...weights});
  const stages = [
    read.has('expandFilter') && read.pointwise('expand', activation),
    read.spatial('spatial', options, activation),
    read.has('gateReduceFilter') && read.gate(gateActivation, gate),
    read.has('projectFilter') && read.pointwise('project'),
    read.residual(residual),
  ];
  return runTyped(mbConvSpec, stages, x, {...weights});
}
