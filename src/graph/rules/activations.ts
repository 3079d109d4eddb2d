/** Activations from their parts, in any order of the parts. A factor rides along until it becomes 1. */
import {activationOf, type Activation} from '../../../ops/index.js';
import {compose, times} from '../channel.js';
import type {ActivationForm, AffineForm, Curve, PerChannel} from '../forms.js';
import {ADD, any, constant, type Match, op} from '../pattern.js';
import type {Replacement} from '../overlay.js';
import {sizeOf, valuesOf} from '../weights.js';
import {type Rule, rule} from './rule.js';

/** float32 constants such as 1/6 are off by up to 6e-8, and two of them get multiplied. */
export const isNear = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-6 * Math.max(1, Math.abs(b));

const affine = (as: string): ReturnType<typeof op> => op('affine', [any('x')], as);
const activation = (as: string): ReturnType<typeof op> => op('activation', [any('x')], as);

const result = (match: Match, curve: Curve, factor: number): Replacement => ({
  form: {op: 'activation', curve, factor},
  inputs: [match.ref('x')],
});

/** Scalar gain and offset, or undefined where a channel has its own. */
function scalars({gain, offset}: AffineForm): {gain: number; offset: number} | undefined {
  return typeof gain === 'number' && typeof offset === 'number' ? {gain, offset} : undefined;
}

/** x times one of these of x is an activation of its own. */
const GATED: Readonly<Record<string, ((gate: Curve) => Activation) | undefined>> = {
  sigmoid: () => activationOf('swish'),
  cdf: () => activationOf('gelu'),
  cdftanh: () => activationOf('gelutanh'),
  hardsigmoid: (gate) => {
    const {slope, offset} = gate as Extract<Curve, {slope: number}>; // The row's name says which curve it is.
    return {fn: 'hardswish', slope, offset};
  },
};

function gated(match: Match, gain: number): Replacement | undefined {
  const {curve, factor} = match.form('gate', 'activation');
  const make = GATED[curve.fn];
  return make && result(match, make(curve) as Curve, factor * gain);
}

/** clip(gain·x + offset, 0, max) = max · hardsigmoid. */
function ramp(match: Match): Replacement | undefined {
  const {curve, factor} = match.form('band', 'activation');
  const line = scalars(match.form('line', 'affine'));
  if (curve.fn !== 'band' || curve.min !== 0 || !Number.isFinite(curve.max) || !line || curve.max <= 0)
    return undefined;
  const [slope, offset] = [line.gain / curve.max, line.offset / curve.max];
  return result(match, {fn: 'hardsigmoid', slope, offset}, factor * curve.max);
}

function narrowed(match: Match): Replacement | undefined {
  const [outer, inner] = [match.form('outer', 'activation'), match.form('inner', 'activation')];
  if (outer.curve.fn !== 'band' || inner.curve.fn !== 'band' || inner.factor !== 1) return undefined;
  const min = Math.max(inner.curve.min, outer.curve.min);
  const max = Math.max(min, Math.min(inner.curve.max, outer.curve.max));
  return outer.curve.min > inner.curve.max ? undefined : result(match, {fn: 'band', min, max}, outer.factor);
}

function scaled(match: Match): Replacement | undefined {
  const line = scalars(match.form('line', 'affine'));
  const form = match.form('curve', 'activation');
  if (!line || line.gain === 0) return undefined;
  const gain = line.gain * form.factor;
  if (isNear(line.offset, 0)) return {form: {...form, factor: gain}, inputs: [match.ref('x')]};
  // a·erf + a is 2a times the cumulative distribution.
  const distribution = {erf: 'cdf', tanh: 'cdftanh'} as const;
  if ((form.curve.fn === 'erf' || form.curve.fn === 'tanh') && isNear(line.offset, gain)) {
    return result(match, {fn: distribution[form.curve.fn]}, 2 * gain);
  }
  return undefined;
}

const erf = (match: Match): Replacement | undefined => {
  const line = scalars(match.form('line', 'affine'));
  return line && isNear(line.gain, Math.SQRT1_2) && line.offset === 0
    ? result(match, {fn: 'erf'}, 1)
    : undefined;
};

/** erfc(−x/√2) is 1 + erf(x/√2): twice the cumulative distribution. Stock TF.js does not run Erfc. */
const erfc = (match: Match): Replacement | undefined => {
  const line = scalars(match.form('line', 'affine'));
  return line && isNear(line.gain, -Math.SQRT1_2) && line.offset === 0
    ? result(match, {fn: 'cdf'}, 2)
    : undefined;
};

/** tanh(√(2/π)·(x + 0.044715·x³)). */
function tanh(match: Match): Replacement | undefined {
  const [outer, inner] = [scalars(match.form('outer', 'affine')), scalars(match.form('inner', 'affine'))];
  const fits = outer && inner && isNear(outer.gain, Math.sqrt(2 / Math.PI)) && outer.offset === 0;
  return fits && isNear(inner.gain, 0.044715) && inner.offset === 0
    ? result(match, {fn: 'tanh'}, 1)
    : undefined;
}

const cube = (
  name: string,
  pattern: ReturnType<typeof op>,
  when: (match: Match) => boolean = () => true,
): Rule =>
  rule(name, pattern, (match) => (when(match) ? {form: {op: 'cube'}, inputs: [match.ref('x')]} : undefined));

/** relu(x) + g·relu(−x), with g per channel: prelu of slope −g. */
function twoSided(match: Match): Replacement | undefined {
  const [up, down] = [match.form('up', 'activation'), match.form('down', 'activation')];
  const flip = match.form('flip', 'affine');
  const isRelu = ({curve, factor}: ActivationForm): boolean =>
    curve.fn === 'band' && curve.min === 0 && curve.max === Infinity && factor === 1;
  if (flip.gain !== -1 || flip.offset !== 0 || !isRelu(up)) return undefined;
  if (match.root.inputs.length !== 2) return undefined;
  return isRelu({...down, factor: 1})
    ? {
        form: {op: 'activation', curve: {fn: 'leakyrelu', alpha: -down.factor}, factor: 1},
        inputs: [match.ref('x')],
      }
    : undefined;
}

function twoSidedByChannel(match: Match): Replacement | undefined {
  const {gain, offset} = match.form('slope', 'affine');
  const plain = twoSided(match);
  const form = plain?.form as ActivationForm | undefined;
  if (
    !form ||
    form.curve.fn !== 'leakyrelu' ||
    form.curve.alpha !== -1 ||
    offset !== 0 ||
    typeof gain === 'number'
  )
    return undefined;
  const alpha = times(-1, gain);
  return typeof alpha === 'number'
    ? undefined
    : {form: {op: 'activation', curve: {fn: 'prelu'}, factor: 1, alpha}, inputs: [match.ref('x')]};
}

const isBand = ({curve}: ActivationForm, min: number, max: number): boolean =>
  curve.fn === 'band' && curve.min === min && curve.max === max;

/** max(x, 0) + g·min(x, 0), as TFLite's PReLU comes to TensorFlow. */
function bySides(match: Match, alpha: PerChannel): Replacement | undefined {
  const [up, down] = [match.form('up', 'activation'), match.form('down', 'activation')];
  const fits = isBand(up, 0, Infinity) && up.factor === 1 && isBand(down, -Infinity, 0);
  if (!fits || match.root.inputs.length !== 2) return undefined;
  const inputs = [match.ref('x')];
  return typeof alpha === 'number'
    ? {form: {op: 'activation', curve: {fn: 'leakyrelu', alpha}, factor: 1}, inputs}
    : {form: {op: 'activation', curve: {fn: 'prelu'}, factor: 1, alpha}, inputs};
}

function bySidesByChannel(match: Match): Replacement | undefined {
  const {gain, offset} = match.form('slope', 'affine');
  const {factor} = match.form('down', 'activation');
  return offset === 0 && factor === 1 ? bySides(match, gain) : undefined;
}

export const ACTIVATIONS: readonly Rule[] = [
  rule('affine of affine', op('affine', [affine('inner')], 'outer'), (match) => {
    const [outer, inner] = [match.form('outer', 'affine'), match.form('inner', 'affine')];
    // Scalars may be part of an activation, vectors of a batch norm: those do not mix.
    if (!scalars(outer) !== !scalars(inner)) return undefined;
    return {form: compose(outer, inner), inputs: [match.ref('x')]};
  }),
  rule('hard sigmoid', op('activation', [affine('line')], 'band'), ramp),
  rule('clip of clip', op('activation', [activation('inner')], 'outer'), narrowed),
  rule('scaled activation', op('affine', [activation('curve')], 'line'), scaled),
  rule('erf', op('Erf', [affine('line')]), erf),
  rule('erfc', op('Erfc', [affine('line')]), erfc),
  cube(
    'cube by power',
    op('Pow', [any('x'), constant('three')]),
    (match) => sizeOf(match.constant('three').shape) === 1 && valuesOf(match.constant('three'))[0] === 3,
  ),
  cube('cube by squares', op('Mul', [any('x'), op('Square', [any('x')])])),
  cube('cube by products', op('Mul', [any('x'), op('Mul', [any('x'), any('x')])])),
  rule(
    'tanh of gelu',
    op('Tanh', [
      op('affine', [op(ADD, [any('x'), op('affine', [op('cube', [any('x')])], 'inner')])], 'outer'),
    ]),
    tanh,
  ),
  rule('x times its gate', op('Mul', [any('x'), activation('gate')]), (match) => gated(match, 1)),
  rule('scaled x times its gate', op('Mul', [affine('line'), activation('gate')]), (match) => {
    const line = scalars(match.form('line', 'affine'));
    return line?.offset === 0 ? gated(match, line.gain) : undefined;
  }),
  rule('leaky relu by maximum', op('Maximum', [any('x'), affine('line')]), (match) => {
    const line = scalars(match.form('line', 'affine'));
    return line?.offset === 0 && line.gain > 0 && line.gain < 1
      ? result(match, {fn: 'leakyrelu', alpha: line.gain}, 1)
      : undefined;
  }),
  rule(
    'prelu by two relus',
    op(ADD, [activation('up'), op('affine', [op('activation', [affine('flip')], 'down')], 'slope')]),
    twoSidedByChannel,
  ),
  rule(
    'leaky relu by two relus',
    op(ADD, [activation('up'), op('activation', [affine('flip')], 'down')]),
    twoSided,
  ),
  rule(
    'prelu by maximum and minimum',
    op(ADD, [activation('up'), op('affine', [activation('down')], 'slope')]),
    bySidesByChannel,
  ),
  rule('leaky relu by maximum and minimum', op(ADD, [activation('up'), activation('down')]), (match) =>
    bySides(match, match.form('down', 'activation').factor),
  ),
];
