/**
 * Edges around a map in front of a max-pool: what is never larger than anything in a window needs no map of its own. PyTorch's pools
 * come so, as zeros behind a ReLU or as the least of all floats.
 */
import type {Activation, Pad} from '../../../ops/index.js';
import {isConv, type Form} from '../forms.js';
import type {Replacement} from '../overlay.js';
import {any, constant, type Match, op} from '../pattern.js';
import {isNumeric, valuesOf} from '../weights.js';
import {stageActivation} from './folding.js';
import {type Rule, rule} from './rule.js';

type Edges = Exclude<Pad, string>;

/** From here on down nothing that a network computes is smaller. */
const LEAST = -1e38;

const pooled = (match: Match, pad: Edges): Replacement | undefined => {
  const {stage, weights} = match.form('pool', 'pool');
  const [top, bottom, left, right] = pad;
  const [height, width] = stage.kernel;
  // A window of edges alone would find none of the map.
  const isNarrow = Math.max(top, bottom) < height && Math.max(left, right) < width;
  if (stage.mode !== 'max' || stage.pad !== 'valid' || !isNarrow) return undefined;
  return {form: {op: 'pool', stage: {...stage, pad}, weights}, inputs: [match.ref('x')]};
};

function isNeverNegative(form: Form | undefined): boolean {
  if (isConv(form)) return isPositive(form.stage.activation);
  const activation = form?.op === 'activation' ? stageActivation(form) : undefined;
  return activation !== undefined && isPositive(activation);
}

const isPositive = (activation: Activation): boolean =>
  activation.fn === 'clamp'
    ? activation.min >= 0
    : ['relu', 'relu6', 'sigmoid', 'hardsigmoid'].includes(activation.fn);

function behindZeros(match: Match): Replacement | undefined {
  const before = match.overlay.node(match.ref('x'));
  return isNeverNegative(before?.form) ? pooled(match, match.form('edges', 'padding').pad) : undefined;
}

function behindLeast(match: Match): Replacement | undefined {
  const [amounts, fill] = [match.constant('amounts'), match.constant('fill')];
  const [n0, n1, top = 0, bottom = 0, left = 0, right = 0, c0, c1] = valuesOf(amounts);
  const isMap = amounts.shape[0] === 4 && [n0, n1, c0, c1].every((one) => one === 0);
  const isLeast = isNumeric(fill) && (valuesOf(fill)[0] ?? 0) <= LEAST;
  return isMap && isLeast ? pooled(match, [top, bottom, left, right]) : undefined;
}

export const POOLS: readonly Rule[] = [
  rule('zeros before a max-pool', op('pool', [op('padding', [any('x')], 'edges')], 'pool'), behindZeros),
  rule(
    'least values before a max-pool',
    op('pool', [op('PadV2', [any('x'), constant('amounts'), constant('fill')])], 'pool'),
    behindLeast,
  ),
];
