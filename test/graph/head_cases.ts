/** A network's head in each spelling: behind a 1×1 convolution of a map of 6×6 pixels, down to classes. */
import {layerNorm, type RuleCase} from '../support/spelled_blocks.js';
import type {TestGraph} from '../support/test_graph.js';

type Spell = (g: TestGraph, x: string) => string;
const CLASSES = 5;
const WIDTH = 12;

const mean =
  (axes: readonly number[], keep: boolean, name = 'mean'): Spell =>
  (g, x) =>
    g.op(name, 'Mean', [x, g.integers(`${name}/axes`, axes)], {keep_dims: keep});
const view =
  (shape: readonly number[], name = 'view'): Spell =>
  (g, x) =>
    g.op(name, 'Reshape', [x, g.integers(`${name}/shape`, shape)]);
const pool: Spell = (g, x) =>
  g.op('pool', 'AvgPool', [x], {
    ...{ksize: [1, 6, 6, 1], strides: [1, 6, 6, 1], padding: 'VALID', data_format: 'NHWC'},
  });
const squeeze: Spell = (g, x) => g.op('squeeze', 'Squeeze', [x], {squeeze_dims: [1, 2]});
const norm: Spell = (g, x) => layerNorm(g, x, WIDTH);

const dense =
  (name: string, from: number, to: number, activation?: string): Spell =>
  (g, x) => {
    const product = g.op(name, 'MatMul', [x, g.weight(`${name}/w`, [from, to])], {
      ...{transpose_a: false, transpose_b: false},
    });
    const biased = g.op(`${name}/biased`, 'BiasAdd', [product, g.weight(`${name}/b`, [to])]);
    return activation ? g.op(`${name}/act`, activation, [biased]) : biased;
  };
const turnedDense: Spell = (g, x) =>
  g.op('dense', 'MatMul', [x, g.weight('dense/w', [CLASSES, WIDTH])], {
    transpose_a: false,
    transpose_b: true,
  });
const classify = dense('dense', WIDTH, CLASSES);
const classifyByConv: Spell = (g, x) =>
  g.op('logits', 'BiasAdd', [g.pointwise('conv', x, WIDTH, CLASSES), g.weight('conv/b', [CLASSES])]);

/** 1×1 convolution and relu6, the steps under test, softmax. */
const head =
  (...steps: readonly Spell[]): RuleCase['build'] =>
  (g) => {
    const map = g.op('relu6', 'Relu6', [g.pointwise('top', 'x', 8, WIDTH)]);
    const logits = steps.reduce((x, step) => step(g, x), map);
    return g.op('softmax', 'Softmax', [logits]);
  };

interface Spelling {
  readonly rule: string;
  readonly how: string;
  readonly steps: readonly Spell[];
}

const SPELLINGS: readonly Spelling[] = [
  {rule: 'global mean', how: 'of a vector', steps: [mean([1, 2], false), classify]},
  {
    rule: 'global mean',
    how: 'axes in the other order, from the end',
    steps: [mean([-2, -3], false), classify],
  },
  {rule: 'dense layer', how: 'with its filter turned', steps: [mean([1, 2], false), turnedDense]},
  {
    rule: 'view of a mean',
    how: 'kept and flattened',
    steps: [mean([1, 2], true), view([-1, WIDTH]), classify],
  },
  {rule: 'view of a mean', how: 'kept and squeezed', steps: [mean([1, 2], true), squeeze, classify]},
  {rule: 'view of a mean', how: 'by a pool, flattened', steps: [pool, view([-1, WIDTH]), classify]},
  {
    rule: 'view of a mean',
    how: 'a vector made a map, for a convolution',
    steps: [mean([1, 2], false), view([-1, 1, 1, WIDTH]), classifyByConv, view([-1, CLASSES], 'flat')],
  },
  {
    rule: 'view of a dense layer',
    how: 'by a pool and a convolution, squeezed',
    steps: [pool, classifyByConv, squeeze],
  },
  {
    rule: 'view of a dense layer',
    how: 'several layers',
    steps: [
      mean([1, 2], false),
      dense('first', WIDTH, 7, 'Relu'),
      dense('second', 7, 6, 'Elu'),
      view([-1, 1, 6], 'row'),
      view([-1, 6], 'flat'),
      dense('third', 6, CLASSES),
    ],
  },
  {rule: 'layer norm by product', how: 'of a vector', steps: [mean([1, 2], false), norm, classify]},
  {
    rule: 'view of a layer norm',
    how: 'flattened behind it',
    steps: [mean([1, 2], true), norm, squeeze, classify],
  },
  {
    rule: 'dense layer of a view',
    how: 'behind a batch norm of the mean',
    steps: [
      mean([1, 2], true),
      (g, x) => g.op('gained', 'Mul', [x, g.weight('gain', [WIDTH])]),
      (g, x) => g.op('shifted', 'AddV2', [x, g.weight('shift', [WIDTH])]),
      squeeze,
      classify,
    ],
  },
  {
    rule: 'mean over pixels in a row',
    how: 'by a reshape',
    steps: [view([-1, 36, WIDTH], 'rows'), mean([1], false), classify],
  },
  {
    rule: 'mean over one axis, then the other',
    how: 'dropping them',
    steps: [mean([1], false), mean([1], false, 'mean2'), classify],
  },
  {
    rule: 'mean over one axis, then the other',
    how: 'keeping them',
    steps: [mean([2], true), mean([1], true, 'mean2'), squeeze, classify],
  },
  {
    rule: 'mean by a sum',
    how: 'times a constant',
    steps: [
      (g, x) => g.op('sum', 'Sum', [x, g.integers('sum/axes', [1, 2])], {keep_dims: false}),
      (g, x) => g.op('mean', 'Mul', [x, g.constant('share', 1 / 36)]),
      classify,
    ],
  },
];

export const HEAD_CASES: readonly RuleCase[] = SPELLINGS.map(({rule, how, steps}) => ({
  rule,
  how: `head, ${how}`,
  build: head(...steps),
  blocks: ['BlockHead'],
}));
