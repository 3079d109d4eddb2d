/** What goes wrong around a capture: errors in the middle, disposal while predictions are on their way, bad inputs. */
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {capture} from '../../src/capture/index.js';
import {onBackend} from '../support/environment.js';
import {measureMemory} from '../support/expect_no_leak.js';
import {loadSmallGraph} from '../support/small_graphs.js';
import {BOXES, buffersLeft, detector, expectSameBits} from './support.js';

const backend = (): WebGPUBackend => tf.backend() as WebGPUBackend;
const FOUR = {shape: [4], dtype: 'float32'} as const;
const four = (value: number): Float32Array<ArrayBuffer> => new Float32Array(4).fill(value);
const square = (x: tf.Tensor): tf.Tensor => tf.square(x);

function gpuBuffer(values: Float32Array<ArrayBuffer>, usage: number): GPUBuffer {
  const {device} = backend();
  const buffer = device.createBuffer({size: values.byteLength, usage: usage | GPUBufferUsage.COPY_DST});
  device.queue.writeBuffer(buffer, 0, values);
  return buffer;
}

onBackend('webgpu', 'capture, disposed', () => {
  it('lets all predictions arrive that were asked for, those too that wait for a staging buffer', async () => {
    const weight = tf.tensor1d([1, 1, 1, 2]);
    const captured = await capture((x: tf.Tensor) => tf.mul(x, weight), FOUR, {inFlight: 1});
    const results = [1, 2, 3].map((n) => captured.predictAsync(four(n)));
    captured.dispose();
    weight.dispose();
    expect(() => captured.predict(four(1))).toThrowError(/disposed/);
    const filled = tf.tidy(() => tf.neg(tf.ones([4]))); // would get the weight's buffer, were it free
    const firsts = (await Promise.all(results)).map(([y]) => [y?.[0], y?.[3]]);
    expect(firsts).toEqual([[1, 2], [2, 4], [3, 6]]); // prettier-ignore
    filled.dispose();
  });

  it('leaves no buffer', async () => {
    const left = await buffersLeft(async () => {
      const captured = await capture(square, FOUR, {inFlight: 2});
      const results = [1, 2, 3, 4].map((n) => captured.predictAsync(four(n)));
      captured.dispose();
      await Promise.all(results);
    });
    expect(left).toBe(0);
  });
});

onBackend('webgpu', 'capture that runs plainly', () => {
  it('has no more predictions on their way than it is told', async () => {
    let [running, most] = [0, 0];
    const run = async (x: tf.Tensor): Promise<tf.Tensor> => {
      most = Math.max(most, ++running);
      await x.data();
      running--;
      return tf.square(x);
    };
    const captured = await capture(run, FOUR, {inFlight: 2});
    expect(captured.mode).toBe('plain');
    most = 0;
    const results = [1, 2, 3, 4, 5].map((n) => captured.predictAsync(four(n)));
    expect(captured.isReady).toBeFalse();
    expect((await Promise.all(results)).map(([y]) => y?.[0])).toEqual([1, 4, 9, 16, 25]);
    expect(most).toBe(2);
    captured.dispose();
  });
});

onBackend('webgpu', 'capture, failing', () => {
  it('leaves no tensor of a function that fails after it was recorded', async () => {
    const {before, after} = await measureMemory(async () => {
      let calls = 0;
      const run = (x: tf.Tensor): tf.Tensor => {
        if (calls === 4) throw new Error('the fifth call');
        return tf.add(x, tf.scalar(calls++)); // never twice the same
      };
      await expectAsync(capture(run, FOUR)).toBeRejectedWithError('the fifth call');
    });
    expect(after).toEqual(before);
  });

  it('leaves no buffer of a graph whose part behind the cut fails', async () => {
    const model = await loadSmallGraph(detector());
    const execute = model.executeAsync.bind(model);
    spyOn(model, 'executeAsync').and.callFake((feeds, names) =>
      'boxes' in feeds ? execute(feeds, names) : Promise.reject(new Error('behind the cut')),
    );
    const left = await buffersLeft(async () => {
      const specs = {
        boxes: {shape: [BOXES, 4], dtype: 'float32'},
        scores: {shape: [BOXES], dtype: 'float32'},
      } as const;
      await expectAsync(capture(model, specs)).toBeRejectedWithError('behind the cut');
    });
    expect(left).toBe(0);
    model.dispose();
  });

  it('leaves neither buffers nor claims on weights that cannot be read', async () => {
    const {device} = backend();
    const create = device.createBuffer.bind(device);
    spyOn(device, 'createBuffer').and.callFake((descriptor) => {
      const buffer = create(descriptor);
      if (descriptor.label === 'capture read-back') {
        buffer.mapAsync = () => Promise.reject(new Error('no mapping'));
      }
      return buffer;
    });
    const run = async (): Promise<void> => {
      const weight = tf.tidy(() => tf.neg(tf.ones([4])));
      const model = (x: tf.Tensor): tf.Tensor => tf.mul(x, weight);
      await expectAsync(capture(model, FOUR)).toBeRejectedWithError('no mapping');
      weight.dispose();
    };
    expect(await buffersLeft(run)).toBe(0);
    const {before, after} = await measureMemory(run);
    expect(after).toEqual(before);
  });

  it('leaves no tensor where an output cannot be made', async () => {
    const captured = await capture((x: tf.Tensor) => [tf.neg(x), tf.square(x)], FOUR);
    const make = backend().makeTensorInfo.bind(backend());
    let made = 0;
    spyOn(backend(), 'makeTensorInfo').and.callFake((...args) => {
      if (++made === 2) throw new Error('no memory');
      return make(...args);
    });
    const before = tf.memory().numTensors;
    expect(() => captured.predict(four(1))).toThrowError('no memory');
    expect(tf.memory().numTensors).toBe(before);
    expect((await captured.predictAsync(four(3)))[1]?.[0]).toBe(9);
    captured.dispose();
  });
});

onBackend('webgpu', 'capture, asked wrongly', () => {
  it('wants one prediction in flight at least', async () => {
    for (const inFlight of [0, 1.5, NaN]) {
      await expectAsync(capture(square, FOUR, {inFlight})).toBeRejectedWithError(/inFlight.*1 or more/);
    }
  });

  it('refuses arrays and images that it cannot take, and says what it can', async () => {
    const captured = await capture(square, {shape: [1, 2, 2, 3], dtype: 'float32'});
    const wrong = new Float64Array(12) as unknown as Float32Array;
    expect(() => captured.predict(wrong)).toThrowError(/input0.*Float64Array.*Float32Array/s);
    const short = {data: new Uint8Array(12), width: 2, height: 2};
    expect(() => captured.predict(short)).toThrowError(/2×2.*16 bytes.*12/s);
    const width = backend().device.limits.maxTextureDimension2D + 1;
    const wide = {data: new Uint8Array(4 * width), width, height: 1};
    expect(() => captured.predict(wide)).toThrowError(new RegExp(`${width}×1.*${width - 1}`, 's'));
    captured.dispose();
  });

  it('refuses a tensor without values', async () => {
    const captured = await capture(square, FOUR);
    const info = backend().makeTensorInfo([4], 'float32');
    const empty = tf.engine().makeTensorFromTensorInfo(info);
    expect(() => captured.predict(empty)).toThrowError(/input0.*no values/);
    empty.dispose();
    captured.dispose();
  });

  it('tells where a GPUBuffer cannot be copied, instead of what was predicted before', async () => {
    const captured = await capture(square, FOUR);
    const {STORAGE, COPY_SRC} = GPUBufferUsage;
    const good = gpuBuffer(four(3), STORAGE | COPY_SRC);
    const destroyed = gpuBuffer(four(4), STORAGE | COPY_SRC);
    destroyed.destroy();
    expect((await captured.predictAsync(good))[0]?.[0]).toBe(9);
    await expectAsync(captured.predictAsync(destroyed)).toBeRejectedWithError(/GPUBuffer.*input0/s);
    expect((await captured.predictAsync(good))[0]?.[0]).toBe(9);
    good.destroy();
    captured.dispose();
  });

  it('maps a read-back again only when it was read, also where a GPUBuffer cannot be copied', async () => {
    const captured = await capture(square, FOUR, {inFlight: 1});
    const {STORAGE, COPY_SRC} = GPUBufferUsage;
    const destroyed = gpuBuffer(four(4), STORAGE | COPY_SRC);
    destroyed.destroy();
    // eslint-disable-next-line @typescript-eslint/unbound-method
    const map = GPUBuffer.prototype.mapAsync;
    spyOn(GPUBuffer.prototype, 'mapAsync').and.callFake(async function (this: GPUBuffer, ...args) {
      await map.apply(this, args);
      await new Promise((resolve) => setTimeout(resolve, 50)); // longer than WebGPU takes to tell of the copy
      return undefined;
    });
    await expectAsync(captured.predictAsync(destroyed)).toBeRejectedWithError(/GPUBuffer.*input0/s);
    expect((await captured.predictAsync(four(3)))[0]?.[0]).toBe(9);
    captured.dispose();
  });

  it('takes the same GPUBuffers where it runs plainly', async () => {
    const {before, after} = await measureMemory(async () => {
      const captured = await capture(async (x: tf.Tensor) => {
        await x.data();
        return tf.square(x);
      }, FOUR);
      expect(captured.mode).toBe('plain');
      const copySource = gpuBuffer(four(3), GPUBufferUsage.COPY_SRC);
      expect((await captured.predictAsync(copySource))[0]?.[0]).toBe(9);
      copySource.destroy();
      captured.dispose();
    });
    expect(after).toEqual(before);
  });

  it('gives constant outputs that the caller may change', async () => {
    const captured = await capture((x: tf.Tensor) => [tf.tensor1d(x.shape), tf.neg(x)], FOUR);
    const [size, y] = captured.predict(four(1)) as [tf.Tensor, tf.Tensor];
    (await size.data()).fill(7);
    const again = captured.predict(four(1)) as [tf.Tensor, tf.Tensor];
    expect([...(await again[0].data())]).toEqual([4]);
    expectSameBits((await captured.predictAsync(four(1))).slice(0, 1), [new Float32Array([4])]);
    tf.dispose([size, y, ...again]);
    captured.dispose();
  });
});
