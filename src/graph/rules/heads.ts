/** The mean over all pixels in its other spellings, and the views between it and what stands behind: a network's head. */
import {any, constant, type Match, op} from '../pattern.js';
import type {Replacement} from '../overlay.js';
import {valuesOf} from '../weights.js';
import {isNear} from './activations.js';
import {type Rule, rule} from './rule.js';

const mean = (match: Match): Replacement => ({form: {op: 'mean'}, inputs: [match.ref('x')]});

/** Axes of a reduction, counted from the front. */
function axesOf(match: Match, name: string, rank: number): string {
  return [...valuesOf(match.constant(name))]
    .map((axis) => (axis + rank) % rank)
    .sort()
    .join();
}

/** Pixels as one axis, and the mean over that. */
function overRows(match: Match): Replacement | undefined {
  const [x, rows] = [match.shape('x'), match.overlay.shape({node: match.node('rows').name, index: 0})];
  const [n = -1, h = -1, w = -1, c = -1] = x ?? [];
  const isKnown = x?.length === 4 && Math.min(h, w, c) > 0;
  return isKnown && rows?.join() === [n, h * w, c].join() && axesOf(match, 'axes', 3) === '1'
    ? mean(match)
    : undefined;
}

/** Over one axis of the map, then over the other. */
function overBoth(match: Match): Replacement | undefined {
  const x = match.shape('x');
  const between = match.overlay.shape({node: match.node('first').name, index: 0});
  if (x?.length !== 4 || !between) return undefined;
  const [first, second] = [axesOf(match, 'axes1', 4), axesOf(match, 'axes2', between.length)];
  const kept = between.length === 4;
  const other = first === '1' ? (kept ? '2' : '1') : first === '2' ? '1' : undefined;
  return second === other ? mean(match) : undefined;
}

/** The sum over all pixels times one over their number. */
function bySum(match: Match): Replacement | undefined {
  const [, h = -1, w = -1] = match.shape('x') ?? [];
  const {gain, offset} = match.form('line', 'affine');
  const isMap = match.shape('x')?.length === 4 && h > 0 && w > 0 && axesOf(match, 'axes', 4) === '1,2';
  return isMap && typeof gain === 'number' && isNear(gain * h * w, 1) && offset === 0
    ? mean(match)
    : undefined;
}

/** What works on channels alone sees no difference between `[N, C]` and `[N, 1, 1, C]`; only a map's reader needs its map. */
const throughView =
  (name: 'pointwise' | 'layernorm') =>
  (match: Match): Replacement | undefined =>
    match.shape('x')?.length === 4 || match.outShape?.length !== 4
      ? {form: match.form('stage', name), inputs: [match.ref('x')]}
      : undefined;

export const HEADS: readonly Rule[] = [
  rule(
    'mean over pixels in a row',
    op('Mean', [op('Reshape', [any('x')], 'rows'), constant('axes')]),
    overRows,
  ),
  rule(
    'mean over one axis, then the other',
    op('Mean', [op('Mean', [any('x'), constant('axes1')], 'first'), constant('axes2')]),
    overBoth,
  ),
  rule('mean by a sum', op('affine', [op('Sum', [any('x'), constant('axes')])], 'line'), bySum),
  rule('view of a layer norm', op('view', [op('layernorm', [any('x')], 'stage')]), throughView('layernorm')),
  rule('dense layer of a view', op('pointwise', [op('view', [any('x')])], 'stage'), throughView('pointwise')),
];
