/** LayerNorm over channels, from whatever parts it was left in. Each part is a function of x, so it may be read by several. */
import {flagAttr, numberAttr, textAttr} from '../attrs.js';
import {perChannel, plus, times, toWeight} from '../channel.js';
import type {AffineForm, PerChannel} from '../forms.js';
import {ADD, any, constant, type Match, op, type OpPattern, type Pattern, shared} from '../pattern.js';
import type {Replacement} from '../overlay.js';
import {sizeOf, valuesOf} from '../weights.js';
import {isNear} from './activations.js';
import {type Rule, rule} from './rule.js';

const X = any('x');
const CHANNEL_MEAN = shared('channelmean', [X]);
const CENTERED = shared('centered', [X]);
const VARIANCE = op('affine', [shared('variance', [X])], 'safe');
const DEVIATION = shared('deviation', [X], 'deviation');
const INVERSE = shared('inversedeviation', [X], 'deviation');
/** gain / deviation, `[N, H, W, C]` by broadcasting. */
const SCALE = shared('Mul', [INVERSE, constant('gain')]);

type PlainOp = 'square' | 'channelmean' | 'centered' | 'variance';

const plain = (
  name: string,
  form: PlainOp,
  pattern: OpPattern,
  when: (match: Match) => boolean = () => true,
): Rule =>
  rule(name, pattern, (match) => (when(match) ? {form: {op: form}, inputs: [match.ref('x')]} : undefined));

export const isPower =
  (exponent: number) =>
  (match: Match): boolean => {
    const power = match.constant('power');
    return sizeOf(power.shape) === 1 && valuesOf(power)[0] === exponent;
  };

/** A map `[N, H, W, C]`, or the vector `[N, C]` of a network's head. */
const hasChannels = (shape: readonly number[] | undefined): shape is readonly number[] =>
  shape?.length === 4 || shape?.length === 2;

/** Keeps the axis: `[N, H, W, 1]`. */
function isChannelMean(match: Match): boolean {
  const x = match.shape('x');
  if (!hasChannels(x)) return false;
  const axes = [...valuesOf(match.constant('axes'))].map((axis) => (axis + x.length) % x.length);
  return axes.join() === String(x.length - 1) && match.outShape?.length === x.length;
}

/** epsilon where the captured affine adds it and does no more. */
export function epsilonOf(match: Match): number | undefined {
  const {gain, offset} = match.form('safe', 'affine');
  return gain === 1 && typeof offset === 'number' && offset >= 0 ? offset : undefined;
}

const deviation =
  (form: 'deviation' | 'inversedeviation', exponent?: number) =>
  (match: Match): Replacement | undefined => {
    const epsilon = epsilonOf(match);
    if (epsilon === undefined || (exponent !== undefined && !isPower(exponent)(match))) return undefined;
    return {form: {op: form, epsilon}, inputs: [match.ref('x')]};
  };

const inverted = (match: Match): Replacement => ({
  form: {op: 'inversedeviation', epsilon: epsilonOfDeviation(match)},
  inputs: [match.ref('x')],
});

const isOne = (match: Match): boolean => {
  const one = match.constant('one');
  return sizeOf(one.shape) === 1 && valuesOf(one)[0] === 1;
};

/** gain · normal(x) + offset. */
function normOf(
  match: Match,
  epsilon: number,
  gain: PerChannel = 1,
  offset: PerChannel = 0,
): Replacement | undefined {
  const x = match.shape('x');
  const channels = x?.at(-1) ?? -1;
  const affine = gain !== 1 || offset !== 0;
  if (!hasChannels(x) || (affine && channels < 1)) return undefined;
  const {name} = match.root;
  const weights = affine
    ? {Gain: toWeight(gain, channels, `${name}/gain`), Offset: toWeight(offset, channels, `${name}/offset`)}
    : {};
  const stage = {op: 'layernorm', name: 'norm', epsilon, affine} as const;
  return {form: {op: 'layernorm', stage, weights}, inputs: [match.ref('x')]};
}

function epsilonOfDeviation(match: Match): number {
  const {form} = match.node('deviation');
  if (form?.op !== 'deviation' && form?.op !== 'inversedeviation')
    throw new Error(`'${match.node('deviation').name}' is no deviation.`);
  return form.epsilon;
}

const normal = (match: Match): Replacement | undefined => normOf(match, epsilonOfDeviation(match));

const gainBehind = (match: Match): Replacement | undefined => {
  const gain = perChannel(match.constant('gain'), match.shape('x'));
  return gain === undefined ? undefined : normOf(match, epsilonOfDeviation(match), gain);
};

const gainBefore = (match: Match): Replacement | undefined => {
  const {gain, offset} = match.form('line', 'affine');
  return offset === 0 ? normOf(match, epsilonOfDeviation(match), gain) : undefined;
};

/** x·s + (offset − mean·s), which is tf.nn.batch_normalization's order; s has the gain in it where there is one. */
const byParts = (name: string, scale: Pattern, has: {readonly gain: boolean}): readonly Rule[] => {
  const gainOf = (match: Match): PerChannel | undefined =>
    has.gain ? perChannel(match.constant('gain'), match.shape('x')) : 1;
  const scaled = op('Mul', [X, scale]);
  const shift = op('Mul', [CHANNEL_MEAN, scale]);
  const make =
    (readOffset: (match: Match) => PerChannel | undefined) =>
    (match: Match): Replacement | undefined => {
      const [gain, offset] = [gainOf(match), readOffset(match)];
      return gain === undefined || offset === undefined
        ? undefined
        : normOf(match, epsilonOfDeviation(match), gain, offset);
    };
  const negated = (match: Match): PerChannel | undefined => {
    const {gain, offset} = match.form('line', 'affine');
    return gain === -1 ? offset : undefined;
  };
  // Without a gain the shift is one number a pixel, and a vector less that is no affine.
  const lessMean = has.gain ? op('affine', [shift], 'line') : op('Sub', [constant('offset'), shift]);
  const offsetOf = (match: Match): PerChannel | undefined =>
    has.gain ? negated(match) : perChannel(match.constant('offset'), match.shape('x'));
  const withoutOffset = (match: Match): PerChannel | undefined => (negated(match) === 0 ? 0 : undefined);
  const minusMean = op('Mul', [op('affine', [CHANNEL_MEAN], 'line'), scale]);
  return [
    rule(`${name}, offset less mean`, op(ADD, [scaled, lessMean]), make(offsetOf)),
    rule(
      `${name}, less mean`,
      op('Sub', [scaled, shift]),
      make(() => 0),
    ),
    rule(`${name}, plus minus mean`, op(ADD, [scaled, minusMean]), make(withoutOffset)),
    // Keras 3, before grappler reorders it. Without a gain the offset stands at one number a pixel, and is no affine.
    ...(has.gain
      ? [
          rule(
            `${name}, plus minus mean and offset`,
            op(ADD, [scaled, op('affine', [minusMean], 'behind')]),
            make((match) => {
              const {gain, offset} = match.form('behind', 'affine');
              return gain === 1 && withoutOffset(match) === 0 ? offset : undefined;
            }),
          ),
        ]
      : []),
  ];
};

function affineBehind(match: Match): Replacement | undefined {
  const {stage, weights} = match.form('norm', 'layernorm');
  const {gain, offset}: AffineForm = match.form('affine', 'affine');
  const [before, shift] = [weights['Gain'] ?? 1, weights['Offset'] ?? 0];
  return normOf(match, stage.epsilon, times(gain, before), plus(times(gain, shift), offset));
}

/**
 * Keras, where it can: the map as one image `[1, pixels, C, 1]` in NCHW, so that batch norm in training mode normalises each pixel.
 * Stock TF.js cannot run that op.
 */
function byTrainingBatchNorm(match: Match): Replacement | undefined {
  const norm = match.node('norm');
  const pixels = norm.inputs[0] && match.overlay.shape(norm.inputs[0]);
  const [from, to] = [match.shape('x'), match.outShape];
  const isTraining = flagAttr(norm.attrs, 'is_training') && textAttr(norm.attrs, 'data_format') === 'NCHW';
  const isPixels = pixels?.length === 4 && pixels[0] === 1 && pixels[3] === 1 && pixels[2] === from?.at(-1);
  if (!isTraining || !isPixels || !hasChannels(from) || to?.join() !== from.join()) return undefined;
  if (from.filter((size) => size < 0).length > 1 || !isFilledWith(match, 1, 1) || !isFilledWith(match, 2, 0))
    return undefined;
  return normOf(match, numberAttr(norm.attrs, 'epsilon', 0.001));
}

/** Whether an input of the batch norm is one value throughout, also where its length is open. */
function isFilledWith(match: Match, input: number, value: number): boolean {
  const ref = match.node('norm').inputs[input];
  if (!ref) return false;
  const {overlay} = match;
  const weight = overlay.constant(ref);
  if (weight) return valuesOf(weight).every((element) => element === value);
  const known = overlay.known(ref);
  if (known) return known.data.every((element) => element === value);
  const node = overlay.node(ref);
  const fill = node?.op === 'Fill' && node.inputs[1] ? overlay.known(node.inputs[1]) : undefined;
  return fill !== undefined && fill.data.length === 1 && isNear(fill.data[0] ?? NaN, value);
}

export const NORMS: readonly Rule[] = [
  plain('square', 'square', op('Square', [X])),
  plain('square by product', 'square', op('Mul', [X, X])),
  plain('square by power', 'square', op('Pow', [X, constant('power')]), isPower(2)),
  plain('channel mean', 'channelmean', op('Mean', [X, constant('axes')]), isChannelMean),
  plain('centered', 'centered', op('Sub', [X, CHANNEL_MEAN])),
  plain('variance', 'variance', op('channelmean', [op('SquaredDifference', [X, CHANNEL_MEAN])])),
  plain('variance of centered', 'variance', op('channelmean', [op('square', [CENTERED])])),
  rule('deviation', op('Sqrt', [VARIANCE]), deviation('deviation')),
  rule('deviation by power', op('Pow', [VARIANCE, constant('power')]), deviation('deviation', 0.5)),
  rule('inverse deviation', op('Rsqrt', [VARIANCE]), deviation('inversedeviation')),
  rule(
    'inverse deviation by power',
    op('Pow', [VARIANCE, constant('power')]),
    deviation('inversedeviation', -0.5),
  ),
  rule('reciprocal of a deviation', op('Reciprocal', [DEVIATION]), inverted),
  rule('one over a deviation', op(['RealDiv', 'Div'], [constant('one'), DEVIATION]), (match) =>
    isOne(match) ? inverted(match) : undefined,
  ),
  rule('layer norm by product', op('Mul', [CENTERED, INVERSE]), normal),
  rule('layer norm by quotient', op(['RealDiv', 'Div'], [CENTERED, DEVIATION]), normal),
  rule('layer norm, gain with the deviation', op('Mul', [CENTERED, SCALE]), gainBehind),
  rule('layer norm, gain first', op('Mul', [op('affine', [CENTERED], 'line'), INVERSE]), gainBefore),
  rule(
    'layer norm, gain first, by quotient',
    op(['RealDiv', 'Div'], [op('affine', [CENTERED], 'line'), DEVIATION]),
    gainBefore,
  ),
  ...byParts('layer norm', SCALE, {gain: true}),
  ...byParts('plain layer norm', INVERSE, {gain: false}),
  rule(
    'layer norm by batch norm in training',
    op('Reshape', [op('FusedBatchNormV3', [shared('Reshape', [X])], 'norm')]),
    byTrainingBatchNorm,
  ),
  rule('affine behind a layer norm', op('affine', [op('layernorm', [X], 'norm')], 'affine'), affineBehind),
];
