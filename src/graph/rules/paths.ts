/**
 * Two paths whose channels are joined, by turns or one behind the other: ShuffleNet V2's units. The last convolution of the longer
 * path gets columns of zeros where the other path goes, so that the join is a sum; its first one gets rows of zeros for the channels
 * that pass it by, so that nothing need be cut. Zeros are multiplied like any number: at most twice the work of either.
 */
import type {Activation, SpreadStage} from '../../../ops/index.js';
import {type CanonicalNode, type ConvForm, isConv} from '../forms.js';
import {type Ref, refKey, valueOf} from '../graph.js';
import {shortcutOf} from '../links.js';
import type {Overlay, Replacement} from '../overlay.js';
import {any, type Match, op} from '../pattern.js';
import {makeWeight, sizeOf, valuesOf, type Weight} from '../weights.js';
import {type Wire, wiresBySource, wiringOf} from '../wiring.js';
import {type Rule, rule} from './rule.js';

/** How many times the work of a convolution zeros may make. */
const GROWTH = 2;

/** Stages of the longer path that are in a block with a shortcut. */
const PATHS: ReadonlySet<string> = new Set([
  'pointwise',
  'spatial',
  'spatial pointwise',
  'pointwise spatial pointwise',
  'pointwise spatial gate pointwise',
]);

type Placed = Wire & {readonly at: number};

interface Side {
  readonly source: Ref;
  readonly wires: readonly Placed[];
}

const joinedPaths = (match: Match): Replacement | undefined => {
  const {overlay, root} = match;
  const wiring = wiringOf(overlay, valueOf(root.name));
  const sides = [...wiresBySource(wiring?.wires ?? []).values()].map((wires) => ({
    source: (wires[0] as Placed).source, // No list of wires is empty.
    wires,
  }));
  const [a, b] = sides;
  if (!wiring || !a || !b || sides.length !== 2 || isTurnedLater(overlay, root)) return undefined;
  const nodes = wiring.nodes.filter(({name}) => name !== root.name);
  const found = [
    joinedTo(overlay, root, nodes, {main: a, other: b}),
    joinedTo(overlay, root, nodes, {main: b, other: a}),
  ];
  const [best] = found.filter((one) => one !== undefined).sort((p, q) => q.length - p.length);
  return best?.replacement;
};

/** Whether the channels are exchanged before anyone reads them: then that op is the root. */
function isTurnedLater(overlay: Overlay, {name}: CanonicalNode): boolean {
  const [reader = '', ...more] = overlay.consumers(name);
  const next = overlay.nodes.get(reader);
  if (!next || more.length > 0 || overlay.isKept(name)) return false;
  const shape = overlay.shape(valueOf(reader));
  if (next.op === 'Reshape') return shape?.length === 5;
  if (next.op === 'shuffle') return true;
  return next.op === 'GatherV2' && shape?.join() === overlay.shape(valueOf(name))?.join();
}

interface Joined {
  readonly replacement: Replacement;
  /** Stages of the main path. */
  readonly length: number;
}

function joinedTo(
  overlay: Overlay,
  root: CanonicalNode,
  between: readonly CanonicalNode[],
  {main, other}: {main: Side; other: Side},
): Joined | undefined {
  const last = overlay.node(main.source);
  const channels = main.wires.length + other.wires.length;
  const spread = spreadOf(other.wires, channels);
  if (!last || !spread || !isWidenable(overlay, last, main.wires, channels)) return undefined;
  if (!isReadOnlyBy(overlay, last.name, new Set([root, ...between].map(({name}) => name)), root.name))
    return undefined;
  const path = pathTo(overlay, last);
  const [first] = path;
  const start = first?.inputs[0];
  if (!first || !start || !PATHS.has(path.map((node) => node.op).join(' '))) return undefined;
  const wide = {...last, form: withColumns(last.form as ConvForm, main.wires, channels)}; // isWidenable has seen it.
  const made = (also: readonly CanonicalNode[], same: readonly CanonicalNode[] = []): Joined => ({
    replacement: {
      form: {op: 'join', spread},
      inputs: [main.source, other.source],
      also,
      same,
      beyond: between,
    },
    length: path.length,
  });
  if (isSource(overlay, start, other.source)) {
    const isMixed = spread.step > 1 || overlay.node(other.source)?.op === 'pool';
    return isMixed ? made([wide]) : undefined;
  }
  const reading = withRows(overlay, first === last ? wide : first, start, other.source);
  if (!reading) return undefined;
  return first === last ? made([reading]) : made([wide], [reading]);
}

/** Whether the other path leads to where this one starts, by the layers of a shortcut. */
const isSource = (overlay: Overlay, start: Ref, other: Ref): boolean =>
  refKey(start) !== refKey(other) && shortcutOf(overlay, start, other) !== undefined;

/** Where the channels lie at equal distances, before and behind the join. */
function spreadOf(wires: readonly Placed[], channels: number): SpreadStage | undefined {
  const [first, second] = wires;
  if (!first) return undefined;
  const [every, step] = second ? [second.channel - first.channel, second.at - first.at] : [1, 1];
  const isEven = wires.every(
    ({channel, at}, i) => channel === first.channel + every * i && at === first.at + step * i,
  );
  if (!isEven || every < 1) return undefined;
  const places = {from: first.channel, every, count: wires.length, at: first.at, step};
  return {op: 'spread', name: 'spread', ...places, channels};
}

/** Whether zeros come out of a column of zeros, and the channels are all those of the convolution, each once. */
function isWidenable(
  overlay: Overlay,
  {form, inputs, isAltered}: CanonicalNode,
  wires: readonly Placed[],
  channels: number,
): boolean {
  if (!isConv(form) || isAltered || !keepsZero(form.stage.activation)) return false;
  const from = inputs[0] && overlay.shape(inputs[0])?.[3];
  const isFull = form.op === 'pointwise' || form.stage.group === from;
  const isAll =
    wires.length === form.stage.channels && new Set(wires.map(({channel}) => channel)).size === wires.length;
  return isFull && isAll && channels <= GROWTH * form.stage.channels;
}

const keepsZero = (activation: Activation): boolean => {
  if (activation.fn === 'clamp') return activation.min <= 0 && activation.max >= 0;
  return activation.fn !== 'sigmoid' && activation.fn !== 'hardsigmoid';
};

/** Whether what reads a value, directly or not, is among `names` up to `end`. */
function isReadOnlyBy(overlay: Overlay, name: string, names: ReadonlySet<string>, end: string): boolean {
  if (name === end) return true;
  return (
    !overlay.isKept(name) &&
    [...overlay.consumers(name)].every(
      (reader) => names.has(reader) && isReadOnlyBy(overlay, reader, names, end),
    )
  );
}

const ON_PATH: ReadonlySet<string> = new Set(['pointwise', 'spatial', 'gate']);
const LONGEST = 4;

/** The stages in front of the last one, as far as each is read by the next alone. */
function pathTo(overlay: Overlay, last: CanonicalNode): readonly CanonicalNode[] {
  const path = [last];
  for (let at = last.inputs[0]; at && path.length < LONGEST; at = path[0]?.inputs[0]) {
    const node = overlay.node(at);
    const isStep = node && ON_PATH.has(node.op) && !overlay.isKept(node.name);
    if (!isStep || overlay.consumers(node.name).size !== 1) break;
    path.unshift(node);
  }
  return path;
}

/** Columns of a filter, bias and slopes where `wires` put them, zeros elsewhere. */
function withColumns(form: ConvForm, wires: readonly Placed[], channels: number): ConvForm {
  const weights = Object.fromEntries(
    Object.entries(form.weights).map(([suffix, weight]) => [suffix, columnsOf(weight, wires, channels)]),
  );
  return form.op === 'spatial'
    ? {...form, weights, stage: {...form.stage, channels}}
    : {...form, weights, stage: {...form.stage, channels}};
}

function columnsOf(weight: Weight, wires: readonly Placed[], channels: number): Weight {
  const from = valuesOf(weight);
  const width = weight.shape.at(-1) ?? 1;
  const rows = from.length / width;
  const to = new Float32Array(rows * channels);
  for (let row = 0; row < rows; row++)
    for (const {channel, at} of wires) to[row * channels + at] = from[row * width + channel] ?? 0;
  return makeWeight(`${weight.name}/placed`, [...weight.shape.slice(0, -1), channels], to);
}

/** The 1×1 convolution that reads these channels of `x` as one that reads all of it. */
function withRows(overlay: Overlay, node: CanonicalNode, part: Ref, x: Ref): CanonicalNode | undefined {
  const {form} = node;
  const wires = wiringOf(overlay, part)?.wires ?? [];
  const channels = overlay.shape(x)?.[3] ?? -1;
  const isPart = wires.every(({source}) => refKey(source) === refKey(x)) && refKey(part) !== refKey(x);
  if (form?.op !== 'pointwise' || !isPart || channels > GROWTH * wires.length) return undefined;
  const width = form.stage.channels;
  const filter = form.weights['Filter'];
  if (!filter || sizeOf(filter.shape) !== wires.length * width) return undefined;
  const from = valuesOf(filter);
  const to = new Float32Array(channels * width);
  wires.forEach(({channel}, row) => {
    for (let i = 0; i < width; i++) {
      const at = channel * width + i;
      to[at] = (to[at] ?? 0) + (from[row * width + i] ?? 0);
    }
  });
  const Filter = makeWeight(`${filter.name}/whole`, [channels, width], to);
  return {...node, form: {...form, weights: {...form.weights, Filter}}, inputs: [x]};
}

export const PATH_JOINS: readonly Rule[] = [
  rule(
    'join of two paths',
    op(['Reshape', 'GatherV2', 'shuffle', 'ConcatV2', 'concat'], [any('x')]),
    joinedPaths,
  ),
];
