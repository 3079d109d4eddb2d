/** Squeeze-and-excite in one stage, whatever its vectors looked like on the way. */
import type {Activation} from '../../../ops/index.js';
import type {PointwiseForm} from '../forms.js';
import {any, type Match, op} from '../pattern.js';
import type {Replacement} from '../overlay.js';
import {makeWeight, type Weight} from '../weights.js';
import {type Rule, rule} from './rule.js';

const biasOf = ({stage, weights}: PointwiseForm): Weight =>
  weights['Bias'] ??
  makeWeight(`${weights['Filter']?.name ?? 'gate'}/bias`, [stage.channels], new Float32Array(stage.channels));

function gate(match: Match): Replacement | undefined {
  const [reduce, expand] = [match.form('reduce', 'pointwise'), match.form('expand', 'pointwise')];
  const [map, gates] = [match.shape('x'), match.overlay.shape({node: match.node('expand').name, index: 0})];
  // [N, C] against [N, H, W, C] would broadcast along the width.
  const isBroadcast = gates?.length === 4 && gates[1] === 1 && gates[2] === 1;
  const {
    stage: {activation, channels},
  } = reduce;
  if (
    !isBroadcast ||
    map?.length !== 4 ||
    map[3] !== expand.stage.channels ||
    expand.stage.activation.fn === 'prelu'
  )
    return undefined;
  const bias = reduce.stage.bias || expand.stage.bias;
  const filters = {ReduceFilter: reduce.weights['Filter'], ExpandFilter: expand.weights['Filter']};
  const {ReduceFilter, ExpandFilter} = filters;
  if (!ReduceFilter || !ExpandFilter) return undefined;
  const biases: Record<string, Weight> = bias ? {ReduceBias: biasOf(reduce), ExpandBias: biasOf(expand)} : {};
  const alpha: Record<string, Weight> = reduce.weights['Alpha'] ? {Alpha: reduce.weights['Alpha']} : {};
  const stage = {
    op: 'gate',
    name: 'gate',
    channels,
    bias,
    activation,
    gate: expand.stage.activation satisfies Activation,
  } as const;
  return {
    form: {op: 'gate', stage, weights: {ReduceFilter, ExpandFilter, ...biases, ...alpha}},
    inputs: [match.ref('x')],
  };
}

export const GATES: readonly Rule[] = [
  rule('view of a mean', op('view', [op('mean', [any('x')])]), (match) => ({
    form: {op: 'mean'},
    inputs: [match.ref('x')],
  })),
  rule('view of a dense layer', op('view', [op('pointwise', [any('x')], 'dense')]), (match) => ({
    form: match.form('dense', 'pointwise'),
    inputs: [match.ref('x')],
  })),
  rule(
    'squeeze-and-excite',
    op('Mul', [any('x'), op('pointwise', [op('pointwise', [op('mean', [any('x')])], 'reduce')], 'expand')]),
    gate,
  ),
];
