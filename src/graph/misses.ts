/** Why a convolution is in no block, or alone in one: the reason that was closest to a match. */
import {BLOCK_SPECS, spatialKinds} from '../../ops/index.js';
import {numbersAttr, textAttr, textsAttr} from './attrs.js';
import type {Candidate, Refusal, RefusalReason} from './candidates.js';
import {type CanonicalNode, CONVOLUTIONS, isConv, isProduct} from './forms.js';
import {type Graph, type Node, valueOf} from './graph.js';
import type {Link} from './links.js';
import {hasOneConv, type Matches, type Tried} from './matcher.js';
import type {Overlay} from './overlay.js';

export type MissReason = RefusalReason | 'no block starts here' | 'the op is not understood';

export interface Miss {
  /** The kind of block that came closest. */
  readonly block: string;
  /** Name of the convolution's node. */
  readonly at: string;
  readonly reason: MissReason;
  readonly found: string;
  readonly needed: string;
}

export function missesOf(graph: Graph, overlay: Overlay, {blocks, tried}: Matches): readonly Miss[] {
  const namesOf = (some: readonly Candidate[]): ReadonlySet<string> =>
    new Set(some.flatMap(({nodes}) => nodes.map(({name}) => name)));
  const [fused, alone] = [namesOf(blocks), namesOf(blocks.filter(isLone))];
  const misses: Miss[] = [];
  for (const attempt of tried) {
    attempt.chain.forEach((link, position) => {
      const {name, form} = link.node;
      if (!isConv(form) || !isProduct(graph, link.node) || (fused.has(name) && !alone.has(name))) return;
      // A dense layer on vectors that no head takes is one op already.
      if (overlay.shape(link.main)?.length !== 4) return;
      const miss = missAt(overlay, attempt, link, position);
      if (!fused.has(name) || isNear(miss) || isDepthwise(link.node)) misses.push(miss);
    });
  }
  const recognised = new Set(
    [...overlay.nodes.values()].filter(({form}) => form).flatMap(({covers}) => covers),
  );
  for (const node of graph.nodes.values()) {
    if (!CONVOLUTIONS.has(node.op) || recognised.has(node.name)) continue;
    misses.push({
      block: 'any',
      at: node.name,
      reason: 'the op is not understood',
      found: `${node.op} with ${spellingOf(graph, node)}`,
      needed: 'NHWC, a constant filter, equal strides, and a known activation',
    });
  }
  return misses;
}

/** What of its attributes and inputs no rule takes. */
function spellingOf(graph: Graph, {inputs, attrs}: Node): string {
  const filter = inputs[1] && graph.nodes.get(inputs[1].node);
  if (filter && filter.op !== 'Const') return `a filter computed by ${filter.op}`;
  const layout = textAttr(attrs, 'data_format', 'NHWC');
  if (layout !== 'NHWC') return `maps in ${layout}`;
  const [, h, w] = numbersAttr(attrs, 'strides');
  if (h !== w) return `strides ${h} and ${w}`;
  const fused = textsAttr(attrs, 'fused_ops');
  return fused.length > 0
    ? `fused ${fused.join(', ')}`
    : `dilations ${numbersAttr(attrs, 'dilations').join(', ')}`;
}

/** A convolution by itself: what it could not be part of is still worth knowing. */
const isLone = (candidate: Candidate): boolean =>
  hasOneConv(candidate) && candidate.block.stages.every(({op}) => op !== 'residual');

const isNear = ({reason}: Miss): boolean => CLOSENESS.includes(reason);

const isDepthwise = ({form}: CanonicalNode): boolean => form?.op === 'spatial' && form.stage.group === 1;

/** A block that fitted but for one thing outside it comes closer than one whose stages are not all there. */
const CLOSENESS: readonly MissReason[] = [
  'the value is used outside the block',
  'the value is an output or is kept',
  'no gain',
  'shapes do not fit',
];

function closeness({misfit, spec}: Refusal, node: CanonicalNode): number {
  const known = CLOSENESS.indexOf(misfit.reason);
  if (known >= 0) return 100 - known;
  // A depth-wise convolution nearly always has a block that it should be in; any other may be as well off alone.
  if (misfit.reason === 'too little to fuse') return isDepthwise(node) ? 0 : spec.slots.length + 1;
  return spec.slots.findIndex(({name}) => name === misfit.at);
}

function missAt(overlay: Overlay, {refusals}: Tried, link: Link, position: number): Miss {
  const near = refusals.filter(({first, last}) => first <= position && position <= last);
  const [best] = near.sort((a, b) => closeness(b, link.node) - closeness(a, link.node));
  const at = link.node.name;
  if (!best)
    return {
      block: BLOCK_SPECS[0]?.kind ?? '',
      at,
      reason: 'no block starts here',
      found: kindOf(overlay, link),
      needed: 'a stage of a block',
    };
  const {reason, needed, at: where} = best.misfit;
  let {found} = best.misfit;
  if (found === 'the end of the block') found = following(overlay, link);
  if (reason === 'too little to fuse') found = `${found}: ${following(overlay, link)}`;
  if (reason === 'the value is used outside the block') found = `'${where}', read by ${found}`;
  return {block: best.spec.kind, at, reason, found, needed};
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
