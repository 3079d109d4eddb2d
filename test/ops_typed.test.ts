/** Each typed op is its block: the same values as stages written by hand, options and absent weights included. */
import * as tf from '@tensorflow/tfjs-core';
import {
  basicBlock,
  type Block,
  bottleneckBlock,
  conv,
  convFirst,
  convNext,
  fusedMBConv,
  feedForward,
  head,
  layerNorm,
  squeezeExcite,
  mbConv,
  reference,
  runBlock,
  separable,
  type Shape4D,
  type Stage,
  universalInvertedBottleneck,
} from '../ops/index.js';
import {gateStage, givenStage, pointwiseStage, residualStage, spatialStage} from '../ops/stages/make.js';
import {registerBlockKernels} from '../src/register.js';
import {disposeDrawn, drawBlock} from './support/draw.js';
import {onBackend} from './support/environment.js';
import {expectClose} from './support/expect_close.js';
import {expectNoLeak} from './support/expect_no_leak.js';

type TypedOp = (x: tf.Tensor4D, weights: never, options?: never) => tf.Tensor;

interface Row {
  readonly name: string;
  readonly kind: string;
  readonly op: TypedOp;
  readonly options?: Readonly<Record<string, unknown>>;
  readonly input: Shape4D;
  readonly stages: readonly Stage[];
}

const dense = (
  name: string,
  channels: number,
  activation?: 'relu' | 'relu6' | 'swish' | 'gelu' | 'prelu',
): Stage => pointwiseStage(name, channels, activation);
const norm = (epsilon: number, affine: boolean): Stage => ({op: 'layernorm', name: 'norm', epsilon, affine});

const MOBILE: readonly Row[] = [
  {
    name: 'mbConv by default',
    kind: 'BlockMBConv',
    op: mbConv,
    input: [2, 5, 6, 4],
    stages: [
      dense('expand', 8, 'relu6'),
      spatialStage('spatial', {kernel: 3, group: 1, channels: 8, activation: 'relu6'}),
      dense('project', 6),
    ],
  },
  {
    name: 'mbConv with everything',
    kind: 'BlockMBConv',
    op: mbConv,
    options: {activation: 'prelu', gate: 'hardsigmoid', residual: true, dilation: [1, 2], pad: [1, 1, 2, 2]},
    input: [1, 5, 6, 4],
    stages: [
      dense('expand', 8, 'prelu'),
      spatialStage('spatial', {
        kernel: 3,
        group: 2,
        channels: 8,
        dilation: [1, 2],
        pad: [1, 1, 2, 2],
        activation: 'prelu',
      }),
      gateStage(2, 'prelu', 'hardsigmoid'),
      dense('project', 4),
      residualStage(),
    ],
  },
  {
    name: 'mbConv without expansion or biases',
    kind: 'BlockMBConv',
    op: mbConv,
    options: {activation: 'swish', gateActivation: 'relu', stride: 2},
    input: [1, 5, 6, 4],
    stages: [
      spatialStage('spatial', {
        kernel: [3, 2],
        group: 1,
        channels: 4,
        stride: 2,
        bias: false,
        activation: 'swish',
      }),
      gateStage(2, 'relu', 'sigmoid', false),
      pointwiseStage('project', 4, 'linear', false),
    ],
  },
  {
    name: 'universalInvertedBottleneck with both convolutions',
    kind: 'BlockUIB',
    op: universalInvertedBottleneck,
    options: {stride: 2},
    input: [1, 5, 6, 4],
    stages: [
      spatialStage('start', {kernel: 5, group: 1, channels: 4}),
      dense('expand', 8, 'relu'),
      spatialStage('spatial', {kernel: 3, group: 1, channels: 8, stride: 2, activation: 'relu'}),
      dense('project', 6),
    ],
  },
  {
    name: 'universalInvertedBottleneck that strides in front',
    kind: 'BlockUIB',
    op: universalInvertedBottleneck,
    options: {stride: 2, activation: 'swish'},
    input: [1, 5, 6, 4],
    stages: [
      spatialStage('start', {kernel: 3, group: 1, channels: 4, stride: 2}),
      dense('expand', 8, 'swish'),
      dense('project', 6),
    ],
  },
  {
    name: 'fusedMBConv by default',
    kind: 'BlockFusedMBConv',
    op: fusedMBConv,
    input: [1, 5, 6, 3],
    stages: [
      spatialStage('expand', {kernel: 3, group: 3, channels: 7, activation: 'swish'}),
      dense('project', 4),
    ],
  },
  {
    name: 'fusedMBConv with a gate, no projection',
    kind: 'BlockFusedMBConv',
    op: fusedMBConv,
    options: {activation: 'relu', residual: true},
    input: [1, 5, 6, 3],
    stages: [
      spatialStage('expand', {kernel: 3, group: 3, channels: 3, activation: 'relu'}),
      gateStage(2, 'relu'),
      residualStage(),
    ],
  },
  {
    name: 'one full convolution, with an activation on either side of the add',
    kind: 'BlockConv',
    op: conv,
    options: {residual: true, activation: 'swish', activationAfter: 'prelu'},
    input: [1, 5, 6, 4],
    stages: [
      spatialStage('spatial', {kernel: 3, group: 4, channels: 4, activation: 'swish'}),
      residualStage([], 'prelu'),
    ],
  },
  {
    name: 'one 1×1 convolution, given a map',
    kind: 'BlockConv',
    op: conv,
    options: {activationAfter: 'relu'},
    input: [2, 3, 2, 4],
    stages: [dense('pointwise', 6), givenStage('relu')],
  },
  {
    name: 'mbConv, given a map where it would have added x',
    kind: 'BlockMBConv',
    op: mbConv,
    options: {residual: true, stride: 2},
    input: [1, 5, 6, 4],
    stages: [
      dense('expand', 8, 'relu6'),
      spatialStage('spatial', {kernel: 3, group: 1, channels: 8, stride: 2, activation: 'relu6'}),
      dense('project', 3),
      givenStage(),
    ],
  },
  {
    name: 'one 1×1 convolution',
    kind: 'BlockConv',
    op: conv,
    options: {activation: 'gelu'},
    input: [2, 3, 2, 4],
    stages: [dense('pointwise', 6, 'gelu')],
  },
  {
    name: 'one convolution behind a LayerNorm',
    kind: 'BlockConv',
    op: conv,
    options: {stride: 2, pad: 'valid', epsilon: 1e-3},
    input: [2, 4, 6, 3],
    stages: [
      {op: 'layernorm', name: 'norm', epsilon: 1e-3, affine: true},
      spatialStage('spatial', {kernel: 2, stride: 2, pad: 'valid', group: 3, channels: 5}),
    ],
  },
  {
    name: 'one convolution behind a LayerNorm without gain',
    kind: 'BlockConv',
    op: conv,
    options: {epsilon: 1e-6},
    input: [1, 4, 6, 3],
    stages: [
      {op: 'layernorm', name: 'norm', epsilon: 1e-6, affine: false},
      spatialStage('spatial', {kernel: 3, group: 3, channels: 5}),
    ],
  },
  {
    name: 'separable by default',
    kind: 'BlockSeparable',
    op: separable,
    input: [1, 5, 6, 4],
    stages: [spatialStage('spatial', {kernel: 3, group: 1, channels: 4}), dense('project', 6, 'relu')],
  },
  {
    name: 'separable, strided, with a widened residual',
    kind: 'BlockSeparable',
    op: separable,
    options: {stride: 2, residual: true, activation: 'prelu', spatialActivation: 'relu6'},
    input: [1, 5, 6, 4],
    stages: [
      spatialStage('spatial', {kernel: 5, group: 1, channels: 4, stride: 2, activation: 'relu6'}),
      dense('project', 6),
      residualStage(
        [
          {op: 'pool', name: 'pool', mode: 'max', kernel: [2, 2], stride: [2, 2], pad: 'same'},
          {op: 'padchannels', name: 'widen', channels: 6},
        ],
        'prelu',
      ),
    ],
  },
];

const NEXT: readonly Row[] = [
  {
    name: 'convNext by default',
    kind: 'BlockConvNeXt',
    op: convNext,
    input: [2, 5, 6, 4],
    stages: [
      spatialStage('spatial', {kernel: 7, group: 1, channels: 4}),
      norm(1e-6, true),
      dense('expand', 8, 'gelu'),
      {op: 'grn', name: 'grn', epsilon: 1e-6},
      dense('project', 4),
      {op: 'scale', name: 'scale'},
      residualStage(),
    ],
  },
  {
    name: 'convNext, plain norm, no add',
    kind: 'BlockConvNeXt',
    op: convNext,
    options: {activation: 'swish', epsilon: 1e-2, residual: false, stride: 2},
    input: [1, 5, 6, 4],
    stages: [
      spatialStage('spatial', {kernel: 3, group: 2, channels: 4, stride: 2}),
      norm(1e-2, false),
      dense('expand', 8, 'swish'),
      dense('project', 4),
    ],
  },
  {
    name: 'convFirst by default',
    kind: 'BlockConvFirst',
    op: convFirst,
    input: [1, 5, 6, 4],
    stages: [
      spatialStage('spatial', {kernel: 3, group: 2, channels: 4}),
      dense('expand', 8, 'relu'),
      dense('project', 4),
      residualStage(),
    ],
  },
  {
    name: 'convFirst with blur-pool',
    kind: 'BlockConvFirst',
    op: convFirst,
    options: {blurPool: true, activation: 'prelu'},
    input: [1, 5, 6, 4],
    stages: [
      spatialStage('spatial', {kernel: 3, group: 2, channels: 4}),
      {op: 'concat', name: 'concat'},
      {op: 'blurpool', name: 'blur', taps: 3, stride: 2, mode: 'reflect'},
      dense('expand', 12, 'prelu'),
      dense('project', 8),
    ],
  },
  {
    name: 'convFirst with a blur of its own',
    kind: 'BlockConvFirst',
    op: convFirst,
    options: {blurPool: {taps: 5, mode: 'zero'}},
    input: [1, 5, 6, 4],
    stages: [
      spatialStage('spatial', {kernel: 3, group: 1, channels: 4}),
      {op: 'concat', name: 'concat'},
      {op: 'blurpool', name: 'blur', taps: 5, stride: 2, mode: 'zero'},
      dense('expand', 12, 'relu'),
      dense('project', 8),
    ],
  },
];

const RES_NET: readonly Row[] = [
  {
    name: 'bottleneckBlock by default',
    kind: 'BlockBottleneck',
    op: bottleneckBlock,
    input: [1, 5, 6, 6],
    stages: [
      dense('reduce', 4, 'relu'),
      spatialStage('spatial', {kernel: 3, group: 4, channels: 4, activation: 'relu'}),
      dense('expand', 6),
      residualStage([], 'relu'),
    ],
  },
  {
    name: 'bottleneckBlock, grouped, gated, strided, projected',
    kind: 'BlockBottleneck',
    op: bottleneckBlock,
    options: {stride: 2, activation: 'prelu'},
    input: [1, 5, 6, 6],
    stages: [
      dense('reduce', 4, 'prelu'),
      spatialStage('spatial', {kernel: 3, group: 2, channels: 4, stride: 2, activation: 'prelu'}),
      gateStage(2, 'relu'),
      dense('expand', 8),
      residualStage([spatialStage('shortcut', {kernel: 1, group: 6, channels: 8, stride: 2})], 'prelu'),
    ],
  },
  {
    name: 'basicBlock by default',
    kind: 'BlockBasic',
    op: basicBlock,
    input: [1, 5, 6, 3],
    stages: [
      spatialStage('first', {kernel: 3, group: 3, channels: 3, activation: 'relu'}),
      spatialStage('second', {kernel: 3, group: 3, channels: 3}),
      residualStage([], 'relu'),
    ],
  },
  {
    name: 'basicBlock, strided and projected',
    kind: 'BlockBasic',
    op: basicBlock,
    options: {stride: 2, activation: 'swish'},
    input: [1, 5, 6, 3],
    stages: [
      spatialStage('first', {kernel: 3, group: 3, channels: 5, stride: 2, activation: 'swish'}),
      spatialStage('second', {kernel: 3, group: 5, channels: 5, bias: false}),
      residualStage([spatialStage('shortcut', {kernel: 1, group: 3, channels: 5, stride: 2})], 'swish'),
    ],
  },
  {
    name: 'basicBlock without the add',
    kind: 'BlockBasic',
    op: basicBlock,
    options: {residual: false},
    input: [1, 5, 6, 3],
    stages: [
      spatialStage('first', {kernel: 3, group: 3, channels: 5, activation: 'relu'}),
      spatialStage('second', {kernel: 3, group: 5, channels: 4}),
    ],
  },
  {
    name: 'feedForward by default',
    kind: 'BlockFeedForward',
    op: feedForward,
    input: [1, 3, 2, 4],
    stages: [dense('expand', 8, 'relu'), dense('project', 4), residualStage()],
  },
  {
    name: 'feedForward with a norm and layer scale, given a map',
    kind: 'BlockFeedForward',
    op: feedForward,
    options: {activation: 'gelu', epsilon: 1e-3},
    input: [1, 3, 2, 4],
    stages: [
      {op: 'layernorm', name: 'norm', epsilon: 1e-3, affine: true},
      dense('expand', 8, 'gelu'),
      dense('project', 5),
      {op: 'scale', name: 'scale'},
      givenStage(),
    ],
  },
  {
    name: 'squeezeExcite',
    kind: 'BlockSqueezeExcite',
    op: squeezeExcite,
    options: {gate: 'hardsigmoid', residual: true, activationAfter: 'relu'},
    input: [2, 3, 2, 6],
    stages: [gateStage(2, 'relu', 'hardsigmoid'), residualStage([], 'relu')],
  },
  {
    name: 'head with all it can have',
    kind: 'BlockHead',
    op: head,
    options: {activation: 'relu6', hiddenActivation: 'prelu', epsilon: 1e-3},
    input: [2, 3, 2, 4],
    stages: [
      dense('conv', 6, 'relu6'),
      {op: 'mean', name: 'mean'},
      {op: 'layernorm', name: 'norm', epsilon: 1e-3, affine: true},
      dense('hidden', 5, 'prelu'),
      dense('dense', 3),
      {op: 'flatten', name: 'flatten'},
    ],
  },
  {
    name: 'head with a plain norm alone',
    kind: 'BlockHead',
    op: head,
    options: {epsilon: 1e-6},
    input: [1, 3, 2, 4],
    stages: [
      {op: 'mean', name: 'mean'},
      {op: 'layernorm', name: 'norm', epsilon: 1e-6, affine: false},
      {op: 'flatten', name: 'flatten'},
    ],
  },
  {
    name: 'layerNorm',
    kind: 'BlockLayerNorm',
    op: layerNorm,
    options: {epsilon: 1e-3},
    input: [2, 3, 2, 5],
    stages: [{op: 'layernorm', name: 'norm', epsilon: 1e-3, affine: true}],
  },
];

onBackend('cpu', 'typed ops', () => {
  beforeAll(() => registerBlockKernels());

  [...MOBILE, ...NEXT, ...RES_NET].forEach(({name, kind, op, options, input, stages}, index) => {
    it(`${name} runs its stages`, async () => {
      const block: Block = {kind, stages};
      const drawn = drawBlock(block, input, index + 1);
      await expectNoLeak(async () => {
        // The rows pair each op with weights of its own names; a table of all ops cannot say so in types.
        const actual = op(drawn.x, {...drawn.weights, unused: undefined} as never, options as never);
        const [byBlock, expected] = [
          runBlock(block, drawn.x, drawn.weights),
          reference(block, drawn.x, drawn.weights),
        ];
        await expectClose(actual, expected, {name});
        await expectClose(byBlock, expected, {name: `${name}, runBlock`});
        tf.dispose([actual, byBlock, expected]);
      });
      disposeDrawn(drawn);
    });
  });

  it('run the kernel that is registered, not the reference', async () => {
    const {kind, stages, input, op} = MOBILE[0] as Row;
    const drawn = drawBlock({kind, stages}, input, 1);
    const {kernelNames} = await tf.profile(() => op(drawn.x, drawn.weights as never).dispose());
    expect(kernelNames).toContain(kind);
    disposeDrawn(drawn);
  });
});

onBackend('cpu', 'a block of a kind that has no kernel', () => {
  it('runs by its reference, in both orders of calling', async () => {
    const block: Block = {kind: 'BlockUnknown', stages: [dense('expand', 3, 'relu')]};
    const drawn = drawBlock(block, [1, 2, 2, 4], 1);
    const [actual, expected] = [
      runBlock(block, drawn.x, drawn.weights),
      reference(block, drawn.x, drawn.weights),
    ];
    await expectClose(actual, expected);
    tf.dispose([actual, expected]);
    disposeDrawn(drawn);
  });
});
