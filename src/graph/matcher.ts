/**
 * Cuts chains into blocks. Of all ways to cut a chain it takes the one that leaves the fewest depth-wise convolutions alone, then
 * the fewest convolutions to TF.js, then the one with the fewest blocks and ops, then the one that writes the fewest bytes between
 * them: it cuts where the map is narrow.
 */
import type {Stage} from '../../ops/index.js';
import {type Candidate, candidatesAt, dispatchesOf, type Refusal, type Surroundings} from './candidates.js';
import {isConv} from './forms.js';
import {valueOf} from './graph.js';
import {chainsOf, type Link, linksOf} from './links.js';
import {sizeOf} from './weights.js';

export interface Matches {
  readonly blocks: readonly Candidate[];
  /** Chains with what was tried and failed, for the report. */
  readonly tried: readonly Tried[];
}

export interface Tried {
  readonly chain: readonly Link[];
  readonly candidates: readonly Candidate[];
  readonly refusals: readonly Refusal[];
}

/** Compared from left to right; less is better. */
type Cost = readonly [stranded: number, stock: number, dispatches: number, elements: number];

const NOTHING: Cost = [0, 0, 0, 0];
const plus = (a: Cost, b: Cost): Cost => [a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]];

function isLess(a: Cost, b: Cost): boolean {
  const at = a.findIndex((value, i) => value !== b[i]);
  return at >= 0 && (a[at] ?? 0) < (b[at] ?? 0);
}

export function matchBlocks(around: Surroundings): Matches {
  const blocks: Candidate[] = [];
  const tried: Tried[] = [];
  const taken = new Set<string>();
  // Long chains first: the short ones may be their shortcuts.
  const chains = [...chainsOf(linksOf(around.overlay))].sort((a, b) => b.length - a.length);
  for (const chain of chains) {
    const found = chain.map((_, first) => candidatesAt(around, chain, first, taken));
    const candidates = found.flatMap((at) => at.candidates);
    tried.push({chain, candidates, refusals: found.flatMap((at) => at.refusals)});
    for (const candidate of cut(around, chain, candidates)) {
      blocks.push(candidate);
      for (const {name} of candidate.nodes) taken.add(name);
    }
  }
  return {blocks, tried};
}

/** Alone it does hardly any work for the bytes it moves; a full or 1×1 convolution alone is no loss. */
const isDepthwise = (stage: Stage): boolean => stage.op === 'spatial' && stage.group === 1;

/** A block of one convolution leaves that as alone as it was; a dense layer behind a mean is none. */
export const hasOneConv = ({block: {stages}}: Candidate): boolean =>
  stages.filter(({op}) => op === 'spatial' || op === 'pointwise').length === 1 &&
  stages.every(({op}) => op !== 'mean');

/** Full convolutions in a row without an add gain nothing by being one block: they count as so many. */
const countOf = ({block: {stages}}: Candidate): number =>
  stages.every(({op}) => op === 'spatial') ? stages.length : 1;

const strands = (candidate: Candidate): boolean =>
  hasOneConv(candidate) && candidate.block.stages.some(isDepthwise);

/** The cheapest segmentation, by dynamic programming over the chain's positions. */
function cut(
  around: Surroundings,
  chain: readonly Link[],
  candidates: readonly Candidate[],
): readonly Candidate[] {
  const best: {cost: Cost; blocks: readonly Candidate[]}[] = [{cost: NOTHING, blocks: []}];
  const written = (at: number): number =>
    sizeOf(
      (around.nominal.shape(valueOf(chain[at]?.node.name ?? '')) ?? []).map((size) => Math.max(size, 1)),
    );
  chain.forEach((link, end) => {
    const before = best[end] as (typeof best)[number];
    const {form} = link.node;
    const alone: Cost = [
      Number(isConv(form) && isDepthwise(form.stage)),
      Number(isConv(form)),
      dispatchesOf(around, [link.node]),
      written(end),
    ];
    let choice = {cost: plus(before.cost, alone), blocks: before.blocks};
    for (const candidate of candidates.filter(({last}) => last === end)) {
      const start = best[candidate.first] as (typeof best)[number];
      const cost = plus(start.cost, [Number(strands(candidate)), 0, countOf(candidate), written(end)]);
      if (isLess(cost, choice.cost)) choice = {cost, blocks: [...start.blocks, candidate]};
    }
    best.push(choice);
  });
  return best.at(-1)?.blocks ?? [];
}
