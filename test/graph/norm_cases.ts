/** A case for each rule of LayerNorm and of GRN: a ConvNeXt block in that spelling. */
import {gelu, type RuleCase} from '../support/spelled_blocks.js';
import type {TestGraph} from '../support/test_graph.js';

const BLOCK = ['BlockConvNeXt'];
const WIDE = 16;
const keep = {keep_dims: true};
type Spell = (g: TestGraph, x: string) => string;

/** Depth-wise, norm, expand, gelu, response, project, scale, add. */
function convNext(g: TestGraph, norm: Spell, response: Spell = (_g, x) => x): string {
  const spatial = g.op('dwb', 'BiasAdd', [g.depthwise('dw', 'x', 8), g.weight('db', [8])]);
  const expand = g.pointwise('expand', norm(g, spatial), 8, WIDE);
  const half = g.op('half', 'Mul', [expand, g.constant('h', 0.5)]);
  const active = g.op('gelu', 'Mul', [half, gelu(g, expand)]);
  const project = g.pointwise('project', response(g, active), WIDE, 8);
  return g.op('sum', 'AddV2', ['x', g.op('layerscale', 'Mul', [project, g.weight('ls', [8])])]);
}

const mean: Spell = (g, x) => g.op('mean', 'Mean', [x, g.integers('axis', [-1])], keep);
const safe: Spell = (g, variance) => g.op('safe', 'AddV2', [variance, g.constant('eps', 1e-3)]);
const meanOf = (g: TestGraph, x: string): string =>
  g.op('variance', 'Mean', [x, g.integers('axis2', [3])], keep);
const varianceOf = (g: TestGraph, x: string, mu: string): string =>
  meanOf(g, g.op('squares', 'SquaredDifference', [x, mu]));

interface Parts {
  readonly mu: string;
  readonly centered: string;
  readonly safe: string;
}

/** PyTorch's order: everything from the centered map. */
const centered =
  (square: Spell, end: (g: TestGraph, parts: Parts) => string): Spell =>
  (g, x) => {
    const mu = mean(g, x);
    const c = g.op('centered', 'Sub', [x, mu]);
    return end(g, {mu, centered: c, safe: safe(g, meanOf(g, square(g, c)))});
  };

const squareOp: Spell = (g, x) => g.op('squares', 'Square', [x]);
const times = (g: TestGraph, name: string, a: string, b: string): string => g.op(name, 'Mul', [a, b]);
const affine: Spell = (g, x) =>
  g.op('o', 'AddV2', [g.weight('offset', [8]), times(g, 'gained', x, g.weight('gain', [8]))]);

/** tf.nn.batch_normalization's order. */
const keras =
  (end: (g: TestGraph, x: string, mu: string, inverse: string) => string): Spell =>
  (g, x) => {
    const mu = mean(g, x);
    return end(g, x, mu, g.op('rsqrt', 'Rsqrt', [safe(g, varianceOf(g, x, mu))]));
  };

const scaleOf = (g: TestGraph, inverse: string): string => times(g, 'scale_', inverse, g.weight('gain', [8]));
const minus = (g: TestGraph, x: string): string => g.op('minus', 'Neg', [x]);

const root =
  (op: 'Sqrt' | 'Rsqrt' | number): Spell =>
  (g, x) =>
    typeof op === 'string' ? g.op('root', op, [x]) : g.op('root', 'Pow', [x, g.constant('exponent', op)]);

const ends: Readonly<Record<string, (g: TestGraph, parts: Parts) => string>> = {
  'inverse deviation': (g, p) => affine(g, times(g, 'n', root('Rsqrt')(g, p.safe), p.centered)),
  'inverse deviation by power': (g, p) => affine(g, times(g, 'n', root(-0.5)(g, p.safe), p.centered)),
  deviation: (g, p) => affine(g, g.op('n', 'RealDiv', [p.centered, root('Sqrt')(g, p.safe)])),
  'deviation by power': (g, p) => affine(g, g.op('n', 'RealDiv', [p.centered, root(0.5)(g, p.safe)])),
  'reciprocal of a deviation': (g, p) =>
    affine(g, times(g, 'n', g.op('recip', 'Reciprocal', [root('Sqrt')(g, p.safe)]), p.centered)),
  'one over a deviation': (g, p) =>
    affine(
      g,
      times(g, 'n', p.centered, g.op('recip', 'RealDiv', [g.constant('one_', 1), root('Sqrt')(g, p.safe)])),
    ),
  'layer norm by product': (g, p) => times(g, 'n', p.centered, root('Rsqrt')(g, p.safe)),
  'layer norm by quotient': (g, p) => g.op('n', 'RealDiv', [p.centered, root('Sqrt')(g, p.safe)]),
  'layer norm, gain with the deviation': (g, p) =>
    times(g, 'n', scaleOf(g, root('Rsqrt')(g, p.safe)), p.centered),
  'layer norm, gain first': (g, p) =>
    times(g, 'n', times(g, 'gained', p.centered, g.weight('gain', [8])), root('Rsqrt')(g, p.safe)),
  'layer norm, gain first, by quotient': (g, p) =>
    g.op('n', 'RealDiv', [times(g, 'gained', g.weight('gain', [8]), p.centered), root('Sqrt')(g, p.safe)]),
  centered: (g, p) => affine(g, times(g, 'n', root('Rsqrt')(g, p.safe), p.centered)),
  'channel mean': (g, p) => affine(g, times(g, 'n', root('Rsqrt')(g, p.safe), p.centered)),
  'affine behind a layer norm': (g, p) => affine(g, times(g, 'n', root('Rsqrt')(g, p.safe), p.centered)),
  'layer norm before a convolution': (g, p) => affine(g, times(g, 'n', root('Rsqrt')(g, p.safe), p.centered)),
};

const squares: Readonly<Record<string, Spell>> = {
  square: squareOp,
  'square by product': (g, x) => times(g, 'squares', x, x),
  'square by power': (g, x) => g.op('squares', 'Pow', [x, g.constant('two', 2)]),
  'variance of centered': squareOp,
};

const kerasOrders = (
  name: string,
  scale: (g: TestGraph, inverse: string) => string,
): Readonly<Record<string, Spell>> => ({
  [`${name}, offset less mean`]: keras((g, x, mu, inverse) => {
    const s = scale(g, inverse);
    const shift = g.op('shift', 'Sub', [g.weight('offset', [8]), times(g, 'ms', mu, s)]);
    return g.op('n', 'AddV2', [times(g, 'xs', x, s), shift]);
  }),
  [`${name}, less mean`]: keras((g, x, mu, inverse) => {
    const s = scale(g, inverse);
    return g.op('n', 'Sub', [times(g, 'xs', s, x), times(g, 'ms', s, mu)]);
  }),
  [`${name}, plus minus mean`]: keras((g, x, mu, inverse) => {
    const s = scale(g, inverse);
    return g.op('n', 'AddV2', [times(g, 'ms', minus(g, mu), s), times(g, 'xs', x, s)]);
  }),
});

const orders: Readonly<Record<string, Spell>> = {
  ...kerasOrders('layer norm', scaleOf),
  ...kerasOrders('plain layer norm', (_g, inverse) => inverse),
  'layer norm, plus minus mean and offset': keras((g, x, mu, inverse) => {
    const s = scaleOf(g, inverse);
    const shift = g.op('shift', 'AddV2', [times(g, 'ms', minus(g, mu), s), g.weight('offset', [8])]);
    return g.op('n', 'AddV2', [times(g, 'xs', x, s), shift]);
  }),
  variance: keras((g, x, mu, inverse) => affine(g, times(g, 'n', g.op('c', 'Sub', [x, mu]), inverse))),
};

const plainNorm = centered(squareOp, (g, p) => times(g, 'n', p.centered, root('Rsqrt')(g, p.safe)));

/** As Keras writes it, with the number of pixels left open; epsilon and weights are plainNorm's. */
const trainingNorm: Spell = (g, x) => {
  const rows = g.op('rows', 'Reshape', [x, g.integers('to', [1, -1, 8, 1])]);
  const pixels = g.op('pixels', 'StridedSlice', [
    g.op('shape', 'Shape', [rows]),
    ...[1, 2, 1].map((at, i) => g.integers(`slice${i}`, [at])),
  ]);
  const ones = g.op('ones', 'Fill', [pixels, g.constant('1', 1)]);
  const zeros = g.op('zeros', 'Fill', [pixels, g.constant('0', 0)]);
  const none = g.constant('none', new Float32Array(0));
  const attrs = {epsilon: 1e-3, is_training: true, data_format: 'NCHW'};
  const norm = g.op('norm', 'FusedBatchNormV3', [rows, ones, zeros, none, none], attrs);
  return g.op('n', 'Reshape', [norm, g.integers('back', [-1, 6, 6, 8])]);
};

/** pixelnorm / (its mean + epsilon). */
const relative = (g: TestGraph, norm: string): string => {
  const channels = g.op('grn/mean', 'Mean', [norm, g.integers('grn/axis', [3])], keep);
  return g.op('grn/relative', 'RealDiv', [
    norm,
    g.op('grn/safe', 'AddV2', [channels, g.constant('grn/eps', 1e-3)]),
  ]);
};
const sumOf: Spell = (g, x) =>
  g.op('grn/sum', 'Sum', [g.op('grn/sq', 'Square', [x]), g.integers('grn/axes', [1, 2])], keep);
const normOf: Spell = (g, x) => g.op('grn/norm', 'Sqrt', [sumOf(g, x)]);
const gain = (g: TestGraph): string => g.weight('grn/gain', [1, 1, 1, WIDE]);
const offset = (g: TestGraph): string => g.weight('grn/offset', [1, 1, 1, WIDE]);
const add = (g: TestGraph, name: string, a: string, b: string): string => g.op(name, 'AddV2', [a, b]);
/** ConvNeXt V2's own order. */
const own =
  (norm: Spell): Spell =>
  (g, x) => {
    const response = times(g, 'grn/r', gain(g), times(g, 'grn/xn', x, relative(g, norm(g, x))));
    return add(g, 'grn', add(g, 'grn/o', response, offset(g)), x);
  };

const onePlus: Spell = (g, x) => {
  const gained = times(g, 'grn/g', relative(g, normOf(g, x)), gain(g));
  const plusOne = add(g, 'grn/one', gained, g.constant('grn/1', 1));
  return add(g, 'grn', times(g, 'grn/r', plusOne, x), offset(g));
};

const responses: Readonly<Record<string, Spell>> = {
  'norm of a channel': own(normOf),
  'norm of a channel by power': own((g, x) =>
    g.op('grn/norm', 'Pow', [sumOf(g, x), g.constant('grn/half', 0.5)]),
  ),
  'norm of a channel in one op': own((g, x) =>
    g.op('grn/norm', 'EuclideanNorm', [x, g.integers('grn/axes', [1, 2])], keep),
  ),
  'relative norm': own(normOf),
  response: own(normOf),
  'affine of a response': own(normOf),
  'global response norm': own(normOf),
  'response, gain with the norm': (g, x) => {
    const gained = times(g, 'grn/g', relative(g, normOf(g, x)), gain(g));
    return add(g, 'grn', x, add(g, 'grn/o', times(g, 'grn/r', gained, x), offset(g)));
  },
  'response, gain first': (g, x) => {
    const response = times(g, 'grn/r', times(g, 'grn/gx', x, gain(g)), relative(g, normOf(g, x)));
    return add(g, 'grn', x, add(g, 'grn/o', response, offset(g)));
  },
  'global response norm, offset first': (g, x) => {
    const response = times(g, 'grn/r', x, relative(g, normOf(g, x)));
    return add(g, 'grn', response, add(g, 'grn/o', x, offset(g)));
  },
  'x times one and its response': onePlus,
  'offset behind a response norm': onePlus,
};

const rows = (
  spellings: Readonly<Record<string, Spell>>,
  build: (g: TestGraph, spell: Spell) => string,
): readonly RuleCase[] =>
  Object.entries(spellings).map(([rule, spell]) => ({rule, build: (g) => build(g, spell), blocks: BLOCK}));
const map = <A, B>(record: Readonly<Record<string, A>>, f: (value: A) => B): Readonly<Record<string, B>> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, f(value)]));

export const NORM_CASES: readonly RuleCase[] = [
  ...rows(
    map(squares, (square) => centered(square, ends['inverse deviation'] ?? (() => ''))),
    convNext,
  ),
  ...rows(
    map(ends, (end) => centered(squareOp, end)),
    convNext,
  ),
  ...rows(orders, convNext),
  {
    rule: 'layer norm by batch norm in training',
    build: (g) => convNext(g, trainingNorm),
    oracle: (g) => convNext(g, plainNorm),
    blocks: BLOCK,
  },
  ...rows(responses, (g, spell) => convNext(g, plainNorm, spell)),
];
