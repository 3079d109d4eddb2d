/** Typed ops of mobile networks, with the stages they stand for. */
import {conv, fusedMBConv, mbConv, separable, universalInvertedBottleneck} from '../ops/index.js';
import {gateStage, givenStage, pointwiseStage, residualStage, spatialStage} from '../ops/stages/make.js';
import {dense, type Row} from './ops_typed_row.js';

export const MOBILE: readonly Row[] = [
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
