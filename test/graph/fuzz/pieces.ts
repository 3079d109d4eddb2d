/** The spellings: a row a way to write the same bias, activation, sum or mean. Rows are data; the seed chooses. */
import type {Speller} from './speller.js';

/** Activations a block may have; zero stays zero. */
export const ACTIVE: readonly string[] = [
  ...['relu', 'relu6', 'prelu', 'leakyrelu', 'elu'],
  ...['swish', 'hardswish', 'gelu', 'gelutanh', 'clamp'],
];

export type Spell = (s: Speller, x: string, channels: number) => string;

const op =
  (name: string, attrs = {}): Spell =>
  (s, x) =>
    s.op(name, [x], attrs);

/** Operands of a commutative op in either order. */
export const both = (s: Speller, name: string, a: string, b: string): string =>
  s.op(name, s.chance(0.5) ? [a, b] : [b, a]);

const times = (s: Speller, a: string, b: string): string => both(s, 'Mul', a, b);
const plus = (s: Speller, a: string, b: string): string => both(s, s.pick(['Add', 'AddV2']), a, b);

/** `[C]`, or the same with axes of one in front. */
const channelShape = (s: Speller, channels: number): readonly number[] =>
  s.pick(
    s.channelsFirst
      ? [
          [channels, 1, 1],
          [1, channels, 1, 1],
        ]
      : [[channels], [1, 1, channels], [1, 1, 1, channels]],
  );

const slopes = (s: Speller, channels: number): string => s.vector(channelShape(s, channels), 0.2, 0.2);

/** 6·hardsigmoid. */
const ramp: Spell = (s, x) => {
  const shifted = plus(s, x, s.scalar(3));
  return s.pick<() => string>([
    () => s.op('Relu6', [shifted]),
    () => both(s, 'Minimum', both(s, 'Maximum', shifted, s.scalar(0)), s.scalar(6)),
    () => s.op('ClipByValue', [shifted, s.scalar(0), s.scalar(6)]),
  ])();
};
const sixth = (s: Speller, x: string): string =>
  s.chance(0.5) ? times(s, x, s.scalar(1 / 6)) : s.op('RealDiv', [x, s.scalar(6)]);

const negativePart: Spell = (s, x) =>
  s.pick<() => string>([
    () => both(s, 'Minimum', x, s.scalar(0)),
    () => s.op('Neg', [s.op('Relu', [s.op('Neg', [x])])]),
    () => times(s, s.scalar(0.5), s.op('Sub', [x, s.op('Abs', [x])])),
  ])();

const geluOf =
  (inner: Spell): Spell =>
  (s, x) => {
    const distribution = plus(s, s.scalar(1), inner(s, x, 0));
    return s.pick<() => string>([
      () => times(s, times(s, x, s.scalar(0.5)), distribution),
      () => times(s, x, times(s, distribution, s.scalar(0.5))),
      () => times(s, times(s, x, distribution), s.scalar(0.5)),
    ])();
  };
const erf: Spell = (s, x) =>
  s.op('Erf', [
    s.chance(0.5) ? times(s, x, s.scalar(Math.SQRT1_2)) : s.op('RealDiv', [x, s.scalar(Math.SQRT2)]),
  ]);
const tanh: Spell = (s, x) => {
  const cube = s.chance(0.5) ? times(s, x, s.op('Square', [x])) : s.op('Pow', [x, s.scalar(3)]);
  const inner = plus(s, x, times(s, s.scalar(0.044715), cube));
  return s.op('Tanh', [times(s, s.scalar(Math.sqrt(2 / Math.PI)), inner)]);
};

/** For each activation the ways to write it. */
export const ACTIVATIONS: Readonly<Record<string, readonly Spell[]>> = {
  linear: [(_s, x) => x, op('Identity')],
  relu: [
    op('Relu'),
    (s, x) => both(s, 'Maximum', x, s.scalar(0)),
    (s, x) => times(s, s.scalar(0.5), plus(s, x, s.op('Abs', [x]))),
    (s, x) => s.op('Relu', [s.op('Neg', [s.op('Neg', [x])])]),
  ],
  relu6: [
    op('Relu6'),
    (s, x) => both(s, 'Minimum', both(s, 'Maximum', x, s.scalar(0)), s.scalar(6)),
    (s, x) => both(s, 'Minimum', s.op('Relu', [x]), s.scalar(6)),
    (s, x) => s.op('ClipByValue', [x, s.scalar(0), s.scalar(6)]),
  ],
  clamp: [(s, x) => s.op('ClipByValue', [x, s.scalar(-0.5), s.scalar(0.75)])],
  sigmoid: [op('Sigmoid')],
  elu: [op('Elu')],
  leakyrelu: [
    op('LeakyRelu', {alpha: 0.25}),
    (s, x) => both(s, 'Maximum', x, times(s, x, s.scalar(0.1))),
    (s, x) => plus(s, s.op('Relu', [x]), times(s, s.scalar(0.3), negativePart(s, x, 0))),
    (s, x) => s.op('Sub', [s.op('Relu', [x]), times(s, s.scalar(0.3), s.op('Relu', [s.op('Neg', [x])]))]),
  ],
  prelu: [
    (s, x, c) => s.op('Prelu', [x, slopes(s, c)]),
    (s, x, c) => plus(s, s.op('Relu', [x]), times(s, slopes(s, c), negativePart(s, x, c))),
    (s, x, c) => s.op('Sub', [s.op('Relu', [x]), times(s, slopes(s, c), s.op('Relu', [s.op('Neg', [x])]))]),
  ],
  swish: [(s, x) => times(s, x, s.op('Sigmoid', [x]))],
  hardsigmoid: [
    (s, x) => sixth(s, ramp(s, x, 0)),
    (s, x) =>
      s.op('ClipByValue', [plus(s, times(s, x, s.scalar(0.2)), s.scalar(0.5)), s.scalar(0), s.scalar(1)]),
  ],
  hardswish: [
    (s, x) => times(s, x, sixth(s, ramp(s, x, 0))),
    (s, x) => sixth(s, times(s, x, ramp(s, x, 0))),
    (s, x) => times(s, sixth(s, x), ramp(s, x, 0)),
  ],
  gelu: [geluOf(erf)],
  gelutanh: [geluOf(tanh)],
};

/** What may stand there in an island of channels-first maps. */
const FIRST_BIASES: readonly Spell[] = [
  (_s, x) => x,
  (s, x, c) => plus(s, x, s.vector(channelShape(s, c), 0, 0.5)),
  (s, x, c) =>
    plus(s, times(s, x, s.vector(channelShape(s, c), 1, 0.5)), s.vector(channelShape(s, c), 0, 0.5)),
];

/** Bias and activation between two transposes. */
export function island(s: Speller, x: string, channels: number, activation: string): string {
  const first = s.op('Transpose', [x, s.integers([0, 3, 1, 2])]);
  s.others++; // Where nothing stands between them.
  s.channelsFirst = true;
  const biased = s.pick(FIRST_BIASES)(s, first, channels);
  const active = s.pick(ACTIVATIONS[activation] ?? [])(s, biased, channels);
  s.channelsFirst = false;
  return s.op('Transpose', [active, s.integers([0, 2, 3, 1])]);
}

/** What may stand between a convolution and its activation. */
export const BIASES: readonly Spell[] = [
  (_s, x) => x,
  (s, x, c) => s.op('BiasAdd', [x, s.vector([c], 0, 0.5)]),
  (s, x, c) => plus(s, x, s.vector(channelShape(s, c), 0, 0.5)),
  (s, x, c) => s.op('Sub', [x, s.vector(channelShape(s, c), 0, 0.5)]),
  (s, x, c) => plus(s, times(s, x, s.vector(channelShape(s, c), 1, 0.5)), s.vector([c], 0, 0.5)),
  (s, x, c) => s.op('Sub', [times(s, x, s.vector([c], 1, 0.5)), s.vector([c], 0, 0.5)]),
  (s, x, c) =>
    s.op(
      s.pick(['FusedBatchNorm', 'FusedBatchNormV3']),
      [x, s.vector([c], 1, 0.3), s.vector([c], 0, 0.5), s.vector([c], 0, 0.5), s.vector([c], 1, 0.3)],
      {epsilon: 0.001, is_training: false, data_format: 'NHWC'},
    ),
];

export const sum = (s: Speller, a: string, b: string, ops = ['Add', 'AddV2', 'AddN']): string =>
  both(s, s.pick(ops), a, b);

/** Over all pixels, `[N, 1, 1, C]` or `[N, C]`. */
export const meanOf = (s: Speller, x: string, keep: boolean, axes: readonly number[] = [1, 2]): string =>
  s.op('Mean', [x, s.integers(axes)], {keep_dims: keep});
