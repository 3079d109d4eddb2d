/** Why a convolution is in no block: the reason that was closest to a match. */
import {BLOCK_SPECS, spatialKinds} from '../../ops/index.js';
import type {Refusal} from './candidates.js';
import {isConv} from './forms.js';
import {type Graph, valueOf} from './graph.js';
import type {Link} from './links.js';
import type {Matches, Tried} from './matcher.js';
import type {Overlay} from './overlay.js';

export interface Miss {
  /** The kind of block that came closest. */
  readonly block: string;
  /** Name of the convolution's node. */
  readonly at: string;
  readonly reason: string;
  readonly found: string;
  readonly needed: string;
}

const CONVOLUTIONS: ReadonlySet<string> = new Set([
  'Conv2D',
  '_FusedConv2D',
  'DepthwiseConv2dNative',
  'DepthwiseConv2d',
  'FusedDepthwiseConv2dNative',
]);

export function missesOf(graph: Graph, overlay: Overlay, {blocks, tried}: Matches): readonly Miss[] {
  const fused = new Set(blocks.flatMap(({nodes}) => nodes.map(({name}) => name)));
  const misses: Miss[] = [];
  for (const attempt of tried) {
    attempt.chain.forEach((link, position) => {
      if (isConv(link.node.form) && !fused.has(link.node.name))
        misses.push(missAt(overlay, attempt, link, position));
    });
  }
  const recognised = new Set(
    [...overlay.nodes.values()].filter(({form}) => form).flatMap(({covers}) => covers),
  );
  for (const {name, op} of graph.nodes.values()) {
    if (!CONVOLUTIONS.has(op) || recognised.has(name)) continue;
    misses.push({
      block: 'any',
      at: name,
      reason: `this ${op} is not understood`,
      found: spellingOf(graph, name),
      needed: 'NHWC, a constant filter, equal strides, and a known activation',
    });
  }
  return misses;
}

function spellingOf(graph: Graph, name: string): string {
  const filter = graph.nodes.get(name)?.inputs[1];
  return filter && graph.nodes.get(filter.node)?.op !== 'Const'
    ? `a filter computed by ${graph.nodes.get(filter.node)?.op ?? 'nothing'}`
    : 'other attributes';
}

/** A block that fitted but for one thing outside it comes closer than one whose stages are not all there. */
const CLOSENESS = [
  'the value is used outside the block',
  'the value is an output or is kept',
  'no gain',
  'shapes do not fit',
];

function closeness({misfit, spec}: Refusal): number {
  const known = CLOSENESS.indexOf(misfit.reason);
  if (known >= 0) return 100 - known;
  return spec.slots.findIndex(({name}) => name === misfit.at);
}

function missAt(overlay: Overlay, {refusals}: Tried, link: Link, position: number): Miss {
  const near = refusals.filter(({first, last}) => first <= position && position <= last);
  const [best] = near.sort((a, b) => closeness(b) - closeness(a));
  const at = link.node.name;
  if (!best)
    return {
      block: BLOCK_SPECS[0]?.kind ?? '',
      at,
      reason: 'no block starts here',
      found: kindOf(overlay, link),
      needed: 'a stage of a block',
    };
  const {reason, found, needed, at: where} = best.misfit;
  const next = found === 'the end of the block' ? following(overlay, link) : found;
  return {
    block: best.spec.kind,
    at,
    reason: CLOSENESS.includes(reason) && where !== at ? `${reason} (${where})` : reason,
    found: next,
    needed,
  };
}

function kindOf(overlay: Overlay, {node, main}: Link): string {
  const {form} = node;
  if (form?.op !== 'spatial') return node.op;
  return `${spatialKinds(form.stage.group, overlay.shape(main)?.[3] ?? 0).join(' or ')} convolution`;
}

const following = (overlay: Overlay, {node}: Link): string => {
  const readers = [...overlay.consumers(node.name)].map((name) => overlay.node(valueOf(name))?.op ?? name);
  return readers.length > 0
    ? `${kindOf(overlay, {node, main: node.inputs[0] ?? valueOf('')})}, read by ${[...new Set(readers)].join(', ')}`
    : 'the end of the graph';
};
