/** One TensorFlow op, one meaning: the rows that read attributes and constant inputs. */
import {
  activationOf,
  LINEAR,
  type Activation,
  type Pad,
  type Pair,
  type SpatialStage,
} from '../../../ops/index.js';
import {flagAttr, numberAttr, numbersAttr, textAttr, textsAttr} from '../attrs.js';
import {combine, perChannel} from '../channel.js';
import type {ConvForm, Curve, PerChannel, StageWeights} from '../forms.js';
import {any, constant, type Match, op} from '../pattern.js';
import type {Replacement} from '../overlay.js';
import {isNumeric, makeWeight, sizeOf, valuesOf, type Weight, withShape} from '../weights.js';
import {type Rule, rule} from './rule.js';

const CONV = ['Conv2D', '_FusedConv2D'] as const;
const DEPTHWISE = ['DepthwiseConv2dNative', 'DepthwiseConv2d', 'FusedDepthwiseConv2dNative'] as const;

const isNhwc = ({root}: Match): boolean => textAttr(root.attrs, 'data_format', 'NHWC') === 'NHWC';

/** The two middle entries of a `[1, h, w, 1]` attribute, or undefined where the outer ones are not 1. */
function pairAttr({root}: Match, name: string): Pair | undefined {
  const [n = 1, h = 1, w = 1, c = 1] = numbersAttr(root.attrs, name);
  return n === 1 && c === 1 ? [h, w] : undefined;
}

function padOf({root}: Match): SpatialStage['pad'] | undefined {
  const padding = textAttr(root.attrs, 'padding');
  if (padding === 'SAME') return 'same';
  if (padding === 'VALID') return 'valid';
  const [, , top, bottom, left, right] = numbersAttr(root.attrs, 'explicit_paddings');
  return top === undefined || bottom === undefined || left === undefined || right === undefined
    ? undefined
    : [top, bottom, left, right];
}

interface Epilogue {
  readonly bias?: Weight;
  readonly activation: Activation;
  readonly alpha?: Weight;
}

const FUSED: Readonly<Record<string, Activation['fn'] | undefined>> = {
  Relu: 'relu',
  Relu6: 'relu6',
  Elu: 'elu',
  Sigmoid: 'sigmoid',
  Prelu: 'prelu',
  LeakyRelu: 'leakyrelu',
  // What TensorFlow's remapper writes of late. Stock TF.js does not run these.
  _FusedHardSwish: 'hardswish',
  GeluApproximate: 'gelutanh',
  GeluExact: 'gelu',
};

/** What a fused op does behind its convolution: `fused_ops` names it, inputs 2 and 3 feed it. */
function epilogueOf({root, overlay}: Match, channels: number): Epilogue | undefined {
  const fused = textsAttr(root.attrs, 'fused_ops');
  const rest = root.inputs.slice(2).map((ref) => overlay.constant(ref));
  const flat = (weight: Weight | undefined): Weight | undefined =>
    weight?.dtype === 'float32' && sizeOf(weight.shape) === channels
      ? withShape(weight, [channels])
      : undefined;
  const [name, ...more] = fused.filter((part) => part !== 'BiasAdd');
  const bias = fused.includes('BiasAdd') ? flat(rest.shift()) : undefined;
  if (more.length > 0 || (fused.includes('BiasAdd') && !bias)) return undefined;
  if (name === undefined) return {activation: LINEAR, ...(bias ? {bias} : {})};
  const fn = FUSED[name];
  if (!fn) return undefined;
  const alpha = fn === 'prelu' ? flat(rest[0]) : undefined;
  if (fn === 'prelu' && !alpha) return undefined;
  const activation: Activation =
    fn === 'leakyrelu' ? {fn, alpha: numberAttr(root.attrs, 'leakyrelu_alpha', 0.2)} : activationOf(fn);
  return {activation, ...(bias ? {bias} : {}), ...(alpha ? {alpha} : {})};
}

const weightsOf = (filter: Weight, {bias, alpha}: Epilogue): StageWeights => ({
  Filter: filter,
  ...(bias ? {Bias: bias} : {}),
  ...(alpha ? {Alpha: alpha} : {}),
});

function pointwise(
  match: Match,
  filter: Weight,
  channels: readonly [number, number],
): Replacement | undefined {
  const epilogue = epilogueOf(match, channels[1]);
  if (!epilogue || filter.dtype !== 'float32') return undefined;
  const stage = {
    op: 'pointwise',
    name: 'pointwise',
    channels: channels[1],
    bias: epilogue.bias !== undefined,
    activation: epilogue.activation,
  } as const;
  return {
    form: {op: 'pointwise', stage, weights: weightsOf(withShape(filter, channels), epilogue)},
    inputs: [match.ref('x')],
  };
}

/** @param group Group width. */
function spatial(match: Match, filter: Weight, group: number, channels: number): Replacement | undefined {
  const [kh = 0, kw = 0] = filter.shape;
  const [stride, dilation, pad] = [pairAttr(match, 'strides'), pairAttr(match, 'dilations'), padOf(match)];
  const epilogue = epilogueOf(match, channels);
  if (!stride || !dilation || pad === undefined || !epilogue || !isNhwc(match) || filter.dtype !== 'float32')
    return undefined;
  if (stride[0] !== stride[1] || (stride[0] > 1 && Math.max(...dilation) > 1)) return undefined;
  const window = {kernel: [kh, kw], stride, dilation, pad} as const;
  const {activation, bias} = epilogue;
  const stage: SpatialStage = {
    op: 'spatial',
    name: 'spatial',
    ...window,
    group,
    channels,
    bias: bias !== undefined,
    activation,
  };
  const form: ConvForm = {
    op: 'spatial',
    stage,
    weights: weightsOf(withShape(filter, [kh, kw, group, channels]), epilogue),
  };
  return {form, inputs: [match.ref('x')]};
}

function conv(match: Match): Replacement | undefined {
  const filter = match.constant('filter');
  const [kh = 0, kw = 0, ci = 0, co = 0] = filter.shape;
  const given = match.shape('x')?.[3] ?? -1;
  const [stride, pad] = [pairAttr(match, 'strides'), padOf(match)];
  const is1x1 = kh === 1 && kw === 1 && stride?.join() === '1,1' && typeof pad === 'string';
  if (is1x1 && isNhwc(match) && (given < 0 || given === ci)) return pointwise(match, filter, [ci, co]);
  return spatial(match, filter, ci, co);
}

function depthwise(match: Match): Replacement | undefined {
  const filter = match.constant('filter');
  const [, , channels = 0, multiplier = 0] = filter.shape;
  return spatial(match, filter, 1, channels * multiplier);
}

function dense(match: Match): Replacement | undefined {
  const filter = match.constant('filter');
  const {attrs} = match.root;
  const has = (...names: readonly string[]): boolean => names.some((name) => flagAttr(attrs, name));
  const [rows, columns] = filter.shape;
  if (rows === undefined || columns === undefined || filter.shape.length !== 2 || has('transpose_a', 'adj_x'))
    return undefined;
  return has('transpose_b', 'adj_y')
    ? pointwise(match, turned(filter, rows, columns), [columns, rows])
    : pointwise(match, filter, [rows, columns]);
}

/** `[rows, columns]` with its axes exchanged. */
function turned(filter: Weight, rows: number, columns: number): Weight {
  if (filter.dtype !== 'float32') return filter;
  const values = valuesOf(filter);
  const data = new Float32Array(values.length);
  for (let i = 0; i < data.length; i++) data[i] = values[(i % rows) * columns + Math.floor(i / rows)] ?? 0;
  return makeWeight(`${filter.name}/turned`, [columns, rows], data);
}

const curve = (of: Curve): Replacement['form'] => ({op: 'activation', curve: of, factor: 1});

const unary = (name: string, of: (match: Match) => Curve): Rule =>
  rule(name, op(name, [any('x')]), (match) => ({form: curve(of(match)), inputs: [match.ref('x')]}));

const band = (min: number, max: number): Curve => ({fn: 'band', min, max});

/** `x ⊕ c` with a constant that is the same for every pixel. */
function affine(
  name: string,
  ops: readonly string[],
  of: (c: PerChannel) => {gain?: PerChannel; offset?: PerChannel},
  reversed = false,
): Rule {
  const operands = reversed ? [constant('c'), any('x')] : [any('x'), constant('c')];
  return rule(name, op(ops, operands), (match) => {
    const c = perChannel(match.constant('c'), match.shape('x'));
    if (c === undefined || match.root.inputs.length !== 2) return undefined;
    const {gain = 1, offset = 0} = of(c);
    return {form: {op: 'affine', gain, offset}, inputs: [match.ref('x')]};
  });
}

const negated = (c: PerChannel): PerChannel => combine([c], (value) => -value);

function limit(name: string, of: (c: number) => Curve): Rule {
  return rule(name, op(name, [any('x'), constant('c')]), (match) => {
    const c = perChannel(match.constant('c'), match.shape('x'));
    return typeof c === 'number' ? {form: curve(of(c)), inputs: [match.ref('x')]} : undefined;
  });
}

function batchNorm(match: Match): Replacement | undefined {
  const {attrs} = match.root;
  const parts = ['gain', 'offset', 'mean', 'variance'].map((name) =>
    perChannel(match.constant(name), match.shape('x')),
  );
  const [gain, offset, mean, variance] = parts;
  if (gain === undefined || offset === undefined || mean === undefined || variance === undefined)
    return undefined;
  if (flagAttr(attrs, 'is_training') || !isNhwc(match)) return undefined;
  const epsilon = numberAttr(attrs, 'epsilon', 0.001);
  const scale = combine([gain, variance], (g, v) => g / Math.sqrt(v + epsilon));
  const shift = combine([offset, mean, gain, variance], (o, m, g, v) => o - (m * g) / Math.sqrt(v + epsilon));
  return {form: {op: 'affine', gain: scale, offset: shift}, inputs: [match.ref('x')]};
}

/** Rows and columns around a map, `[top, bottom, left, right]`, and channels behind its own; undefined where it is padded elsewhere. */
export function edgesOf(amounts: Weight): {pad: Exclude<Pad, string>; added: number} | undefined {
  const [n0, n1, top = 0, bottom = 0, left = 0, right = 0, c0, added = 0] = valuesOf(amounts);
  if (amounts.shape[0] !== 4 || n0 !== 0 || n1 !== 0 || c0 !== 0) return undefined;
  return {pad: [top, bottom, left, right], added};
}

function pad(match: Match): Replacement | undefined {
  const amounts = match.constant('amounts');
  const fill = match.root.inputs[2] && match.overlay.constant(match.root.inputs[2]);
  if (match.root.inputs.length > 2 && (!fill || !isNumeric(fill) || valuesOf(fill)[0] !== 0))
    return undefined;
  const edges = edgesOf(amounts);
  const input = match.shape('x');
  if (!edges || !input) return undefined;
  const inputs = [match.ref('x')];
  const {pad, added} = edges;
  if (added === 0) return {form: {op: 'padding', pad}, inputs};
  const channels = (input[3] ?? -1) + added;
  if (pad.some((size) => size > 0) || (input[3] ?? -1) < 0) return undefined;
  return {
    form: {op: 'padchannels', stage: {op: 'padchannels', name: 'widen', channels}, weights: {}},
    inputs,
  };
}

const pool = (name: string, mode: 'max' | 'avg'): Rule =>
  rule(name, op(name, [any('x')]), (match) => {
    const [kernel, stride, padding] = [pairAttr(match, 'ksize'), pairAttr(match, 'strides'), padOf(match)];
    const [, h = -1, w = -1] = match.shape('x') ?? [];
    if (!kernel || !stride || !isNhwc(match) || typeof padding !== 'string') return undefined;
    const inputs = [match.ref('x')];
    // A window as large as the map that leaves one pixel has nothing padded, whichever rule.
    const isOne = match.outShape?.[1] === 1 && match.outShape[2] === 1;
    if (mode === 'avg' && kernel[0] === h && kernel[1] === w && isOne) return {form: {op: 'mean'}, inputs};
    return {
      form: {op: 'pool', stage: {op: 'pool', name: 'pool', mode, kernel, stride, pad: padding}, weights: {}},
      inputs,
    };
  });

function mean(match: Match): Replacement | undefined {
  const axes = [...valuesOf(match.constant('axes'))].map((axis) => (axis + 4) % 4).sort();
  return match.shape('x')?.length === 4 && axes.join() === '1,2'
    ? {form: {op: 'mean'}, inputs: [match.ref('x')]}
    : undefined;
}

/** Between `[N, C]`, `[N, 1, C]` and `[N, 1, 1, C]`, where dense layers and 1×1 convolutions of a gate change places. */
function view(match: Match): Replacement | undefined {
  const [from, to] = [match.shape('x') ?? [], match.outShape ?? []];
  const isVector = (shape: readonly number[]): boolean =>
    shape.length >= 2 && shape.slice(1, -1).every((size) => size === 1);
  const same = from.at(-1) === to.at(-1) && (from.at(-1) ?? -1) > 0;
  return isVector(from) && isVector(to) && same ? {form: {op: 'view'}, inputs: [match.ref('x')]} : undefined;
}

export const SPELLING: readonly Rule[] = [
  rule('convolution', op(CONV, [any('x'), constant('filter')]), conv),
  rule('depth-wise convolution', op(DEPTHWISE, [any('x'), constant('filter')]), depthwise),
  rule(
    'dense layer',
    op(['MatMul', '_FusedMatMul', 'BatchMatMulV2', 'BatchMatMul'], [any('x'), constant('filter')]),
    dense,
  ),
  rule(
    'batch norm',
    op(
      ['FusedBatchNorm', 'FusedBatchNormV2', 'FusedBatchNormV3'],
      [any('x'), ...['gain', 'offset', 'mean', 'variance'].map(constant)],
    ),
    batchNorm,
  ),
  affine('add a constant', ['Add', 'AddV2', 'BiasAdd'], (offset) => ({offset})),
  affine('subtract a constant', ['Sub'], (c) => ({offset: negated(c)})),
  affine('subtract from a constant', ['Sub'], (offset) => ({gain: -1, offset}), true),
  affine('multiply by a constant', ['Mul'], (gain) => ({gain})),
  affine('divide by a constant', ['RealDiv', 'Div'], (c) => ({gain: combine([c], (value) => 1 / value)})),
  rule('negate', op('Neg', [any('x')]), (match) => ({
    form: {op: 'affine', gain: -1, offset: 0},
    inputs: [match.ref('x')],
  })),
  unary('Relu', () => band(0, Infinity)),
  unary('Relu6', () => band(0, 6)),
  unary('Sigmoid', () => ({fn: 'sigmoid'})),
  unary('Elu', () => ({fn: 'elu', alpha: 1})),
  unary('LeakyRelu', ({root}) => ({fn: 'leakyrelu', alpha: numberAttr(root.attrs, 'alpha', 0.2)})),
  limit('Maximum', (min) => band(min, Infinity)),
  limit('Minimum', (max) => band(-Infinity, max)),
  rule('clip', op('ClipByValue', [any('x'), constant('min'), constant('max')]), (match) => {
    const [min, max] = ['min', 'max'].map((name) => perChannel(match.constant(name), match.shape('x')));
    return typeof min === 'number' && typeof max === 'number'
      ? {form: curve(band(min, max)), inputs: [match.ref('x')]}
      : undefined;
  }),
  rule('prelu', op('Prelu', [any('x'), constant('alpha')]), (match) => {
    const alpha = perChannel(match.constant('alpha'), match.shape('x'));
    if (alpha === undefined) return undefined;
    if (typeof alpha === 'number') return {form: curve({fn: 'leakyrelu', alpha}), inputs: [match.ref('x')]};
    return {form: {op: 'activation', curve: {fn: 'prelu'}, factor: 1, alpha}, inputs: [match.ref('x')]};
  }),
  rule('pad with zeros', op(['Pad', 'PadV2'], [any('x'), constant('amounts')]), pad),
  pool('MaxPool', 'max'),
  pool('AvgPool', 'avg'),
  rule('global mean', op('Mean', [any('x'), constant('axes')]), mean),
  rule('vector view', op(['Reshape', 'Squeeze', 'ExpandDims'], [any('x')]), view),
];
