/** Tiles that won by themselves are kept only where the sequence of all dispatches is faster with them. */
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import * as tf from '@tensorflow/tfjs-core';
import type {Dispatch, Plan} from '../kernels/plan.js';
import type {TiledKernel} from '../kernels/webgpu/candidates.js';
import {decidedBy, lowerWithChoices, tilesOf} from '../kernels/webgpu/choices.js';
import {H200} from '../kernels/webgpu/device_model.js';
import {APART} from '../kernels/webgpu/fused_tiling.js';
import {planFor, tunedOf} from '../kernels/webgpu/index.js';
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {stockLimits, type Tiling, tilingFor} from '../kernels/webgpu/tiling.js';
import type {Block} from '../ops/index.js';
import {pointwiseStage, residualStage, spatialStage} from '../ops/stages/make.js';
import {registerBlockKernels} from '../src/index.js';
import {weightBuffers} from '../src/tune/duel.js';
import {GpuClock, type TimedStep} from '../src/tune/gpu_clock.js';
import {isFaster, prove, type Sequence, sequenceWith, type Verdict} from '../src/tune/prove.js';
import {tunePlans, type TuneReport} from '../src/tune/tune.js';
import type {Winner} from '../src/tune/tune_problem.js';
import {onBackend} from './support/environment.js';

const pointwise = (channels: number): Block => ({
  kind: 'BlockConv',
  stages: [pointwiseStage('conv', channels)],
});
const INPUT = [1, 5, 7, 12];
/** Two problems, the first of which occurs twice. */
const BLOCKS = [pointwise(20), pointwise(36), pointwise(20)];

const has = ({constants}: Dispatch, {tile}: Winner): boolean =>
  Object.entries(tile).every(([name, value]) => constants[name] === value);

/** A winner of the first problem of `kernel`: the first tile that changes what its block runs, unless it is told which. */
function winnerFor(
  block: Block,
  input: readonly number[],
  tiling: Tiling,
  kernel: TiledKernel,
  at = 1,
): Winner {
  const choice = lowerWithChoices(block, input, tiling).choices.find((one) => one.kernel === kernel);
  const tile = choice && tilesOf(choice, stockLimits)[at];
  if (!tile) throw new Error(`The block poses no problem of '${kernel}' with so many tiles.`);
  return {choice, tile, microseconds: 1, ownMicroseconds: 2};
}

describe('winners are proved', () => {
  const base = tilingFor(stockLimits);
  const plans = BLOCKS.map((block) => lowerBlock(block, INPUT, base));
  const winners = BLOCKS.slice(0, 2).map((block) => winnerFor(block, INPUT, base, 'matmul'));
  const [first, second] = winners as [Winner, Winner];

  /** The blocks in `sequence` that run as the winner has it: how many. */
  const usesOf = (sequence: Sequence, winner: Winner): number =>
    sequence.filter((plan) => {
      const own = lowerWithChoices(plan.block, plan.input, base).choices;
      return (
        own.some(({key}) => key === winner.choice.key) && plan.dispatches.some((one) => has(one, winner))
      );
    }).length;

  async function proveBy(
    time: (sequence: Sequence) => number,
    given: {plans: readonly Plan[]; base: Tiling; winners: readonly Winner[]} = {plans, base, winners},
  ): Promise<Verdict & {comparisons: number}> {
    let comparisons = 0;
    const verdict = await prove(given.winners, {
      sequenceWith: (held) => sequenceWith(given.plans, given.base, held),
      isFaster: (one, other) => {
        comparisons++;
        const clock = (sequence: Sequence) => () => Promise.resolve(time(sequence));
        return isFaster(clock(one), clock(other));
      },
    });
    return {...verdict, comparisons};
  }

  it('by a sequence that holds a block as often as it occurs, in order', () => {
    const sequence = sequenceWith(plans, base, [first]);
    expect(sequence.map(({block}) => block)).toEqual(BLOCKS);
    expect(usesOf(sequence, first)).toBe(2);
    expect(usesOf(sequence, second)).toBe(0);
  });

  it('one that makes the sequence slower is taken back, one that makes it faster stays', async () => {
    for (const [faster, slower] of [winners, [...winners].reverse()] as [Winner, Winner][]) {
      const time = (sequence: Sequence): number =>
        1000 - 20 * usesOf(sequence, faster) + 5 * usesOf(sequence, slower);
      const {kept, takenBack} = await proveBy(time);
      expect({kept, takenBack}).toEqual({kept: [faster], takenBack: [slower]});
    }
  });

  it('one alone by one comparison', async () => {
    const alone = {plans, base, winners: [first]};
    const by = (gain: number) => (sequence: Sequence) => 1000 - gain * usesOf(sequence, first);
    expect(await proveBy(by(20), alone)).toEqual({
      kept: [first],
      takenBack: [],
      unproved: [],
      comparisons: 1,
    });
    expect(await proveBy(by(-20), alone)).toEqual({
      kept: [],
      takenBack: [first],
      unproved: [],
      comparisons: 1,
    });
  });

  it('what noise might have made changes nothing', async () => {
    const time = (gain: number, loss: number) => (sequence: Sequence) =>
      1000 - gain * usesOf(sequence, second) + (loss / 2) * usesOf(sequence, first);
    expect((await proveBy(time(10, 2))).kept).toEqual(winners);
    expect((await proveBy(time(2, 0))).takenBack).toEqual(winners);
  });

  it('all are taken back where none alone is to blame', async () => {
    const time = (sequence: Sequence): number =>
      usesOf(sequence, first) + usesOf(sequence, second) > 0 ? 1010 : 1000;
    expect(await proveBy(time)).toEqual({kept: [], takenBack: winners, unproved: [], comparisons: 3});
  });

  it('none is kept or taken back where the clock stands', async () => {
    for (const time of [NaN, 0]) {
      expect(await proveBy(() => time)).toEqual({kept: [], takenBack: [], unproved: winners, comparisons: 1});
      expect(await proveBy(() => time, {plans, base, winners: [first]})).toEqual({
        kept: [],
        takenBack: [],
        unproved: [first],
        comparisons: 1,
      });
    }
  });

  it('what was taken back before the clock stands stays so', async () => {
    let isStanding = false;
    const verdict = await prove(winners, {
      sequenceWith: (held) => sequenceWith(plans, base, held),
      isFaster: () => {
        const answer = isStanding ? undefined : true;
        isStanding = true;
        return Promise.resolve(answer);
      },
    });
    expect(verdict).toEqual({kept: [], takenBack: [second], unproved: [first]});
  });

  describe('where a fused run hides a product', () => {
    const block: Block = {
      kind: 'BlockMBConv',
      stages: [pointwiseStage('expand', 36, 'relu6'), spatialStage('spatial', {kernel: 3, group: 1, channels: 36}), pointwiseStage('project', 12), residualStage()], // prettier-ignore
    };
    const apart = decidedBy(base, (kernel, _problem, chosen) =>
      kernel === 'depthwiseProject' || kernel === 'expandDepthwise' ? {...APART} : chosen(),
    );
    const input = [2, 9, 7, 12];
    const run = winnerFor(block, input, apart, 'depthwiseProject');
    const product = winnerFor(block, input, apart, 'matmul');
    const given = {plans: [lowerBlock(block, input, apart)], base: apart, winners: [run, product]};
    const uses = (sequence: Sequence, winner: Winner): number =>
      sequence.flatMap(({dispatches}) => dispatches).filter((one) => has(one, winner)).length;
    const time = (runGain: number, productGain: number) => (sequence: Sequence) =>
      1000 - runGain * uses(sequence, run) - productGain * Math.min(1, uses(sequence, product));

    it('the product is proved once that is taken back', async () => {
      const both = sequenceWith(given.plans, apart, given.winners);
      expect([uses(both, run), uses(both, product)]).toEqual([1, 0]);
      expect(await proveBy(time(-20, 20), given)).toEqual({
        kept: [product],
        takenBack: [run],
        unproved: [],
        comparisons: 2,
      });
      expect((await proveBy(time(-20, -10), given)).takenBack).toEqual([run, product]);
    });

    it('the product is proved once that is taken back, also behind others of the batch', async () => {
      const third = winnerFor(pointwise(20), INPUT, apart, 'matmul');
      const more = {
        plans: [lowerBlock(pointwise(20), INPUT, apart), ...given.plans],
        base: apart,
        winners: [run, third, product],
      };
      const thirdGains = (sequence: Sequence): number =>
        time(-20, -10)(sequence.slice(1)) - 30 * uses(sequence.slice(0, 1), third);
      expect(await proveBy(thirdGains, more)).toEqual({
        kept: [third],
        takenBack: [run, product],
        unproved: [],
        comparisons: 4,
      });
    });

    it('the product is neither kept nor taken back where that stays', async () => {
      expect(await proveBy(time(20, 20), given)).toEqual({
        kept: [run],
        takenBack: [],
        unproved: [product],
        comparisons: 2,
      });
    });

    it('nor where all is taken back in the end, as nobody has compared it', async () => {
      expect(await proveBy(time(0, 0), given)).toEqual({
        kept: [],
        takenBack: [run],
        unproved: [product],
        comparisons: 2,
      });
    });
  });

  it('by turns, so that a clock that slows down misleads none', async () => {
    let slowdown = 1;
    const clock = (microseconds: number) => () => Promise.resolve((slowdown *= 1.004) * microseconds);
    for (const [one, other, expected] of [
      [100, 100, false],
      [99.9, 100, false],
      [99.4, 100, true],
      [100, 99.4, false],
    ] as const)
      expect(await isFaster(clock(one), clock(other)))
        .withContext(`${one} against ${other}`)
        .toBe(expected);
  });

  it('with weights of their own, in turns on fewer buffers where they are too large', () => {
    const sized = (sizes: readonly number[]): Sequence =>
      sizes.map((size) => ({...(plans[0] as Plan), weights: {sections: [], size}}));
    const small = weightBuffers([sized([5, 6, 7]), sized([5, 60, 7])]);
    expect(small.names).toEqual(['weights 0', 'weights 1', 'weights 2']);
    expect([...small.sizes.values()]).toEqual([20, 240, 28]);
    const mib = 2 ** 18; // words
    const large = weightBuffers([sized([100, 200, 30, 200, 100].map((size) => size * mib))]);
    expect(large.names).toEqual([0, 1, 0, 1, 0].map((at) => `weights ${at}`));
    expect([...large.sizes.values()].map((bytes) => bytes / 2 ** 20)).toEqual([100, 200]);
  });
});

const FEW_TILES = {...H200, limits: {...H200.limits, maxComputeInvocationsPerWorkgroup: 64}};

onBackend('webgpu', 'tune proves its winners', () => {
  const backend = (): WebGPUBackend => tf.backend() as WebGPUBackend;
  const tuned = (): ReturnType<typeof tunedOf> => tunedOf(backend().device);
  const plansNow = (): readonly Plan[] => BLOCKS.map((block) => planFor(backend(), block, INPUT));
  const labelOf = ({kernel, workgroups}: Dispatch): string => `${kernel} ${workgroups.join('×')}`;
  // Before a spy takes its place.
  const microseconds = Reflect.get<GpuClock, 'microseconds'>(GpuClock.prototype, 'microseconds');
  let errors: string[] = [];
  /** Dispatches of a sequence; contests have one. */
  let sequenceLength = BLOCKS.length;
  const report = ({error}: GPUUncapturedErrorEvent): void => void errors.push(error.message);

  beforeAll(() => registerBlockKernels());
  beforeEach(() => {
    errors = [];
    sequenceLength = BLOCKS.length;
    backend().device.addEventListener('uncapturederror', report);
    tuned().clear();
    // Only tiles are of interest here.
    for (const {block, input} of plansNow())
      tuned().setTiming(block, input, {planMicroseconds: 1, opsMicroseconds: 2});
  });
  afterEach(() => {
    backend().device.removeEventListener('uncapturederror', report);
    expect(errors).toEqual([]);
  });
  afterAll(() => tuned().clear());

  /** A clock by which every other tile wins alone; what a sequence takes is up to the spec, which is told how many tiles are not the planner's. */
  function clockOf(
    sequenceTime: (others: number, steps: readonly TimedStep[], clock: GpuClock) => Promise<number> | number,
    onContest?: () => void,
  ): void {
    const own = new Set(plansNow().flatMap(({dispatches}) => dispatches.map(labelOf)));
    spyOn(GpuClock.prototype, 'warmUp').and.resolveTo();
    spyOn(GpuClock.prototype, 'microseconds').and.callFake(async function (this: GpuClock, steps) {
      const others = steps.filter((step) => step.kind === 'dispatch' && !own.has(step.pipeline.label)).length;
      if (steps.length === sequenceLength) return sequenceTime(others, steps, this);
      onContest?.();
      return others > 0 ? 50 : 100;
    });
  }
  const tuneNow = (options = {}): Promise<TuneReport> =>
    tunePlans(backend(), plansNow(), {device: FEW_TILES, ...options});
  const tilesNow = (): unknown[] =>
    plansNow().map(({dispatches}) => dispatches.map(({constants}) => constants));

  it('and takes those back by which the sequence is slower', async () => {
    const before = tilesNow();
    clockOf((others) => 1000 + 20 * others);
    const seen: string[] = [];
    const {problems} = await tuneNow({
      onProgress: (_done: number, _total: number, what: string) => seen.push(what),
    });
    expect(problems).toEqual({total: 2, measured: 2, changed: 0, takenBack: 2, unproved: 0});
    expect(seen).toContain('proving tiles for 2 kernel problems among all dispatches');
    expect(tilesNow()).toEqual(before);
    const stored = Object.values(tuned().toJSON().tiles);
    expect(stored.map((one) => one.microseconds)).toEqual([100, 100]);
    for (const one of stored) expect(Object.keys(one)).toEqual(['tile', 'microseconds']);
    expect((await tuneNow()).problems).toEqual({
      total: 2,
      measured: 0,
      changed: 0,
      takenBack: 0,
      unproved: 0,
    });
  });

  it('and stores those by which it is faster', async () => {
    const before = tilesNow();
    clockOf((others) => 1000 - 20 * others);
    expect((await tuneNow()).problems).toEqual({
      total: 2,
      measured: 2,
      changed: 2,
      takenBack: 0,
      unproved: 0,
    });
    const after = tilesNow();
    for (const at of BLOCKS.keys()) expect(after[at]).not.toEqual(before[at]);
    expect(Object.values(tuned().toJSON().tiles).map((one) => one.microseconds)).toEqual([50, 50]);
  });

  it('also of a batch in which the budget ends', async () => {
    let late = 0;
    const now = performance.now.bind(performance);
    spyOn(performance, 'now').and.callFake(() => now() + late);
    clockOf(
      (others) => 1000 + 20 * others,
      () => (late = 1e9),
    );
    const {problems, isComplete} = await tuneNow({budgetMs: 1e8});
    expect(isComplete).toBe(false);
    expect(problems).toEqual({total: 2, measured: 1, changed: 0, takenBack: 1, unproved: 0});
    expect(Object.keys(tuned().toJSON().tiles).length).toBe(1);
  });

  /** GPU buffers made on the device and not destroyed, the proofs there were, by their error scopes, and how many buffers these made. */
  function watchBuffers(change: (size: number) => number = (size) => size): {
    live: Set<GPUBuffer>;
    proofs: number;
    made: number;
    filters: Set<GPUErrorFilter>;
  } {
    const {device} = backend();
    const watched = {live: new Set<GPUBuffer>(), proofs: 0, made: 0, filters: new Set<GPUErrorFilter>()};
    let scopes = 0;
    const [create, push, pop] = [device.createBuffer.bind(device), device.pushErrorScope.bind(device), device.popErrorScope.bind(device)]; // prettier-ignore
    spyOn(device, 'pushErrorScope').and.callFake((filter) => {
      if (scopes++ === 0) watched.proofs++;
      watched.filters.add(filter);
      push(filter);
    });
    spyOn(device, 'popErrorScope').and.callFake(() => {
      scopes--;
      return pop();
    });
    spyOn(device, 'createBuffer').and.callFake((descriptor) => {
      if (scopes > 0) watched.made++;
      const buffer = create(scopes > 0 ? {...descriptor, size: change(descriptor.size)} : descriptor);
      watched.live.add(buffer);
      const destroy = buffer.destroy.bind(buffer);
      buffer.destroy = () => {
        watched.live.delete(buffer);
        return destroy();
      };
      return buffer;
    });
    return watched;
  }

  it('on the device, by buffers that are all destroyed', async () => {
    const tensors = tf.memory().numTensors;
    const times: number[] = [];
    clockOf(async (_others, steps, clock) => {
      const time = await microseconds.call(clock, steps, {samples: 1, milliseconds: 1});
      times.push(time);
      return time;
    });
    const watched = watchBuffers();
    const {problems} = await tuneNow();
    expect(problems.changed + problems.takenBack).toBe(2);
    expect(times.length).toBeGreaterThan(0);
    for (const time of times) expect(time).toBeGreaterThan(0);
    // Input, output, and weights of each occurrence.
    expect(watched.proofs).toBeGreaterThan(0);
    expect(watched.made).toBe(watched.proofs * (2 + BLOCKS.length));
    expect(watched.live.size).toBe(0);
    expect(tf.memory().numTensors).toBe(tensors);
  });

  it('by buffers that are destroyed where the clock fails, and stores nothing unproved', async () => {
    clockOf(() => Promise.reject(new Error('The device is lost.')));
    const watched = watchBuffers();
    await expectAsync(tuneNow()).toBeRejectedWithError('The device is lost.');
    expect(watched.proofs).toBe(1);
    expect(watched.live.size).toBe(0);
    expect(tuned().toJSON().tiles).toEqual({});
  });

  it('and neither keeps nor stores any where memory does not suffice to tell', async () => {
    clockOf((others) => 1000 - 20 * others);
    const {live, filters} = watchBuffers(() => 2 ** 45);
    const unproved = {total: 2, measured: 2, changed: 0, takenBack: 0, unproved: 2};
    expect((await tuneNow()).problems).toEqual(unproved);
    expect(live.size).toBe(0);
    expect([...filters].sort()).toEqual(['out-of-memory', 'validation']);
    expect(tuned().toJSON().tiles).toEqual({});
    expect((await tuneNow()).problems).toEqual(unproved);
  });

  it('without the blocks that run as their ops', async () => {
    const [plan] = plansNow().slice(1) as [Plan];
    tuned().setTiming(plan.block, plan.input, {planMicroseconds: 2, opsMicroseconds: 1});
    clockOf((others) => 1000 - 20 * others);
    sequenceLength = BLOCKS.length - 1;
    expect((await tuneNow()).problems).toEqual({
      total: 2,
      measured: 2,
      changed: 1,
      takenBack: 0,
      unproved: 1,
    });
  });
});
