/** What belongs to a convolution goes into it: padding, batch norm, bias, activation. */
import {activationOf, type Activation} from '../../../ops/index.js';
import {type ChannelOf, filteredOffset, plus, scaleFilter, times, toWeight} from '../channel.js';
import {
  type AffineForm,
  type ConvForm,
  type Curve,
  isConv,
  type PerChannel,
  type StageWeights,
} from '../forms.js';
import {ADD, any, type Match, op} from '../pattern.js';
import type {Replacement} from '../overlay.js';
import {sizeOf} from '../weights.js';
import {isNear} from './activations.js';
import {type Rule, rule} from './rule.js';

const conv = (as: string): ReturnType<typeof op> => op(['spatial', 'pointwise'], [any('x')], as);

export function convOf(match: Match, name: string): ConvForm {
  const {form} = match.node(name);
  if (!isConv(form)) throw new Error(`'${name}' is no convolution.`);
  return form;
}

const isLinear = ({stage}: ConvForm): boolean => stage.activation.fn === 'linear';

/** The same convolution with other weights; the stage says what it has. */
function withWeights(
  form: ConvForm,
  weights: StageWeights,
  activation: Activation = form.stage.activation,
): ConvForm {
  const bias = weights['Bias'] !== undefined;
  return form.op === 'spatial'
    ? {...form, weights, stage: {...form.stage, bias, activation}}
    : {...form, weights, stage: {...form.stage, bias, activation}};
}

/** gain · conv(x) + offset. A weight that nothing changes keeps its bytes. */
function scaledAfter(form: ConvForm, {gain, offset}: AffineForm): ConvForm | undefined {
  const {Filter, Bias} = form.weights;
  const {channels} = form.stage;
  if (!Filter) return undefined;
  const own = Int32Array.from({length: channels}, (_, channel) => channel);
  const filter = gain === 1 ? Filter : scaleFilter(Filter, gain, {channels, channelOf: () => own});
  const bias = plus(times(gain, Bias ?? 0), offset);
  const biasWeight = bias === 0 ? undefined : toWeight(bias, channels, `${Filter.name}/bias`);
  return withWeights(form, {...form.weights, Filter: filter, ...(biasWeight ? {Bias: biasWeight} : {})});
}

/** conv(gain · x + offset), where no zeros are padded in between. */
function scaledBefore(form: ConvForm, {gain, offset}: AffineForm): ConvForm | undefined {
  const {Filter, Bias} = form.weights;
  if (!Filter || (offset !== 0 && form.op === 'spatial' && form.stage.pad !== 'valid')) return undefined;
  const channelOf = inputChannel(form, gain, offset);
  if (!channelOf) return undefined;
  const {channels} = form.stage;
  const of = {channels, channelOf};
  const added = offset === 0 ? 0 : filteredOffset(Filter, offset, of);
  const total = plus(Bias ?? 0, added);
  const weights = {...form.weights, Filter: gain === 1 ? Filter : scaleFilter(Filter, gain, of)};
  return withWeights(
    form,
    total === 0 ? weights : {...weights, Bias: toWeight(total, channels, `${Filter.name}/bias`)},
  );
}

/** Which input channels the values of the filter multiply; undefined where the inputs cannot be counted. */
function inputChannel(form: ConvForm, gain: PerChannel, offset: PerChannel): ChannelOf | undefined {
  const {channels} = form.stage;
  const inputs = [gain, offset].find((value) => typeof value !== 'number');
  if (form.op === 'pointwise') return (row) => row;
  if (!inputs) return () => 0;
  const {group} = form.stage;
  const each = (channels * group) / sizeOf(inputs.shape); // Output channels a group.
  if (each >= channels) return (row) => row % group;
  return (row) => Int32Array.from({length: channels}, (_, c) => Math.floor(c / each) * group + (row % group));
}

function activationOfCurve(curve: Curve): Activation | undefined {
  switch (curve.fn) {
    case 'band':
      if (curve.min === 0 && curve.max === Infinity) return activationOf('relu');
      if (curve.min === 0 && curve.max === 6) return activationOf('relu6');
      return Number.isFinite(curve.min) && Number.isFinite(curve.max)
        ? {fn: 'clamp', min: curve.min, max: curve.max}
        : undefined;
    case 'erf':
    case 'tanh':
    case 'cdf':
    case 'cdftanh':
      return undefined;
    default:
      return curve;
  }
}

/** The activation a node stands for, where a stage can have it. */
export function stageActivation(form: {
  readonly curve: Curve;
  readonly factor: number;
}): Activation | undefined {
  return isNear(form.factor, 1) ? activationOfCurve(form.curve) : undefined;
}

function activated(match: Match): Replacement | undefined {
  const form = convOf(match, 'conv');
  const outer = match.form('activation', 'activation');
  const activation = stageActivation(outer);
  if (!activation || !isLinear(form)) return undefined;
  const weights = outer.alpha ? {...form.weights, Alpha: outer.alpha} : form.weights;
  return {form: withWeights(form, weights, activation), inputs: [match.ref('x')]};
}

/** f·relu(x) is relu(f·x) for a positive f, and f·min(x, 0) is for a negative one. */
const isScaledRelu = (curve: Curve, factor: number): boolean =>
  curve.fn === 'band' &&
  (factor > 0
    ? curve.min === 0 && curve.max === Infinity
    : factor < 0 && curve.min === -Infinity && curve.max === 0);

/**
 * A factor that is not 1 (constants of a float16 model are off by 1e-4) goes into the convolution, exactly:
 * f·hardswish(x) with slope s is hardswish(f·x) with slope s / f, f·clip(x, a, b) is clip(f·x, f·a, f·b), and f·hardsigmoid(x) is
 * clip(f·(s·x + offset), 0, f).
 */
function absorbed(match: Match): Replacement | undefined {
  const form = convOf(match, 'conv');
  const {curve, factor} = match.form('activation', 'activation');
  if (!isLinear(form)) return undefined;
  const inputs = [match.ref('x')];
  if (isScaledRelu(curve, factor)) {
    const scaled = scaledAfter(form, {op: 'affine', gain: factor, offset: 0});
    return scaled && {form: withWeights(scaled, scaled.weights, activationOf('relu')), inputs};
  }
  if (factor <= 0) return undefined;
  if (curve.fn === 'hardswish') {
    const scaled = scaledAfter(form, {op: 'affine', gain: factor, offset: 0});
    return (
      scaled && {form: withWeights(scaled, scaled.weights, {...curve, slope: curve.slope / factor}), inputs}
    );
  }
  if (curve.fn === 'band') {
    const scaled = scaledAfter(form, {op: 'affine', gain: factor, offset: 0});
    const activation = activationOfCurve({fn: 'band', min: factor * curve.min, max: factor * curve.max});
    return scaled && activation && {form: withWeights(scaled, scaled.weights, activation), inputs};
  }
  if (curve.fn !== 'hardsigmoid') return undefined;
  const scaled = scaledAfter(form, {op: 'affine', gain: factor * curve.slope, offset: factor * curve.offset});
  return scaled && {form: withWeights(scaled, scaled.weights, {fn: 'clamp', min: 0, max: factor}), inputs};
}

/** A clip behind an activation that already keeps inside it, as in relu then min(6). */
function clipped(match: Match): Replacement | undefined {
  const form = convOf(match, 'conv');
  const outer = match.form('activation', 'activation');
  const {fn} = form.stage.activation;
  if (outer.curve.fn !== 'band' || outer.factor !== 1 || (fn !== 'relu' && fn !== 'relu6')) return undefined;
  const max = Math.min(outer.curve.max, fn === 'relu6' ? 6 : Infinity);
  const activation =
    max > 0 ? activationOfCurve({fn: 'band', min: Math.max(0, outer.curve.min), max}) : undefined;
  return activation && {form: withWeights(form, form.weights, activation), inputs: [match.ref('x')]};
}

function padded(match: Match): Replacement | undefined {
  const form = convOf(match, 'conv');
  if (form.op !== 'spatial' || form.stage.pad === 'same') return undefined;
  const own = form.stage.pad === 'valid' ? [0, 0, 0, 0] : form.stage.pad;
  const [top, bottom, left, right] = match
    .form('padding', 'padding')
    .pad.map((zeros, i) => zeros + (own[i] ?? 0));
  const stage = {...form.stage, pad: [top ?? 0, bottom ?? 0, left ?? 0, right ?? 0] as const};
  return {form: {...form, stage}, inputs: [match.ref('x')]};
}

/** conv(x) + y, then a bias: the bias is the convolution's. */
function biasBehindSum(match: Match): Replacement | undefined {
  const form = convOf(match, 'conv');
  const {gain, offset} = match.form('bias', 'affine');
  if (gain !== 1 || !isLinear(form) || match.shape('x')?.length !== 4) return undefined;
  const shifted = scaledAfter(form, {op: 'affine', gain: 1, offset});
  const node = match.node('conv');
  return (
    shifted && {
      form: {op: 'add'},
      inputs: [{node: node.name, index: 0}, match.ref('y')],
      also: [{...node, form: shifted}],
    }
  );
}

function added(match: Match): Replacement | undefined {
  const [a, b] = [match.shape('x'), match.shape('y')];
  if (
    match.root.inputs.length !== 2 ||
    a?.length !== 4 ||
    b?.length !== 4 ||
    a.some((size, i) => size !== b[i])
  )
    return undefined;
  return {form: {op: 'add'}, inputs: [match.ref('x'), match.ref('y')]};
}

/** Saves the kernel two reads a channel, and costs nothing. */
function normBefore(match: Match): Replacement | undefined {
  const norm = match.node('norm');
  const {stage, weights} = match.form('norm', 'layernorm');
  const {Gain, Offset} = weights;
  if (!Gain || !Offset) return undefined;
  const folded = scaledBefore(convOf(match, 'conv'), {op: 'affine', gain: Gain, offset: Offset});
  const plain = {op: 'layernorm', stage: {...stage, affine: false}, weights: {}} as const;
  return folded && {form: folded, inputs: match.root.inputs, also: [{...norm, form: plain}]};
}

export const FOLDING: readonly Rule[] = [
  rule('affine behind a convolution', op('affine', [conv('conv')], 'affine'), (match) => {
    const form = convOf(match, 'conv');
    const folded = isLinear(form) ? scaledAfter(form, match.form('affine', 'affine')) : undefined;
    return folded && {form: folded, inputs: [match.ref('x')]};
  }),
  rule(
    'affine before a convolution',
    op(['spatial', 'pointwise'], [op('affine', [any('x')], 'affine')], 'conv'),
    (match) => {
      const folded = scaledBefore(convOf(match, 'conv'), match.form('affine', 'affine'));
      return folded && {form: folded, inputs: [match.ref('x')]};
    },
  ),
  rule(
    'layer norm before a convolution',
    op(['spatial', 'pointwise'], [op('layernorm', [any('x')], 'norm')], 'conv'),
    normBefore,
  ),
  rule('padding before a convolution', op('spatial', [op('padding', [any('x')], 'padding')], 'conv'), padded),
  rule('activation behind a convolution', op('activation', [conv('conv')], 'activation'), activated),
  rule('scaled activation behind a convolution', op('activation', [conv('conv')], 'activation'), absorbed),
  rule('clip behind a clipped convolution', op('activation', [conv('conv')], 'activation'), clipped),
  rule('sum of two maps', op(ADD, [any('x'), any('y')]), added),
  rule('bias behind a sum', op('affine', [op('add', [conv('conv'), any('y')])], 'bias'), biasBehindSum),
];
