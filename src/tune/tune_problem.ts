/** One kernel problem: which tiles are worth measuring, on which dispatches, and which of them wins. */
import type {Constants, Dispatch, Plan} from '../../kernels/plan.js';
import {rowOf, sameTile, type TiledKernel} from '../../kernels/webgpu/candidates.js';
import {
  changedDispatches,
  type Choice,
  dispatchesAt,
  lowerWithChoices,
  withTile,
} from '../../kernels/webgpu/choices.js';
import {keyOf} from '../../kernels/webgpu/compile.js';
import type {DeviceModel} from '../../kernels/webgpu/device_model.js';
import {rankTiles, type TileEstimate} from '../../kernels/webgpu/explain.js';
import type {Tiling} from '../../kernels/webgpu/tiling.js';
import type {TunedTile} from '../../kernels/webgpu/tuned.js';
import {type ClockOptions, type GpuClock, type TimedStep} from './gpu_clock.js';
import {type Bench, bufferSizes, stepOf} from './plan_steps.js';
import {ScratchBuffers} from './scratch_buffers.js';

/** A problem and the plans that pose it. */
export interface Posed {
  readonly choice: Choice;
  readonly plans: readonly Plan[];
}

/** The same dispatches of one plan under each tile, in the order of the tiles. */
interface Setting {
  readonly plans: readonly Plan[];
  readonly dispatches: readonly (readonly Dispatch[])[];
}

export interface Contest {
  readonly choice: Choice;
  readonly tiles: readonly Constants[];
  readonly settings: readonly Setting[];
}

/** What won a contest, perhaps the planner's own tile, and what that took. */
export interface Winner extends TunedTile {
  readonly choice: Choice;
  readonly ownMicroseconds: number;
}

/** What a tile must promise to be measured: at most so many times the lowest estimate, and a place among the first. */
const WORTH_MEASURING = 2.5;
const MOST_TILES = 12;
/** Of tiles with the same estimate so many are enough, or variants of one would crowd out all others. */
const MOST_ALIKE = 3;
/** Of each form, as Winograd's and the others of a convolution, so many have a place if they are worth one. */
const LEAST_OF_FORM = 3;
/** The same problem behind other activations or in front of other stages: so many of them count. */
const MOST_SETTINGS = 3;
/** A tile must beat the planner's by this to replace it; less is noise. */
const MARGIN = 0.98;
/** A browser's timestamps have steps of 100 µs. */
const QUICK: ClockOptions = {samples: 3, milliseconds: 2};
const CAREFUL: ClockOptions = {samples: 5, milliseconds: 5};
const FINALISTS = 3;
const WARM_UP_MS = 50;

/** By the estimate, which then says nothing about which is better; `ranked` is in its order. */
const isAlike = (one: TileEstimate, earlier: TileEstimate | undefined): boolean =>
  earlier !== undefined && one.estimate.total < 1.001 * earlier.estimate.total;

/** The first of `ranked`, those of every form among them. */
function firstOf(ranked: readonly TileEstimate[], kernel: TiledKernel): readonly TileEstimate[] {
  const {formOf} = rowOf(kernel);
  const placesOf = new Map<string, number>();
  return ranked.filter(({tile}, at) => {
    const form = formOf?.(tile) ?? '';
    const earlier = placesOf.get(form) ?? 0;
    placesOf.set(form, earlier + 1);
    return at < MOST_TILES || (formOf !== undefined && earlier < LEAST_OF_FORM);
  });
}

export function posedBy(plans: readonly Plan[], tiling: Tiling): readonly Posed[] {
  const posed = new Map<string, {choice: Choice; plans: Plan[]}>();
  for (const plan of plans) {
    for (const choice of lowerWithChoices(plan.block, plan.input, tiling).choices) {
      const known = posed.get(choice.key);
      if (known) known.plans.push(plan);
      else posed.set(choice.key, {choice, plans: [plan]});
    }
  }
  return [...posed.values()];
}

/** Undefined where there is nothing to choose between. */
export function contestOf({choice, plans}: Posed, tiling: Tiling, device: DeviceModel): Contest | undefined {
  const owner = plans[0]?.dispatches.find(({constants}) =>
    Object.entries(choice.tile).every(([name, value]) => constants[name] === value),
  );
  const cost = owner?.cost ?? {macs: 0, bytes: 0};
  const ranked = rankTiles(choice, {device, cost});
  const best = ranked[0]?.estimate.total ?? 0;
  const worth = ranked
    .filter(({estimate}) => estimate.total <= WORTH_MEASURING * best)
    .filter((one, at) => !isAlike(one, ranked[at - MOST_ALIKE]));
  const others = firstOf(worth, choice.kernel)
    .map(({tile}) => tile)
    .filter((tile) => !sameTile(tile, choice.tile));
  const tiles = [choice.tile, ...others];
  const settings = new Map<string, Setting>();
  for (const {block, input} of plans) {
    const lowered = tiles.map(
      (tile) => lowerWithChoices(block, input, withTile(tiling, choice.key, tile)).plan,
    );
    const changed = changedDispatches(lowered);
    if (changed.length === 0) continue;
    const dispatches = lowered.map((plan) => dispatchesAt(plan, changed));
    const key = (dispatches[0] ?? []).map(keyOf).join();
    if (settings.size < MOST_SETTINGS && !settings.has(key)) settings.set(key, {plans: lowered, dispatches});
  }
  return settings.size > 0 ? {choice, tiles, settings: [...settings.values()]} : undefined;
}

export const dispatchesOf = ({settings}: Contest): readonly Dispatch[] =>
  settings.flatMap(({dispatches}) => dispatches.flat());

/** The fastest tile: all quickly, then the best few and the planner's own with care. Undefined where the clock stands. */
export async function winnerOf(
  {choice, tiles, settings}: Contest,
  clock: GpuClock,
  bench: Pick<Bench, 'device' | 'pipelines'>,
): Promise<Winner | undefined> {
  const buffers = settings.map(() => new ScratchBuffers(bench.device));
  try {
    const steps = tiles.map((_, at) =>
      settings.map(({plans, dispatches}, i): readonly TimedStep[] => {
        const own = {...bench, buffers: buffers[i] as ScratchBuffers, sizes: bufferSizes(plans)};
        return (dispatches[at] ?? []).map((dispatch) => stepOf(dispatch, own));
      }),
    );
    await clock.warmUp(steps[0]?.flat() ?? [], WARM_UP_MS);
    const time = async (at: number, options: ClockOptions): Promise<number> => {
      let total = 0;
      for (const setting of steps[at] ?? []) total += await clock.microseconds(setting, options);
      return total;
    };
    const quick: {at: number; microseconds: number}[] = [];
    for (const at of tiles.keys()) quick.push({at, microseconds: await time(at, QUICK)});
    const finalists = quick
      .filter(({at, microseconds}) => at > 0 && microseconds > 0)
      .sort((a, b) => a.microseconds - b.microseconds)
      .slice(0, FINALISTS);
    const ownMicroseconds = await time(0, CAREFUL);
    let best = {at: 0, microseconds: ownMicroseconds};
    const toBeat = ownMicroseconds * MARGIN;
    for (const {at} of finalists) {
      const microseconds = await time(at, CAREFUL);
      if (microseconds < Math.min(toBeat, best.microseconds)) best = {at, microseconds};
    }
    const tile = tiles[best.at];
    return tile && best.microseconds > 0
      ? {choice, tile, microseconds: best.microseconds, ownMicroseconds}
      : undefined;
  } finally {
    for (const owned of buffers) owned.destroy();
  }
}
