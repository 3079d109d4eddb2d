/** Typed ops of ConvNeXt and ConvFirst, with the stages they stand for. */
import {convFirst, convNext} from '../ops/index.js';
import {residualStage, spatialStage} from '../ops/stages/make.js';
import {dense, norm, type Row} from './ops_typed_row.js';

export const NEXT: readonly Row[] = [
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
