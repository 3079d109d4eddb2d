/** A case for each rule about several maps: groups, joins, blur-pools, dense layers over pixels. */
import {binomial} from '../../ops/stages/resample.js';
import type {RuleCase} from '../support/spelled_blocks.js';
import type {TestGraph} from '../support/test_graph.js';

const window = {strides: [1, 1, 1, 1], dilations: [1, 1, 1, 1], padding: 'SAME', data_format: 'NHWC'};

/** Four groups of two channels. */
function grouped(g: TestGraph, {biased = false, sizes = false, sliced = false} = {}): string {
  const axis = g.integers('axis', [3], []);
  const split = sliced
    ? ''
    : sizes
      ? g.op('split', 'SplitV', ['x', g.integers('sizes', [2, 2, 2, 2]), axis], {num_split: 4})
      : g.op('split', 'Split', [axis, 'x'], {num_split: 4});
  const slice = (i: number): string =>
    g.op(`slice${i}`, 'Slice', [
      'x',
      g.integers(`from${i}`, [0, 0, 0, 2 * i]),
      g.integers(`size${i}`, [-1, 6, 6, 2]),
    ]);
  const parts = [0, 1, 2, 3].map((i) => {
    const part = sliced ? slice(i) : i === 0 ? split : `${split}:${i}`;
    const filter = g.weight(`filter${i}`, [3, 3, 2, 2]);
    const conv = g.op(`group${i}`, 'Conv2D', [part, filter], window);
    return biased ? g.op(`biased${i}`, 'BiasAdd', [conv, g.weight(`bias${i}`, [2])]) : conv;
  });
  return g.op('joined', 'ConcatV2', [...parts, g.integers('last', [-1], [])], {N: 4});
}

const feedForward = (g: TestGraph, x: string, from: number): string =>
  g.pointwise('project', g.op('relu', 'Relu', [g.pointwise('expand', x, from, 16)]), 16, 8);

function blurred(g: TestGraph, pad: 'MirrorPad' | 'Pad', taps: number): string {
  const join = g.op('concat', 'ConcatV2', [grouped(g), 'x', g.integers('end', [3], [])], {N: 2});
  const r = (taps - 1) / 2;
  const amounts = g.integers('amounts', [0, 0, r, r, r, r, 0, 0], [4, 2]);
  const wide = g.op('wide', pad, [join, amounts], pad === 'MirrorPad' ? {mode: 'REFLECT'} : {});
  const row = binomial(taps);
  const taps2 = row.flatMap((a) => row.flatMap((b) => Array<number>(16).fill(a * b)));
  const blur = g.op(
    'blur',
    'DepthwiseConv2dNative',
    [wide, g.constant('pascal', taps2, [taps, taps, 16, 1])],
    {
      ...window,
      strides: [1, 2, 2, 1],
      padding: 'VALID',
    },
  );
  return feedForward(g, blur, 16);
}

const FIRST = ['BlockConvFirst'];
const dense = {transpose_a: false, transpose_b: false};

/** Reshape, MatMul, BiasAdd, Reshape: the bias before or behind the last one. */
function overPixels(g: TestGraph, name: string, x: string, [from, to]: readonly [number, number]): string {
  const rows = g.op(`${name}/rows`, 'Reshape', [x, g.integers(`${name}/shape`, [-1, from])]);
  const product = g.op(`${name}/product`, 'MatMul', [rows, g.weight(`${name}/w`, [from, to])], dense);
  const bias = g.weight(`${name}/b`, [to]);
  const back = (y: string): string =>
    g.op(`${name}/map`, 'Reshape', [y, g.integers(`${name}/back`, [-1, 6, 6, to])]);
  return name === 'a'
    ? back(g.op(`${name}/biased`, 'BiasAdd', [product, bias]))
    : g.op(`${name}/biased`, 'BiasAdd', [back(product), bias]);
}

/** What tf.tensordot leaves for a Dense layer over a map whose batch is open. */
function tensordot(g: TestGraph, name: string, x: string, [from, to]: readonly [number, number]): string {
  const shape = g.op(`${name}/Shape`, 'Shape', [x]);
  const zero = g.integers(`${name}/zero`, [0], []);
  const gather = (what: string, axes: readonly number[]): string =>
    g.op(`${name}/${what}`, 'GatherV2', [shape, g.integers(`${name}/${what}/axes`, axes), zero]);
  const free = gather('free', [0, 1, 2]);
  const product = (what: string, sizes: string): string =>
    g.op(`${name}/${what}`, 'Prod', [sizes, g.integers(`${name}/${what}/axis`, [0])], {keep_dims: false});
  const sides = [product('rows', free), product('columns', gather('contracted', [3]))];
  const matrix = g.op(`${name}/matrix`, 'Reshape', [
    x,
    g.op(`${name}/sides`, 'Pack', sides, {N: 2, axis: 0}),
  ]);
  const result = g.op(`${name}/product`, 'MatMul', [matrix, g.weight(`${name}/w`, [from, to])], dense);
  const size = g.integers(`${name}/size`, [to]);
  const back = g.op(`${name}/back`, 'ConcatV2', [free, size, zero], {N: 2});
  return g.op(`${name}/map`, 'Reshape', [result, back]);
}

export const JOIN_CASES: readonly RuleCase[] = [
  {
    rule: 'grouped convolution',
    blocks: FIRST,
    build: (g) => g.op('sum', 'AddV2', [feedForward(g, grouped(g), 8), 'x']),
  },
  {
    rule: 'grouped convolution',
    how: 'sizes given, a bias each',
    blocks: FIRST,
    build: (g) => feedForward(g, grouped(g, {biased: true, sizes: true}), 8),
  },
  {
    rule: 'grouped convolution',
    how: 'of slices',
    blocks: FIRST,
    build: (g) => feedForward(g, grouped(g, {sliced: true}), 8),
  },
  {rule: 'concat of two maps', blocks: FIRST, build: (g) => blurred(g, 'MirrorPad', 3)},
  {rule: 'blur-pool of a mirrored map', blocks: FIRST, build: (g) => blurred(g, 'MirrorPad', 5)},
  {rule: 'blur-pool of a join', blocks: FIRST, build: (g) => blurred(g, 'Pad', 3)},
  ...([overPixels, tensordot] as const).map((make) => ({
    rule: 'dense layer over pixels',
    how: make.name,
    build: (g: TestGraph) => {
      const expand = g.op('relu', 'Relu', [make(g, 'a', 'x', [8, 12])]);
      return make(g, 'b', g.depthwise('dw', expand, 12), [12, 8]);
    },
  })),
  {
    rule: 'dense layer',
    how: 'BatchMatMulV2 of a map',
    build: (g) =>
      g.op('project', 'BatchMatMulV2', [g.depthwise('dw', 'x', 8), g.weight('w', [8, 4])], {
        adj_x: false,
        adj_y: false,
      }),
  },
];
