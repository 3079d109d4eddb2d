/** Global response normalisation, from its parts: x + gain·x·n + offset. */
import {plus, times, toWeight} from '../channel.js';
import type {PerChannel, ResponseForm} from '../forms.js';
import {ADD, any, constant, type Match, op, type OpPattern, shared} from '../pattern.js';
import type {Replacement} from '../overlay.js';
import {valuesOf} from '../weights.js';
import {epsilonOf, isPower} from './norms.js';
import {type Rule, rule} from './rule.js';

const X = any('x');
const PIXEL_NORM = shared('pixelnorm', [X]);
const SUM = op('Sum', [op('square', [X]), constant('axes')]);
const RELATIVE = op('relativenorm', [X], 'relative');

const pixelNorm = (name: string, pattern: OpPattern, when: (match: Match) => boolean = () => true): Rule =>
  rule(name, pattern, (match) => {
    const axes = [...valuesOf(match.constant('axes'))].map((axis) => (axis + 4) % 4).sort();
    const isOverPixels = match.shape('x')?.length === 4 && axes.join() === '1,2';
    return isOverPixels && match.outShape?.length === 4 && when(match)
      ? {form: {op: 'pixelnorm'}, inputs: [match.ref('x')]}
      : undefined;
  });

const response = (match: Match, gain: PerChannel): Replacement => ({
  form: {op: 'response', epsilon: match.form('relative', 'relativenorm').epsilon, gain, offset: 0},
  inputs: [match.ref('x')],
});

function grn(match: Match, {epsilon, gain, offset}: Omit<ResponseForm, 'op'>): Replacement | undefined {
  const channels = match.shape('x')?.[3] ?? -1;
  if (channels < 1) return undefined;
  const {name} = match.root;
  return {
    form: {
      op: 'grn',
      stage: {op: 'grn', name: 'grn', epsilon},
      weights: {
        Gain: toWeight(gain, channels, `${name}/gain`),
        Offset: toWeight(offset, channels, `${name}/offset`),
      },
    },
    inputs: [match.ref('x')],
  };
}

export const RESPONSES: readonly Rule[] = [
  pixelNorm('norm of a channel', op('Sqrt', [SUM])),
  pixelNorm('norm of a channel by power', op('Pow', [SUM, constant('power')]), isPower(0.5)),
  pixelNorm('norm of a channel in one op', op('EuclideanNorm', [X, constant('axes')])),
  rule(
    'relative norm',
    op(['RealDiv', 'Div'], [PIXEL_NORM, op('affine', [op('channelmean', [PIXEL_NORM])], 'safe')]),
    (match) => {
      const epsilon = epsilonOf(match);
      return epsilon === undefined
        ? undefined
        : {form: {op: 'relativenorm', epsilon}, inputs: [match.ref('x')]};
    },
  ),
  rule('response', op('Mul', [X, RELATIVE]), (match) => response(match, 1)),
  rule('response, gain with the norm', op('Mul', [X, op('affine', [RELATIVE], 'line')]), (match) => {
    const {gain, offset} = match.form('line', 'affine');
    return offset === 0 ? response(match, gain) : undefined;
  }),
  rule(
    'x times one and its response',
    op('Mul', [X, op('affine', [op('affine', [RELATIVE], 'line')], 'one')]),
    (match) => {
      const [{gain, offset}, one] = [match.form('line', 'affine'), match.form('one', 'affine')];
      const {epsilon} = match.form('relative', 'relativenorm');
      const isOne = one.gain === 1 && one.offset === 1 && offset === 0;
      return isOne ? grn(match, {epsilon, gain, offset: 0}) : undefined;
    },
  ),
  rule('response, gain first', op('Mul', [op('affine', [X], 'line'), RELATIVE]), (match) => {
    const {gain, offset} = match.form('line', 'affine');
    return offset === 0 ? response(match, gain) : undefined;
  }),
  rule('affine of a response', op('affine', [op('response', [X], 'response')], 'line'), (match) => {
    const form = match.form('response', 'response');
    const {gain, offset} = match.form('line', 'affine');
    return {
      form: {...form, gain: times(gain, form.gain), offset: plus(times(gain, form.offset), offset)},
      inputs: [match.ref('x')],
    };
  }),
  rule('global response norm', op(ADD, [X, op('response', [X], 'response')]), (match) =>
    match.root.inputs.length === 2 ? grn(match, match.form('response', 'response')) : undefined,
  ),
  rule(
    'global response norm, offset first',
    op(ADD, [op('affine', [X], 'line'), op('response', [X], 'response')]),
    (match) => {
      const form = match.form('response', 'response');
      const {gain, offset} = match.form('line', 'affine');
      return gain === 1 && match.root.inputs.length === 2
        ? grn(match, {...form, offset: plus(form.offset, offset)})
        : undefined;
    },
  ),
  rule('offset behind a response norm', op('affine', [op('grn', [X], 'grn')], 'line'), (match) => {
    const {gain, offset} = match.form('line', 'affine');
    const {stage, weights} = match.form('grn', 'grn');
    const [own, shift] = [weights['Gain'], weights['Offset']];
    return gain === 1 && own && shift
      ? grn(match, {epsilon: stage.epsilon, gain: own, offset: plus(shift, offset)})
      : undefined;
  }),
];
