/** Activations from their parts, in any order of the parts. A factor rides along until it becomes 1. */
import {activationOf, type Activation} from '../../../ops/index.js';
import {compose, times} from '../channel.js';
import type {ActivationForm, AffineForm, Curve} from '../forms.js';
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

const isRelu = ({curve, factor}: ActivationForm): boolean =>
  curve.fn === 'band' && curve.min === 0 && curve.max === Infinity && factor === 1;

/** min(x, 0), times a factor. */
const isNegativePart = ({curve}: ActivationForm): boolean =>
  curve.fn === 'band' && curve.min === -Infinity && curve.max === 0;

const part = (match: Match, side: 'negative' | 'positive', factor: number): Replacement =>
  result(
    match,
    side === 'negative' ? {fn: 'band', min: -Infinity, max: 0} : {fn: 'band', min: 0, max: Infinity},
    factor,
  );

/** relu(−x) is −min(x, 0). */
function flipped(match: Match): Replacement | undefined {
  const line = scalars(match.form('flip', 'affine'));
  const down = match.form('down', 'activation');
  const isFlip = line?.gain === -1 && line.offset === 0;
  return isFlip && isRelu({...down, factor: 1}) ? part(match, 'negative', -down.factor) : undefined;
}

/** relu(x) ± f·min(x, 0), with one slope for all channels. */
const twoSided =
  (sign: 1 | -1) =>
  (match: Match): Replacement | undefined => {
    const [up, down] = [match.form('up', 'activation'), match.form('down', 'activation')];
    if (!isRelu(up) || !isNegativePart(down) || match.root.inputs.length !== 2) return undefined;
    return result(match, {fn: 'leakyrelu', alpha: sign * down.factor}, 1);
  };

/** relu(x) ± g·f·min(x, 0), with a slope per channel. */
const twoSidedByChannel =
  (sign: 1 | -1) =>
  (match: Match): Replacement | undefined => {
    const [up, down] = [match.form('up', 'activation'), match.form('down', 'activation')];
    const {gain, offset} = match.form('slope', 'affine');
    if (!isRelu(up) || !isNegativePart(down) || offset !== 0 || match.root.inputs.length !== 2)
      return undefined;
    const alpha = times(sign * down.factor, gain);
    return typeof alpha === 'number'
      ? undefined
      : {form: {op: 'activation', curve: {fn: 'prelu'}, factor: 1, alpha}, inputs: [match.ref('x')]};
  };

/** Gains of one number and of one a channel, where they scale an activation: a slope of prelu. */
function slopes(match: Match): Replacement | undefined {
  const [outer, inner] = [match.form('outer', 'affine'), match.form('inner', 'affine')];
  const isOfActivation = match.overlay.node(match.ref('x'))?.form?.op === 'activation';
  if (!isOfActivation || outer.offset !== 0 || inner.offset !== 0) return undefined;
  return {form: compose(outer, inner), inputs: [match.ref('x')]};
}

const SLOPED = op('affine', [activation('down')], 'slope');

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
  rule('relu of minus x', op('activation', [affine('flip')], 'down'), flipped),
  rule('x less its magnitude', op('Sub', [any('x'), op('Abs', [any('x')])]), (match) =>
    part(match, 'negative', 2),
  ),
  rule('x and its magnitude', op(ADD, [any('x'), op('Abs', [any('x')])]), (match) =>
    match.root.inputs.length === 2 ? part(match, 'positive', 2) : undefined,
  ),
  rule('gains of an activation', op('affine', [affine('inner')], 'outer'), slopes),
  rule('prelu by two parts', op(ADD, [activation('up'), SLOPED]), twoSidedByChannel(1)),
  rule('prelu by a difference', op('Sub', [activation('up'), SLOPED]), twoSidedByChannel(-1)),
  rule('leaky relu by two parts', op(ADD, [activation('up'), activation('down')]), twoSided(1)),
  rule('leaky relu by a difference', op('Sub', [activation('up'), activation('down')]), twoSided(-1)),
];
