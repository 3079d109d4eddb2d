/** Blocks that could be cut from a chain: a start, a few links, a spec they fit; or the reason why not. */
import {
  type Block,
  BlockError,
  BLOCK_SPECS,
  type BlockSpec,
  fitSpec,
  type Misfit,
  type MisfitReason,
  type Shape4D,
  type Slot,
  type Stage,
  traceBlock,
} from '../../ops/index.js';
import {OPEN_SIZE, stockDispatches} from './dispatches.js';
import {type CanonicalNode, isProduct} from './forms.js';
import {type Ref, valueOf} from './graph.js';
import {channelsInto, grow, type Growing, NOTHING} from './growing.js';
import type {Inference} from './infer.js';
import {runsInTfjs} from './known_ops.js';
import type {Link} from './links.js';
import type {Overlay} from './overlay.js';
import {sizeOf, type Weight, withShape} from './weights.js';

/** A weight of a block, or the map that its residual is given. */
export type BlockInput = {readonly name: string} & ({readonly weight: Weight} | {readonly map: Ref});

export interface Candidate {
  readonly spec: BlockSpec;
  readonly block: Block;
  readonly input: Ref;
  /** In the order of a block's graph node. */
  readonly weights: readonly BlockInput[];
  /** Positions in the chain, `last` included. */
  readonly first: number;
  readonly last: number;
  /** Canonical nodes it replaces, shortcuts included. */
  readonly nodes: readonly CanonicalNode[];
  /** Estimated shapes, for costs. */
  readonly inputShape: Shape4D;
  readonly outputShape: readonly number[];
}

/** Why stages that fit a spec are no block of the graph they stand in. */
export type RefusalReason =
  | MisfitReason
  | 'the input is no map'
  | 'the value is an output or is kept'
  | 'the value is used outside the block'
  | 'a part of the value is elsewhere'
  | 'no gain'
  | 'shapes do not fit';

export interface Refusal {
  readonly spec: BlockSpec;
  readonly misfit: Misfit<RefusalReason>;
  readonly first: number;
  readonly last: number;
}

/** What surrounds the search: the canonical graph, and shapes with assumed sizes where the model leaves them open. */
export interface Surroundings {
  readonly overlay: Overlay;
  readonly nominal: Inference;
  /** Says no to a block that would be no gain; all are, where absent. */
  readonly accepts?: (block: Block, input: Shape4D) => boolean;
}

/** No spec is longer than this, with room for a residual's activation. */
const LONGEST = Math.max(...BLOCK_SPECS.map(({slots}) => slots.length)) + 1;

/** All candidates and refusals that start at `first`. @param taken Nodes that other blocks have already. */
export function candidatesAt(
  around: Surroundings,
  chain: readonly Link[],
  first: number,
  taken: ReadonlySet<string>,
): {candidates: Candidate[]; refusals: Refusal[]} {
  const candidates: Candidate[] = [];
  const refusals: Refusal[] = [];
  const start = chain[first];
  let readings: readonly Growing[] = [NOTHING];
  for (let last = first; start && last < Math.min(chain.length, first + LONGEST); last++) {
    readings = readings.flatMap((growing) => grow(around.overlay, growing, chain[last] as Link, start.main));
    // A sum that can be read in two ways is taken in the first that gives a block.
    for (const growing of readings) {
      if (growing.isOpen || growing.nodes.some(({name}) => taken.has(name))) continue;
      const made = BLOCK_SPECS.map((spec) => ({
        spec,
        cut: tryCut(around, spec, growing, start.main, {first, last}),
      }));
      const found = made.flatMap(({cut}) => ('misfit' in cut ? [] : [cut]));
      candidates.push(...found);
      refusals.push(...made.flatMap(({spec, cut}) => ('misfit' in cut ? [{spec, ...cut, first, last}] : [])));
      if (found.length > 0) break;
    }
  }
  return {candidates, refusals};
}

function tryCut(
  around: Surroundings,
  spec: BlockSpec,
  growing: Growing,
  input: Ref,
  at: {first: number; last: number},
): Candidate | {misfit: Misfit<RefusalReason>} {
  const {overlay, nominal} = around;
  const inputShape = asShape4D(nominal.shape(input));
  if (!inputShape)
    return {
      misfit: {
        at: input.node,
        reason: 'the input is no map',
        found: `rank ${nominal.shape(input)?.length ?? 'unknown'}`,
        needed: 'rank 4',
      },
    };
  const stages = withFlatten(around, growing);
  const fit = fitSpec(spec, stages, channelsInto(stages, inputShape[3]));
  if ('misfit' in fit) return fit;
  const escape = escapeOf(overlay, growing.nodes) ?? alteredAt(overlay, growing.nodes, input);
  if (escape) return {misfit: escape};
  // A pool is a dispatch in a block as it is outside.
  const pools = growing.stages.filter(({op}) => op === 'pool').length;
  const [dispatches, least] = [dispatchesOf(around, growing.nodes) - pools, leastOf(overlay, spec, growing)];
  if (dispatches < least)
    return {misfit: noGain(growing, `${dispatches} dispatches of TF.js`, `at least ${least}`)};
  const named = nameStages({...growing, stages}, fit.slots);
  const block: Block = {kind: spec.kind, stages: named.stages};
  try {
    const trace = traceBlock(block, inputShape);
    checkRank(around, growing.nodes, trace.output);
    const weights = trace.weights.map(({name, shape, isMap}): BlockInput => {
      if (isMap && growing.map) return {name, map: growing.map};
      return {name, weight: weightAs(named.weights.get(name), name, shape)};
    });
    if (around.accepts?.(block, inputShape) === false) {
      const found = `[${inputShape.join(', ')}]`;
      return {misfit: noGain(growing, found, 'a shape where one kernel beats the ops')};
    }
    return {spec, block, input, weights, ...at, nodes: growing.nodes, inputShape, outputShape: trace.output};
  } catch (error) {
    if (!(error instanceof BlockError)) throw error;
    return {
      misfit: {
        at: growing.nodes[0]?.name ?? '',
        reason: 'shapes do not fit',
        found: error.message,
        needed: 'shapes that fit',
      },
    };
  }
}

/** A value of rank 2 is that of a block which ends in a vector. */
function withFlatten({nominal}: Surroundings, {stages, nodes}: Growing): readonly Stage[] {
  const rank = nominal.shape(valueOf(nodes.at(-1)?.name ?? ''))?.length;
  return rank === 2 ? [...stages, {op: 'flatten', name: 'flatten'}] : stages;
}

const noGain = ({nodes}: Growing, found: string, needed: string): Misfit<RefusalReason> => ({
  at: nodes[0]?.name ?? '',
  reason: 'no gain',
  found,
  needed,
});

/** Where a kind gains by replacing a single dispatch, the gain is of its convolution: arithmetic that became one gains nothing by that. */
function leastOf(overlay: Overlay, {replaces = 2}: BlockSpec, {nodes}: Growing): number {
  return nodes.some((node) => isProduct(overlay.graph, node)) ? replaces : 2;
}

/** More than any block has: what stock TF.js cannot run is worth a block whatever that saves. */
const CANNOT_RUN = 1e6;

/** What stock TF.js dispatches for the ops that these canonical nodes stand for. */
export function dispatchesOf({overlay, nominal}: Surroundings, nodes: readonly CanonicalNode[]): number {
  const names = new Set(nodes.flatMap(({covers}) => covers));
  const originals = [...names].flatMap((name) => overlay.graph.nodes.get(name) ?? []);
  if (!originals.every((node) => runsInTfjs(node, nominal))) return CANNOT_RUN;
  return originals.reduce((total, node) => total + stockDispatches(node, nominal), 0);
}

/** Rank 3 is neither a map nor the vector of a block. @throws {BlockError} */
function checkRank(
  {nominal}: Surroundings,
  nodes: readonly CanonicalNode[],
  output: readonly number[],
): void {
  const shape = nominal.shape(valueOf(nodes.at(-1)?.name ?? ''));
  if (shape?.length !== output.length)
    throw new BlockError(
      `the value is of rank ${shape?.length ?? 'unknown'} but the block's of ${output.length}`,
    );
}

function weightAs(weight: Weight | undefined, name: string, shape: readonly number[]): Weight {
  if (!weight || sizeOf(weight.shape) !== sizeOf(shape)) {
    throw new BlockError(
      `the weight '${name}' is [${weight?.shape.join(', ') ?? 'missing'}] but must be [${shape.join(', ')}]`,
    );
  }
  return withShape(weight, shape);
}

/** A map's shape with every size positive; one that stays open counts as enough to check that things go together. */
function asShape4D(shape: readonly number[] | undefined): Shape4D | undefined {
  const [n, h, w, c] = shape ?? [];
  if (
    shape?.length !== 4 ||
    n === undefined ||
    h === undefined ||
    w === undefined ||
    c === undefined ||
    c < 1
  )
    return undefined;
  return [n > 0 ? n : 1, h > 0 ? h : OPEN_SIZE, w > 0 ? w : OPEN_SIZE, c];
}

/** The first value inside the block that something outside needs. */
function escapeOf(overlay: Overlay, nodes: readonly CanonicalNode[]): Misfit<RefusalReason> | undefined {
  const inside = new Set(nodes.map(({name}) => name));
  for (const {name} of nodes.slice(0, -1)) {
    if (overlay.isKept(name))
      return {
        at: name,
        reason: 'the value is an output or is kept',
        found: name,
        needed: 'a value that only the block reads',
      };
    const outside = [...overlay.consumers(name)].filter((reader) => !inside.has(reader));
    if (outside.length > 0)
      return {
        at: name,
        reason: 'the value is used outside the block',
        found: outside.join(', '),
        needed: 'no reader but the next stage',
      };
  }
  return undefined;
}

/** A value at the block's edge that the graph does not have: a rule moved part of it past the edge. */
function alteredAt(
  overlay: Overlay,
  nodes: readonly CanonicalNode[],
  input: Ref,
): Misfit<RefusalReason> | undefined {
  const edge = [overlay.node(input), nodes.at(-1)].find((node) => node?.isAltered);
  return (
    edge && {
      at: edge.name,
      reason: 'a part of the value is elsewhere',
      found: edge.name,
      needed: 'in one block with its reader, into which a part of it was folded',
    }
  );
}

function nameStages(
  {stages, weights}: Growing,
  slots: readonly Slot[],
): {stages: readonly Stage[]; weights: ReadonlyMap<string, Weight>} {
  const byName = new Map<string, Weight>();
  const collect = (name: string, stage: Stage): void => {
    for (const [suffix, weight] of Object.entries(weights.get(stage) ?? {}))
      byName.set(name + suffix, weight);
  };
  const named = stages.map((stage, i) => {
    const name = slots[i]?.name ?? stage.name;
    collect(name, stage);
    if (stage.op === 'residual') stage.shortcut.forEach((step) => collect(step.name, step));
    return {...stage, name};
  });
  return {stages: named, weights: byName};
}

export const valueAfter = (candidate: Candidate): Ref => valueOf(candidate.nodes.at(-1)?.name ?? '');
