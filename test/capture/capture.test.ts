/** Functions of tensors, captured: what is replayed, frozen, shared, refused. */
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {capture, type Capture} from '../../src/capture/index.js';
import {onBackend} from '../support/environment.js';
import {measureMemory} from '../support/expect_no_leak.js';
import {seededTensors} from '../support/random.js';
import {expectReplayEquals, expectSameBits, valuesOf} from './support.js';

const SHAPE = [1, 8, 8, 4];

/** Three convolutions with a residual: enough for memory to be shared. */
function smallNet(make: (shape: readonly number[]) => tf.Tensor): {
  run: (x: tf.Tensor) => tf.Tensor;
  weights: tf.Tensor[];
} {
  const [one, two, three] = [make([3, 3, 4, 8]), make([3, 3, 8, 1]), make([1, 1, 8, 4])] as [
    tf.Tensor4D,
    tf.Tensor4D,
    tf.Tensor4D,
  ];
  const run = (x: tf.Tensor): tf.Tensor => {
    const wide = tf.relu6(tf.conv2d(x as tf.Tensor4D, one, 1, 'same'));
    const deep = tf.relu6(tf.depthwiseConv2d(wide, two, 1, 'same'));
    return tf.add(tf.conv2d(deep, three, 1, 'same'), x);
  };
  return {run, weights: [one, two, three]};
}

/** Compute passes in each command buffer that `device` encodes from now on. */
function passesOf(device: GPUDevice): WeakMap<GPUCommandBuffer, number> {
  const passes = new WeakMap<GPUCommandBuffer, number>();
  const create = device.createCommandEncoder.bind(device);
  spyOn(device, 'createCommandEncoder').and.callFake((descriptor) => {
    const encoder = create(descriptor);
    const [begin, finish] = [encoder.beginComputePass.bind(encoder), encoder.finish.bind(encoder)];
    let count = 0;
    encoder.beginComputePass = (options) => {
      count++;
      return begin(options);
    };
    encoder.finish = (options) => {
      const commands = finish(options);
      passes.set(commands, count);
      return commands;
    };
    return encoder;
  });
  return passes;
}

onBackend('webgpu', 'capture', () => {
  let make: ReturnType<typeof seededTensors>;
  let captured: Capture | undefined;

  beforeEach(() => {
    make = seededTensors(1);
  });
  afterEach(() => {
    captured?.dispose();
    captured = undefined;
  });

  it('replays a net with the same bits over changing inputs', async () => {
    const {run, weights} = smallNet(make);
    const copies = await Promise.all(weights.map(async (one) => tf.tensor(await one.data(), one.shape)));
    captured = await capture(run, {shape: SHAPE, dtype: 'float32'});
    expect(captured.mode).toBe('replay');
    expect(captured.reason).toBeUndefined();
    expect(captured.outputs).toEqual([{name: 'output', shape: SHAPE, dtype: 'float32'}]);
    const inputs = [make(SHAPE), make(SHAPE, 10), make(SHAPE, 0.1)];
    await expectReplayEquals(captured, (x) => [run(x)], inputs);
    // The weights came to the GPU while it recorded; these of the same values did not.
    const left = [...copies];
    const other = smallNet(() => left.shift() as tf.Tensor);
    await expectReplayEquals(captured, (x) => [other.run(x)], inputs);
    tf.dispose([weights, copies, inputs]);
  });

  it('takes tensors on the GPU or not, arrays, and GPUBuffers', async () => {
    const {run, weights} = smallNet(make);
    captured = await capture(run, {shape: SHAPE, dtype: 'float32'});
    const x = make(SHAPE);
    const values = await x.data();
    const onGPU = tf.tidy(() => tf.mul(x, tf.ones(SHAPE)));
    const expected = await valuesOf(tf.tidy(() => [run(onGPU)]));
    const {buffer, tensorRef} = onGPU.dataToGPU();
    for (const input of [onGPU, tf.tensor(values, SHAPE), values as Float32Array, buffer as GPUBuffer]) {
      expectSameBits(await captured.predictAsync(input), expected);
      if (input instanceof tf.Tensor && input !== onGPU) input.dispose();
    }
    tf.dispose([weights, x, onGPU, tensorRef]);
  });

  it('moves a tensor that lives on another backend', async () => {
    captured = await capture((x: tf.Tensor) => tf.neg(x), {shape: [4], dtype: 'float32'});
    await tf.setBackend('cpu');
    const x = tf.neg(tf.tensor1d([1, 2, 3, 4]));
    await tf.setBackend('webgpu');
    expect([...((await captured.predictAsync(x))[0] ?? [])]).toEqual([1, 2, 3, 4]);
    x.dispose();
  });

  it('returns several outputs by name, an input among them, and a constant', async () => {
    const run = (x: tf.Tensor): tf.NamedTensorMap => ({
      twice: tf.mul(x, tf.scalar(2)),
      same: x,
      shape: tf.tensor1d(x.shape, 'int32'),
      isBig: tf.greater(x, tf.scalar(0.5)),
    });
    captured = await capture(run, {shape: [2, 3], dtype: 'float32'});
    expect(captured.mode).toBe('replay');
    expect(captured.outputs.map(({name, dtype}) => `${name} ${dtype}`)).toEqual([
      'twice float32',
      'same float32',
      'shape int32',
      'isBig bool',
    ]);
    const x = make([2, 3]);
    await expectReplayEquals(captured, (input) => Object.values(run(input)), [x]);
    x.dispose();
  });

  it('takes named and listed inputs of several kinds', async () => {
    const run = (x: tf.Tensor, indices: tf.Tensor): tf.Tensor => tf.gather(x, indices);
    const specs = [{shape: [5, 2], dtype: 'float32'} as const, tf.tensor1d([4, 0], 'int32')];
    captured = await capture(run, specs);
    const x = make([5, 2]);
    const indices = tf.tensor1d([1, 3], 'int32');
    const expected = await valuesOf(tf.tidy(() => [run(x, indices)]));
    expectSameBits(await captured.predictAsync([x, new Int32Array([1, 3])]), expected);
    expectSameBits(await captured.predictAsync({input0: x, input1: indices}), expected);
    tf.dispose([x, indices, specs[1] as tf.Tensor]);
  });

  it('runs what depends on no input once, and drops what nothing needs', async () => {
    const weight = make([64]);
    const run = (x: tf.Tensor): tf.Tensor => {
      tf.exp(x); // nobody asks for it
      return tf.add(x, tf.square(tf.neg(weight)));
    };
    captured = await capture(run, {shape: [64], dtype: 'float32'});
    expect(captured.dispatches).toBe(1);
    const x = make([64]);
    await expectReplayEquals(captured, (input) => [run(input)], [x]);
    tf.dispose([weight, x]);
  });

  it('freezes results of small ops that TF.js runs on the CPU', async () => {
    tf.env().set('WEBGPU_CPU_FORWARD', true);
    const run = (x: tf.Tensor): tf.Tensor => {
      const half = tf.div(tf.tensor1d(x.shape), tf.scalar(2)); // on the CPU: small, and never uploaded
      return tf.mul(x, tf.sum(half));
    };
    captured = await capture(run, {shape: [40, 50], dtype: 'float32'});
    const x = make([40, 50]);
    expect(captured.mode).toBe('replay');
    expect(captured.dispatches).toBe(1);
    await expectReplayEquals(captured, (input) => [run(input)], [x]);
    x.dispose();
    tf.env().set('WEBGPU_CPU_FORWARD', false);
  });

  it('freezes constants that are read back from the GPU synchronously', async () => {
    const bounds = tf.neg(tf.tensor1d([-1, -2], 'int32')); // on the GPU: nothing is forwarded to the CPU in tests
    const run = (x: tf.Tensor): tf.Tensor => {
      // eslint-disable-next-line no-restricted-properties -- the recording answers it
      const [start = 0, size = 0] = bounds.dataSync();
      return tf.square(tf.slice(x, [start], [size]));
    };
    captured = await capture(run, {shape: [8], dtype: 'float32'});
    expect(captured.mode).toBe('replay');
    expect([...((await captured.predictAsync(new Float32Array([0, 3, 4, 0, 0, 0, 0, 0])))[0] ?? [])]).toEqual(
      [9, 16],
    );
    bounds.dispose();
  });

  it('says which op keeps a function from being replayed, and runs it plainly', async () => {
    const run = async (x: tf.Tensor): Promise<tf.Tensor> => {
      const squared = tf.square(x);
      const largest = Math.max(...(await squared.data()));
      squared.dispose();
      return tf.div(x, tf.scalar(largest));
    };
    captured = await capture(run, {shape: [3], dtype: 'float32'});
    expect(captured.mode).toBe('plain');
    expect(captured.reason).toContain('tensor.data()');
    expect(() => captured?.predict(new Float32Array(3))).toThrowError(/predictAsync/);
    expect([...((await captured.predictAsync(new Float32Array([1, 2, -2])))[0] ?? [])]).toEqual([
      0.25, 0.5, -0.5,
    ]);
  });

  it('notices what changes from call to call without reading', async () => {
    let calls = 0;
    captured = await capture((x: tf.Tensor) => tf.add(x, tf.scalar(calls++)), {shape: [2], dtype: 'float32'});
    expect(captured.mode).toBe('plain');
    expect(captured.reason).toContain('differ from call to call');
    const [first] = captured.predict(new Float32Array([0, 0]));
    const [second] = captured.predict(new Float32Array([0, 0]));
    const difference = tf.sub(second as tf.Tensor, first as tf.Tensor);
    expect([...(await difference.data())]).toEqual([1, 1]);
    tf.dispose([first, second, difference]);
  });

  it('shares memory among intermediate results', async () => {
    const run = (x: tf.Tensor): tf.Tensor => {
      let y = x;
      for (let i = 0; i < 10; i++) y = i % 2 === 0 ? tf.exp(y) : tf.log(y);
      return y;
    };
    captured = await capture(run, {shape: [1024], dtype: 'float32'});
    const {peak, sum, live} = captured.memory;
    expect(sum).toBe(10 * 4096);
    expect(live).toBe(2 * 4096);
    expect(peak).toBe(2 * 4096);
    const apart = await capture(run, {shape: [1024], dtype: 'float32'}, {shareMemory: false});
    expect(apart.memory.peak).toBe(10 * 4096);
    const x = make([1024]);
    await expectReplayEquals(apart, (input) => [run(input)], [x]);
    apart.dispose();
    x.dispose();
  });

  it('keeps the weights although their owner disposes them', async () => {
    const weight = make([512]);
    captured = await capture((x: tf.Tensor) => tf.mul(x, weight), {shape: [512], dtype: 'float32'});
    const x = make([512]);
    const before = await captured.predictAsync(x);
    weight.dispose();
    const taken = tf.tidy(() => tf.neg(tf.ones([512]))); // would get the weight's buffer, were it free
    await taken.data();
    expectSameBits(await captured.predictAsync(x), before);
    tf.dispose([x, taken]);
  });

  it('costs one submit of one compute pass, which is encoded while the prediction before runs', async () => {
    const {run, weights} = smallNet(make);
    captured = await capture(run, {shape: SHAPE, dtype: 'float32'});
    await captured.predictAsync(new Float32Array(256));
    const {device, queue} = tf.backend() as WebGPUBackend;
    const submits: (readonly GPUCommandBuffer[])[] = [];
    const submit = queue.submit.bind(queue);
    spyOn(queue, 'submit').and.callFake((buffers) => {
      submits.push([...buffers]);
      submit(submits.at(-1) as GPUCommandBuffer[]);
    });
    const passes = passesOf(device);
    const [x, onGPU] = [new Float32Array(256).fill(1), tf.tidy(() => tf.neg(tf.ones(SHAPE)))];
    await onGPU.data();
    submits.length = 0;
    for (const input of [x, x, onGPU]) await captured.predictAsync(input);
    tf.dispose([captured.predict(x), captured.predict(x)].flat());
    expect(submits.length).toBe(5);
    // The first was encoded before anyone counted.
    expect(submits.map((buffers) => buffers.map((one) => passes.get(one)))).toEqual([
      [undefined],
      [1],
      [0, 1], // a copy goes ahead
      [1, 0], // copies into tensors follow
      [1, 0],
    ]);
    tf.dispose([weights, onGPU]);
  });

  it('has several predictions in flight, and answers each with its own', async () => {
    captured = await capture((x: tf.Tensor) => tf.square(x), {shape: [2], dtype: 'float32'}, {inFlight: 3});
    const numbers = [1, 2, 3, 4, 5, 6, 7, 8];
    const one = captured;
    const results = await Promise.all(numbers.map((n) => one.predictAsync(new Float32Array([n, -n]))));
    expect(results.map((values) => values[0]?.[0])).toEqual(numbers.map((n) => n * n));
  });

  it('waits for no read-back of an earlier prediction', async () => {
    captured = await capture((x: tf.Tensor) => tf.square(x), {shape: [2], dtype: 'float32'}, {inFlight: 2});
    const {device} = tf.backend() as WebGPUBackend;
    const create = device.createBuffer.bind(device);
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    let readBacks = 0;
    spyOn(device, 'createBuffer').and.callFake((descriptor) => {
      const buffer = create(descriptor);
      if (descriptor.label !== 'capture read-back' || readBacks++ > 0) return buffer;
      const mapAsync = buffer.mapAsync.bind(buffer);
      buffer.mapAsync = (...args) => held.then(() => mapAsync(...args));
      return buffer;
    });
    const slow = captured.predictAsync(new Float32Array([3, 3]));
    for (const n of [4, 5, 6]) {
      expect(captured.isReady).toBeTrue();
      expect((await captured.predictAsync(new Float32Array([n, n])))[0]?.[0]).toBe(n * n);
    }
    release();
    expect((await slow)[0]?.[0]).toBe(9);
  });

  it('keeps predictions in flight apart, whatever their inputs are', async () => {
    const run = (x: tf.Tensor): tf.Tensor => tf.square(x);
    captured = await capture(run, {shape: [4], dtype: 'float32'}, {inFlight: 4});
    const one = captured;
    const numbers = [3, 4, 5, 6];
    const scratch = new Float32Array(4);
    const fromScratch = numbers.map((n) => one.predictAsync(scratch.fill(n))); // one array, changed after each call
    expect(one.isReady).toBeFalse();
    const wanted = numbers.map((n) => n * n);
    const firsts = (results: tf.TypedArray[][]): (number | undefined)[] => results.map(([y]) => y?.[3]);
    expect(firsts(await Promise.all(fromScratch))).toEqual(wanted);
    expect(one.isReady).toBeTrue();
    const tensors = numbers.map((n) => tf.tidy(() => tf.neg(tf.fill([4], n))));
    const fromTensors = tensors.map((x) => {
      const result = one.predictAsync(x);
      x.dispose(); // its buffer is free for others at once
      return result;
    });
    expect(firsts(await Promise.all(fromTensors))).toEqual(wanted);
    // Tensors of predictions that follow each other without waiting.
    const outputs = numbers.map((n) => one.predict(scratch.fill(n))[0] as tf.Tensor);
    expect(await Promise.all(outputs.map(async (y) => (await y.data())[3]))).toEqual(wanted);
    tf.dispose(outputs);
  });

  it('does not replay a function that calls another capture, and runs it all the same', async () => {
    const inner = await capture((x: tf.Tensor) => tf.square(x), {shape: [2], dtype: 'float32'});
    tf.dispose(inner.predict(new Float32Array(2)));
    captured = await capture((x: tf.Tensor) => tf.neg(inner.predict(x)[0] as tf.Tensor), {
      ...{shape: [2], dtype: 'float32'},
    });
    expect(captured.mode).toBe('plain');
    expect(captured.reason).toMatch(/before the run/);
    expect([...((await captured.predictAsync(new Float32Array([2, 3])))[0] ?? [])]).toEqual([-4, -9]);
    inner.dispose();
  });

  it('works beside other captures and other TF.js work', async () => {
    const {run, weights} = smallNet(make);
    captured = await capture(run, {shape: SHAPE, dtype: 'float32'});
    const other = await capture((x: tf.Tensor) => tf.exp(x), {shape: SHAPE, dtype: 'float32'});
    const x = make(SHAPE);
    const expected = await valuesOf(tf.tidy(() => [tf.exp(run(x))]));
    const [between] = captured.predict(x) as [tf.Tensor];
    const shifted = tf.tidy(() => tf.sub(tf.add(between, tf.scalar(0)), tf.scalar(0)));
    expectSameBits(await other.predictAsync(shifted), expected);
    other.dispose();
    tf.dispose([weights, x, between, shifted]);
  });

  it('leaves nothing behind', async () => {
    const {run, weights} = smallNet(make);
    const x = make(SHAPE);
    const {before, after} = await measureMemory(async () => {
      const one = await capture(run, {shape: SHAPE, dtype: 'float32'});
      await one.predictAsync(x);
      tf.dispose(one.predict(x));
      one.dispose();
    });
    expect(after).toEqual(before);
    tf.dispose([weights, x]);
  });

  it('does not grow over 1,000 predictions', async () => {
    const run = (x: tf.Tensor): tf.Tensor => tf.exp(tf.neg(x));
    captured = await capture(run, {shape: [16], dtype: 'float32'}, {inFlight: 4});
    const one = captured;
    const {before, after} = await measureMemory(async () => {
      for (let i = 0; i < 100; i++) {
        const values = new Float32Array(16).fill(i);
        const tensors = one.predict(values);
        const results = await Promise.all(Array.from({length: 9}, () => one.predictAsync(values)));
        expect(results.every((result) => result[0]?.[15] === results[0]?.[0]?.[15])).toBeTrue();
        tf.dispose(tensors);
      }
    });
    expect(after).toEqual(before);
  });

  it('refuses inputs that do not fit, with the fix', async () => {
    captured = await capture((x: tf.Tensor) => tf.neg(x), {shape: [2, 2], dtype: 'float32'});
    const wrong = [tf.zeros([3]), tf.zeros([2, 2], 'int32')];
    expect(() => captured?.predict(wrong[0] as tf.Tensor)).toThrowError(/\[2, 2\].*\[3\].*CaptureCache/);
    expect(() => captured?.predict(wrong[1] as tf.Tensor)).toThrowError(/float32.*int32.*tf\.cast/);
    expect(() => captured?.predict(new Float32Array(3))).toThrowError(/4 elements, but 3/);
    expect(() => captured?.predict([])).toThrowError(/takes 1 inputs .*0 are given/);
    await expectAsync(capture((x: tf.Tensor) => x, new Float32Array(3))).toBeRejectedWithError(
      /shape of input/,
    );
    captured.dispose();
    expect(() => captured?.predict(new Float32Array(4))).toThrowError(/disposed/);
    tf.dispose(wrong);
  });

  it('passes on what the function throws, and leaves the backend in order', async () => {
    const run = (x: tf.Tensor): tf.Tensor => tf.matMul(x, x);
    const {before, after} = await measureMemory(async () => {
      await expectAsync(capture(run, {shape: [2, 3], dtype: 'float32'})).toBeRejectedWithError(/matMul/);
    });
    expect(after).toEqual(before);
  });
});
