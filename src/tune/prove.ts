/**
 * Which winners of contests are faster where they will run: among the dispatches of all of a model's blocks. What wins in a loop
 * of its own may lose there, fused runs by up to twice their time (why, is not known): of MobileNetV2 at batch 8 an H200 took 0.475 ms with the
 * tiles of the estimate and 0.522 ms with those that had won in loops. What is decided here knows no GPU.
 */
import {keptIn} from '../../ops/kept.js';
import type {Plan} from '../../kernels/plan.js';
import {blockKey, changedDispatches, decidedBy, problemKey} from '../../kernels/webgpu/choices.js';
import {lowerBlock} from '../../kernels/webgpu/lower.js';
import type {Tiling} from '../../kernels/webgpu/tiling.js';
import {median} from '../profile/statistics.js';
import type {Winner} from './tune_problem.js';

/** Plans in the order they run, each as often as its block occurs. */
export type Sequence = readonly Plan[];

export interface Trial {
  /** The sequence with the tiles of `held`; all other problems have what they had before. */
  readonly sequenceWith: (held: readonly Winner[]) => Sequence;
  /** Whether `one` takes less time than `other` by more than noise; undefined where that cannot be told. */
  readonly isFaster: (one: Sequence, other: Sequence) => Promise<boolean | undefined>;
}

export interface Verdict {
  readonly kept: readonly Winner[];
  readonly takenBack: readonly Winner[];
  /** What changes nothing here, as of a product that a fused run replaced; all, where nothing can be told. */
  readonly unproved: readonly Winner[];
}

/** A difference of less counts as noise; together winners that gain less are hardly worth having. */
const MARGIN = 0.997;
/** In each both sides are timed twice. */
const ROUNDS = 2;

/** The tilings of `plans`' blocks asked anew: where a fused run is taken back, its stages pose problems of their own. */
export function sequenceWith(plans: readonly Plan[], base: Tiling, held: readonly Winner[]): Sequence {
  const tiles = new Map(held.map(({choice, tile}) => [choice.key, tile]));
  const tiling = decidedBy(
    base,
    (kernel, problem, chosen) => tiles.get(problemKey(kernel, problem)) ?? chosen(),
  );
  const lowered = new Map<string, Plan>();
  return plans.map(({block, input}) =>
    keptIn(lowered, blockKey(block, input), () => lowerBlock(block, input, tiling)),
  );
}

/** Of sequences of the same blocks. */
const isSame = (one: Sequence, other: Sequence): boolean =>
  one.every((plan, at) => {
    const changed = changedDispatches([plan, other[at] ?? plan]);
    return changed !== 'all' && changed.length === 0;
  });

/**
 * Takes winners back one at a time, the last first, where the sequence is faster without; in the end all of them, unless it is
 * faster with those that are left. Each is compared but once, when it is not hidden by another.
 */
export async function prove(winners: readonly Winner[], {sequenceWith, isFaster}: Trial): Promise<Verdict> {
  let held = winners;
  const takenBack: Winner[] = [];
  const verdict = (kept: readonly Winner[]): Verdict => ({
    kept,
    takenBack: winners.filter((one) => takenBack.includes(one)),
    unproved: winners.filter((one) => !takenBack.includes(one) && !kept.includes(one)),
  });
  const without = (winner: Winner): readonly Winner[] => held.filter((one) => one !== winner);
  const matters = (winner: Winner): boolean =>
    !isSame(sequenceWith([...without(winner), winner]), sequenceWith(without(winner)));
  const open = [...winners].reverse();
  // The last one's comparison is that of the end.
  while (held.length > 1) {
    const next = open.find(matters);
    if (!next) break;
    open.splice(open.indexOf(next), 1);
    const isBetterWithout = await isFaster(sequenceWith(without(next)), sequenceWith(held));
    if (isBetterWithout === undefined) return verdict([]);
    if (!isBetterWithout) continue;
    held = without(next);
    takenBack.push(next);
  }
  const left = held.filter(matters);
  const [proved, before] = [sequenceWith(left), sequenceWith([])];
  if (isSame(proved, before)) return verdict([]);
  const isBetter = await isFaster(proved, before);
  if (isBetter === false) takenBack.push(...left);
  return verdict(isBetter ? left : []);
}

/**
 * By medians of times taken by turns, one, other, other, one, so that a drift of the clock hits both alike. Undefined where the
 * clock did not move.
 */
export async function isFaster(
  one: () => Promise<number>,
  other: () => Promise<number>,
): Promise<boolean | undefined> {
  const [ones, others]: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    ones.push(await one());
    others.push(await other(), await other());
    ones.push(await one());
  }
  const isTimed = [...ones, ...others].every((time) => time > 0);
  return isTimed ? median(ones) < MARGIN * median(others) : undefined;
}
