/**
 * A block spec says which stage lists are a block of its kind: an ordered row of slots, some of them optional. Registration,
 * the graph matcher, the tests and the benchmarks all loop over the specs (index.ts).
 */
import {type Block, BlockError, type Shape4D, type Stage, type StageOp} from './block.js';
import {traceBlock} from './trace.js';

export type SpatialKind = 'depthwise' | 'grouped' | 'full';

export interface Slot {
  /** Name of the stage in this place. */
  readonly name: string;
  readonly op: StageOp;
  readonly optional?: boolean;
  /** For a spatial slot: the kinds of convolution it takes (all, where absent). */
  readonly spatial?: readonly SpatialKind[];
  /** For a convolution: whether an activation follows it (either, where absent). */
  readonly activation?: 'none' | 'some';
  /** For a residual slot: what the shortcut may be (identity alone, where absent). */
  readonly shortcut?: 'identity' | 'any';
  /** For a residual slot: whether an activation may follow the add. */
  readonly activationAfter?: boolean;
}

export interface BlockCase {
  readonly name: string;
  /** `[N, H, W, C]`. */
  readonly input: Shape4D;
  readonly stages: readonly Stage[];
}

export interface BlockSpec {
  /** The TF.js kernel name. */
  readonly kind: string;
  /** One line for reports and the documentation. */
  readonly summary: string;
  readonly slots: readonly Slot[];
  /** Names of optional slots of which at least one must be filled. */
  readonly anyOf?: readonly string[];
  /** Dispatches of stock TF.js that such a block must replace to gain anything; 2 unless given. */
  readonly replaces?: number;
  /** Problems on which every kernel must equal the reference. */
  readonly cases: readonly BlockCase[];
}

/** What can be wrong with a list of stages. */
export type MisfitReason =
  | 'a stage is missing'
  | 'another kind of convolution'
  | 'no place for this stage'
  | 'another activation'
  | 'the shortcut has layers'
  | 'an activation follows the add'
  | 'too little to fuse';

/** Why stages are no block of a kind, as data: reports and errors both print it. */
export interface Misfit<Reason extends string = MisfitReason> {
  readonly at: string;
  readonly reason: Reason;
  readonly found: string;
  readonly needed: string;
}

/** The slot each stage fills, or why they do not fill the spec. */
export type Fit = {readonly slots: readonly Slot[]} | {readonly misfit: Misfit};

/** The kinds of convolution a filter of this group width is, for `channels` inputs; with one input channel it is two. */
export function spatialKinds(group: number, channels: number): readonly SpatialKind[] {
  const kinds: SpatialKind[] = [];
  if (group === 1) kinds.push('depthwise');
  if (group === channels) kinds.push('full');
  return kinds.length > 0 ? kinds : ['grouped'];
}

/**
 * Puts `stages` into the spec's slots, in order and by op; names play no part, so the graph matcher can ask before it has
 * named them. Of two neighbouring slots of one op, the first of them optional, it takes a stage only where two such stages
 * follow each other: so the first fit is the only one.
 */
export function fitSpec(
  spec: BlockSpec,
  stages: readonly Stage[],
  channelsInto: (stage: Stage) => number,
): Fit {
  const slots: Slot[] = [];
  for (const [i, slot] of spec.slots.entries()) {
    const stage = stages[slots.length];
    const isLeftToNext = spec.slots[i + 1]?.op === slot.op && stages[slots.length + 1]?.op !== slot.op;
    if (stage?.op !== slot.op || (slot.optional && isLeftToNext)) {
      if (slot.optional) continue;
      return {misfit: missing(slot, stage)};
    }
    const misfit = checkSlot(slot, stage, channelsInto(stage));
    if (misfit) return {misfit};
    slots.push(slot);
  }
  const extra = stages[slots.length];
  if (extra)
    return {
      misfit: {at: extra.name, reason: 'no place for this stage', found: extra.op, needed: slotNames(spec)},
    };
  if (spec.anyOf && !slots.some(({name}) => spec.anyOf?.includes(name))) {
    return {
      misfit: {
        at: spec.kind,
        reason: 'too little to fuse',
        found: slots.map(({name}) => name).join(', '),
        needed: `one of ${spec.anyOf.join(', ')}`,
      },
    };
  }
  return {slots};
}

export const slotNames = (spec: BlockSpec): string =>
  spec.slots.map(({name, op, optional}) => (optional ? `[${name}: ${op}]` : `${name}: ${op}`)).join(', ');

const missing = (slot: Slot, stage: Stage | undefined): Misfit => ({
  at: slot.name,
  reason: 'a stage is missing',
  found: stage ? stage.op : 'the end of the block',
  needed: slot.op,
});

function checkSlot(slot: Slot, stage: Stage, channels: number): Misfit | undefined {
  if (stage.op === 'spatial' && slot.spatial) {
    const kinds = spatialKinds(stage.group, channels);
    if (!kinds.some((kind) => slot.spatial?.includes(kind))) {
      return {
        at: slot.name,
        reason: 'another kind of convolution',
        found: kinds.join(' or '),
        needed: slot.spatial.join(' or '),
      };
    }
  }
  if (slot.activation && 'activation' in stage) {
    const {fn} = stage.activation;
    if ((fn === 'linear') !== (slot.activation === 'none'))
      return {
        at: slot.name,
        reason: 'another activation',
        found: fn,
        needed: slot.activation === 'none' ? 'linear' : 'an activation',
      };
  }
  if (stage.op === 'residual') {
    if (stage.shortcut.length > 0 && slot.shortcut !== 'any') {
      return {
        at: slot.name,
        reason: 'the shortcut has layers',
        found: stage.shortcut.map(({op}) => op).join(', '),
        needed: 'identity',
      };
    }
    if (stage.activation.fn !== 'linear' && !slot.activationAfter) {
      return {
        at: slot.name,
        reason: 'an activation follows the add',
        found: stage.activation.fn,
        needed: 'linear',
      };
    }
  }
  return undefined;
}

/** @throws {BlockError} unless the block fits its spec at this input shape, names included. */
export function checkBlock(spec: BlockSpec, block: Block, input: readonly number[]): void {
  const inputs = new Map(traceBlock(block, input).stages.map((traced) => [traced.stage, traced.input[3]]));
  const fit = fitSpec(spec, block.stages, (stage) => inputs.get(stage) ?? 0);
  if ('misfit' in fit)
    throw new BlockError(
      `${spec.kind}.${fit.misfit.at}: ${fit.misfit.reason}: found ${fit.misfit.found}, needed ${fit.misfit.needed}.`,
    );
  const misnamed = block.stages.find((stage, i) => stage.name !== fit.slots[i]?.name);
  if (misnamed)
    throw new BlockError(
      `${spec.kind}: a stage is named '${misnamed.name}'; the stages are ${slotNames(spec)}.`,
    );
}
