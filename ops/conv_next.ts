/**
 * ConvNeXt block (Liu et al. 2022) and its V2 (Woo et al. 2023): depth-wise 7×7, LayerNorm, 1×1 to four times the channels,
 * GELU, [GRN], 1×1 back, layer scale, add.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type {ActivationLike} from './activation.js';
import type {Stage} from './block.js';
import {casesOf, makeCase, type Variation} from './cases.js';
import type {BlockSpec} from './spec.js';
import {pointwiseStage, residualStage, spatialStage} from './stages/make.js';
import {runTyped, type SpatialConfig, WeightReader} from './typed.js';

const norm = (epsilon: number, affine: boolean): Stage => ({op: 'layernorm', name: 'norm', epsilon, affine});

const build =
  (...options: readonly ('affine' | 'grn' | 'scale' | 'residual' | 'grouped')[]) =>
  (v: Variation): readonly Stage[] => {
    const has = (option: (typeof options)[number]): boolean => options.includes(option);
    return [
      spatialStage('spatial', {
        ...v,
        activation: 'linear',
        group: has('grouped') ? v.channels / 2 : 1,
        channels: v.channels,
      }),
      norm(1e-6, has('affine')),
      pointwiseStage('expand', v.channels * 4, v.activation, v.bias),
      ...(has('grn') ? [{op: 'grn', name: 'grn', epsilon: 1e-6} as const] : []),
      pointwiseStage('project', v.channels, 'linear', v.bias),
      ...(has('scale') ? [{op: 'scale', name: 'scale'} as const] : []),
      ...(has('residual') ? [residualStage()] : []),
    ];
  };

export const convNextSpec: BlockSpec = {
  kind: 'BlockConvNeXt',
  summary: 'depth-wise convolution, LayerNorm, expand 1×1, GELU, GRN, project 1×1, layer scale, add',
  slots: [
    {name: 'spatial', op: 'spatial', spatial: ['depthwise', 'grouped']},
    {name: 'norm', op: 'layernorm'},
    {name: 'expand', op: 'pointwise'},
    {name: 'grn', op: 'grn', optional: true},
    {name: 'project', op: 'pointwise'},
    {name: 'scale', op: 'scale', optional: true},
    {name: 'residual', op: 'residual', optional: true},
  ],
  cases: [
    ...casesOf(build('affine', 'scale')),
    makeCase('ConvNeXt', build('affine', 'scale', 'residual'), {kernel: 7, activation: 'gelu'}),
    makeCase('ConvNeXt V2', build('affine', 'grn', 'residual'), {kernel: 7, activation: 'gelu', batch: 2}),
    makeCase('GRN, stride 2', build('affine', 'grn'), {stride: 2, activation: 'gelu'}),
    makeCase('plain norm', build('residual'), {kernel: 7, activation: 'gelutanh'}),
    makeCase('grouped', build('affine', 'scale', 'residual', 'grouped'), {activation: 'gelu'}),
    makeCase('grouped, wide', build('affine', 'residual', 'grouped'), {
      activation: 'gelu',
      kernel: 5,
      channels: 24,
    }),
    makeCase('wide', build('affine', 'scale', 'residual'), {kernel: 7, channels: 96, activation: 'gelu'}),
    makeCase('odd channels', build('affine', 'scale', 'residual'), {
      kernel: 7,
      channels: 13,
      activation: 'gelu',
    }),
  ],
};

/** Filters `[kh, kw, group, C]`, `[C, αC]` and `[αC, C]`; the rest `[channels]`. All float32. */
export interface ConvNeXtWeights {
  readonly spatialFilter: tf.Tensor4D;
  readonly spatialBias?: tf.Tensor1D;
  readonly normGain?: tf.Tensor1D;
  readonly normOffset?: tf.Tensor1D;
  readonly expandFilter: tf.Tensor2D;
  readonly expandBias?: tf.Tensor1D;
  readonly expandAlpha?: tf.Tensor1D;
  readonly grnGain?: tf.Tensor1D;
  readonly grnOffset?: tf.Tensor1D;
  readonly projectFilter: tf.Tensor2D;
  readonly projectBias?: tf.Tensor1D;
  /** Layer scale `[C]`. */
  readonly scaleGain?: tf.Tensor1D;
  /** `[N, H', W', C']` like the output: added in the place of x. */
  readonly residualMap?: tf.Tensor4D;
}

export interface ConvNeXtOptions extends SpatialConfig {
  /** After expand; 'gelu' (exact) unless given. */
  readonly activation?: ActivationLike;
  /** Of LayerNorm and GRN; 1e-6 unless given. */
  readonly epsilon?: number;
  /** Adds x; true unless given. */
  readonly residual?: boolean;
}

/**
 * One ConvNeXt block.
 * @param x `[N, H, W, C]`, float32. @returns `[N, H', W', C']`. @throws {BlockError} for shapes that do not fit.
 */
export function convNext(
  x: tf.Tensor4D,
  weights: ConvNeXtWeights,
  options: ConvNeXtOptions = {},
): tf.Tensor4D {
  const {activation = 'gelu', epsilon = 1e-6, residual = true} = options;
  const read = new WeightReader(convNextSpec.kind, {...weights});
  const stages = [
    read.spatial('spatial', options),
    norm(epsilon, read.has('normGain')),
    read.pointwise('expand', activation),
    read.has('grnGain') && ({op: 'grn', name: 'grn', epsilon} as const),
    read.pointwise('project'),
    read.has('scaleGain') && ({op: 'scale', name: 'scale'} as const),
    read.residual(residual),
  ];
  return runTyped(convNextSpec, stages, x, {...weights});
}
