/** The canonical graph seen as chains of stages: what a block can be cut from. */
import type {Activation, ShortcutStage, Stage} from '../../ops/index.js';
import {type CanonicalNode, isConv, type StageWeights} from './forms.js';
import {type Ref, refKey, valueOf} from './graph.js';
import type {Overlay} from './overlay.js';
import {stageActivation} from './rules/folding.js';
import type {Weight} from './weights.js';

/** A node that can be a step of a block: a stage, a join with the block's input, or the activation behind a join or a pool. */
export interface Link {
  readonly node: CanonicalNode;
  /** Where the block's main path comes from. */
  readonly main: Ref;
  /** The other operand of a join. */
  readonly other?: Ref;
}

/** A stage with its weights by suffix, not yet named after a slot. */
export interface Step {
  readonly stage: Exclude<Stage, {op: 'residual'}>;
  readonly weights: StageWeights;
}

const JOINS: ReadonlySet<string> = new Set(['add', 'concat', 'join']);
const SHORTCUTS: ReadonlySet<string> = new Set(['spatial', 'pointwise', 'pool', 'padchannels']);
const STAGES: ReadonlySet<string> = new Set([
  ...SHORTCUTS,
  ...['mean', 'gate', 'layernorm', 'grn', 'blurpool', 'shuffle'],
]);
/** Nothing of a block's kernels makes these and goes on. */
const STANDS_ALONE: ReadonlySet<string> = new Set(['pool', 'padchannels', 'mean', 'shuffle']);
/** Stages of a network's head, whose values may be vectors. */
const HEADS: ReadonlySet<string> = new Set(['mean', 'layernorm', 'pointwise']);

/** All links by node name, in the order of the graph. */
export function linksOf(overlay: Overlay): ReadonlyMap<string, Link> {
  const links = new Map<string, Link>();
  const depths = new Map<string, number>();
  for (const node of overlay.nodes.values()) {
    depths.set(
      node.name,
      weightOf(node) + Math.max(0, ...node.inputs.map((ref) => depths.get(ref.node) ?? 0)),
    );
    const link = linkOf(overlay, node, links, depths);
    if (link) links.set(node.name, link);
  }
  return links;
}

/** A path with more convolutions is the deeper one, however many pools and pads the other has. */
const weightOf = ({form}: CanonicalNode): number => (isConv(form) ? 1 : 1e-6);

function linkOf(
  overlay: Overlay,
  node: CanonicalNode,
  links: ReadonlyMap<string, Link>,
  depths: ReadonlyMap<string, number>,
): Link | undefined {
  const [a, b] = node.inputs;
  if (!a) return undefined;
  if (overlay.shape(valueOf(node.name))?.length !== 4) {
    const isBehindMean = node.op === 'mean' || isVector(links.get(a.node)?.node, links);
    return HEADS.has(node.op) && isBehindMean ? {node, main: a} : undefined;
  }
  if (node.form && STAGES.has(node.op)) return {node, main: a};
  if (node.op === 'join' && b) return {node, main: a, other: b};
  if (JOINS.has(node.op) && b) {
    // The deeper operand has more layers behind it; a shortcut has few. But a sum can only end a layer that nothing else reads.
    const deeper = (depths.get(b.node) ?? 0) > (depths.get(a.node) ?? 0);
    const [main, other] = deeper ? [b, a] : [a, b];
    const isTurned = node.op === 'add' && !canEndWith(overlay, main) && canEndWith(overlay, other);
    return isTurned ? {node, main: other, other: main} : {node, main, other};
  }
  const before = links.get(a.node)?.node.op ?? '';
  const isBehind = JOINS.has(before) || before === 'pool';
  return isBehind && activationOfNode(node) ? {node, main: a} : undefined;
}

/** Whether a block may end at this value and a sum behind it. */
function canEndWith(overlay: Overlay, ref: Ref): boolean {
  const node = overlay.node(ref);
  const isStage = node?.form !== undefined && STAGES.has(node.op) && !STANDS_ALONE.has(node.op);
  return isStage && !overlay.isKept(node.name) && overlay.consumers(node.name).size === 1;
}

/** Whether a link's value is a mean over all pixels, or made of one by stages that keep it a vector. */
function isVector(node: CanonicalNode | undefined, links: ReadonlyMap<string, Link>): boolean {
  if (!node || !HEADS.has(node.op)) return false;
  return node.op === 'mean' || isVector(links.get(node.inputs[0]?.node ?? '')?.node, links);
}

export function activationOfNode({
  form,
}: CanonicalNode): {activation: Activation; alpha?: Weight} | undefined {
  if (form?.op !== 'activation') return undefined;
  const activation = stageActivation(form);
  return activation && {activation, ...(form.alpha ? {alpha: form.alpha} : {})};
}

export function stepOf({form}: CanonicalNode): Step | undefined {
  if (form?.op === 'mean') return {stage: {op: 'mean', name: 'mean'}, weights: {}};
  if (!form || !STAGES.has(form.op) || !('stage' in form)) return undefined;
  return {stage: form.stage, weights: form.weights};
}

/** Maximal runs of links in which each is the only link that goes on from the one before. */
export function chainsOf(links: ReadonlyMap<string, Link>): readonly (readonly Link[])[] {
  const next = new Map<string, Link[]>();
  for (const link of links.values()) {
    if (links.has(link.main.node)) next.set(link.main.node, [...(next.get(link.main.node) ?? []), link]);
  }
  const starts = [...links.values()].filter(({main}) => next.get(main.node)?.length !== 1);
  return starts.map((start) => {
    const chain = [start];
    for (
      let onward = next.get(start.node.name);
      onward?.length === 1;
      onward = next.get((onward[0] as Link).node.name)
    ) {
      chain.push(onward[0] as Link);
    }
    return chain;
  });
}

export interface Shortcut {
  readonly steps: readonly (Step & {readonly stage: ShortcutStage})[];
  readonly nodes: readonly CanonicalNode[];
}

/** The layers between a block's input and the other operand of its residual; undefined where that is another value. */
export function shortcutOf(overlay: Overlay, input: Ref, other: Ref): Shortcut | undefined {
  const steps: (Step & {stage: ShortcutStage})[] = [];
  const nodes: CanonicalNode[] = [];
  let at = other;
  while (refKey(at) !== refKey(input)) {
    const node = overlay.node(at);
    const step = node && SHORTCUTS.has(node.op) ? stepOf(node) : undefined;
    const before = node?.inputs[0];
    if (!step || !before || overlay.isKept(node.name) || overlay.consumers(node.name).size !== 1)
      return undefined;
    steps.unshift(step as Step & {stage: ShortcutStage}); // SHORTCUTS lists exactly their ops.
    nodes.unshift(node);
    at = before;
  }
  return {steps, nodes};
}
