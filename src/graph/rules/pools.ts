/**
 * Edges around a map in front of a max-pool: what is never larger than anything in a window needs no map of its own. PyTorch's pools
 * come so, as zeros behind a ReLU or as the least of all floats.
 */
import type {Pad} from '../../../ops/index.js';
import {isConv} from '../forms.js';
import type {Replacement} from '../overlay.js';
import {any, constant, type Match, op} from '../pattern.js';
import {isNumeric, valuesOf} from '../weights.js';
import {type Rule, rule} from './rule.js';
import {edgesOf} from './spelling.js';

/** Nothing that a network computes is smaller. */
const LEAST = -1e38;

/** Whether the edges fit the window is for the stage to say. */
function pooled(match: Match, pad: Exclude<Pad, string>): Replacement | undefined {
  const {stage, weights} = match.form('pool', 'pool');
  if (stage.mode !== 'max' || stage.pad !== 'valid') return undefined;
  return {form: {op: 'pool', stage: {...stage, pad}, weights}, inputs: [match.ref('x')]};
}

const NEVER_NEGATIVE: ReadonlySet<string> = new Set(['relu', 'relu6', 'sigmoid', 'hardsigmoid']);

function behindZeros(match: Match): Replacement | undefined {
  const before = match.overlay.node(match.ref('x'))?.form;
  if (!isConv(before) || !NEVER_NEGATIVE.has(before.stage.activation.fn)) return undefined;
  return pooled(match, match.form('edges', 'padding').pad);
}

function behindLeast(match: Match): Replacement | undefined {
  const [edges, fill] = [edgesOf(match.constant('amounts')), match.constant('fill')];
  const isLeast = isNumeric(fill) && (valuesOf(fill)[0] ?? 0) <= LEAST;
  return edges?.added === 0 && isLeast ? pooled(match, edges.pad) : undefined;
}

export const POOLS: readonly Rule[] = [
  rule('zeros before a max-pool', op('pool', [op('padding', [any('x')], 'edges')], 'pool'), behindZeros),
  rule(
    'least values before a max-pool',
    op('pool', [op('PadV2', [any('x'), constant('amounts'), constant('fill')])], 'pool'),
    behindLeast,
  ),
];
