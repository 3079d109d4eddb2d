/** Whether a captured model answers as the uncaptured one does, bit by bit, over many predictions, and whether anything grows. */
import * as tf from '@tensorflow/tfjs-core';
import type {GraphModel} from '@tensorflow/tfjs-converter';
import type {LayersModel} from '@tensorflow/tfjs-layers';
import {BackendAccess} from '../../kernels/webgpu/backend_access.js';
import {type Capture, capture, type CaptureMemory, type CaptureMode} from '../../src/capture/index.js';
import {levelRun} from '../../src/capture/levels.js';
import {openSource, type Run} from '../../src/capture/source.js';

export interface EqualityRequest {
  readonly model: GraphModel | LayersModel;
  readonly predictions: number;
  /** Values of the n-th prediction, as many as `shape` has elements. */
  readonly inputAt: (n: number) => Float32Array | Int32Array;
  readonly shape: readonly number[];
  readonly dtype: 'float32' | 'int32';
  readonly onProgress?: (done: number, differing: number) => void;
}

export interface Equality {
  readonly mode: CaptureMode;
  readonly reason: string | undefined;
  readonly dispatches: number;
  readonly predictions: number;
  /** Predictions in which a bit of any output differs. */
  readonly differing: number;
  /**
   * Predictions that the uncaptured model does not repeat to the bit either. TF.js sums floats with atomics in its MatMulSplitKProgram,
   * in whatever order they come; see `withoutSplitK`.
   */
  readonly unrepeatable: number;
  /** Predictions whose outputs are those of the prediction before: inputs that change nothing would prove nothing. */
  readonly unchanged: number;
  /** From the time when pools have filled to the last prediction. */
  readonly growth: Growth;
  readonly memory: CaptureMemory;
  readonly seconds: number;
}

export interface Growth {
  readonly tensors: number;
  /** In use by TF.js. */
  readonly bytes: number;
  /** In GPUBuffers made during captured predictions and not destroyed in them; also what TF.js's pool keeps of a plain part. */
  readonly bufferBytes: number;
}

/** Predictions before growth counts: pools fill in the first ones, of each kind of input. */
const settled = (predictions: number): number => Math.min(20, Math.max(3, Math.ceil(predictions / 10)));

/** Typed arrays, tensors in main memory and tensors on the GPU take turns, and both ways to get at the results. */
export async function checkEquality(request: EqualityRequest): Promise<Equality> {
  const {model, predictions, inputAt, onProgress} = request;
  const start = performance.now();
  const example = tensorOf(request, inputAt(0));
  const run = await uncapturedRun(model, example);
  const captured = await capture(model, example, {recoverable: false});
  example.dispose();
  const access = new BackendAccess(tf.backend());
  const buffers = watchBuffers(access.device);
  let [differing, unrepeatable, unchanged] = [0, 0, 0];
  let previous: readonly tf.TypedArray[] = [];
  let before = await memory();
  try {
    for (let n = 0; n < predictions; n++) {
      if (n === settled(predictions)) {
        before = await memory();
        buffers.bytes = 0;
      }
      const values = inputAt(n + 1);
      const want = await uncaptured(run, tensorOf(request, values));
      buffers.isCounting = true;
      const got = await predictionOf({access, captured}, request, {n, values});
      buffers.isCounting = false;
      if (!sameBits(got, want)) {
        const again = (): Promise<tf.TypedArray[]> => uncaptured(run, tensorOf(request, values));
        if (await isRepeatable(again, want)) differing++;
        else unrepeatable++;
      }
      if (sameBits(want, previous)) unchanged++;
      previous = want;
      onProgress?.(n + 1, differing);
    }
    const after = await memory();
    const growth = {
      ...{tensors: after.tensors - before.tensors, bytes: after.bytes - before.bytes},
      bufferBytes: buffers.bytes,
    };
    const {mode, reason, dispatches, memory: taken} = captured;
    const seconds = (performance.now() - start) / 1000;
    return {
      ...{mode, reason, dispatches, predictions, differing, unrepeatable, unchanged},
      ...{growth, memory: taken, seconds},
    };
  } finally {
    buffers.stop();
    captured.dispose();
  }
}

const ATTEMPTS = 20;

async function isRepeatable(
  again: () => Promise<tf.TypedArray[]>,
  want: readonly tf.TypedArray[],
): Promise<boolean> {
  for (let i = 0; i < ATTEMPTS; i++) if (!sameBits(await again(), want)) return false;
  return true;
}

/** MatMulPackedProgram: TF.js's usual one, whose sums have one order. */
const PACKED = 3;

/** Has TF.js take for every matrix product a program that repeats itself to the bit. Captures made meanwhile keep it. */
export async function withoutSplitK<Result>(run: () => Promise<Result>): Promise<Result> {
  const usual = tf.env().getNumber('WEBGPU_MATMUL_PROGRAM_TYPE');
  tf.env().set('WEBGPU_MATMUL_PROGRAM_TYPE', PACKED);
  try {
    return await run();
  } finally {
    tf.env().set('WEBGPU_MATMUL_PROGRAM_TYPE', usual);
  }
}

type Values = Float32Array | Int32Array;

const tensorOf = ({shape, dtype}: EqualityRequest, values: Values): tf.Tensor =>
  tf.tensor(values, [...shape], dtype);

async function predictionOf(
  {access, captured}: {access: BackendAccess; captured: Capture},
  request: EqualityRequest,
  {n, values}: {n: number; values: Values},
): Promise<tf.TypedArray[]> {
  if (n % 3 === 0) return captured.predictAsync(values);
  const x = tensorOf(request, values);
  if (n % 3 === 1) access.backend.uploadToGPU(x.dataId);
  const results = await captured.executeAsync(x);
  x.dispose();
  return valuesOf(results);
}

/** TF.js as it is; but where a graph reads the GPU synchronously, which works on a real canvas only, the values are awaited. */
export async function uncapturedRun(model: GraphModel | LayersModel, example: tf.Tensor): Promise<Run> {
  const {run, graph} = openSource(model);
  const access = new BackendAccess(tf.backend());
  return graph ? levelRun(access, graph, {feeds: graph.inputs, examples: [example]}) : run;
}

/** The outputs' values; `x` and all that comes of it are disposed. */
export async function uncaptured(run: Run, x: tf.Tensor): Promise<tf.TypedArray[]> {
  tf.engine().startScope('uncaptured');
  const returned = run([x]);
  const isAsync = returned instanceof Promise;
  if (!isAsync) tf.engine().endScope(returned.map(({tensor}) => tensor));
  const results = (await returned).map(({tensor}) => tensor);
  if (isAsync) tf.engine().endScope(results);
  const values = await valuesOf(results);
  x.dispose();
  return values;
}

async function valuesOf(tensors: readonly tf.Tensor[]): Promise<tf.TypedArray[]> {
  const values = await Promise.all(tensors.map((tensor) => tensor.data()));
  tf.dispose([...tensors]);
  return values;
}

function sameBits(some: readonly tf.TypedArray[], others: readonly tf.TypedArray[]): boolean {
  return some.length === others.length && some.every((one, i) => sameBytes(bytesOf(one), bytesOf(others[i])));
}

const bytesOf = (values: tf.TypedArray | undefined): Uint8Array =>
  values ? new Uint8Array(values.buffer, values.byteOffset, values.byteLength) : new Uint8Array();

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

async function memory(): Promise<{tensors: number; bytes: number}> {
  // Buffers of dispatches that are not submitted yet count as used; a read submits them.
  const probe = tf.tidy(() => tf.neg(tf.ones([1])));
  await probe.data();
  probe.dispose();
  const info = tf.memory();
  return {
    tensors: info.numTensors,
    bytes: 'numBytesInGPU' in info ? Number(info.numBytesInGPU) : 0,
  };
}

interface BufferWatch {
  /** Made less destroyed while it counts. */
  bytes: number;
  isCounting: boolean;
  stop(): void;
}

function watchBuffers(device: GPUDevice): BufferWatch {
  const create = device.createBuffer.bind(device);
  const watch: BufferWatch = {
    bytes: 0,
    isCounting: false,
    stop: () => Reflect.deleteProperty(device, 'createBuffer'),
  };
  device.createBuffer = (descriptor) => {
    const buffer = create(descriptor);
    if (!watch.isCounting) return buffer;
    watch.bytes += descriptor.size;
    const destroy = buffer.destroy.bind(buffer);
    buffer.destroy = () => {
      watch.bytes -= descriptor.size;
      buffer.destroy = destroy;
      destroy();
    };
    return buffer;
  };
  return watch;
}
