/**
 * What capture and replay are worth, by the clock: a prediction with read-back by TF.js and by a capture, what encoding costs
 * per dispatch, and throughput with several predictions in flight.
 *
 *   node dist/benchmarks/capture.js [MODEL…] [--runs=N] [--json=FILE] [--check=N] [--fused]
 *
 * MODEL is `nsfwjs`, a model of npm @vladmandic/human by name, `human` for all of those, or the path of a model.json.
 * `--fused` fuses each model first. `--check=N` times nothing: it compares N predictions over changing inputs with uncaptured runs, bit by bit.
 */
import {writeFile} from 'node:fs/promises';
import {loadGraphModel} from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import {pinWeights, unpinWeights} from '../kernels/webgpu/index.js';
import {capture, type Capture} from '../src/capture/index.js';
import {BackendAccess} from '../kernels/webgpu/backend_access.js';
import {levelRun} from '../src/capture/levels.js';
import {openSource, type Run} from '../src/capture/source.js';
import {artifactsOf} from '../src/convert/artifacts.js';
import {convert} from '../src/convert/convert.js';
import {type NodeWebGPU, useNodeWebGPU} from '../src/node_webgpu.js';
import {registerBlockKernels} from '../src/register.js';
import {type BenchmarkModel, humanModels, loadModel, randomInput} from './capture_models.js';

const flags = process.argv.slice(2).filter((argument) => argument.startsWith('--'));
const flag = (name: string): string | undefined =>
  flags.find((one) => one.startsWith(`--${name}=`))?.split('=')[1];
const RUNS = Number(flag('runs') ?? 50);
const CHECKS = Number(flag('check') ?? 0);
const IN_FLIGHT = 4;

interface Row {
  readonly model: string;
  readonly mode: string;
  readonly dispatches: number;
  /** Milliseconds for one prediction with read-back, medians. */
  readonly plainMs: number;
  readonly replayMs: number;
  /** Microseconds of JavaScript for encoding and submitting, per dispatch. */
  readonly encodeUs: number;
  /** Predictions a second with read-back, one after another and with several in flight. */
  readonly perSecond: number;
  readonly perSecondInFlight: number;
  readonly peakMB: number;
  readonly sumMB: number;
}

const median = (times: number[]): number => times.sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? NaN;

async function timed(runs: number, run: (i: number) => Promise<void>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < runs; i++) {
    const start = performance.now();
    await run(i);
    times.push(performance.now() - start);
  }
  return median(times);
}

/** TF.js as it is; in Node that includes what it takes to run graphs that read back synchronously. */
async function plainRun({model}: BenchmarkModel, example: tf.Tensor): Promise<Run> {
  const {run, graph} = openSource(model);
  const access = new BackendAccess(tf.backend());
  return graph ? levelRun(access, graph, {feeds: graph.inputs, examples: [example]}) : run;
}

async function plainValues(run: Run, x: tf.Tensor): Promise<tf.TypedArray[]> {
  tf.engine().startScope('plain');
  const returned = run([x]);
  const isAsync = returned instanceof Promise;
  if (!isAsync) tf.engine().endScope(returned.map(({tensor}) => tensor));
  const results = (await returned).map(({tensor}) => tensor);
  if (isAsync) tf.engine().endScope(results);
  const values = await Promise.all(results.map((tensor) => tensor.data()));
  tf.dispose(results);
  return values;
}

async function measure(loaded: BenchmarkModel): Promise<Row> {
  const {name, shape, dtype} = loaded;
  const inputs = Array.from({length: 8}, (_, i) => randomInput(loaded, i + 1));
  const input = (i: number): Float32Array | Int32Array => inputs[i % inputs.length] as Float32Array;
  const example = tf.tensor(input(0), [...shape], dtype);
  const run = await plainRun(loaded, example);
  const captured = await capture(loaded.model, example, {inFlight: IN_FLIGHT});
  const plain = async (i: number): Promise<void> => {
    const x = tf.tensor(input(i), [...shape], dtype);
    await plainValues(run, x);
    x.dispose();
  };
  const replayed = async (i: number): Promise<void> => {
    await captured.predictAsync(input(i));
  };
  await timed(3, plain);
  await timed(3, replayed);
  const plainMs = await timed(RUNS, plain);
  const replayMs = await timed(RUNS, replayed);
  const encodeUs = await encodeTime(captured, example);
  const perSecondInFlight = await throughput(captured, input);
  const {peak, sum} = captured.memory;
  const row = {
    ...{model: name, mode: captured.mode, dispatches: captured.dispatches, plainMs, replayMs, encodeUs},
    ...{perSecond: 1000 / replayMs, perSecondInFlight, peakMB: peak / 2 ** 20, sumMB: sum / 2 ** 20},
  };
  captured.dispose();
  example.dispose();
  return row;
}

/** Microseconds of JavaScript per dispatch for encoding and submitting, the input being on the GPU. */
async function encodeTime(captured: Capture, example: tf.Tensor): Promise<number> {
  // Where the rest of the model runs plainly, or nothing is captured, it would not be encoding alone.
  if (captured.mode !== 'replay') return NaN;
  const onGPU = tf.tidy(() => tf.add(example, tf.zerosLike(example)));
  await onGPU.data();
  const times: number[] = [];
  for (let i = 0; i < RUNS; i++) {
    const start = performance.now();
    const tensors = captured.predict(onGPU);
    times.push(performance.now() - start);
    await tensors[0]?.data(); // so that the queue never fills up
    tf.dispose(tensors);
  }
  onGPU.dispose();
  return (1000 * median(times)) / captured.dispatches;
}

async function throughput(
  captured: Capture,
  input: (i: number) => Float32Array | Int32Array,
): Promise<number> {
  const start = performance.now();
  const pending: Promise<unknown>[] = [];
  for (let i = 0; i < RUNS; i++) {
    pending.push(captured.predictAsync(input(i)));
    if (pending.length === IN_FLIGHT) await pending.shift();
  }
  await Promise.all(pending);
  return (1000 * RUNS) / (performance.now() - start);
}

/** Bit by bit against uncaptured runs, and that nothing grows. */
async function check(loaded: BenchmarkModel): Promise<string> {
  const {name, shape, dtype} = loaded;
  const example = tf.tensor(randomInput(loaded, 1), [...shape], dtype);
  const run = await plainRun(loaded, example);
  const captured = await capture(loaded.model, example);
  let differing = 0;
  let before: tf.MemoryInfo | undefined;
  const start = performance.now();
  for (let i = 0; i < CHECKS; i++) {
    const values = randomInput(loaded, i + 2);
    const x = tf.tensor(values, [...shape], dtype);
    const want = await plainValues(run, x);
    x.dispose();
    const got = await captured.predictAsync(values);
    if (!want.every((array, k) => sameBits(array, got[k]))) differing++;
    before ??= tf.memory();
    if (i % 50 === 49) console.error(`${name}: ${i + 1} of ${CHECKS}, ${differing} differ`);
  }
  const after = tf.memory();
  const grown = `${after.numTensors - (before?.numTensors ?? 0)} tensors, ${bytesInGPU(after) - bytesInGPU(before)} bytes`;
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  const {mode, dispatches} = captured;
  captured.dispose();
  example.dispose();
  return `${name}: ${mode}, ${dispatches} dispatches, ${CHECKS} predictions, ${differing} differ, growth ${grown}, ${seconds} s`;
}

const bytesInGPU = (info: tf.MemoryInfo | undefined): number =>
  info && 'numBytesInGPU' in info ? Number(info.numBytesInGPU) : 0;

function sameBits(a: tf.TypedArray, b: tf.TypedArray | undefined): boolean {
  const bytes = (array: tf.TypedArray): Buffer =>
    Buffer.from(array.buffer, array.byteOffset, array.byteLength);
  return b?.length === a.length && bytes(a).equals(bytes(b));
}

function table(rows: readonly Row[]): void {
  const round = (value: number): number => Number(value.toPrecision(4));
  console.table(
    rows.map((row) =>
      Object.fromEntries(
        Object.entries(row).map(([key, value]) => [
          key,
          typeof value === 'number' ? round(value) : String(value),
        ]),
      ),
    ),
  );
}

/** The same model with its blocks fused, as the graph that `fuse` runs, for the shapes it is fed here. */
async function fused(loaded: BenchmarkModel): Promise<BenchmarkModel> {
  const inputShapes = {[loaded.model.inputs[0]?.name ?? '']: [...loaded.shape]};
  const {artifacts} = convert(await artifactsOf(loaded.model), {inputShapes});
  const model = await loadGraphModel(tf.io.fromMemory(artifacts));
  pinWeights(Object.values(model.weights).flat());
  return {...loaded, model};
}

async function main(webgpu: NodeWebGPU): Promise<void> {
  const asked = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
  const human = await humanModels();
  const names = (asked.length > 0 ? asked : ['nsfwjs', 'human']).flatMap((name) =>
    name === 'human' ? human : [name],
  );
  const {vendor, architecture, device, description, isSoftware} = webgpu;
  console.log(`${vendor} ${architecture} ${device} ${description}`);
  if (isSoftware) console.log('A CPU RASTERISER: results count, times do not.');
  const rows: Row[] = [];
  for (const name of names) {
    const original = await loadModel(name);
    const loaded = flags.includes('--fused') ? await fused(original) : original;
    if (CHECKS > 0) console.log(await check(loaded));
    else rows.push(await measure(loaded));
    unpinWeights('modelUrl' in loaded.model ? Object.values(loaded.model.weights).flat() : []);
    loaded.model.dispose();
    if (loaded !== original) original.model.dispose();
  }
  if (CHECKS > 0) return;
  table(rows);
  const file = flag('json');
  if (file !== undefined) {
    const record = {adapter: {vendor, architecture, device, description, isSoftware}, runs: RUNS, rows};
    await writeFile(file, `${JSON.stringify(record, null, 2)}\n`);
  }
}

registerBlockKernels();
const webgpu = await useNodeWebGPU();
try {
  await main(webgpu);
} finally {
  webgpu.dispose();
}
process.exit(); // Dawn's threads would keep the process alive.
