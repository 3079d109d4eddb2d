/** A lost device, and captures for changing shapes. */
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {capture, CaptureCache} from '../../src/capture/index.js';
import {onBackend} from '../support/environment.js';
import {measureMemory} from '../support/expect_no_leak.js';
import {loadSmallGraph} from '../support/small_graphs.js';
import {BOXES, detector, expectSameBits} from './support.js';

const device = (): GPUDevice => (tf.backend() as WebGPUBackend).device;

onBackend('webgpu', 'capture of a lost device', () => {
  it('tells the loss, and records again on a new device', async () => {
    const weight = tf.tensor1d([1, 2, 3, 4]);
    const captured = await capture((x: tf.Tensor) => tf.mul(x, weight), {shape: [4], dtype: 'float32'});
    const x = new Float32Array([1, 1, 2, 2]);
    const before = await captured.predictAsync(x);
    device().destroy();
    expect((await captured.lost).reason).toBe('destroyed');
    expect(() => captured.predict(x)).toThrowError(/lost.*recover\(\)/);
    await expectAsync(captured.predictAsync(x)).toBeRejectedWithError(/lost.*recover\(\)/);
    await captured.recover();
    expect(captured.mode).toBe('replay');
    expectSameBits(await captured.predictAsync(x), before);
    // The model itself works again too.
    const plain = tf.mul(tf.tensor1d([...x]), weight);
    expectSameBits([await plain.data()], before);
    captured.dispose();
    tf.dispose([weight, plain]);
  });

  it('recovers several captures of one device', async () => {
    const one = await capture((x: tf.Tensor) => tf.neg(x), {shape: [2], dtype: 'float32'});
    const two = await capture((x: tf.Tensor) => tf.square(x), {shape: [2], dtype: 'float32'});
    device().destroy();
    await one.lost;
    await one.recover();
    await two.recover();
    const x = new Float32Array([2, 3]);
    expect([...((await one.predictAsync(x))[0] ?? [])]).toEqual([-2, -3]);
    expect([...((await two.predictAsync(x))[0] ?? [])]).toEqual([4, 9]);
    one.dispose();
    two.dispose();
  });

  it('revives a graph model that runs in segments', async () => {
    const model = await loadSmallGraph(detector());
    const feeds = {
      boxes: new Float32Array(BOXES * 4).map((_, i) => i % 5),
      scores: new Float32Array(BOXES).fill(2),
    };
    const captured = await capture(model, feeds);
    expect(captured.mode).toBe('segments');
    const before = await captured.predictAsync(feeds);
    device().destroy();
    await captured.lost;
    await captured.recover();
    expect(captured.mode).toBe('segments');
    expectSameBits(await captured.predictAsync(feeds), before);
    captured.dispose();
    model.dispose();
  });

  it('asks for the model where its weights were not kept', async () => {
    const make = (): ((x: tf.Tensor) => tf.Tensor) => (x) => tf.add(x, tf.scalar(1));
    const options = {recoverable: false};
    const captured = await capture(make(), {shape: [2], dtype: 'float32'}, options);
    await captured.recover(); // nothing is lost: nothing happens
    device().destroy();
    await captured.lost;
    await expectAsync(captured.recover()).toBeRejectedWithError(/recoverable: false.*loaded again/s);
    await captured.recover(make());
    expect([...((await captured.predictAsync(new Float32Array([1, 2])))[0] ?? [])]).toEqual([2, 3]);
    captured.dispose();
  });
});

onBackend('webgpu', 'capture cache', () => {
  it('has a capture for each shape, and drops the one unused for longest', async () => {
    const cache = new CaptureCache((x: tf.Tensor) => tf.square(x), {capacity: 2});
    const inputs = [1, 2, 3].map((size) => tf.fill([size], size));
    for (const x of [inputs[0], inputs[1], inputs[0], inputs[2]] as tf.Tensor[]) {
      const [values] = await cache.predictAsync(x);
      expect([...(values ?? [])]).toEqual(new Array(x.size).fill(x.size ** 2));
    }
    expect(cache.size).toBe(2);
    const kept = await cache.get(inputs[0] as tf.Tensor);
    expect([...((await kept.predictAsync(new Float32Array([5])))[0] ?? [])]).toEqual([25]);
    await cache.dispose();
    tf.dispose(inputs);
  });

  it('leaves nothing behind', async () => {
    const inputs = [1, 2, 3].map((size) => tf.fill([size], size));
    const {before, after} = await measureMemory(async () => {
      const cache = new CaptureCache((x: tf.Tensor) => tf.square(x), {capacity: 2});
      for (const x of inputs) tf.dispose(await cache.executeAsync(x));
      await cache.dispose();
    });
    expect(after).toEqual(before);
    tf.dispose(inputs);
  });

  it('serves many shapes at once, even beyond its capacity', async () => {
    const cache = new CaptureCache((x: tf.Tensor) => tf.square(x), {capacity: 1});
    const inputs = [1, 2, 3].map((size) => tf.fill([size], size));
    const results = await Promise.all(inputs.map((x) => cache.predictAsync(x)));
    expect(results.map((values) => values[0]?.[0])).toEqual([1, 4, 9]);
    await cache.dispose();
    tf.dispose(inputs);
  });
});
