/**
 * The head of a network: [1×1 convolution], the mean over all pixels, [LayerNorm], up to three dense layers. The last one gives the
 * logits; what makes probabilities of them (softmax, sigmoid as an op of its own) stays outside. A mean alone is one too: TF.js
 * exchanges the axes of the whole map first.
 */
import type * as tf from '@tensorflow/tfjs-core';
import {ACTIVATION_NAMES, type ActivationLike} from './activation.js';
import type {Stage} from './block.js';
import {makeCase, type Variation} from './cases.js';
import type {BlockCase, BlockSpec} from './spec.js';
import {pointwiseStage} from './stages/make.js';
import {runToVector, WeightReader} from './typed.js';

const MEAN: Stage = {op: 'mean', name: 'mean'};
const FLATTEN: Stage = {op: 'flatten', name: 'flatten'};
const norm = (affine: boolean, epsilon = 1e-6): Stage => ({op: 'layernorm', name: 'norm', epsilon, affine});
const dense = (channels: number, activation?: ActivationLike, name = 'dense', bias = true): Stage =>
  pointwiseStage(name, channels, activation, bias);

const classifier = (v: Variation, classes = 10): readonly Stage[] => [
  MEAN,
  dense(classes, v.activation, 'dense', v.bias),
  FLATTEN,
];

/** Channels and classes on, under and over the tiles of the kernel, several images a workgroup and more images than one takes. */
const SIZES: readonly (Partial<Variation> & {readonly classes?: number})[] = [
  {},
  {channels: 3, classes: 1},
  {channels: 13, classes: 7},
  {channels: 40, classes: 1001},
  {channels: 1280, classes: 12, height: 7},
  {channels: 2060, classes: 16, batch: 2, height: 2, width: 2},
  {batch: 2},
  {batch: 3, channels: 17},
  {batch: 8, channels: 260, classes: 33},
  {batch: 19, classes: 65, height: 3, width: 3},
  {batch: 33, channels: 300, classes: 260, height: 1, width: 1},
  {height: 1, width: 1},
  {height: 33, width: 17, batch: 2},
  {bias: false},
];

const sizeCases: readonly BlockCase[] = SIZES.map(({classes, ...change}) =>
  makeCase(
    `dense ${JSON.stringify({...change, ...(classes ? {classes} : {})}).replace(/[{}"]/g, '') || 'base'}`,
    (v) => classifier(v, classes),
    {activation: 'linear', ...change},
  ),
);

export const headSpec: BlockSpec = {
  kind: 'BlockHead',
  summary: '1×1 convolution, mean over all pixels, LayerNorm, dense layers',
  slots: [
    {name: 'conv', op: 'pointwise', optional: true},
    {name: 'mean', op: 'mean'},
    {name: 'norm', op: 'layernorm', optional: true},
    {name: 'hidden', op: 'pointwise', optional: true},
    {name: 'hidden2', op: 'pointwise', optional: true},
    {name: 'dense', op: 'pointwise', optional: true},
    {name: 'flatten', op: 'flatten', optional: true},
  ],
  cases: [
    ...sizeCases,
    ...ACTIVATION_NAMES.map((activation) => makeCase(`dense, ${activation}`, classifier, {activation})),
    makeCase('as a map', (v) => [MEAN, dense(6, v.activation)], {batch: 2}),
    makeCase('MobileNet', (v) => [pointwiseStage('conv', 24, v.activation), ...classifier(v, 5)], {batch: 2}),
    makeCase('ConvNeXt', () => [MEAN, norm(true), dense(9), FLATTEN], {batch: 3, channels: 72}),
    makeCase('plain norm', () => [MEAN, norm(false, 1e-3), dense(9), FLATTEN], {channels: 13}),
    makeCase('norm, many images', () => [MEAN, norm(true), dense(9, 'gelu'), FLATTEN], {
      batch: 17,
      channels: 260,
    }),
    makeCase('conv and mean', (v) => [pointwiseStage('conv', 13, v.activation), MEAN, FLATTEN], {batch: 2}),
    makeCase('mean', () => [MEAN, FLATTEN], {batch: 3, channels: 72}),
    makeCase('mean, odd channels, as a map', () => [MEAN], {batch: 2, channels: 13}),
    makeCase('mean of many pixels', () => [MEAN, FLATTEN], {height: 33, width: 17, batch: 2}),
    makeCase('mean and norm', () => [MEAN, norm(true), FLATTEN], {batch: 5, channels: 36}),
    makeCase('mean and norm, as a map', () => [MEAN, norm(false)], {channels: 7}),
    makeCase(
      'three layers',
      () => [MEAN, dense(13, 'relu', 'hidden'), dense(7, 'prelu', 'hidden2'), dense(5), FLATTEN],
      {batch: 2},
    ),
    makeCase(
      'everything',
      (v) => [
        pointwiseStage('conv', 20, v.activation),
        MEAN,
        norm(true),
        dense(18, 'hardswish', 'hidden'),
        dense(6, 'sigmoid'),
        FLATTEN,
      ],
      {activation: 'hardswish', batch: 4},
    ),
  ],
};

/** Filters `[C, C']`; biases, prelu slopes, gain and offset `[channels]`. All float32. */
export interface HeadWeights {
  readonly convFilter?: tf.Tensor2D;
  readonly convBias?: tf.Tensor1D;
  readonly convAlpha?: tf.Tensor1D;
  /** Of a LayerNorm behind the mean, `[C]`; both or neither. */
  readonly normGain?: tf.Tensor1D;
  readonly normOffset?: tf.Tensor1D;
  readonly hiddenFilter?: tf.Tensor2D;
  readonly hiddenBias?: tf.Tensor1D;
  readonly hiddenAlpha?: tf.Tensor1D;
  readonly denseFilter?: tf.Tensor2D;
  readonly denseBias?: tf.Tensor1D;
}

export interface HeadOptions {
  /** After the 1×1 convolution; 'linear' unless given. */
  readonly activation?: ActivationLike;
  /** After the hidden dense layer; 'linear' unless given. */
  readonly hiddenActivation?: ActivationLike;
  /** Added to the variance of the LayerNorm; there is one where this or `normGain` is given, and 1e-6 is its usual value. */
  readonly epsilon?: number;
}

/**
 * The mean over all pixels and what stands around it; batch norm must be folded into the weights.
 * @param x `[N, H, W, C]`, float32. @returns `[N, classes]`. @throws {BlockError} for shapes that do not fit.
 */
export function head(x: tf.Tensor4D, weights: HeadWeights, options: HeadOptions = {}): tf.Tensor2D {
  const {activation, hiddenActivation, epsilon} = options;
  const read = new WeightReader(headSpec.kind, {...weights});
  const isAffine = read.has('normGain');
  const stages = [
    read.has('convFilter') && read.pointwise('conv', activation),
    MEAN,
    (isAffine || epsilon !== undefined) && norm(isAffine, epsilon),
    read.has('hiddenFilter') && read.pointwise('hidden', hiddenActivation),
    read.has('denseFilter') && read.pointwise('dense'),
    FLATTEN,
  ];
  return runToVector(headSpec, stages, x, {...weights});
}
