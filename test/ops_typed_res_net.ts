/** Typed ops of residual networks and of what stands between blocks, with the stages they stand for. */
import {basicBlock, bottleneckBlock, feedForward, head, layerNorm, squeezeExcite} from '../ops/index.js';
import {gateStage, givenStage, residualStage, spatialStage} from '../ops/stages/make.js';
import {dense, type Row} from './ops_typed_row.js';

export const RES_NET: readonly Row[] = [
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
