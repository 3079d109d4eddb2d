/** The choices behind a plan: which kernel problems a block poses, which tiles it got, and which dispatches each decides. */
import {type Block, encodeStages} from '../../ops/index.js';
import type {Constants, Dispatch, Plan} from '../plan.js';
import {candidatesOf, chosenBy, sameTile, TILE_TABLE, type TiledKernel} from './candidates.js';
import {keyOf} from './compile.js';
import {lowerBlock} from './lower.js';
import type {DeviceLimits, Tiling} from './tiling.js';

/** A kernel problem and the tile it got. */
export interface Choice {
  readonly kernel: TiledKernel;
  readonly problem: unknown;
  readonly tile: Constants;
  /** Names kernel and problem; the key of what tune stores. */
  readonly key: string;
}

const KERNELS = Object.keys(TILE_TABLE) as readonly TiledKernel[];

/** JSON with sorted keys, so that the same problem has the same text wherever it was made. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );

export const problemKey = (kernel: TiledKernel, problem: unknown): string =>
  `${kernel} ${canonical(problem)}`;

/** The inverse of problemKey. @throws where `key` is none. */
export function parseProblemKey(key: string): {readonly kernel: string; readonly problem: unknown} {
  const at = key.indexOf(' ');
  return {kernel: key.slice(0, at), problem: JSON.parse(key.slice(at + 1)) as unknown};
}

export const blockKey = ({kind, stages}: Block, input: readonly number[]): string =>
  `${kind} ${input.join('×')} ${encodeStages(stages)}`;

type Decide = (kernel: TiledKernel, problem: unknown, chosen: () => Constants) => Constants;

/** A tiling that asks `decide` first, which may call for what `base` would choose. */
export function decidedBy(base: Tiling, decide: Decide): Tiling {
  const functions = KERNELS.map((kernel) => {
    const choose = (problem: unknown): Constants =>
      decide(kernel, problem, () => chosenBy(base, kernel, problem));
    return [kernel, choose] as const;
  });
  return {...base, ...Object.fromEntries(functions)};
}

/** `base`, but for the one problem of that key. */
export const withTile = (base: Tiling, key: string, tile: Constants): Tiling =>
  decidedBy(base, (kernel, problem, chosen) => (problemKey(kernel, problem) === key ? tile : chosen()));

/** The plan, and its distinct choices in the order of the stages. */
export function lowerWithChoices(
  block: Block,
  input: readonly number[],
  tiling: Tiling,
): {readonly plan: Plan; readonly choices: readonly Choice[]} {
  const choices = new Map<string, Choice>();
  const watching = decidedBy(tiling, (kernel, problem, chosen) => {
    const tile = chosen();
    const key = problemKey(kernel, problem);
    choices.set(key, {kernel, problem, tile, key});
    return tile;
  });
  return {plan: lowerBlock(block, input, watching), choices: [...choices.values()]};
}

/** The tiles a choice is between: what was chosen, then the other candidates. */
export const tilesOf = (choice: Choice, limits: DeviceLimits): readonly Constants[] => [
  choice.tile,
  ...candidatesOf(choice, limits).filter((other) => !sameTile(other, choice.tile)),
];

/**
 * Positions of the dispatches that differ between plans of one block: what a choice decides, which may be more than the kernel it
 * is made for (the depth-wise tile also says how many partial sums the gate reads). Where the plans have different numbers of
 * dispatches, all of them.
 */
export function changedDispatches(plans: readonly Plan[]): readonly number[] | 'all' {
  const [first, ...others] = plans;
  if (!first) return [];
  if (others.some(({dispatches}) => dispatches.length !== first.dispatches.length)) return 'all';
  const differs = (dispatch: Dispatch, other: Dispatch | undefined): boolean =>
    !other || textOf(dispatch) !== textOf(other);
  return [...first.dispatches.entries()]
    .filter(([at, dispatch]) => others.some(({dispatches}) => differs(dispatch, dispatches[at])))
    .map(([at]) => at);
}

export const dispatchesAt = (
  {dispatches}: Plan,
  positions: readonly number[] | 'all',
): readonly Dispatch[] =>
  positions === 'all' ? dispatches : positions.flatMap((at) => dispatches[at] ?? []);

const textOf = (dispatch: Dispatch): string => `${keyOf(dispatch)} ${dispatch.workgroups.join('×')}`;
