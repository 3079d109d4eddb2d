/**
 * A block's plan with its numbers: per dispatch what it does, what the estimate says it takes and what bounds that, the device's
 * waterline beside it, and the tiles it was chosen over. Plain data; needs no GPU.
 */
import {type Block, type Shape4D, traceBlock} from '../../ops/index.js';
import type {Constants, Dispatch, Plan} from '../plan.js';
import {type EstimateContext, rowOf} from './candidates.js';
import {
  changedDispatches,
  type Choice,
  dispatchesAt,
  lowerWithChoices,
  tilesOf,
  withTile,
} from './choices.js';
import {type DeviceModel, processorTime} from './device_model.js';
import {type FusionNotTaken, fusionsNotTaken} from './explain_fusions.js';
import {tilingFor} from './tiling.js';
import {type BlockTiming, type TunedPlans, tunedTiling} from './tuned.js';

/** Microseconds. Arithmetic and memory overlap, so the total is the launch and the longer of the two. */
export interface Estimate {
  readonly launch: number;
  /** Of the processors, with what they lose to loads, partial tiles and idle ones. */
  readonly arithmetic: number;
  readonly memory: number;
  readonly total: number;
}

export interface TileEstimate {
  readonly tile: Constants;
  /** Its total has all dispatches that come with the tile: those of Winograd's transforms, or the merge of a sum's parts. */
  readonly estimate: Estimate;
}

export interface DispatchPlan {
  readonly kernel: string;
  readonly workgroups: readonly [number, number, number];
  /** 1 MAC = 2 operations. */
  readonly operations: number;
  /** To and from device memory, each once. */
  readonly bytes: number;
  readonly estimate: Estimate;
  readonly bound: 'launch' | 'arithmetic' | 'memory';
  /** max(operations / peak, bytes / bandwidth) in microseconds: no kernel that moves these bytes can be faster. */
  readonly waterline: number;
  readonly choice:
    | {readonly by: 'planner'; readonly tile: Constants; readonly others: readonly TileEstimate[]}
    | {readonly by: 'measurement'; readonly tile: Constants; readonly others: readonly TileEstimate[]; readonly microseconds: number} // prettier-ignore
    | {readonly by: 'none'};
}

interface Explained {
  readonly block: string;
  readonly input: Shape4D;
  readonly output: readonly number[];
  /** Of all dispatches, in microseconds. */
  readonly estimate: number;
  readonly waterline: number;
  /** The block as tune timed it, and its ops; undefined where it did not. */
  readonly timing: BlockTiming | undefined;
  /** As planned; with `runs: 'ops'` what would run if the block were fused. */
  readonly dispatches: readonly DispatchPlan[];
  /** Stages that could share a dispatch and do not. */
  readonly notFused: readonly FusionNotTaken[];
}

/** A block runs as planned, or, where the ops it replaces were measured to be faster, as those. */
export type BlockPlan =
  | ({readonly runs: 'kernels'} & Explained)
  | ({readonly runs: 'ops'; readonly timing: BlockTiming} & Explained);

export interface ExplainOptions {
  readonly device: DeviceModel;
  readonly tuned?: TunedPlans;
  /** Other tiles listed per dispatch, the best first; 3 unless given. */
  readonly others?: number;
}

const OTHERS = 3;

/** @param input `[N, H, W, C]`. @throws {BlockError} as traceBlock. */
export function explainBlock(block: Block, input: readonly number[], options: ExplainOptions): BlockPlan {
  const {device, tuned} = options;
  const base = tilingFor(device.limits);
  const tiling = tuned ? tunedTiling(base, tuned) : base;
  const {plan, choices} = lowerWithChoices(block, input, tiling);
  const owners = ownersOf(plan, choices, (choice, tile) =>
    lowerWithChoices(block, input, withTile(tiling, choice.key, tile)).plan, device); // prettier-ignore
  const dispatches = plan.dispatches.map((dispatch, at) =>
    explainDispatch(dispatch, owners.get(at), options),
  );
  const sum = (of: (dispatch: DispatchPlan) => number): number =>
    dispatches.reduce((total, dispatch) => total + of(dispatch), 0);
  const timing = tuned?.timingOf(block, input);
  const explained = {
    block: block.kind,
    input: plan.input,
    output: traceBlock(block, input).output,
    estimate: sum(({estimate}) => estimate.total),
    waterline: sum(({waterline}) => waterline),
    dispatches,
    notFused: fusionsNotTaken(choices, (choice) => rankTiles(choice, {device, cost: {macs: 0, bytes: 0}}), {device, tuned}), // prettier-ignore
  };
  return timing && tuned?.prefersOps(block, input)
    ? {runs: 'ops', ...explained, timing}
    : {runs: 'kernels', ...explained, timing};
}

/** By position of the dispatch: the choice whose tile is among its constants; a gate made by a product leaves that to the product's. */
function ownersOf(
  plan: Plan,
  choices: readonly Choice[],
  planWith: (choice: Choice, tile: Constants) => Plan,
  {limits}: DeviceModel,
): ReadonlyMap<number, Choice> {
  const owners = new Map<number, Choice>();
  for (const choice of choices) {
    const other = tilesOf(choice, limits).slice(1, 4);
    const changed = changedDispatches([plan, ...other.map((tile) => planWith(choice, tile))]);
    for (const dispatch of dispatchesAt(plan, changed))
      if (hasTile(dispatch, choice.tile) && !owners.has(plan.dispatches.indexOf(dispatch)))
        owners.set(plan.dispatches.indexOf(dispatch), choice);
  }
  return owners;
}

const hasTile = ({constants}: Dispatch, tile: Constants): boolean =>
  Object.entries(tile).every(([name, value]) => constants[name] === value);

function explainDispatch(
  dispatch: Dispatch,
  choice: Choice | undefined,
  {device, tuned, others = OTHERS}: ExplainOptions,
): DispatchPlan {
  const {kernel, workgroups, cost} = dispatch;
  const context = {device, cost};
  const arithmetic = choice
    ? rowOf(choice.kernel).estimate(choice.tile, choice.problem, context)
    : processorTime({operations: 2 * cost.macs, workgroups: product(workgroups), workgroup: 64}, device);
  const estimate = estimateWith(arithmetic, context);
  const {launch, memory} = estimate;
  const longest = Math.max(launch, arithmetic, memory);
  return {
    kernel,
    workgroups,
    operations: 2 * cost.macs,
    bytes: cost.bytes,
    estimate,
    bound: longest === memory ? 'memory' : longest === arithmetic ? 'arithmetic' : 'launch',
    waterline: Math.max((2e6 * cost.macs) / device.operationsPerSecond, memory),
    choice: choice ? choiceOf(choice, context, tuned, others) : {by: 'none'},
  };
}

const product = (sizes: readonly number[]): number => sizes.reduce((all, size) => all * size, 1);

function estimateWith(arithmetic: number, {device, cost}: EstimateContext): Estimate {
  const launch = device.launchMicroseconds;
  const memory = (1e6 * cost.bytes) / device.bytesPerSecond;
  return {launch, arithmetic, memory, total: launch + Math.max(arithmetic, memory)};
}

function choiceOf(
  choice: Choice,
  context: EstimateContext,
  tuned: TunedPlans | undefined,
  count: number,
): DispatchPlan['choice'] {
  const {kernel, problem, tile} = choice;
  const others = rankTiles(choice, context)
    .filter(({tile: other}) => other !== tile)
    .slice(0, count);
  const measured = tuned?.tileFor(kernel, problem);
  if (measured) return {by: 'measurement', tile, others, microseconds: measured.microseconds};
  return {by: 'planner', tile, others};
}

/**
 * Every tile a choice is between, the lowest estimate first, with all dispatches that come with it in the total; the chosen one
 * is the same object as in `choice`.
 */
export function rankTiles(choice: Choice, context: EstimateContext): readonly TileEstimate[] {
  const {estimate, besides} = rowOf(choice.kernel);
  const whole = (tile: Constants): Estimate => {
    const own = estimateWith(estimate(tile, choice.problem, context), context);
    return {...own, total: own.total + (besides?.(tile, choice.problem, context) ?? 0)};
  };
  return tilesOf(choice, context.device.limits)
    .map((tile) => ({tile, estimate: whole(tile)}))
    .sort((a, b) => a.estimate.total - b.estimate.total);
}
