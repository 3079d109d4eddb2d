/**
 * Whether a stage list is what its types say. Model files carry stages as text, and JavaScript callers have no types, so a
 * field can hold anything; without this check it would surface as a TypeError or as wrong numbers.
 */
import {ACTIVATION_NAMES, isActivation} from '../activation.js';
import {BlockError, type ResidualStage, type Stage, type StageOp} from '../block.js';

interface Rule {
  readonly holds: (value: unknown) => boolean;
  readonly needed: string;
}

type FieldsOf<S> = {readonly [Field in Exclude<keyof S, 'op' | 'name' | 'given'>]: Rule};

const isCount = (value: unknown): boolean => Number.isInteger(value) && (value as number) > 0;
const isMargin = (value: unknown): boolean => Number.isInteger(value) && (value as number) >= 0;
const isList = (value: unknown, length: number, holds: (item: unknown) => boolean): boolean =>
  Array.isArray(value) && value.length === length && value.every(holds);

const count: Rule = {holds: isCount, needed: 'a positive integer'};
const margin: Rule = {holds: isMargin, needed: 'an integer of at least 0'};
const pair: Rule = {
  holds: (value) => isList(value, 2, isCount),
  needed: 'two positive integers, [rows, columns]',
};
const flag: Rule = {holds: (value) => typeof value === 'boolean', needed: 'true or false'};
const epsilon: Rule = {
  holds: (value) => Number.isFinite(value) && (value as number) >= 0,
  needed: 'a number of at least 0',
};
const stages: Rule = {holds: Array.isArray, needed: 'a list of stages'};
const oneOf = (...values: readonly string[]): Rule => ({
  holds: (value) => values.some((allowed) => allowed === value),
  needed: values.map((value) => `'${value}'`).join(' or '),
});
const stockPad = oneOf('same', 'valid');
const pad: Rule = {
  holds: (value) => stockPad.holds(value) || isList(value, 4, isMargin),
  needed: `${stockPad.needed} or [top, bottom, left, right] of at least 0`,
};
const activation: Rule = {
  holds: isActivation,
  needed: `one of ${ACTIVATION_NAMES.join(', ')}, as {fn, …} with its numbers`,
};
const gateActivation: Rule = {
  holds: (value) => isActivation(value) && value.fn !== 'prelu',
  needed: `${activation.needed}; prelu has no slopes here`,
};

/** A missing row or field is a compile error. */
const FIELDS: {readonly [Op in StageOp]: FieldsOf<Extract<Stage, {op: Op}>>} = {
  spatial: {
    kernel: pair,
    stride: pair,
    dilation: pair,
    pad,
    group: count,
    channels: count,
    bias: flag,
    activation,
  },
  pointwise: {channels: count, bias: flag, activation},
  layernorm: {epsilon, affine: flag},
  grn: {epsilon},
  gate: {channels: count, bias: flag, activation, gate: gateActivation},
  scale: {},
  blurpool: {taps: count, stride: count, mode: oneOf('reflect', 'zero')},
  concat: {},
  pool: {mode: oneOf('max', 'avg'), kernel: pair, stride: pair, pad},
  padchannels: {channels: count},
  spread: {from: margin, every: count, count, at: margin, step: count, channels: count},
  shuffle: {groups: count},
  mean: {},
  flatten: {},
  residual: {shortcut: stages, activation},
};

const SHORTCUT_OPS: ReadonlySet<string> = new Set<StageOp>([
  'spatial',
  'pointwise',
  'pool',
  'padchannels',
  'spread',
]);

/** Lower case, because a graph attribute does not keep case. */
const NAME = /^[a-z][a-z0-9]*$/;

/** @throws {BlockError} for an unknown stage, or a field that holds something else than its type. */
export function checkStages(kind: string, list: readonly Stage[]): void {
  for (const stage of list) checkStage(kind, stage);
  const early = list.find(({op}, i) => op === 'flatten' && i < list.length - 1);
  if (early)
    throw new BlockError(
      `${kind}.${early.name}: a stage stands behind it; flatten can only be the last one.`,
    );
}

function checkStage(kind: string, stage: Stage): void {
  const given: unknown = stage;
  if (typeof given !== 'object' || given === null)
    throw new BlockError(
      `${kind}: ${print(given)} stands where a stage belongs; a stage is {op, name, …}. Was the model file edited?`,
    );
  const fields: Readonly<Record<string, Rule>> | undefined = Object.hasOwn(FIELDS, stage.op)
    ? FIELDS[stage.op]
    : undefined;
  const at = `${kind}.${stage.name}`;
  if (!fields)
    throw new BlockError(`${at}: there is no stage '${stage.op}' in this version; update tfjs-block-fusion.`);
  if (!NAME.test(stage.name))
    throw new BlockError(
      `${at}: the name ${print(stage.name)} is no lower-case word; a model file would not keep it. Rename the stage.`,
    );
  for (const [field, {holds, needed}] of Object.entries(fields)) {
    const value = (given as Readonly<Record<string, unknown>>)[field];
    if (!holds(value))
      throw new BlockError(`${at}: ${field} is ${print(value)} but must be ${needed}; correct the stage.`);
  }
  if (stage.op === 'residual') checkResidual(kind, stage);
}

function checkResidual(kind: string, {name, shortcut, given}: ResidualStage): void {
  const value: unknown = given;
  if (value !== undefined && value !== true)
    throw new BlockError(
      `${kind}.${name}: given is ${print(value)} but must be true or absent; correct the stage.`,
    );
  checkShortcut(kind, shortcut);
  if (given && shortcut.length > 0)
    throw new BlockError(
      `${kind}.${name}: a map that is given takes no shortcut, but there are ${shortcut.length} stages in it; ` +
        'put them in front of the block.',
    );
}

function checkShortcut(kind: string, shortcut: readonly Stage[]): void {
  checkStages(kind, shortcut);
  const stranger = shortcut.find(({op}) => !SHORTCUT_OPS.has(op));
  if (stranger)
    throw new BlockError(
      `${kind}.${stranger.name}: a ${stranger.op} stage cannot be in a shortcut, which takes ` +
        `${[...SHORTCUT_OPS].join(', ')}; put it on the main path.`,
    );
  const early = shortcut.slice(0, -1).find(({op}) => op === 'spread');
  if (early)
    throw new BlockError(
      `${kind}.${early.name}: a stage stands behind it; spread can only be a shortcut's last.`,
    );
}

/** JSON, except that what JSON has no word for (undefined, NaN, Infinity) is named. */
function print(value: unknown): string {
  if (value === undefined) return 'missing';
  return typeof value === 'number' ? String(value) : JSON.stringify(value);
}
