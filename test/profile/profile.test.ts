import * as tf from '@tensorflow/tfjs-core';
import * as layers from '@tensorflow/tfjs-layers';
import {compare, measurePeaks, profile, seededInputs} from '../../src/profile/index.js';
import {clockStepNs, recordGPU} from '../../src/profile/gpu_recorder.js';
import {adapterWarnings, startStopwatch, webgpuBackend} from '../../src/profile/stopwatch.js';
import {eachBackend, onBackend} from '../support/environment.js';
import {expectNoLeak} from '../support/expect_no_leak.js';
import {seededTensors} from '../support/random.js';
import {tinyModels} from './tiny_model.js';

const QUICK = {repeats: 1, warmup: 0, peaks: null} as const;
const input = (): tf.Tensor => seededTensors(3)([2, 8, 8, 3]);

eachBackend('profile', (backend) => {
  it('has a row per node of a graph, with shapes, MACs and bytes as by hand', async () => {
    const {before, dispose} = await tinyModels();
    const x = input();
    const {rows, totals, adapter} = await profile(before, x, QUICK);
    const expand = rows.find(({name}) => name === 'expand_conv');
    expect(expand).toEqual(
      jasmine.objectContaining({
        op: 'Conv2D',
        inputShapes: [[2, 8, 8, 4]],
        weightShapes: [[1, 1, 4, 8]],
        outputShapes: [[2, 8, 8, 8]],
        macs: 2 * 64 * 4 * 8,
        bytes: 4 * (2 * 64 * 4 + 32 + 2 * 64 * 8),
      }),
    );
    expect(rows.map(({name}) => name)).toEqual(
      'stem expand_conv expand_bias expand depthwise_conv depthwise project added gate_conv squeezed reduce_conv reduce excite_conv gate scaled gated pooled logits scores'.split(
        ' ',
      ),
    );
    expect(adapter.backend).toBe(backend);
    if (backend === 'webgpu') {
      expect(expand?.dispatches).toBe(1);
      expect(totals.dispatches).toBeGreaterThanOrEqual(rows.length);
    } else {
      expect(totals.dispatches).toBeNull();
      expect(totals.gpuMs).toBeNull();
    }
    expect(rows.every(({wallMs, hostMs}) => wallMs >= hostMs && hostMs >= 0)).toBeTrue();
    x.dispose();
    dispose();
  });

  it('has a row per layer of a layers model, nested models opened', async () => {
    const inner = layers.sequential({
      name: 'inner',
      layers: [layers.layers.dense({units: 5, inputShape: [6], name: 'fc'})],
    });
    const x = layers.input({shape: [8, 8, 3]});
    const conv = layers.layers
      .conv2d({filters: 6, kernelSize: 3, name: 'conv'})
      .apply(x) as layers.SymbolicTensor;
    const mean = layers.layers.globalAveragePooling2d({name: 'mean'}).apply(conv) as layers.SymbolicTensor;
    const model = layers.model({inputs: x, outputs: inner.apply(mean) as layers.SymbolicTensor});
    const values = input();
    const {rows, totals} = await profile(model, values, QUICK);
    expect(rows.map(({name, op}) => [name, op])).toEqual([
      ['conv', 'Conv2D'],
      ['mean', 'GlobalAveragePooling2D'],
      ['inner/fc', 'Dense'],
    ]);
    expect(totals.macs).toBe(2 * 36 * 6 * 27 + 2 * 6 * 5);
    values.dispose();
    model.dispose();
  });

  it('leaves no tensor and no GPU byte behind', async () => {
    const {before, after, dispose} = await tinyModels();
    const x = input();
    await expectNoLeak(async () => {
      await profile(before, x, QUICK);
      await compare(before, after, x, QUICK);
    });
    x.dispose();
    dispose();
  });

  it('says which input is wrong, and can be used again', async () => {
    const {before, dispose} = await tinyModels();
    const [wrong, right] = [tf.zeros([1, 8, 9, 3]), input()];
    await expectAsync(profile(before, wrong, QUICK)).toBeRejectedWithError(
      /'x' is \[1, 8, 9, 3\] but the model takes \[\?, 8, 8, 3\]/,
    );
    await expectAsync(profile(before, [right, right], QUICK)).toBeRejectedWithError(
      /2 input tensors were given but the model takes 1/,
    );
    await expectAsync(profile(before, {y: right}, QUICK)).toBeRejectedWithError(/'x' was not given/);
    await expectAsync(profile(before, right, {...QUICK, repeats: 0})).toBeRejectedWithError(/at least 1/);
    expect((await profile(before, {x: right}, QUICK)).rows.length).toBe(19);
    tf.dispose([wrong, right]);
    dispose();
  });
});

eachBackend('compare', (backend) => {
  it('finds each block, what it replaced, and the same values', async () => {
    const {before, after, dispose} = await tinyModels();
    const x = input();
    const comparison = await compare(before, after, x, {...QUICK, repeats: 2});
    expect(comparison.blocks.map(({name, kind, replaced}) => [name, kind, replaced.length])).toEqual([
      ['added', 'BlockMBConv', 7],
      ['gated', 'BlockMBConv', 8],
    ]);
    expect(comparison.blocks[0]).toEqual(
      jasmine.objectContaining({
        input: 'stem',
        inputShape: [2, 8, 8, 4],
        outputShape: [2, 8, 8, 4],
        macs: 17_408,
      }),
    );
    for (const {difference} of [
      ...comparison.blocks,
      ...comparison.outputs.map((each) => ({difference: each})),
    ]) {
      expect(difference.relative).withContext(difference.name).toBeLessThan(1e-5);
    }
    expect(comparison.classes?.before.map(({label}) => label)).toEqual(
      comparison.classes?.after.map(({label}) => label),
    );
    expect(comparison.after.totals.ops).toBe(6);
    expect(comparison.after.totals.bytes).toBeLessThan(comparison.before.totals.bytes);
    if (backend === 'webgpu') expect(comparison.blocks[0]?.before.dispatches).toBeGreaterThanOrEqual(7);
    x.dispose();
    dispose();
  });

  it('says so where nothing was fused', async () => {
    const {before, dispose} = await tinyModels();
    const x = input();
    const {blocks, warnings, outputs} = await compare(before, before, x, QUICK);
    expect(blocks).toEqual([]);
    expect(outputs[0]?.absolute).toBe(0);
    expect(warnings.join()).toContain('No block was fused');
    x.dispose();
    dispose();
  });

  it('sees a block that computes something else', async () => {
    const [{before, dispose}, other] = [await tinyModels(), await tinyModels({seed: 8})];
    const x = input();
    const {blocks, outputs} = await compare(before, other.after, x, QUICK);
    expect(blocks.every(({difference}) => difference.relative > 0.01)).toBeTrue();
    expect(outputs[0]?.relative).toBeGreaterThan(0.01);
    x.dispose();
    dispose();
    other.dispose();
  });
});

onBackend('webgpu', 'measurements on the device', () => {
  it('has peaks, a waterline and its clock', async () => {
    const peaks = await measurePeaks();
    expect(peaks?.operationsPerSecond).toBeGreaterThan(1e6);
    expect(peaks?.bytesPerSecond).toBeGreaterThan(1e6);
    expect(peaks?.waterline).toBeCloseTo((peaks?.operationsPerSecond ?? 0) / (peaks?.bytesPerSecond ?? 1), 6);
    expect(peaks?.compute.length).toBeGreaterThan(0);
  });

  it('counts dispatches and takes its wrapper off again', async () => {
    const device = webgpuBackend()?.device as GPUDevice;
    const stopwatch = await startStopwatch();
    await expectAsync(startStopwatch()).toBeRejectedWithError(/being recorded already/);
    const x = tf.ones([64]);
    const results = await stopwatch.lap(() => [tf.add(tf.mul(x, 2), 1)], {wait: true});
    const {laps} = await stopwatch.stop();
    expect(laps[0]?.dispatches).toBe(2);
    if (device.features.has('timestamp-query')) expect(laps[0]?.gpuMs).not.toBeNull();
    expect(Object.hasOwn(device, 'createCommandEncoder')).toBeFalse();
    expect(() => recordGPU(device).stop()).not.toThrow();
    tf.dispose([x, ...results]);
  });

  it('runs with every query set full', async () => {
    const device = webgpuBackend()?.device as GPUDevice;
    const stopwatch = await startStopwatch();
    const x = tf.ones([4]);
    for (let i = 0; i < 300; i++) tf.dispose(await stopwatch.lap(() => [tf.neg(x)], {wait: false}));
    const {laps} = await stopwatch.stop();
    expect(laps.length).toBe(300);
    expect(laps.every(({dispatches}) => dispatches === 1)).toBeTrue();
    if (device.features.has('timestamp-query')) {
      const starts = laps.map(({gpu}) => gpu?.start ?? NaN);
      expect(starts.every((start, i) => i === 0 || start >= (starts[i - 1] as number))).toBeTrue();
    }
    x.dispose();
  });
});

describe('adapter warnings', () => {
  const adapter = {backend: 'webgpu', name: 'acme', isSoftware: false, timer: 'timestamp-query'} as const;

  it('name a software adapter, a missing clock, a coarse clock and another backend', () => {
    expect(adapterWarnings(adapter, 1)).toEqual([]);
    expect(adapterWarnings({...adapter, isSoftware: true}, 1).join()).toContain('software rasteriser');
    expect(adapterWarnings({...adapter, timer: 'wall-clock'}, null).join()).toContain('no timestamp-query');
    expect(adapterWarnings(adapter, 65_536).join()).toContain('quantised to 65.5 µs');
    expect(adapterWarnings({...adapter, backend: 'cpu', timer: 'wall-clock'}, null).join()).toContain(
      'no GPU clock',
    );
  });

  it('find the step of a clock from its timestamps', () => {
    expect(clockStepNs([100_000n, 300_000n, 1_000_000n])).toBe(100_000);
    expect(clockStepNs([7n, 8n, 10n])).toBe(1);
    expect(clockStepNs([])).toBeNull();
  });
});

describe('seededInputs', () => {
  it('makes the same values every time, of the batch and dtype asked for', async () => {
    const {before, dispose} = await tinyModels();
    const [first, second] = [await seededInputs(before, {batch: 3}), await seededInputs(before, {batch: 3})];
    expect(first['x']?.shape).toEqual([3, 8, 8, 3]);
    expect(Array.from((await first['x']?.data()) ?? [])).toEqual(
      Array.from((await second['x']?.data()) ?? [0]),
    );
    const given = await seededInputs(before, {shapes: {x: [2, 8, 8, 3]}});
    expect(given['x']?.shape).toEqual([2, 8, 8, 3]);
    tf.dispose([first, second, given]);
    dispose();
  });

  it('says which shape is missing or of no input', async () => {
    const open = layers.sequential({
      layers: [layers.layers.conv2d({filters: 1, kernelSize: 1, inputShape: [null, null, 3]})],
    });
    const fixed = layers.sequential({layers: [layers.layers.dense({units: 1, batchInputShape: [4, 3]})]});
    await expectAsync(seededInputs(open)).toBeRejectedWithError(
      /is \[\?, \?, \?, 3\], open in more than its batch/,
    );
    await expectAsync(seededInputs(fixed, {batch: 2})).toBeRejectedWithError(
      /a batch of 2 does not fit; leave the batch at 4/,
    );
    await expectAsync(seededInputs(fixed, {shapes: {y: [4, 3]}})).toBeRejectedWithError(/given for 'y'/);
    open.dispose();
    fixed.dispose();
  });
});
