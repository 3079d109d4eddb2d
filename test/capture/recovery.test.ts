/** A lost device, and captures for changing shapes. */
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {layers, sequential} from '@tensorflow/tfjs-layers';
import {BackendAccess} from '../../kernels/webgpu/backend_access.js';
import {capture, CaptureCache} from '../../src/capture/index.js';
import {fuse} from '../../src/fuse.js';
import {restartBackend} from '../../src/capture/recovery.js';
import {onBackend} from '../support/environment.js';
import {measureMemory} from '../support/expect_no_leak.js';
import {loadSmallGraph} from '../support/small_graphs.js';
import {BOXES, buffersLeft, detector, expectSameBits} from './support.js';

const FOUR = {shape: [4], dtype: 'float32'} as const;
const four = (value: number): Float32Array => new Float32Array(4).fill(value);
const square = (x: tf.Tensor): tf.Tensor => tf.square(x);
const device = (): GPUDevice => (tf.backend() as WebGPUBackend).device;

onBackend('webgpu', 'capture of a lost device', () => {
  it('tells the loss, and records again on a new device', async () => {
    const weight = tf.tensor1d([1, 2, 3, 4]);
    const captured = await capture((x: tf.Tensor) => tf.mul(x, weight), {shape: [4], dtype: 'float32'});
    const x = new Float32Array([1, 1, 2, 2]);
    const before = await captured.predictAsync(x);
    device().destroy();
    expect((await captured.lost).reason).toBe('destroyed');
    expect(captured.isReady).toBeFalse();
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

  it('revives a fused model, whose packed weights are made anew', async () => {
    const layersModel = sequential({
      layers: [
        layers.depthwiseConv2d({inputShape: [6, 6, 4], kernelSize: 3, padding: 'same', activation: 'relu6'}),
        layers.conv2d({filters: 8, kernelSize: 1, activation: 'relu'}),
      ],
    });
    const fused = await fuse(layersModel);
    const shape = [1, 6, 6, 4];
    const values = Float32Array.from({length: 144}, (_, i) => (i % 7) - 3);
    const captured = await fused.capture({shape, dtype: 'float32'});
    const before = await captured.predictAsync(values);
    device().destroy();
    await captured.lost;
    await captured.recover();
    expect(captured.mode).toBe('replay');
    expectSameBits(await captured.predictAsync(values), before);
    const x = tf.tensor(values, shape);
    const y = fused.predict(x) as tf.Tensor;
    expectSameBits([await y.data()], before);
    captured.dispose();
    fused.dispose();
    tf.dispose([x, y]);
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

onBackend('webgpu', 'capture that loses its device at a bad moment', () => {
  afterEach(async () => {
    const access = new BackendAccess(tf.backend());
    const soon = new Promise<false>((resolve) => void setTimeout(resolve, 10, false));
    const isLost = await Promise.race([access.device.lost.then(() => true), soon]);
    if (isLost) await restartBackend(access);
  });

  it('tells all predictions on their way, those too that wait, and recovers', async () => {
    const captured = await capture(square, FOUR, {inFlight: 1});
    const results = [1, 2, 3].map((n) => captured.predictAsync(four(n)));
    device().destroy();
    // The first may have arrived.
    const outcomes = (await Promise.allSettled(results)).slice(1);
    for (const outcome of outcomes) {
      expect(outcome.status === 'rejected' && String(outcome.reason)).toMatch(/device was lost.*recover\(\)/);
    }
    await captured.recover();
    expect((await captured.predictAsync(four(3)))[0]?.[0]).toBe(9);
    captured.dispose();
  });

  it('says so where it is lost during the recording', async () => {
    const {lost} = device();
    const run = async (x: tf.Tensor): Promise<tf.Tensor> => {
      device().destroy();
      await lost;
      return tf.square(x);
    };
    await expectAsync(capture(run, FOUR)).toBeRejectedWithError(/device was lost/);
  });

  it('recovers once, however often it is asked to', async () => {
    let calls = 0;
    const captured = await capture((x: tf.Tensor) => (calls++, tf.square(x)), FOUR);
    const once = calls;
    device().destroy();
    await captured.lost;
    calls = 0;
    await Promise.all([captured.recover(), captured.recover()]);
    expect(calls).toBe(once);
    await captured.recover(); // nothing is lost
    expect(calls).toBe(once);
    expect((await captured.predictAsync(four(2)))[0]?.[0]).toBe(4);
    captured.dispose();
  });

  it('stays disposed where that comes before it has recovered', async () => {
    const captured = await capture(square, FOUR);
    device().destroy();
    await captured.lost;
    const recovered = captured.recover();
    captured.dispose();
    await recovered;
    expect(() => captured.predict(four(1))).toThrowError(/disposed/);
    const left = await buffersLeft(async () => {
      const one = await capture(square, FOUR);
      const other = one.recover(square); // nothing is lost: recorded anew all the same
      one.dispose();
      await other;
    });
    expect(left).toBe(0);
  });

  it('answers while it is recorded anew from another source', async () => {
    const captured = await capture(square, FOUR);
    const anew = captured.recover((x: tf.Tensor) => tf.neg(x));
    expect((await captured.predictAsync(four(3)))[0]?.[0]).toBe(9);
    await anew;
    expect((await captured.predictAsync(four(3)))[0]?.[0]).toBe(-3);
    captured.dispose();
  });

  it('recovers several captures that share weights', async () => {
    const weights = [2, 3].map((n) => tf.tidy(() => tf.mul(tf.ones([1]), n)));
    const [two, three] = weights as [tf.Tensor, tf.Tensor];
    const captures = [
      await capture((x: tf.Tensor) => tf.mul(x, two), {shape: [4], dtype: 'float32'}),
      await capture((x: tf.Tensor) => tf.mul(x, two), {shape: [8], dtype: 'float32'}),
      await capture((x: tf.Tensor) => tf.mul(tf.mul(x, two), three), {shape: [4], dtype: 'float32'}),
    ];
    device().destroy();
    await captures[0]?.lost;
    for (const one of captures) await one.recover();
    const answers = await Promise.all(
      captures.map((one) => one.predictAsync(new Float32Array(one.inputs[0]?.shape[0] ?? 0).fill(1))),
    );
    expect(answers.map(([y]) => y?.[3])).toEqual([2, 2, 6]);
    for (const one of captures) one.dispose();
    tf.dispose(weights);
  });

  it('recovers a cache', async () => {
    const cache = new CaptureCache(square);
    const inputs = [1, 2].map((size) => tf.fill([size], 3));
    for (const x of inputs) await cache.predictAsync(x);
    const values = inputs.map(({size}) => new Float32Array(size).fill(3));
    device().destroy();
    await (
      await cache.get(inputs[0] as tf.Tensor)
    ).lost;
    await cache.recover();
    const fresh = values.map((array) => tf.tensor1d(array));
    for (const x of fresh) expect((await cache.predictAsync(x))[0]?.[0]).toBe(9);
    await cache.dispose();
    tf.dispose([...inputs, ...fresh]);
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
