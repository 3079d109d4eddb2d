/** A case for each rule about moved pixels and channels. */
import {type Cut, CUTS, type Mix, MIXES, unit as shuffleUnit} from '../support/shuffle_units.js';
import type {RuleCase} from '../support/spelled_blocks.js';
import type {TestGraph} from '../support/test_graph.js';

/** TensorFlow's own padding of a SAME convolution of dilation 2 on a 6×6 map; `extra` makes an odd size divisible. */
function dilated(g: TestGraph, {extra = 0, biased = false} = {}): string {
  const images = g.op('images', 'SpaceToBatchND', [
    'x',
    g.integers('block', [2, 2]),
    g.integers('pads', [2, 2 + extra, 2, 2], [2, 2]),
  ]);
  const conv = g.depthwise('dw', images, 8, {padding: 'VALID'});
  const active = biased
    ? g.op('relu', 'Relu', [g.op('biased', 'BiasAdd', [conv, g.weight('b', [8])])])
    : conv;
  const map = g.op('map', 'BatchToSpaceND', [
    active,
    g.integers('back', [2, 2]),
    g.integers('crops', [0, extra, 0, 0], [2, 2]),
  ]);
  return g.pointwise('project', g.op('act', 'Relu6', [map]), 8, 4);
}

function shuffled(g: TestGraph, x: string, groups = 2): string {
  const matrix = g.op('matrix', 'Reshape', [x, g.integers('split', [-1, 6, 6, groups, 8 / groups])]);
  const turned = g.op('turned', 'Transpose', [matrix, g.integers('order', [0, 1, 2, 4, 3])]);
  return g.op('flat', 'Reshape', [turned, g.integers('shape', [-1, 6, 6, 8])]);
}

/** As TF.js can run it: a convolution a group, between a split and a concat. */
function groups(g: TestGraph, name: string, x: string, count: number): string {
  const split = g.op(`${name}/split`, 'Split', [g.integers(`${name}/axis`, [3], []), x], {num_split: count});
  const parts = Array.from({length: count}, (_, i) =>
    g.pointwise(`${name}/${i}`, i === 0 ? split : `${split}:${i}`, 8 / count, 8 / count),
  );
  return g.op(`${name}/joined`, 'ConcatV2', [...parts, g.integers(`${name}/last`, [3], [])], {N: count});
}

/** ShuffleNet V1's. */
function unit(g: TestGraph, {strided = false, by = 'matrix'} = {}): string {
  const narrow = g.op('narrow', 'Relu', [
    g.op('biased', 'BiasAdd', [groups(g, 'a', 'x', 2), g.weight('b', [8])]),
  ]);
  const order = [0, 4, 1, 5, 2, 6, 3, 7];
  const mixed =
    by === 'matrix'
      ? shuffled(g, narrow)
      : g.op('mixed', 'GatherV2', [narrow, g.integers('channels', order), g.integers('axis', [3], [])]);
  const map = g.depthwise('dw', mixed, 8, {stride: strided ? 2 : 1});
  const end = groups(g, 'c', map, 2);
  return strided ? end : g.op('out', 'Relu', [g.op('sum', 'AddV2', ['x', end])]);
}

function inputFirst(g: TestGraph, blurred: boolean): string {
  const join = g.op('join', 'ConcatV2', ['x', g.depthwise('dw', 'x', 8), g.integers('axis', [3], [])], {
    N: 2,
  });
  const wide = (): string =>
    g.op('wide', 'MirrorPad', [join, g.integers('amounts', [0, 0, 1, 1, 1, 1, 0, 0], [4, 2])], {
      mode: 'REFLECT',
    });
  const taps = [1, 2, 1].flatMap((a) => [1, 2, 1].flatMap((b) => Array<number>(16).fill((a * b) / 16)));
  const blur = (): string =>
    g.op('blur', 'DepthwiseConv2dNative', [wide(), g.constant('taps', taps, [3, 3, 16, 1])], {
      ...{strides: [1, 2, 2, 1], dilations: [1, 1, 1, 1], padding: 'VALID', data_format: 'NHWC'},
    });
  const expand = g.op('relu', 'Relu', [g.pointwise('expand', blurred ? blur() : join, 16, 16)]);
  return g.pointwise('project', expand, 16, 8);
}

export const REARRANGED_CASES: readonly RuleCase[] = [
  {rule: 'dilation by images', build: (g) => dilated(g)},
  {rule: 'dilation by images', how: 'cropped', build: (g) => dilated(g, {extra: 2})},
  {rule: 'dilation by images', how: 'bias and activation inside', build: (g) => dilated(g, {biased: true})},
  {rule: 'channel shuffle', how: 'between groups', blocks: ['BlockShuffle'], build: (g) => unit(g)},
  {
    rule: 'channel shuffle',
    how: 'by a gather',
    blocks: ['BlockShuffle'],
    build: (g) => unit(g, {by: 'gather'}),
  },
  {
    rule: 'channel shuffle',
    how: 'stride 2',
    blocks: ['BlockShuffle'],
    build: (g) => unit(g, {strided: true}),
  },
  {
    rule: 'channel shuffle before a convolution',
    build: (g) =>
      g.pointwise('project', shuffled(g, g.op('relu', 'Relu', [g.depthwise('dw', 'x', 8)]), 4), 8, 4),
  },
  {
    rule: 'channel shuffle before a convolution',
    how: 'of a join',
    blocks: ['BlockConv'],
    build: (g) => {
      const join = g.op('join', 'ConcatV2', ['x', 'x', g.integers('axis', [3], [])], {N: 2});
      const half = g.op(
        'half',
        'StridedSlice',
        [
          join,
          ...[
            [0, 0, 0, 4],
            [0, 0, 0, 12],
            [1, 1, 1, 1],
          ].map((list, i) => g.integers(`limit${i}`, list)),
        ],
        {begin_mask: 7, end_mask: 7},
      );
      return g.pointwise('project', shuffled(g, half), 8, 4);
    },
  },
  {
    rule: 'channel shuffle behind a convolution',
    blocks: ['BlockMBConv'],
    build: (g) => {
      const wide = g.op('biased', 'BiasAdd', [g.pointwise('expand', 'x', 8, 8), g.weight('b', [8])]);
      return g.depthwise('dw', shuffled(g, g.op('relu', 'Relu', [wide]), 4), 8);
    },
  },
  {
    rule: 'join of two paths',
    blocks: ['BlockBottleneck'],
    build: (g) =>
      shuffleUnit(
        g,
        'unit',
        'x',
        {h: 6, w: 6, c: 8},
        {cut: CUTS['slice'] as Cut, mix: MIXES['gather'] as Mix},
      ),
  },
  {rule: 'input joined first', blocks: ['BlockConvFirst'], build: (g) => inputFirst(g, false)},
  {rule: 'input joined first, blurred', blocks: ['BlockConvFirst'], build: (g) => inputFirst(g, true)},
];
