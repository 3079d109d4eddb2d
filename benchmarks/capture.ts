/**
 * What capture and replay are worth, by the clock: a prediction with read-back by TF.js and by a capture, what encoding and
 * submitting cost per dispatch, and throughput with several predictions in flight.
 *
 *   node dist/benchmarks/capture.js [MODEL…] [--batches=1] [--runs=50] [--variants=stock,fused] [--no-plain]
 *     [--one-by-one] [--unchecked] [--json=FILE]
 *
 * MODEL is `nsfwjs`, a model of npm @vladmandic/human by name, `human` for all of those, an architecture of models/ with random
 * weights, or the path of a model.json. `--no-plain` leaves TF.js's own times out, which take longest. `--one-by-one` has pipelines
 * compiled one after the other, as they were without capture's compiling ahead; compare captureMs, of the first batch of each model. `--unchecked`
 * has Dawn skip validation, which is a part of what a dispatch costs.
 * capture_equality.js says whether the results are the same.
 */
import {writeFile} from 'node:fs/promises';
import {parseArgs} from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import {BackendAccess} from '../kernels/webgpu/backend_access.js';
import {capture, type Capture} from '../src/capture/index.js';
import {type NodeWebGPU, useNodeWebGPU} from '../src/node_webgpu.js';
import {registerBlockKernels} from '../src/register.js';
import {uncaptured, uncapturedRun} from '../test/support/uncaptured.js';
import {type BenchmarkModel, disposeModel, fusedModel, randomInput} from './benchmark_model.js';
import {humanModels, loadModel} from './capture_models.js';
import {inFlightMs, median, medianMs, warmUp} from './clock.js';

const {values: options, positionals} = parseArgs({
  allowPositionals: true,
  options: {
    batches: {type: 'string', default: '1'},
    runs: {type: 'string', default: '50'},
    variants: {type: 'string', default: 'stock,fused'},
    'no-plain': {type: 'boolean', default: false},
    'one-by-one': {type: 'boolean', default: false},
    unchecked: {type: 'boolean', default: false},
    json: {type: 'string'},
  },
});
const RUNS = Number(options.runs);
const IN_FLIGHT = 4;
const INPUTS = 8;

interface Row {
  readonly model: string;
  readonly variant: string;
  readonly batch: number;
  readonly mode: string;
  readonly dispatches: number;
  /** Milliseconds for one prediction with read-back, medians: by TF.js; captured, from a typed array; from a tensor on the GPU. */
  readonly plainMs: number;
  readonly arrayMs: number;
  readonly tensorMs: number;
  /** Milliseconds a prediction, each with an upload and a read-back, with 4 in flight. */
  readonly inFlightMs: number;
  readonly perSecond: number;
  /** The same where two captures take turns, each with input and intermediate buffers of its own. */
  readonly apartMs: number;
  /** Milliseconds of capture() itself, compiling what is not compiled yet. */
  readonly captureMs: number;
  /** Microseconds of JavaScript and driver per dispatch: of a whole call of `predict`, of its submit alone; of a call in a row of eight. */
  readonly encodeSubmitUs: number;
  readonly submitUs: number;
  readonly encodeSubmitInRowUs: number;
  /** Intermediate results: as captured, and without sharing memory. */
  readonly peakMB: number;
  readonly sumMB: number;
}

async function measure(loaded: BenchmarkModel, variant: string): Promise<Row> {
  const shape = [...loaded.shape];
  const batch = shape[0] ?? 1;
  const inputs = Array.from({length: INPUTS}, (_, i) => randomInput(loaded, i + 1));
  const input = (i: number): Float32Array | Int32Array => inputs[i % INPUTS] as Float32Array;
  const tensor = (i: number): tf.Tensor => tf.tensor(input(i), shape, loaded.dtype);
  const example = tensor(0);
  const start = performance.now();
  const captured = await capture(loaded.model, example, {inFlight: IN_FLIGHT});
  const captureMs = performance.now() - start;
  let plainMs = NaN;
  if (!options['no-plain']) {
    const run = await uncapturedRun(loaded.model, example);
    plainMs = await medianMs(Math.min(RUNS, 20), (i) => uncaptured(run, tensor(i)));
  }
  const onGPU = tf.tidy(() => tf.add(example, tf.zerosLike(example)));
  const arrayMs = await medianMs(RUNS, (i) => captured.predictAsync(input(i)));
  const tensorMs = await medianMs(RUNS, () => captured.predictAsync(onGPU));
  const flying = {runs: RUNS, inFlight: IN_FLIGHT};
  const flyingMs = await inFlightMs(flying, (i) => captured.predictAsync(input(i)));
  const apart = [captured, await capture(loaded.model, example, {inFlight: IN_FLIGHT})];
  const apartMs = await inFlightMs(flying, (i) => (apart[i % 2] ?? captured).predictAsync(input(i)));
  const {mode, dispatches, memory} = captured;
  const row = {
    ...{model: loaded.name.split('/').at(-2) ?? loaded.name, variant, batch, mode, dispatches},
    ...{plainMs, arrayMs, tensorMs, inFlightMs: flyingMs, perSecond: (1000 * batch) / flyingMs},
    ...{apartMs, captureMs},
    ...(await encodeTimes(captured, onGPU)),
    ...{peakMB: memory.peak / 2 ** 20, sumMB: memory.sum / 2 ** 20},
  };
  for (const one of apart) one.dispose();
  tf.dispose([example, onGPU]);
  return row;
}

const IN_A_ROW = 8;

/** Per dispatch, the input being on the GPU. */
async function encodeTimes(
  captured: Capture,
  x: tf.Tensor,
): Promise<Pick<Row, 'encodeSubmitUs' | 'submitUs' | 'encodeSubmitInRowUs'>> {
  // Where the rest of the model runs plainly, or nothing is captured, it would not be encoding alone.
  if (captured.mode !== 'replay') return {encodeSubmitUs: NaN, submitUs: NaN, encodeSubmitInRowUs: NaN};
  const alone = await callTimes(captured, x, 1);
  const inRow = await callTimes(captured, x, IN_A_ROW);
  const perDispatch = (times: readonly number[]): number => (1000 * median(times)) / captured.dispatches;
  return {
    encodeSubmitUs: perDispatch(alone.calls),
    submitUs: perDispatch(alone.submits),
    encodeSubmitInRowUs: perDispatch(inRow.calls),
  };
}

/** Milliseconds of calls of `predict`, `count` in a row before the results are waited for, and of their submits. */
async function callTimes(
  captured: Capture,
  x: tf.Tensor,
  count: number,
): Promise<{calls: number[]; submits: number[]}> {
  const {queue} = new BackendAccess(tf.backend());
  const submit = queue.submit.bind(queue);
  let submitMs = 0;
  const [calls, submits]: [number[], number[]] = [[], []];
  const several = async (): Promise<void> => {
    const made: tf.Tensor[] = [];
    for (let i = 0; i < count; i++) {
      submitMs = 0;
      const start = performance.now();
      made.push(...captured.predict(x));
      calls.push(performance.now() - start);
      submits.push(submitMs);
    }
    await made.at(-1)?.data(); // so that the queue never fills up
    tf.dispose(made);
  };
  queue.submit = (buffers) => {
    const start = performance.now();
    submit(buffers);
    submitMs += performance.now() - start;
  };
  try {
    await warmUp(several);
    calls.length = submits.length = 0;
    for (let i = 0; i < RUNS; i++) await several();
  } finally {
    Reflect.deleteProperty(queue, 'submit');
  }
  return {calls, submits};
}

function table(rows: readonly Row[]): void {
  const shown = (value: unknown): unknown =>
    typeof value === 'number' ? Number(value.toPrecision(4)) : value;
  console.table(
    rows.map((row) => Object.fromEntries(Object.entries(row).map(([key, value]) => [key, shown(value)]))),
  );
}

async function measureAll(names: readonly string[]): Promise<Row[]> {
  const rows: Row[] = [];
  for (const name of names) {
    const original = await loadModel(name);
    for (const batch of options.batches.split(',').map(Number)) {
      const batched = {...original, shape: [batch, ...original.shape.slice(1)]};
      for (const variant of options.variants.split(',')) {
        const loaded = variant === 'fused' ? await fusedModel(batched) : batched;
        rows.push(await measure(loaded, variant));
        console.error(JSON.stringify(rows.at(-1)));
        if (loaded !== batched) disposeModel(loaded);
      }
    }
    disposeModel(original);
  }
  return rows;
}

async function main({vendor, architecture, device, description, isSoftware}: NodeWebGPU): Promise<void> {
  const names = positionals.length > 0 ? positionals : ['nsfwjs', 'human'];
  const human = names.includes('human') ? await humanModels() : [];
  const rows = await measureAll(names.flatMap((name) => (name === 'human' ? human : [name])));
  console.log(`${vendor} ${architecture} ${device} ${description}`);
  if (isSoftware) console.log('A CPU RASTERISER: results count, times do not.');
  table(rows);
  if (options.json === undefined) return;
  const record = {adapter: {vendor, architecture, device, description, isSoftware}, runs: RUNS, rows};
  await writeFile(options.json, `${JSON.stringify(record, null, 2)}\n`);
}

function compileOneByOne({device}: BackendAccess): void {
  device.createComputePipelineAsync = (descriptor) =>
    Promise.resolve(device.createComputePipeline(descriptor));
}

registerBlockKernels();
const toggles = ['allow_unsafe_apis', ...(options.unchecked ? ['skip_validation'] : [])];
const webgpu = await useNodeWebGPU({flags: [`enable-dawn-features=${toggles.join()}`]});
if (options['one-by-one']) compileOneByOne(new BackendAccess(tf.backend()));
try {
  await main(webgpu);
} finally {
  webgpu.dispose();
}
process.exit(); // Dawn's threads would keep the process alive.
