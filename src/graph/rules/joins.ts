/** What several ops make of a map together: grouped convolutions, joins, blur-pools, and dense layers over pixels. */
import {LINEAR} from '../../../ops/index.js';
import type {BlurPoolStage} from '../../../ops/index.js';
import {spatialStage} from '../../../ops/stages/make.js';
import {binomial} from '../../../ops/stages/resample.js';
import {textAttr} from '../attrs.js';
import {toWeight} from '../channel.js';
import {type CanonicalNode, type ConvForm, isConv, type SpatialForm} from '../forms.js';
import type {Ref} from '../graph.js';
import {any, constant, type Match, op} from '../pattern.js';
import type {Overlay, Replacement} from '../overlay.js';
import {makeWeight, sizeOf, valuesOf, type Weight, withShape} from '../weights.js';
import {isWholeOf} from '../wiring.js';
import {type Rule, rule} from './rule.js';

const CHANNELS = 3;

/** The channel axis of a join or a split of maps. */
const isChannelAxis = (overlay: Overlay, axis: Ref | undefined): boolean => {
  const value = axis && overlay.known(axis)?.data[0];
  return value === CHANNELS || value === -1;
};

interface Group {
  readonly node: CanonicalNode;
  readonly form: SpatialForm;
}

/** A 1×1 convolution of a group is one of a grouped 1×1 convolution, which is no matrix product. */
function asSpatial(form: ConvForm): SpatialForm {
  if (form.op === 'spatial') return form;
  const {name, channels, bias, activation} = form.stage;
  const filter = form.weights['Filter'] as Weight; // No convolution is without.
  const group = sizeOf(filter.shape) / channels;
  const stage = spatialStage(name, {kernel: 1, group, channels, pad: 'valid', bias});
  const weights = {...form.weights, Filter: withShape(filter, [1, 1, group, channels])};
  return {op: 'spatial', stage: {...stage, activation}, weights};
}

/** The convolutions whose values a concat joins, where they are all full ones of one make. */
function groupsOf({overlay, root}: Match): readonly Group[] | undefined {
  const groups = root.inputs.slice(0, -1).map((ref) => {
    const node = overlay.node(ref);
    const isFree = node && !overlay.isKept(node.name) && overlay.consumers(node.name).size === 1;
    const form = isFree && isConv(node.form) ? asSpatial(node.form) : undefined;
    return isFree && form ? {node, form} : undefined;
  });
  const [first] = groups;
  if (!first || groups.length < 2 || first.form.stage.activation.fn === 'prelu') return undefined;
  const make = ({stage}: SpatialForm): string => JSON.stringify({...stage, bias: false});
  return groups.every((group) => group && make(group.form) === make(first.form))
    ? (groups as readonly Group[])
    : undefined;
}

/** The map whose channels a split or slices cut into the groups' inputs, in their order. */
function splitOf(
  {overlay}: Match,
  groups: readonly Group[],
): {nodes: readonly CanonicalNode[]; x: Ref} | undefined {
  const parts = groups.flatMap(({node}) => node.inputs.slice(0, 1));
  const nodes = parts.flatMap(({node}) => overlay.nodes.get(node) ?? []);
  const [cut] = nodes;
  const x = cut?.op === 'Split' ? cut.inputs[1] : cut?.inputs[0];
  const isCut = nodes.length === groups.length && nodes.every(({op: name}) => CUTS.has(name));
  const fits = groups.every(({form}, i) => overlay.shape(parts[i] as Ref)?.[CHANNELS] === form.stage.group); // One a group.
  return x && isCut && fits && isWholeOf(overlay, parts, x) ? {nodes: [...new Set(nodes)], x} : undefined;
}

const CUTS: ReadonlySet<string> = new Set(['Split', 'SplitV', 'Slice', 'StridedSlice', 'GatherV2']);

/** `[rows, width]` matrices side by side. */
function sideBySide(name: string, parts: readonly Weight[], width: number): Weight {
  const rows = sizeOf(parts[0]?.shape ?? []) / width;
  const out = new Float32Array(rows * width * parts.length);
  parts.map(valuesOf).forEach((values, i) => {
    for (let row = 0; row < rows; row++)
      out.set(values.subarray(row * width, (row + 1) * width), (row * parts.length + i) * width);
  });
  return makeWeight(name, [...(parts[0]?.shape.slice(0, -1) ?? []), width * parts.length], out);
}

/** Split · N convolutions · concat is one convolution of N groups. */
function grouped(match: Match): Replacement | undefined {
  const groups = groupsOf(match);
  const split = groups && splitOf(match, groups);
  if (!groups || !split || !isChannelAxis(match.overlay, match.root.inputs.at(-1))) return undefined;
  const {stage} = (groups[0] as Group).form;
  const filters = groups.map(({form}) => form.weights['Filter']).filter((weight) => weight !== undefined);
  if (filters.length !== groups.length) return undefined;
  const {name} = match.root;
  const bias = groups.some(({form}) => form.stage.bias);
  const biases = groups.map(({form}) => toWeight(form.weights['Bias'] ?? 0, stage.channels, name));
  return {
    form: {
      op: 'spatial',
      stage: {...stage, bias, channels: stage.channels * groups.length},
      weights: {
        Filter: sideBySide(`${name}/filter`, filters, stage.channels),
        ...(bias ? {Bias: sideBySide(`${name}/bias`, biases, stage.channels)} : {}),
      },
    },
    inputs: [split.x],
    beyond: [...groups.map(({node}) => node), ...split.nodes],
  };
}

function joined(match: Match): Replacement | undefined {
  const [a, b, axis] = match.root.inputs;
  const isJoin = a && b && match.root.inputs.length === 3 && isChannelAxis(match.overlay, axis);
  return isJoin && match.outShape?.length === 4 ? {form: {op: 'concat'}, inputs: [a, b]} : undefined;
}

/** The number of taps where every channel is filtered alike, by rows of Pascal's triangle. */
function tapsOf({stage, weights}: SpatialForm, channels: number): number | undefined {
  const [taps, width] = stage.kernel;
  const filter = weights['Filter'];
  const isPlain = !stage.bias && stage.activation.fn === LINEAR.fn && stage.group === 1;
  if (!filter || !isPlain || taps !== width || taps % 2 === 0 || taps < 3) return undefined;
  if (stage.channels !== channels || stage.stride[0] !== stage.stride[1] || Math.max(...stage.dilation) > 1)
    return undefined;
  const row = binomial(taps);
  const values = valuesOf(filter);
  const isBinomial = values.every((value, i) => {
    const tap = Math.floor(i / channels);
    const needed = (row[Math.floor(tap / taps)] ?? 0) * (row[tap % taps] ?? 0);
    return Math.abs(value - needed) <= 1e-6;
  });
  return isBinomial ? taps : undefined;
}

const blurred = (
  match: Match,
  mode: BlurPoolStage['mode'],
  pad: readonly number[],
  x = match.ref('x'),
): Replacement | undefined => {
  const form = match.form('conv', 'spatial');
  const taps = tapsOf(form, match.overlay.shape(x)?.[3] ?? -1);
  const radius = ((taps ?? 0) - 1) / 2;
  const isCentered = pad.length === 4 && pad.every((size) => size === radius);
  if (taps === undefined || form.stage.pad !== 'valid' || !isCentered) return undefined;
  const stage: BlurPoolStage = {op: 'blurpool', name: 'blur', taps, stride: form.stage.stride[0], mode};
  return {form: {op: 'blurpool', stage, weights: {}}, inputs: [x]};
};

function reflected(match: Match): Replacement | undefined {
  const [n0, n1, top, bottom, left, right, c0, c1] = valuesOf(match.constant('amounts'));
  const isReflect = textAttr(match.node('pad').attrs, 'mode').toUpperCase() === 'REFLECT';
  const isMap = [n0, n1, c0, c1].every((size) => size === 0);
  return isReflect && isMap
    ? blurred(match, 'reflect', [top ?? -1, bottom ?? -1, left ?? -1, right ?? -1])
    : undefined;
}

/** Behind other ops a depth-wise convolution stays one: it fits more blocks. */
function blurredJoin(match: Match): Replacement | undefined {
  const join = match.node('join');
  const x = {node: join.name, index: 0};
  const blur = blurred(match, 'zero', match.form('padding', 'padding').pad, x);
  return blur && {...blur, also: [join]};
}

/** Pixels as rows of a matrix, a dense layer, and the map again. */
function denseOverPixels(match: Match): Replacement | undefined {
  const [from, to] = [match.shape('x'), match.outShape];
  const form = match.form('dense', 'pointwise');
  const isMap = from?.length === 4 && to?.length === 4 && to[3] === form.stage.channels;
  const isRows = match.overlay.shape({node: match.node('rows').name, index: 0})?.length === 2;
  const samePixels = from?.slice(0, 3).join() === to?.slice(0, 3).join();
  // One open size in the same place on both sides is the same size; two might be exchanged.
  const open = from?.slice(0, 3).filter((size) => size < 0).length ?? 3;
  const fits = from?.[3] === sizeOf(form.weights['Filter']?.shape ?? []) / form.stage.channels;
  return isMap && isRows && samePixels && open <= 1 && fits ? {form, inputs: [match.ref('x')]} : undefined;
}

export const JOINS: readonly Rule[] = [
  rule('grouped convolution', op('ConcatV2'), grouped),
  rule(
    'dense layer over pixels',
    op('Reshape', [op('pointwise', [op('Reshape', [any('x')], 'rows')], 'dense')]),
    denseOverPixels,
  ),
  rule('concat of two maps', op('ConcatV2', [any('x'), any('y')]), joined),
  rule(
    'blur-pool of a mirrored map',
    op('spatial', [op('MirrorPad', [any('x'), constant('amounts')], 'pad')], 'conv'),
    reflected,
  ),
  rule(
    'blur-pool of a join',
    op('spatial', [op('padding', [op('concat', [any('a'), any('b')], 'join')], 'padding')], 'conv'),
    blurredJoin,
  ),
];
