/** A run of links as stages of a block to be: how it grows by one link, and in which ways a sum can be read. */
import type {Activation, ResidualStage, ShortcutStage, Stage} from '../../ops/index.js';
import type {CanonicalNode} from './forms.js';
import {type Ref, refKey, valueOf} from './graph.js';
import {activationOfNode, type Link, shortcutOf, stepOf} from './links.js';
import type {Overlay} from './overlay.js';
import type {Weight} from './weights.js';

export interface Growing {
  readonly stages: readonly Stage[];
  /** Weights of each stage by the suffix of their name; a residual's shortcut stages follow it. */
  readonly weights: ReadonlyMap<Stage, Readonly<Record<string, Weight>>>;
  readonly nodes: readonly CanonicalNode[];
  /** Ends in a pool that is a dispatch of its own in a block or out of it: only what stands behind it makes it worth a block. */
  readonly isOpen?: boolean;
  /** What a residual is given, where it adds no layers of the block's input. */
  readonly map?: Ref;
}

export const NOTHING: Growing = {stages: [], weights: new Map(), nodes: []};

/** The stages so far and one more; none where it cannot be a step of the block. The best reading comes first. */
export function grow(overlay: Overlay, growing: Growing, link: Link, input: Ref): readonly Growing[] {
  const {node} = link;
  const step = stepOf(node);
  if (step)
    return [{...withStage(growing, step.stage, step.weights, [node]), isOpen: isStockPool(step.stage)}];
  // A concat stage appends the block's input: in this order, and as it is.
  if (node.op === 'concat') {
    const appends = growing.stages.length > 0 && link.other && refKey(link.other) === refKey(input);
    if (!appends || refKey(link.main) !== refKey(node.inputs[0] ?? input)) return [];
    return [withStage(growing, {op: 'concat', name: 'concat'}, {}, [node])];
  }
  if (node.op === 'add' || node.op === 'join')
    return growing.stages.length > 0 ? sums(overlay, growing, link, input) : [];
  return activated(growing, node);
}

/** One that stock TF.js makes in one dispatch: edges by number are another one there. */
const isStockPool = (stage: Stage): boolean => stage.op === 'pool' && typeof stage.pad === 'string';

function withStage(
  {stages, weights, nodes, ...rest}: Growing,
  stage: Stage,
  own: Readonly<Record<string, Weight>>,
  more: readonly CanonicalNode[],
): Growing {
  return {
    ...rest,
    stages: [...stages, stage],
    weights: new Map(weights).set(stage, own),
    nodes: [...nodes, ...more],
  };
}

const RESIDUAL: ResidualStage = {
  op: 'residual',
  name: 'residual',
  shortcut: [],
  activation: {fn: 'linear'},
};

/** A sum with what the block's input gives by layers that the block takes in; else with a map it is given. */
function sums(overlay: Overlay, growing: Growing, {node, other}: Link, input: Ref): readonly Growing[] {
  if (!other) return [];
  const readings: Growing[] = [];
  const shortcut = shortcutOf(overlay, input, other);
  const isApart = shortcut?.nodes.every((step) => !growing.nodes.includes(step)) === true;
  if (shortcut && isApart) {
    const spread = node.form?.op === 'join' ? [node.form.spread] : [];
    const named = nameShortcut([...shortcut.steps.map(({stage}) => stage), ...spread]);
    const grown = withStage(growing, {...RESIDUAL, shortcut: named}, {}, [...shortcut.nodes, node]);
    const weights = new Map(grown.weights);
    named.forEach((stage, i) => weights.set(stage, shortcut.steps[i]?.weights ?? {}));
    readings.push({...grown, weights});
  }
  if (node.op === 'add' && refKey(other) !== refKey(input) && isGiven(overlay, growing, node, other))
    readings.push({...withStage(growing, {...RESIDUAL, given: true}, {}, [node]), map: other});
  return readings;
}

/** A map of the sum's own shape that the graph really has, and that the block does not make itself. */
function isGiven(overlay: Overlay, {nodes}: Growing, sum: CanonicalNode, other: Ref): boolean {
  const source = overlay.node(other);
  const isInside = nodes.some(({name}) => name === other.node);
  const [shape, whole] = [overlay.shape(other), overlay.shape(valueOf(sum.name))];
  const isSame = shape?.length === 4 && shape.join() === whole?.join();
  return !isInside && isSame && !source?.isAltered && overlay.constant(other) === undefined;
}

/** The activation behind a sum, or behind a max-pool, where the convolution in front of that has it for nothing. */
function activated(growing: Growing, node: CanonicalNode): readonly Growing[] {
  const found = activationOfNode(node);
  const [before, last] = [growing.stages.at(-2), growing.stages.at(-1)];
  if (!found || !before || !last) return [];
  const own: Readonly<Record<string, Weight>> = found.alpha ? {Alpha: found.alpha} : {};
  if (last.op === 'residual' && last.activation.fn === 'linear')
    return [exchanged(growing, last, {...last, activation: found.activation}, own, node)];
  const isConvolution = before.op === 'spatial' || before.op === 'pointwise';
  if (!isConvolution || before.activation.fn !== 'linear' || last.op !== 'pool') return [];
  if (last.mode !== 'max' || !isMonotone(found.activation)) return [];
  const weights = growing.weights.get(before) ?? {};
  const active = {...before, activation: found.activation};
  return [{...exchanged(growing, before, active, weights, node), isOpen: false}];
}

/** Whether a larger x never gives less, so that the largest of a window is the largest afterwards. */
function isMonotone(activation: Activation): boolean {
  if (activation.fn === 'leakyrelu' || activation.fn === 'elu') return activation.alpha >= 0;
  return ['relu', 'relu6', 'clamp', 'sigmoid'].includes(activation.fn);
}

function exchanged(
  {stages, weights, nodes, ...rest}: Growing,
  old: Stage,
  stage: Stage,
  own: Readonly<Record<string, Weight>>,
  node: CanonicalNode,
): Growing {
  return {
    ...rest,
    stages: stages.map((one) => (one === old ? stage : one)),
    weights: new Map(weights).set(stage, own),
    nodes: [...nodes, node],
  };
}

const BASES: Readonly<Record<string, string | undefined>> = {
  pool: 'pool',
  padchannels: 'widen',
  spread: 'spread',
};

/** Stages of a shortcut need names of their own: their weights are inputs of the block's one node. */
function nameShortcut(stages: readonly ShortcutStage[]): readonly ShortcutStage[] {
  const counts = new Map<string, number>();
  return stages.map((stage) => {
    const base = BASES[stage.op] ?? 'shortcut';
    const count = (counts.get(base) ?? 0) + 1;
    counts.set(base, count);
    return {...stage, name: count === 1 ? base : `${base}${count}`};
  });
}

/** Channels that go into each main-path stage. */
export function channelsInto(stages: readonly Stage[], input: number): (stage: Stage) => number {
  const into = new Map<Stage, number>();
  let channels = input;
  for (const stage of stages) {
    into.set(stage, channels);
    if (stage.op === 'spatial' || stage.op === 'pointwise' || stage.op === 'padchannels')
      channels = stage.channels;
    if (stage.op === 'concat') channels += input;
  }
  return (stage) => into.get(stage) ?? 0;
}
