/** Convolutions between ops that only move pixels or channels: dilation by images, channel shuffles, a join in the other order. */
import type {PointwiseForm} from '../forms.js';
import {type Ref, refKey, valueOf} from '../graph.js';
import {any, constant, type Match, op} from '../pattern.js';
import type {Replacement} from '../overlay.js';
import {makeWeight, sizeOf, valuesOf, type Weight} from '../weights.js';
import {shuffledOrder, type Wire, wiringOf} from '../wiring.js';
import {type Rule, rule} from './rule.js';

/**
 * A convolution over images of every d-th pixel is one of dilation d: pixels are dealt out behind `pads`, and `crops` cuts off
 * what they added to make the sizes divisible.
 */
function dilated(match: Match): Replacement | undefined {
  const form = match.form('conv', 'spatial');
  const {stride, dilation, pad} = form.stage;
  const [block, back] = [match.constant('block'), match.constant('back')].map((weight) => [
    ...valuesOf(weight),
  ]);
  const [pads, crops] = [match.constant('pads'), match.constant('crops')].map((weight) => [
    ...valuesOf(weight),
  ]);
  const [down = 0, across = 0] = block ?? [];
  const isPlain = [...stride, ...dilation].every((step) => step === 1) && pad === 'valid';
  if (!isPlain || block?.length !== 2 || block.join() !== back?.join() || match.shape('x')?.length !== 4)
    return undefined;
  const [top = -1, bottom = -1, left = -1, right = -1] = (pads ?? []).map(
    (size, i) => size - (crops?.[i] ?? 0),
  );
  if (Math.min(top, bottom, left, right) < 0) return undefined;
  const stage = {...form.stage, dilation: [down, across], pad: [top, bottom, left, right]} as const;
  return {form: {...form, stage}, inputs: [match.ref('x')]};
}

/** The filter `[from, to]` that reads its input channels from elsewhere: row i is row `order[i]` of the old one. */
function reordered(form: PointwiseForm, order: readonly number[]): PointwiseForm | undefined {
  const filter = form.weights['Filter'];
  if (!filter || sizeOf(filter.shape) !== order.length * form.stage.channels) return undefined;
  return {...form, weights: {...form.weights, Filter: withRows(filter, order)}};
}

function withRows(filter: Weight, order: readonly number[]): Weight {
  const values = valuesOf(filter);
  const width = values.length / order.length;
  const moved = new Float32Array(values.length);
  order.forEach((from, row) => {
    moved.set(values.subarray(from * width, (from + 1) * width), row * width);
  });
  return makeWeight(`${filter.name}/reordered`, filter.shape, moved);
}

/** The map in front of a shuffle's matrix. */
function mapBefore(match: Match): Ref | undefined {
  let at: Ref | undefined = match.ref('x');
  while (at && match.overlay.shape(at)?.length === 5) at = match.overlay.node(at)?.inputs[0];
  return at;
}

/** Channels as a matrix, turned, and channels again: what ShuffleNet does in its units and between them. */
function shuffled(match: Match): Replacement | undefined {
  const {overlay, root} = match;
  const source = mapBefore(match);
  const [from, to] = [source && wiringOf(overlay, source), wiringOf(overlay, valueOf(root.name))];
  const channels = from?.wires.length ?? 0;
  if (!source || !from || to?.wires.length !== channels || to.nodes.length === 0) return undefined;
  const key = (wire: Wire | undefined): string => (wire ? `${wire.channel} ${refKey(wire.source)}` : '');
  const keys = from.wires.map(key);
  const groups = Array.from({length: channels}, (_, i) => i).find(
    (count) =>
      count > 1 &&
      channels % count === 0 &&
      shuffledOrder(channels, count).every((channel, i) => key(to.wires[i]) === keys[channel]),
  );
  if (groups === undefined) return undefined;
  const inside = new Set(from.nodes.map(({name}) => name));
  const beyond = to.nodes.filter(({name}) => name !== root.name && !inside.has(name));
  const stage = {op: 'shuffle', name: 'shuffle', groups} as const;
  return {form: {op: 'shuffle', stage, weights: {}}, inputs: [source], beyond};
}

/** Rows of a filter as they are read, or columns as they are written, in another order. */
function shuffleInFilter(match: Match, side: 'before' | 'behind'): Replacement | undefined {
  const {groups} = match.form('shuffle', 'shuffle').stage;
  const channels = match.overlay.shape(valueOf(match.node('shuffle').name))?.[3] ?? -1;
  const order = shuffledOrder(channels, groups);
  if (channels < 1) return undefined;
  if (side === 'before') {
    // Row i of the filter read what came at place i; now it stands where that came from.
    const places = order.map((_, channel) => order.indexOf(channel));
    const form = reordered(match.form('conv', 'pointwise'), places);
    return form && {form, inputs: [match.ref('x')]};
  }
  const form = match.form('conv', 'pointwise');
  const weights = Object.fromEntries(
    Object.entries(form.weights).map(([suffix, weight]) => [suffix, withColumns(weight, order)]),
  );
  return {form: {...form, weights}, inputs: [match.ref('x')]};
}

function withColumns(weight: Weight, order: readonly number[]): Weight {
  const values = valuesOf(weight);
  const width = order.length;
  const moved = new Float32Array(values.length);
  for (let i = 0; i < moved.length; i++) moved[i] = values[i - (i % width) + (order[i % width] ?? 0)] ?? 0;
  return makeWeight(`${weight.name}/reordered`, weight.shape, moved);
}

/** How many layers back a join's operand may lie from the other. */
const NEAR = 3;

/** Whether `from` is made of `source` by a few layers. */
function leadsTo(match: Match, source: string, from: string): boolean {
  const wanted = match.ref(source);
  let at = match.ref(from);
  for (let step = 0; step < NEAR; step++) {
    const before = match.overlay.node(at)?.inputs[0];
    if (!before) return false;
    if (before.node === wanted.node && before.index === wanted.index) return true;
    at = before;
  }
  return false;
}

/** Block and input joined in this order, of which the convolution behind knows nothing once its rows are exchanged. */
function swapped(match: Match): Replacement | undefined {
  const join = match.node('join');
  const [first, second] = [match.shape('first')?.[3] ?? -1, match.shape('second')?.[3] ?? -1];
  if (first < 1 || second < 1 || !leadsTo(match, 'first', 'second')) return undefined;
  const order = Array.from({length: first + second}, (_, i) => (i < second ? first + i : i - second));
  const form = reordered(match.form('conv', 'pointwise'), order);
  const turned = {...join, inputs: [match.ref('second'), match.ref('first')]};
  return form && {form, inputs: match.root.inputs, also: [turned]};
}

const JOIN = op('concat', [any('first'), any('second')], 'join');

export const REARRANGED: readonly Rule[] = [
  rule(
    'dilation by images',
    op('BatchToSpaceND', [
      op('spatial', [op('SpaceToBatchND', [any('x'), constant('block'), constant('pads')])], 'conv'),
      constant('back'),
      constant('crops'),
    ]),
    dilated,
  ),
  rule('channel shuffle', op(['Reshape', 'GatherV2'], [any('x')]), shuffled),
  rule(
    'channel shuffle before a convolution',
    op('pointwise', [op('shuffle', [any('x')], 'shuffle')], 'conv'),
    (match) => shuffleInFilter(match, 'before'),
  ),
  rule(
    'channel shuffle behind a convolution',
    op('shuffle', [op('pointwise', [any('x')], 'conv')], 'shuffle'),
    (match) => shuffleInFilter(match, 'behind'),
  ),
  rule('input joined first', op('pointwise', [JOIN], 'conv'), swapped),
  rule('input joined first, blurred', op('pointwise', [op('blurpool', [JOIN])], 'conv'), swapped),
];
