/** Convolutions between ops that only move pixels or channels: dilation by images, channel shuffles, a join in the other order. */
import type {PointwiseForm} from '../forms.js';
import {any, constant, type Match, op} from '../pattern.js';
import type {Replacement} from '../overlay.js';
import {makeWeight, sizeOf, valuesOf, type Weight} from '../weights.js';
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

/** Channels as a matrix, turned, and channels again: what ShuffleNet does between its units. */
function shuffled(match: Match): Replacement | undefined {
  const [x, back] = [match.shape('x'), match.overlay.shape({node: match.node('flat').name, index: 0})];
  const wide = match.overlay.shape({node: match.node('matrix').name, index: 0});
  const [groups = 0, each = 0] = wide?.slice(3) ?? [];
  const isTurn = [...valuesOf(match.constant('order'))].join() === '0,1,2,4,3';
  // One open size in the same place on both sides is the same size; two might be exchanged.
  const samePixels = [wide, back].every((shape) => shape?.slice(0, 3).join() === x?.slice(0, 3).join());
  const open = x?.slice(0, 3).filter((size) => size < 0).length ?? 3;
  if (x?.length !== 4 || wide?.length !== 5 || back?.length !== 4 || !isTurn || !samePixels || open > 1)
    return undefined;
  if (groups < 1 || groups * each !== x[3] || back[3] !== x[3]) return undefined;
  // Channel g·each + i of x comes out as channel i·groups + g.
  const order = Array.from({length: x[3]}, (_, c) => (c % each) * groups + Math.floor(c / each));
  const form = reordered(match.form('conv', 'pointwise'), order);
  return form && {form, inputs: [match.ref('x')]};
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
  rule(
    'channel shuffle before a convolution',
    op(
      'pointwise',
      [op('Reshape', [op('Transpose', [op('Reshape', [any('x')], 'matrix'), constant('order')])], 'flat')],
      'conv',
    ),
    shuffled,
  ),
  rule('input joined first', op('pointwise', [JOIN], 'conv'), swapped),
  rule('input joined first, blurred', op('pointwise', [op('blurpool', [JOIN])], 'conv'), swapped),
];
