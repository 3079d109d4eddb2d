/** The page of litert.ts: times a network fused and captured, by stock TF.js, and by LiteRT.js, on one GPU device. */
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs-backend-webgpu';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {fuse, setupWebGPU} from '../src/index.js';
import {capture} from '../src/capture/index.js';
import {type BenchmarkModel, openModel, randomInput} from './benchmark_model.js';
import {median, medianMs, warmUp} from './clock.js';
import {expectAdapter} from './equality_table.js';
import {artifactsFrom, placeOf, post, runPage} from './page.js';

export type Engine = 'fused' | 'replay' | 'stock' | 'litert' | 'read-back';

export interface LiteRtTask {
  readonly models: readonly string[];
  readonly engines: readonly Engine[];
  readonly batches: readonly number[];
  readonly size: number;
  readonly runs: number;
  /** Predictions submitted before one is read. */
  readonly submitted: number;
  readonly seconds: number;
  /** With LiteRT.js's variant that may suspend (JSPI). */
  readonly jspi: boolean;
  readonly wantedAdapter: string;
}

export interface LiteRtRow {
  readonly network: string;
  readonly batch: number;
  readonly engine: Engine;
  readonly place: string;
  readonly adapter: string;
  /** Median of single predictions with read-back. */
  readonly singleMs?: number;
  /** A prediction's share where many are submitted and the last alone is read. */
  readonly pipelinedMs?: number;
  /** Compiling and the first prediction. */
  readonly firstMs?: number;
  /** JavaScript until the calls return that submit one prediction, of many in a row. */
  readonly callMs?: number;
  /** Dispatches of a prediction, where it is a replay. */
  readonly dispatches?: number;
  readonly error?: string;
}

/** A network that is ready. */
interface Runner {
  /** Submits one prediction. */
  readonly submit: () => Promise<Output>;
  readonly dispose: () => void;
  readonly dispatches?: number;
}

interface Output {
  readonly read: () => Promise<ArrayLike<number>>;
  readonly drop: () => void;
}

// What is used of @litertjs/core, which is no dependency of this package.
interface LiteRtTensor {
  moveTo(place: 'webgpu' | 'wasm'): Promise<LiteRtTensor>;
  toTypedArray(): Float32Array;
  delete(): void;
}
interface LiteRtModel {
  readonly isFullyAccelerated: boolean;
  run(inputs: readonly LiteRtTensor[]): Promise<LiteRtTensor[]>;
  delete(): void;
}
interface LiteRtCore {
  readonly Tensor: new (data: Float32Array, shape: readonly number[]) => LiteRtTensor;
  loadLiteRt(path: string, options: {jspi: boolean}): Promise<unknown>;
  setWebGpuDevice(device: GPUDevice): void;
  loadAndCompile(
    model: string,
    options: {accelerator: 'webgpu'; gpuOptions: {precision: 'fp32'}},
  ): Promise<LiteRtModel>;
}

const deviceOf = (): GPUDevice => (tf.backend() as WebGPUBackend).device;

let loading: Promise<LiteRtCore> | undefined;

function liteRt(jspi: boolean): Promise<LiteRtCore> {
  loading ??= (async () => {
    const name = '@litertjs/core'; // The page's import map says where it is; TypeScript is not to look for it.
    const core = (await import(name)) as LiteRtCore;
    await core.loadLiteRt('/litert/core/wasm/', {jspi});
    core.setWebGpuDevice(deviceOf());
    return core;
  })();
  return loading;
}

async function liteRtRunner(network: string, batch: number, {size, jspi}: LiteRtTask): Promise<Runner> {
  const core = await liteRt(jspi);
  const options = {accelerator: 'webgpu', gpuOptions: {precision: 'fp32'}} as const;
  const model = await core.loadAndCompile(`/tflite/${network}_${size}_${batch}.tflite`, options);
  if (!model.isFullyAccelerated) throw new Error('LiteRT.js does not run all of it on WebGPU.');
  const shape = [batch, size, size, 3];
  const values = randomInput({shape, dtype: 'float32'}, 7) as Float32Array;
  const input = await new core.Tensor(values, shape).moveTo('webgpu');
  return {
    submit: async () => {
      const outputs = await model.run([input]);
      const [first, ...others] = outputs;
      if (!first) throw new Error('LiteRT.js gives no output.');
      others.forEach((other) => other.delete());
      return {
        read: async () => {
          const onCpu = await first.moveTo('wasm'); // It deletes the one on the GPU.
          const data = onCpu.toTypedArray().slice();
          onCpu.delete();
          return data;
        },
        drop: () => first.delete(),
      };
    },
    dispose: () => {
      input.delete();
      model.delete();
    },
  };
}

const outputOf = (result: tf.TensorContainer): Output => {
  const [tensor] = result instanceof tf.Tensor ? [result] : Object.values(result as tf.NamedTensorMap);
  if (!tensor) throw new Error('The model gives no output.');
  return {
    read: async () => {
      const data = await tensor.data();
      tf.dispose(result);
      return data;
    },
    drop: () => tf.dispose(result),
  };
};

async function ourRunner(engine: Engine, loaded: BenchmarkModel): Promise<Runner> {
  const x = tf.tensor(randomInput(loaded, 7), [...loaded.shape], loaded.dtype);
  // Else a replay would copy the values anew at each prediction, which stock TF.js does once.
  (tf.backend() as WebGPUBackend).uploadToGPU(x.dataId);
  const {model} = loaded;
  if (engine === 'stock')
    return {
      submit: () => Promise.resolve(outputOf(model.predict(x))),
      dispose: () => tf.dispose(x),
    };
  const name = 'inputNames' in model ? model.inputNames[0] : model.inputs[0]?.name;
  const fused =
    engine === 'fused' ? await fuse(model, {inputShapes: {[name ?? '']: [...loaded.shape]}}) : undefined;
  const replay = fused ? await fused.capture([x]) : await capture(model, [x]);
  return {
    submit: () => Promise.resolve(outputOf(replay.predict([x]))),
    dispatches: replay.dispatches,
    dispose: () => {
      replay.dispose();
      fused?.dispose();
      x.dispose();
    },
  };
}

/** What a single read-back costs on its own: 4 KB that a copy has just written. */
function readBackRunner(): Runner {
  const device = deviceOf();
  const from = device.createBuffer({size: 4096, usage: GPUBufferUsage.COPY_SRC});
  const to = device.createBuffer({size: 4096, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ});
  const read = async (): Promise<ArrayLike<number>> => {
    await to.mapAsync(GPUMapMode.READ);
    const data = new Float32Array(to.getMappedRange()).slice();
    to.unmap();
    return data;
  };
  return {
    submit: () => {
      const encoder = device.createCommandEncoder();
      encoder.copyBufferToBuffer(from, 0, to, 0, 4096);
      device.queue.submit([encoder.finish()]);
      return Promise.resolve({read, drop: () => undefined});
    },
    dispose: () => [from, to].forEach((buffer) => buffer.destroy()),
  };
}

async function timesOf(
  make: () => Promise<Runner>,
  isNetwork: boolean,
  {runs, submitted, seconds}: LiteRtTask,
): Promise<Omit<LiteRtRow, 'network' | 'batch' | 'engine' | 'place' | 'adapter'>> {
  const start = performance.now();
  const runner = await make();
  try {
    const values = Array.from(await (await runner.submit()).read());
    const firstMs = performance.now() - start;
    if (!values.every(Number.isFinite)) throw new Error('The output has values that are no numbers.');
    if (isNetwork && values.every((value) => value === values[0])) throw new Error('All outputs are equal.');
    const singleMs = await medianMs(runs, async () => (await runner.submit()).read(), seconds);
    const calls: number[] = [];
    const several = async (): Promise<number> => {
      const begin = performance.now();
      for (let i = 1; i < submitted; i++) (await runner.submit()).drop();
      const last = await runner.submit();
      calls.push((performance.now() - begin) / submitted);
      await last.read();
      return (performance.now() - begin) / submitted;
    };
    await warmUp(several);
    const pipelinedMs = median([await several(), await several(), await several()]);
    const dispatches = runner.dispatches === undefined ? {} : {dispatches: runner.dispatches};
    return {firstMs, singleMs, pipelinedMs, callMs: median(calls), ...dispatches};
  } finally {
    runner.dispose();
  }
}

async function runnerOf(engine: Engine, network: string, batch: number, task: LiteRtTask): Promise<Runner> {
  if (engine === 'litert') return liteRtRunner(network, batch, task);
  if (engine === 'read-back') return readBackRunner();
  const artifacts = await artifactsFrom(task.models.indexOf(network));
  const loaded = await openModel(network, artifacts, task.size);
  const shape = [batch, ...loaded.shape.slice(1)];
  const runner = await ourRunner(engine, {...loaded, shape});
  const dispose = (): void => {
    runner.dispose();
    loaded.model.dispose();
  };
  return {...runner, dispose};
}

runPage(async (asked) => {
  const task = asked as LiteRtTask; // litert.ts sends no other.
  await setupWebGPU();
  const {place, adapter, isSoftware} = await placeOf();
  await post('/say', `${place}: ${adapter}${isSoftware ? ', a CPU rasteriser' : ''}`);
  expectAdapter(adapter, task.wantedAdapter);
  for (const network of task.models)
    for (const batch of task.batches)
      for (const engine of task.engines) {
        const subject = {network, batch, engine, place, adapter};
        try {
          const make = (): Promise<Runner> => runnerOf(engine, network, batch, task);
          const times = await timesOf(make, engine !== 'read-back', task);
          await post('/row', {...subject, ...times});
        } catch (error) {
          await post('/row', {...subject, error: error instanceof Error ? error.message : String(error)});
        }
      }
});
