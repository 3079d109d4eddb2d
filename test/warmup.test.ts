/** Warm-up: all pipelines are there before the first prediction, and nothing is left behind. */
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {layers, sequential} from '@tensorflow/tfjs-layers';
import * as tf from '@tensorflow/tfjs-core';
import {fuse, type FusedModel} from '../src/index.js';
import {untilSteady} from '../src/warmup.js';
import {onBackend} from './support/environment.js';
import {expectClose} from './support/expect_close.js';
import {measureMemory} from './support/expect_no_leak.js';
import {seededTensors} from './support/random.js';
import {loadSmallGraph, placeholder} from './support/small_graphs.js';

async function smallModel(shape: (number | null)[] = [8, 8, 4]): Promise<FusedModel> {
  const model = sequential({
    layers: [
      layers.depthwiseConv2d({inputShape: shape, kernelSize: 3, padding: 'same', activation: 'relu6'}),
      layers.conv2d({filters: 12, kernelSize: 1, activation: 'relu'}),
      layers.globalAveragePooling2d({}),
    ],
  });
  const fused = await fuse(model);
  model.dispose();
  return fused;
}

onBackend('webgpu', 'warmup', () => {
  const device = (): GPUDevice => (tf.backend() as WebGPUBackend).device;

  it('compiles side by side, tells how far it is, and leaves the first prediction nothing to compile', async () => {
    const fused = await smallModel();
    const seen: string[] = [];
    const aside = spyOn(device(), 'createComputePipelineAsync').and.callThrough();
    await fused.warmup(undefined, {onProgress: (done, total) => seen.push(`${done}/${total}`)});
    expect(aside).toHaveBeenCalled();
    expect(seen.at(-1)).toBe(`${seen.length}/${seen.length}`);
    const compile = spyOn(device(), 'createComputePipeline').and.callThrough();
    aside.calls.reset();
    const x = seededTensors(1)([1, 8, 8, 4]);
    const y = fused.predict(x) as tf.Tensor;
    await y.data();
    expect(compile).not.toHaveBeenCalled();
    expect(aside).not.toHaveBeenCalled();
    tf.dispose([x, y]);
    fused.dispose();
  });

  it('leaves constants among the outputs to the model', async () => {
    const model = await loadSmallGraph({
      nodes: [placeholder('x', [3]), {name: 'y', op: 'Relu', input: ['x']}],
      weights: {size: tf.scalar(3, 'int32')},
      outputs: ['y', 'size'],
    });
    const fused = await fuse(model);
    await fused.warmup();
    const x = tf.zeros([3]);
    const [y, size] = fused.predict(x) as [tf.Tensor, tf.Tensor];
    expect([...(await size.data())]).toEqual([3]);
    tf.dispose([x, y]);
    fused.dispose();
    model.dispose();
  });

  it('changes no answer and leaves nothing behind', async () => {
    const fused = await smallModel([10, 6, 8]);
    const x = seededTensors(2)([2, 10, 6, 8]);
    const before = fused.predict(x) as tf.Tensor;
    const expected = await before.data();
    const memory = await measureMemory(async () => {
      await fused.warmup(x);
      await fused.warmup();
    });
    expect(memory.after).toEqual(memory.before);
    const after = fused.predict(x) as tf.Tensor;
    await expectClose(after, expected, {tolerance: 0});
    tf.dispose([x, before, after]);
    fused.dispose();
  });

  it('asks for inputs where the model leaves their size open', async () => {
    const fused = await smallModel([null, null, 4]);
    await expectAsync(fused.warmup()).toBeRejectedWithError(/pass inputs of the size you will feed/);
    const x = seededTensors(3)([1, 9, 9, 4]);
    await fused.warmup(x);
    x.dispose();
    fused.dispose();
  });
});

describe('untilSteady', () => {
  const made = async (
    timings: readonly (readonly [encoding: number, waiting: number])[],
  ): Promise<number> => {
    let count = 0;
    await untilSteady(() => {
      const [encoding = NaN, waiting = NaN] = timings[count++] ?? [];
      return Promise.resolve({encoding, waiting});
    });
    return count;
  };
  const times = <T>(count: number, value: T): T[] => Array.from({length: count}, () => value);
  const waits = (...waitings: number[]): [number, number][] => waitings.map((waiting) => [2, waiting]);

  it('ends where JavaScript takes longest and has encoded 200 more as fast as the first', async () => {
    expect(await made(times(210, [2, 1]))).toBe(201);
  });

  it('ends before, behind one of them that a collection held up, but the first 150', async () => {
    const collection = [1.9, 3] as const;
    const cycle = [...times(33, [2, 1] as const), collection];
    expect(await made(times(8, cycle).flat())).toBe(5 * 34);
    expect(await made([...times(151, [2, 1] as const), collection, ...times(60, [2, 1] as const)])).toBe(152);
    expect(await made([...times(150, [2, 1] as const), collection, ...times(60, [2, 1] as const)])).toBe(201);
    expect(await made([...times(180, [2, 1] as const), [2, 2], ...times(60, [2, 1] as const)])).toBe(201);
    const waiting = times(160, [2, 3] as const);
    expect(await made([...waiting, [2, 9], ...times(60, [2, 1] as const)])).toBe(201);
  });

  it('goes on while JavaScript becomes faster, or halts now and then', async () => {
    const [faster, halts] = [times(10, [4, 1] as const), times(12, [2, 1] as const)];
    expect(await made([...faster, ...times(210, [2, 1] as const)])).toBe(211);
    expect(await made([...halts, [7, 1], ...times(210, [1.9, 1] as const)])).toBe(213);
  });

  it('goes on through a slow spell of the GPU until five were fast again', async () => {
    expect(await made(waits(3, 3, 15, 15, 14, 3, 9, 3, 3, 3, 3, 3))).toBe(12);
  });

  it('does not take one slow prediction for a spell', async () => {
    expect(await made([...waits(3, 3, 90, 3, 3, 3, 3, 3, 3), ...times(210, [2, 1] as const)])).toBe(201);
  });

  it('ends a GPU-bound one that never changes after 1.5 s', async () => {
    const clock = spyOn(performance, 'now').and.returnValues(0, 1, 2, 1499, 1500);
    let count = 0;
    await untilSteady(() => {
      count++;
      return Promise.resolve({encoding: 2, waiting: 10});
    });
    expect(count).toBe(3);
    expect(clock).toHaveBeenCalledTimes(5);
  });
});
