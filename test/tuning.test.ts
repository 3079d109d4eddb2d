/** Tuning and explaining on a device: winners are used, answers stay, blocks that lose to their ops are not fused. */
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {layers, sequential} from '@tensorflow/tfjs-layers';
import * as tf from '@tensorflow/tfjs-core';
import type {Constants, Plan} from '../kernels/plan.js';
import {sameTile, type TiledKernel, TILE_TABLE} from '../kernels/webgpu/candidates.js';
import {lowerWithChoices, problemKey, tilesOf, withTile} from '../kernels/webgpu/choices.js';
import {PipelineCache} from '../kernels/webgpu/compile.js';
import {H200} from '../kernels/webgpu/device_model.js';
import {explainBlock} from '../kernels/webgpu/explain.js';
import {limitsOf, planFor, tilingOf, tunedOf} from '../kernels/webgpu/index.js';
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {stockLimits} from '../kernels/webgpu/tiling.js';
import {type Block, reference, runBlock, traceBlock} from '../ops/index.js';
import {gateStage, pointwiseStage, residualStage, spatialStage} from '../ops/stages/make.js';
import {fuse, type FusedModel, loadTuned, registerBlockKernels} from '../src/index.js';
import {GpuClock} from '../src/tune/gpu_clock.js';
import {contestOf, dispatchesOf, posedBy, winnerOf} from '../src/tune/tune_problem.js';
import {plansOfModel} from '../src/warmup.js';
import {onBackend} from './support/environment.js';
import {expectClose} from './support/expect_close.js';
import {measureMemory} from './support/expect_no_leak.js';
import {seededTensors} from './support/random.js';

async function smallModel(shape: (number | null)[] = [6, 6, 8], filters = 12): Promise<FusedModel> {
  const model = sequential({
    layers: [
      layers.depthwiseConv2d({inputShape: shape, kernelSize: 3, padding: 'same', activation: 'relu6'}),
      layers.conv2d({filters, kernelSize: 1, activation: 'relu'}),
      layers.globalMaxPooling2d({}),
    ],
  });
  const fused = await fuse(model);
  model.dispose();
  return fused;
}

/** One block for each kernel that has a choice of tiles, in the smallest shapes that do not fit the tiles. */
const POSING: Readonly<Record<TiledKernel, {block: Block; input: readonly number[]}>> = (() => {
  const depthwise = spatialStage('spatial', {kernel: 3, group: 1, channels: 12, activation: 'relu6'});
  const norm = {op: 'layernorm', name: 'norm', epsilon: 1e-6, affine: true} as const;
  const gated: Block = {
    kind: 'BlockMBConv',
    stages: [depthwise, gateStage(5), pointwiseStage('project', 12), residualStage()],
  };
  const fullGated: Block = {
    kind: 'BlockFusedMBConv',
    stages: [spatialStage('spatial', {kernel: 3, group: 8, channels: 20}), gateStage(3), pointwiseStage('project', 8)], // prettier-ignore
  };
  return {
    matmul: {block: {kind: 'BlockConv', stages: [pointwiseStage('conv', 20)]}, input: [2, 5, 7, 12]},
    convolution: {block: fullGated, input: [2, 5, 7, 8]},
    depthwise: {block: gated, input: [2, 9, 7, 12]},
    feedForward: {
      block: {
        kind: 'BlockFeedForward',
        stages: [norm, pointwiseStage('expand', 44, 'gelu'), pointwiseStage('project', 12), residualStage()],
      },
      input: [2, 5, 7, 12],
    },
    depthwiseProject: {
      block: {
        kind: 'BlockMBConv',
        stages: [pointwiseStage('expand', 36, 'relu6'), spatialStage('spatial', {kernel: 3, group: 1, channels: 36, activation: 'swish'}), pointwiseStage('project', 12), residualStage()], // prettier-ignore
      },
      input: [2, 9, 7, 12],
    },
    expandDepthwise: {
      block: {
        kind: 'BlockMBConv',
        stages: [pointwiseStage('expand', 36, 'relu6'), spatialStage('spatial', {kernel: 3, group: 1, channels: 36}), gateStage(5), pointwiseStage('project', 12)], // prettier-ignore
      },
      input: [2, 9, 7, 12],
    },
    grouped: {
      block: {kind: 'BlockConv', stages: [spatialStage('spatial', {kernel: 3, group: 8, channels: 24})]},
      input: [1, 5, 9, 24],
    },
    stem: {
      block: {
        kind: 'BlockConv',
        stages: [spatialStage('spatial', {kernel: 3, group: 3, channels: 20, stride: 2})],
      },
      input: [2, 9, 13, 3],
    },
    dense: {
      block: {kind: 'BlockHead', stages: [{op: 'mean', name: 'mean'}, norm, pointwiseStage('dense', 37, 'relu6')]}, // prettier-ignore
      input: [5, 3, 4, 70],
    },
    normalize: {block: {kind: 'BlockLayerNorm', stages: [norm]}, input: [2, 3, 5, 20]},
    gate: {block: gated, input: [1, 4, 3, 12]},
    sum: {block: fullGated, input: [2, 5, 7, 8]},
  };
})();

const TILES_A_KERNEL = 5;
/** Compiling every candidate takes SwiftShader half a minute. */
const FEW_TILES = {...H200, limits: {...H200.limits, maxComputeInvocationsPerWorkgroup: 64}};

onBackend('webgpu', 'tuning', () => {
  const backend = (): WebGPUBackend => tf.backend() as WebGPUBackend;
  const tuned = (): ReturnType<typeof tunedOf> => tunedOf(backend().device);
  beforeAll(() => registerBlockKernels());
  beforeEach(() => tuned().clear());
  afterAll(() => tuned().clear());

  for (const kernel of Object.keys(TILE_TABLE) as TiledKernel[]) {
    it(`${kernel}: a candidate that is made the winner is planned, and gives the reference's answer`, async () => {
      const {block, input} = POSING[kernel];
      const make = seededTensors(3);
      const x = make(input);
      const weights = Object.fromEntries(
        traceBlock(block, input).weights.map(({name, shape}) => [name, make(shape)]),
      );
      const expected = reference(block, x, weights);
      const values = await expected.data();
      const {device} = backend();
      const {choices} = lowerWithChoices(block, input, tilingOf(device));
      const choice = choices.find((one) => one.kernel === kernel);
      if (!choice) throw new Error(`The block poses no problem of '${kernel}'.`);
      const [, ...others] = tilesOf(choice, limitsOf(device));
      expect(others.length).toBeGreaterThan(0);
      const every = Math.max(1, Math.floor(others.length / TILES_A_KERNEL));
      for (const tile of others.filter((_, at) => at % every === 0)) {
        tuned().setTile(choice.key, {tile, microseconds: 1});
        const {dispatches} = planFor(backend(), block, input);
        const has = (wanted: Constants): boolean =>
          dispatches.some(({constants}) =>
            Object.entries(wanted).every(([name, value]) => constants[name] === value),
          );
        // Stages apart are no dispatch of their own.
        const uses = tile['FUSED'] === false ? !has(choice.tile) : has(tile);
        expect(uses).withContext(JSON.stringify(tile)).toBe(true);
        const y = runBlock(block, x, weights);
        await expectClose(y, values, {name: JSON.stringify(tile), tolerance: 1e-5});
        y.dispose();
      }
      tf.dispose([x, expected, weights]);
    });
  }

  it('measures every problem and every block, once, and keeps the answers', async () => {
    const fused = await smallModel();
    const x = seededTensors(1)([1, 6, 6, 8]);
    const before = fused.predict(x) as tf.Tensor;
    const expected = await before.data();
    const seen: string[] = [];
    const memory = await measureMemory(async () => {
      fused.tuned.clear();
      const report = await fused.tune(x, {
        device: FEW_TILES,
        onProgress: (done, total) => seen.push(`${done}/${total}`),
      });
      expect(report.isComplete).toBe(true);
      // Both convolutions are planned as one dispatch.
      expect(report.problems.total).toBe(1);
      expect(report.problems.measured).toBe(1);
      expect(report.blocks.measured).toBe(1);
    });
    expect(memory.after).toEqual(memory.before);
    expect(seen.at(-1)).toBe('2/2');
    expect(fused.tuned.size).toBe(2);
    const after = fused.predict(x) as tf.Tensor;
    await expectClose(after, expected, {tolerance: 1e-5});
    const again = await fused.tune(x, {device: FEW_TILES});
    expect([again.problems.measured, again.blocks.measured]).toEqual([0, 0]);
    tf.dispose([x, before, after]);
    fused.dispose();
  });

  it('replaces a tile that does many times the work', async () => {
    const {device} = backend();
    const block: Block = {kind: 'BlockConv', stages: [pointwiseStage('conv', 16)]};
    const large = {TILE_M: 128, TILE_N: 128, TILE_K: 8, THREAD_M: 8, THREAD_N: 8, SPLIT_K: 1, PARTS: 1};
    const key = problemKey('matmul', {m: 16, n: 16, k: 256, canPart: true, isPointwise: true});
    const tiling = withTile(tilingOf(device), key, large);
    const plan = lowerBlock(block, [1, 4, 4, 256], tiling);
    const [posed] = posedBy([plan], tiling);
    const contest = posed && contestOf(posed, tiling, {...H200, limits: limitsOf(device)});
    if (!contest) throw new Error('A product has tiles to choose between.');
    expect(contest.tiles[0]).toEqual(large);
    const areas = contest.tiles.map(({TILE_M, TILE_N}) => Number(TILE_M) * Number(TILE_N));
    const small = areas.indexOf(Math.min(...areas));
    expect(areas[0]).toBeGreaterThan(8 * (areas[small] ?? NaN));
    const two = <T>(all: readonly T[]): readonly T[] => all.filter((_, at) => at === 0 || at === small);
    const [first] = contest.settings;
    if (!first) throw new Error('The block poses the problem.');
    const settings = [{plans: two(first.plans), dispatches: two(first.dispatches)}];
    const duel = {choice: contest.choice, tiles: two(contest.tiles), settings};
    const pipelines = new PipelineCache(device);
    await pipelines.prepare(dispatchesOf(duel));
    const clock = new GpuClock(device);
    const winner = await winnerOf(duel, clock, {device, pipelines});
    clock.destroy();
    expect(winner?.tile).toEqual(duel.tiles[1]);
    expect(winner && winner.microseconds > 0).toBe(true);
  });

  it('measures every form of a full convolution, each with all of its dispatches', async () => {
    const {device} = backend();
    const block: Block = {kind: 'BlockConv', stages: [spatialStage('conv', {kernel: 3, group: 8, channels: 12})]}; // prettier-ignore
    const tiling = tilingOf(device);
    const [posed] = posedBy([lowerBlock(block, [1, 7, 6, 8], tiling)], tiling);
    const contest = posed && contestOf(posed, tiling, {...H200, limits: limitsOf(device)});
    const [setting] = contest?.settings ?? [];
    if (!contest || !setting) throw new Error('A convolution has tiles to choose between.');
    const firsts = [0, 2, 4].map((side) => contest.tiles.findIndex(({WINOGRAD}) => WINOGRAD === side));
    expect(firsts[0]).toBe(0);
    expect(firsts.map((at) => setting.dispatches[at]?.map(({kernel}) => kernel))).toEqual([
      ['convolution.vector'],
      ['winogradInput2.vector', 'winogradProduct.vector', 'winogradOutput2.vector'],
      ['winogradInput4.vector', 'winogradProduct.vector', 'winogradOutput4.vector'],
    ]);
    const some = <T>(all: readonly T[]): readonly T[] => all.filter((_, at) => firsts.includes(at));
    const settings = [{plans: some(setting.plans), dispatches: some(setting.dispatches)}];
    const few = {choice: contest.choice, tiles: some(contest.tiles), settings};
    const pipelines = new PipelineCache(device);
    await pipelines.prepare(dispatchesOf(few));
    const clock = new GpuClock(device);
    const winner = await winnerOf(few, clock, {device, pipelines});
    clock.destroy();
    expect(few.tiles).toContain(winner?.tile ?? {});
    expect(winner && winner.microseconds > 0).toBe(true);
  });

  it('stops where its budget ends, and says so', async () => {
    const fused = await smallModel([5, 6, 8]);
    const report = await fused.tune(undefined, {device: H200, budgetMs: -1});
    expect(report.isComplete).toBe(false);
    expect([report.problems.measured, report.blocks.measured]).toEqual([0, 0]);
    fused.dispose();
  });

  it('asks for inputs where the model leaves their size open', async () => {
    const fused = await smallModel([null, null, 4]);
    await expectAsync(fused.tune()).toBeRejectedWithError(/tune: the input .* pass inputs/);
    await expectAsync(fused.explain()).toBeRejectedWithError(/explain: the input .* pass inputs/);
    fused.dispose();
  });

  it('runs a block as stock ops where they were measured to be faster, and says so', async () => {
    const fused = await smallModel();
    const x = seededTensors(2)([1, 6, 6, 8]);
    const run = spyOn(tf.engine(), 'runKernel').and.callThrough();
    const kernelsOf = (): {names: unknown[]; y: tf.Tensor} => {
      run.calls.reset();
      const y = fused.predict(x) as tf.Tensor;
      return {names: run.calls.allArgs().map(([name]) => name), y};
    };
    const planned = kernelsOf();
    expect(planned.names).not.toContain('FusedDepthwiseConv2D');
    const [first] = (await fused.explain(x, {device: H200})).blocks;
    expect(first?.plan.runs).toBe('kernels');
    const [{block, input}] = plansOfModel(fused, x) as [Plan];
    tuned().setTiming(block, input, {planMicroseconds: 9, opsMicroseconds: 4});
    const asOps = kernelsOf();
    expect(asOps.names).toContain('FusedDepthwiseConv2D');
    await expectClose(asOps.y, await planned.y.data(), {tolerance: 1e-5});
    const explanation = await fused.explain(x, {device: H200});
    expect(explanation.blocks[0]?.plan.runs).toBe('ops');
    const memory = await measureMemory(() => tf.dispose(fused.predict(x)));
    expect(memory.after).toEqual(memory.before);
    expect(explanation.toString()).toContain('not fused here: its stock ops are faster');
    tf.dispose([x, planned.y, asOps.y]);
    fused.dispose();
  });

  it('leaves captures that were made before as they are', async () => {
    const fused = await smallModel();
    const x = seededTensors(4)([1, 6, 6, 8]);
    const captured = await fused.capture([x]);
    const [{block, input}] = plansOfModel(fused, x) as [Plan];
    tuned().setTiming(block, input, {planMicroseconds: 9, opsMicroseconds: 4});
    const compile = spyOn(backend().device, 'createComputePipeline').and.callThrough();
    const [y] = captured.predict([x]);
    await y?.data();
    expect(compile).not.toHaveBeenCalled();
    tf.dispose([x, ...(y ? [y] : [])]);
    captured.dispose();
    fused.dispose();
  });

  it('explains what is planned, with the candidates that were not chosen', async () => {
    // So large a map that both convolutions in one dispatch would hardly be faster.
    const fused = await smallModel([56, 56, 144], 32);
    const explanation = await fused.explain(undefined, {device: H200});
    const [{plan, count} = {plan: undefined, count: 0}] = explanation.blocks;
    if (!plan) throw new Error('Nothing was explained.');
    expect(count).toBe(1);
    expect(plan.dispatches.map(({kernel}) => kernel)).toEqual(['depthwise.vector', 'directPointwise.vector']);
    for (const {estimate, operations, bytes, waterline, bound, choice} of plan.dispatches) {
      const {launch, arithmetic, memory, total} = estimate;
      expect(total).toBeCloseTo(launch + Math.max(arithmetic, memory), 9);
      expect(launch).toBe(H200.launchMicroseconds);
      expect(memory).toBeCloseTo((1e6 * bytes) / H200.bytesPerSecond, 9);
      expect(waterline).toBeCloseTo(Math.max((1e6 * operations) / H200.operationsPerSecond, memory), 9);
      expect(estimate[bound]).toBe(Math.max(launch, arithmetic, memory));
      if (choice.by !== 'planner') throw new Error(`The tile was chosen by ${choice.by}.`);
      expect(choice.others.length).toBe(3);
      for (const {tile} of choice.others) expect(sameTile(tile, choice.tile)).toBe(false);
    }
    const operations = plan.dispatches.map((dispatch) => dispatch.operations);
    expect(operations).toEqual([2 * 56 * 56 * 144 * 9, 2 * 56 * 56 * 144 * 32]);
    expect(explanation.toString()).toContain('directPointwise.vector  TILE_M=');
    const [notFused, ...more] = plan.notFused;
    expect(more).toEqual([]);
    expect(notFused?.kernel).toBe('depthwiseProject');
    expect(notFused?.fused?.estimate.total).toBeGreaterThan(0.85 * (notFused?.apart ?? NaN));
    expect(explanation.toString()).toContain(
      'not depthwiseProject, [1×1,] depth-wise and 1×1 in one dispatch',
    );
    expect(JSON.parse(JSON.stringify(explanation))).toEqual(
      jasmine.objectContaining({
        device: {...H200, limits: limitsOf(backend().device)},
        blocks: [jasmine.objectContaining({count: 1})],
      }),
    );
    fused.dispose();
  });

  it('explains a fused run with the stages apart among what it was chosen over, and one that fits nowhere', () => {
    const {block, input} = POSING.depthwiseProject;
    const one = explainBlock(block, input, {device: H200, others: 99});
    expect(one.dispatches.map(({kernel}) => kernel)).toEqual(['expandDepthwiseProject.vector']);
    expect(one.notFused).toEqual([]);
    const choice = one.dispatches[0]?.choice;
    if (choice?.by !== 'planner') throw new Error('The tile was not chosen by the planner.');
    expect(choice.tile['FUSED']).toBe(true);
    const apart = choice.others.filter(({tile}) => tile['FUSED'] === false);
    expect(apart.length).toBe(1);
    expect(0.85 * (apart[0]?.estimate.total ?? NaN)).toBeGreaterThanOrEqual(one.estimate);
    // Whose taps alone are more than that.
    const large = spatialStage('spatial', {kernel: 31, group: 1, channels: 8});
    const [none] = explainBlock(
      {kind: 'BlockSeparable', stages: [large, pointwiseStage('project', 8)]},
      [1, 40, 40, 8],
      {device: {...H200, limits: stockLimits}},
    ).notFused;
    expect(none?.fused).toBeUndefined();
    expect(none?.reason).toMatch(/no tile of it fits registers and 16384 bytes/);
  });

  it('takes the figures of the device where none are given', async () => {
    const fused = await smallModel();
    const {device} = await fused.explain();
    for (const figure of [device.operationsPerSecond, device.bytesPerSecond, device.launchMicroseconds])
      expect(figure > 0 && figure < Infinity)
        .withContext(JSON.stringify(device))
        .toBe(true);
    fused.dispose();
  });

  it('loads what it stored, and warns once of what it ignores', async () => {
    const {block, input} = POSING.matmul;
    const [choice] = lowerWithChoices(block, input, tilingOf(backend().device)).choices;
    if (!choice) throw new Error('A product poses a problem.');
    const tile = tilesOf(choice, limitsOf(backend().device)).at(-1) ?? {};
    tuned().setTile(choice.key, {tile, microseconds: 2});
    const text = JSON.stringify(tuned());
    tuned().clear();
    const warn = spyOn(console, 'warn');
    expect((await loadTuned(text)).kind).toBe('loaded');
    expect(warn).not.toHaveBeenCalled();
    expect(tuned().tileFor(choice.kernel, choice.problem)?.tile).toEqual(tile);
    for (const [bad, reason] of [
      [text.slice(0, -9), /is not JSON/],
      [text.replace('"vendor":"', '"vendor":"un'), /another adapter or driver: its vendor/],
      [text.replace(/"TILE_M":\d+/, '"TILE_M":5'), /no candidates on this device/],
    ] as const) {
      warn.calls.reset();
      tuned().clear();
      await loadTuned(bad);
      expect(warn).toHaveBeenCalledOnceWith(jasmine.stringMatching(reason));
      expect(tuned().size).toBe(0);
    }
  });
});
