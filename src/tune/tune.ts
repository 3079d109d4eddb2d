/**
 * Measures on the device what the planner can only estimate: which tile is fastest for each kernel problem of a model, and
 * whether each block is faster planned or as the stock ops it replaced. Tiles that prove faster among the dispatches of all
 * blocks go into the device's TunedPlans.
 */
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import * as tf from '@tensorflow/tfjs-core';
import type {Plan} from '../../kernels/plan.js';
import {blockKey} from '../../kernels/webgpu/choices.js';
import {sameTile} from '../../kernels/webgpu/candidates.js';
import {PipelineCache} from '../../kernels/webgpu/compile.js';
import type {DeviceModel} from '../../kernels/webgpu/device_model.js';
import {limitsOf, planFor, preparePlans, tilingOf, tunedOf} from '../../kernels/webgpu/index.js';
import type {DeviceLimits} from '../../kernels/webgpu/tiling.js';
import type {BlockTiming} from '../../kernels/webgpu/tuned.js';
import type {Timer} from '../profile/types.js';
import {plansOfModel, type Values, type Warmable, zerosFor} from '../warmup.js';
import {duel} from './duel.js';
import {GpuClock} from './gpu_clock.js';
import {currentWebGPU, measureDevice} from './measure_device.js';
import {bufferSizes, referenceSteps, stepOf} from './plan_steps.js';
import {prove, sequenceWith, type Verdict} from './prove.js';
import {ScratchBuffers} from './scratch_buffers.js';
import {contestOf, dispatchesOf, type Posed, posedBy, type Winner, winnerOf} from './tune_problem.js';

export interface TuneOptions {
  /** Told before each kernel problem, the proof of the tiles that won, and each block, and at the end. */
  readonly onProgress?: (done: number, total: number, what: string) => void;
  /**
   * Stops before the next measurement once so much time has passed, in ms. Tiles that won until then are still proved, which takes
   * up to a second each. No limit unless given.
   */
  readonly budgetMs?: number;
  /** Figures to prune candidates by; measured unless given. */
  readonly device?: DeviceModel;
}

export interface TuneReport {
  readonly timer: Timer;
  /**
   * Kernel problems: those there are, measured now, and given another tile than the estimates chose. Of the others `takenBack` had
   * one that was faster by itself but not among the dispatches of all blocks, `unproved` one of which that could not be told, for
   * lack of memory or as a fused run runs in its place: these are measured again next time.
   */
  readonly problems: {
    readonly total: number;
    readonly measured: number;
    readonly changed: number;
    readonly takenBack: number;
    readonly unproved: number;
  };
  /** Distinct blocks: those there are, measured now, and faster as stock ops, which they now run as. */
  readonly blocks: {readonly total: number; readonly measured: number; readonly asOps: number};
  /** Whether the budget ended it. */
  readonly isComplete: boolean;
}

type ProblemCounts = Omit<TuneReport['problems'], 'total'>;

/** Pipelines of so many problems compile together, before any of them is timed. */
const BATCH = 8;
const WARM_UP_MS = 50;
const CAREFUL = {samples: 5, milliseconds: 5};

/** What is known already is not measured again. @throws where the backend is not WebGPU, and as the model's predict. */
export async function tuneModel(
  model: Warmable,
  inputs: Values | undefined,
  options: TuneOptions,
): Promise<TuneReport> {
  const backend = currentWebGPU('tune');
  const feeds = inputs ?? zerosFor(model.inputs, 'tune');
  try {
    return await tunePlans(backend, plansOfModel(model, feeds), options);
  } finally {
    if (inputs === undefined) tf.dispose(feeds);
  }
}

/** The same for the blocks of these plans, on the current backend. Tiles are proved in the order and number of the plans. */
export async function tunePlans(
  backend: WebGPUBackend,
  plans: readonly Plan[],
  options: TuneOptions,
): Promise<TuneReport> {
  const device = within(options.device ?? (await measureDevice(backend)), limitsOf(backend.device));
  const clock = new GpuClock(backend.device);
  try {
    return await new Tuning(backend, plans, clock, device, options).run();
  } finally {
    clock.destroy();
  }
}

/** Figures may come from elsewhere; what the device cannot run must not be tried. */
const within = ({limits, ...figures}: DeviceModel, own: DeviceLimits): DeviceModel => ({
  ...figures,
  limits: {
    maxComputeInvocationsPerWorkgroup: Math.min(limits.maxComputeInvocationsPerWorkgroup, own.maxComputeInvocationsPerWorkgroup), // prettier-ignore
    maxComputeWorkgroupStorageSize: Math.min(limits.maxComputeWorkgroupStorageSize, own.maxComputeWorkgroupStorageSize), // prettier-ignore
    ...(own.maxStorageBufferBindingSize === undefined ? {} : {maxStorageBufferBindingSize: own.maxStorageBufferBindingSize}), // prettier-ignore
    processors: own.processors,
  },
});

const distinctPlans = (plans: readonly Plan[]): readonly Plan[] => [
  ...new Map(plans.map((plan) => [blockKey(plan.block, plan.input), plan])).values(),
];

class Tuning {
  readonly #backend: WebGPUBackend;
  readonly #sequence: readonly Plan[];
  readonly #plans: readonly Plan[];
  readonly #clock: GpuClock;
  readonly #device: DeviceModel;
  readonly #options: TuneOptions;
  readonly #deadline: number;
  #done = 0;
  #total = 0;

  constructor(
    backend: WebGPUBackend,
    plans: readonly Plan[],
    clock: GpuClock,
    device: DeviceModel,
    options: TuneOptions,
  ) {
    this.#backend = backend;
    this.#sequence = plans;
    this.#plans = distinctPlans(plans);
    this.#clock = clock;
    this.#device = device;
    this.#options = options;
    this.#deadline = performance.now() + (options.budgetMs ?? Infinity);
  }

  async run(): Promise<TuneReport> {
    const tuned = tunedOf(this.#backend.device);
    const posed = posedBy(this.#plans, tilingOf(this.#backend.device));
    const open = posed.filter(({choice}) => !tuned.tileFor(choice.kernel, choice.problem));
    const untimed = this.#plans.filter(({block, input}) => !tuned.timingOf(block, input));
    this.#total = open.length + untimed.length;
    const problems = await this.#tuneProblems(open);
    const blocks = await this.#timeBlocks(untimed);
    await preparePlans(this.#backend, this.#plans.map(({block, input}) => planFor(this.#backend, block, input))); // prettier-ignore
    this.#options.onProgress?.(this.#done, this.#total, 'done');
    return {
      timer: this.#clock.timer,
      problems: {total: posed.length, ...problems},
      blocks: {total: this.#plans.length, ...blocks},
      isComplete: this.#done === this.#total,
    };
  }

  #isLate(): boolean {
    return performance.now() > this.#deadline;
  }

  #begin(what: string): void {
    this.#options.onProgress?.(this.#done, this.#total, what);
  }

  async #tuneProblems(open: readonly Posed[]): Promise<ProblemCounts> {
    const winners: Winner[] = [];
    for (let from = 0; from < open.length && !this.#isLate(); from += BATCH)
      winners.push(...(await this.#contests(open.slice(from, from + BATCH))));
    const {kept, takenBack, unproved} = await this.#settle(winners);
    return {
      measured: winners.length,
      changed: kept.length,
      takenBack: takenBack.length,
      unproved: unproved.length,
    };
  }

  async #contests(batch: readonly Posed[]): Promise<readonly Winner[]> {
    const {device} = this.#backend;
    this.#begin(`compiling candidates for ${batch.length} kernel problems`);
    const tiling = tilingOf(device);
    const contests = batch.map((posed) => contestOf(posed, tiling, this.#device));
    // Of their own, so that the losers' pipelines do not stay for the life of the device.
    const pipelines = new PipelineCache(device);
    await pipelines.prepare(contests.flatMap((contest) => (contest ? dispatchesOf(contest) : [])));
    const winners: Winner[] = [];
    for (const [i, contest] of contests.entries()) {
      if (this.#isLate()) break;
      this.#begin(batch[i]?.choice.key ?? '');
      const winner = contest && (await winnerOf(contest, this.#clock, {device, pipelines}));
      if (winner) winners.push(winner);
      this.#done++;
    }
    return winners;
  }

  /**
   * Nothing is stored before it is proved, late or not. What is taken back is stored as the planner's own, and not measured again;
   * what cannot be proved here is left to a model where it can.
   */
  async #settle(winners: readonly Winner[]): Promise<Verdict> {
    const tuned = tunedOf(this.#backend.device);
    const isOwn = ({choice, tile}: Winner): boolean => sameTile(tile, choice.tile);
    const verdict = await this.#prove(winners.filter((winner) => !isOwn(winner)));
    const own = [...winners.filter(isOwn), ...verdict.takenBack];
    for (const {choice, ownMicroseconds: microseconds} of own)
      tuned.setTile(choice.key, {tile: choice.tile, microseconds});
    for (const {choice, tile, microseconds} of verdict.kept) tuned.setTile(choice.key, {tile, microseconds});
    return verdict;
  }

  /** Among the blocks that run as planned. */
  async #prove(winners: readonly Winner[]): Promise<Verdict> {
    if (winners.length === 0) return {kept: [], takenBack: [], unproved: []};
    this.#begin(`proving tiles for ${winners.length} kernel problems among all dispatches`);
    const {device} = this.#backend;
    const [tuned, tiling] = [tunedOf(device), tilingOf(device)];
    const planned = this.#sequence.filter(({block, input}) => !tuned.prefersOps(block, input));
    // Sequences' pipelines: one duel's are most of the next one's, and none stays when all is done.
    const bench = {device, pipelines: new PipelineCache(device), clock: this.#clock};
    return prove(winners, {
      sequenceWith: (held) => sequenceWith(planned, tiling, held),
      isFaster: (one, other) => duel(one, other, bench),
    });
  }

  async #timeBlocks(untimed: readonly Plan[]): Promise<{measured: number; asOps: number}> {
    const counts = {measured: 0, asOps: 0};
    const {device} = this.#backend;
    const pipelines = new PipelineCache(device);
    const plans = untimed.map(({block, input}) => planFor(this.#backend, block, input));
    if (!this.#isLate()) await pipelines.prepare(plans.flatMap(({dispatches}) => dispatches));
    for (const plan of plans) {
      if (this.#isLate()) break;
      const {block, input} = plan;
      this.#begin(`${block.kind} [${input.join(', ')}] against its ops`);
      const timing = await timeBlock(this.#backend, plan, pipelines, this.#clock);
      this.#done++;
      if (!timing) continue;
      counts.measured++;
      tunedOf(device).setTiming(block, input, timing);
      if (timing.opsMicroseconds < timing.planMicroseconds) counts.asOps++;
    }
    return counts;
  }
}

/**
 * GPU time of a block as planned and as its reference by stock ops, one right after the other.
 * @returns undefined where the reference cannot be repeated, or the clock does not move.
 */
export async function timeBlock(
  backend: WebGPUBackend,
  plan: Plan,
  pipelines: PipelineCache,
  clock: GpuClock,
): Promise<BlockTiming | undefined> {
  const {device} = backend;
  const [own, stock] = [new ScratchBuffers(device), new ScratchBuffers(device)];
  try {
    const ops = await referenceSteps(backend, plan.block, plan.input, stock);
    if (!ops) return undefined;
    const bench = {device, pipelines, buffers: own, sizes: bufferSizes([plan])};
    const steps = plan.dispatches.map((dispatch) => stepOf(dispatch, bench));
    await clock.warmUp(steps, WARM_UP_MS);
    const planMicroseconds = await clock.microseconds(steps, CAREFUL);
    const opsMicroseconds = await clock.microseconds(ops, CAREFUL);
    return planMicroseconds > 0 && opsMicroseconds > 0 ? {planMicroseconds, opsMicroseconds} : undefined;
  } finally {
    own.destroy();
    stock.destroy();
  }
}
