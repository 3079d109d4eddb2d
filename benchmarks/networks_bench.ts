/**
 * Whole networks: stock TF.js op by op, its dispatches replayed, fused, and fused and replayed, in one run on one device.
 *   node dist/benchmarks/networks_bench.js MODEL… [--batches=1,8,32] [--runs=30] [--each] [--only=fused] [--precision=f16]
 *     [--size=224] [--tune] [--tuned=FILE] [--seconds=4] [--out=FILE] [--json]
 * MODEL as in capture.js. Images have the network's own size (384×384 for EfficientNetV2-S) unless --size says another. Wall times are medians of single predictions with read-back; 'pipelined' is the time of a
 * prediction when many are submitted and only the last is read, fusedFirstMs that of the first one behind `warmup` and fusedNextMs the median of those right behind it; GPU time is that of its dispatches
 * repeated in one pass, by timestamps. --each lists the time of every dispatch; --only=fused leaves stock TF.js out. --tune measures tiles on the device first,
 * --tuned keeps them in a file, and takes those it holds. --precision=f16
 * fuses in f16 and says how far the outputs are from those fused in f32. --seconds ends a median of slow predictions earlier, at five.
 * --json prints a line of JSON a row. Where stock TF.js fails its columns are missing, and `stockError` says why.
 */
import {existsSync, writeFileSync} from 'node:fs';
import {parseArgs} from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import {capture, type Capture} from '../src/capture/index.js';
import {BackendAccess} from '../kernels/webgpu/backend_access.js';
import {levelRun} from '../src/capture/levels.js';
import {openSource, type Run} from '../src/capture/source.js';
import {fuse, type FusedModel} from '../src/index.js';
import {readTuned, writeTuned} from '../src/node_tuned.js';
import {useNodeWebGPU} from '../src/node_webgpu.js';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {FEWEST_RUNS, inFlightMs, median, medianMs, medianOfNext} from './clock.js';
import {type BenchmarkModel, loadModel, randomInput} from './capture_models.js';
import {dispatchesOf, timeEach} from './replayed.js';
import {differenceOf} from './tile_bench.js';
import {EXACT_TIMESTAMPS, GpuTimer} from './timing.js';

const {values, positionals} = parseArgs({
  allowPositionals: true,
  options: {
    batches: {type: 'string', default: '1,8,32'},
    runs: {type: 'string', default: '30'},
    each: {type: 'boolean', default: false},
    only: {type: 'string'},
    precision: {type: 'string', default: 'f32'},
    size: {type: 'string'},
    tune: {type: 'boolean', default: false},
    tuned: {type: 'string'},
    seconds: {type: 'string', default: 'Infinity'},
    out: {type: 'string'},
    json: {type: 'boolean', default: false},
  },
});
const RUNS = Number(values.runs);
const SECONDS = Number(values.seconds);
const precision = values.precision === 'f16' ? 'f16' : 'f32';
const IN_FLIGHT = 4;
const adapter = await useNodeWebGPU({
  flags: EXACT_TIMESTAMPS,
  halfPrecision: precision === 'f16',
});
const {device} = tf.backend() as WebGPUBackend;
const timer = new GpuTimer(device);
if (values.tuned !== undefined && existsSync(values.tuned)) await readTuned(values.tuned);
console.log(JSON.stringify(values.json ? {about: adapter} : adapter));

const medianOf = (run: () => Promise<unknown>): Promise<number> => medianMs(RUNS, run, SECONDS);
/** As many as fit in the seconds, `most` unless they are slow. */
const countOf = (most: number, ms: number): number =>
  Math.max(FEWEST_RUNS, Math.min(most, Math.floor((1000 * SECONDS) / ms)));

/** Milliseconds of one prediction among many in a row. */
async function pipelined(replay: Capture, x: tf.Tensor): Promise<number> {
  const once = async (count: number): Promise<number> => {
    const start = performance.now();
    for (let i = 0; i < count - 1; i++) tf.dispose(replay.predict([x]));
    const last = replay.predict([x]);
    const [tensor] = tensorsOf(last);
    await tensor?.data();
    tf.dispose(last);
    return (performance.now() - start) / count;
  };
  const start = performance.now();
  let ms = 0;
  while (performance.now() - start < 500) ms = await once(FEWEST_RUNS); // See clock.ts.
  const count = countOf(40, 3 * ms);
  return median([await once(count), await once(count), await once(count)]);
}

const tensorsOf = (outputs: tf.TensorContainer): tf.Tensor[] =>
  outputs instanceof tf.Tensor ? [outputs] : Object.values(outputs as tf.NamedTensorMap);

/** Milliseconds of the GPU for one prediction. */
async function gpuTime(replay: Capture, x: tf.Tensor): Promise<number> {
  const dispatches = dispatchesOf(device, replay, () => tf.dispose(replay.predict([x])));
  const rough = await timer.microseconds(dispatches, {samples: 1, milliseconds: 2});
  const samples = countOf(RUNS, (8 * rough) / 1000); // A sample of slow ones is eight predictions.
  const microseconds = await timer.microseconds(dispatches, {samples, milliseconds: 2});
  if (values.each) {
    const each = await timeEach(device, dispatches, 7);
    each.forEach((us, i) => console.log(`  ${us.toFixed(1).padStart(8)} us  ${dispatches[i]?.label ?? ''}`));
  }
  return microseconds / 1000;
}

async function firstOutput(outputs: tf.TensorContainer): Promise<Float32Array> {
  const data = (await (tensorsOf(outputs)[0] as tf.Tensor).data()) as Float32Array;
  tf.dispose(outputs);
  return data.slice();
}

type Row = Record<string, number | string>;

async function measureStock(loaded: BenchmarkModel, x: tf.Tensor): Promise<{row: Row; output: Float32Array}> {
  const {run, graph} = openSource(loaded.model);
  const plain: Run = graph
    ? await levelRun(new BackendAccess(tf.backend()), graph, {feeds: graph.inputs, examples: [x]})
    : run;
  const replay = await capture(loaded.model, [x]);
  const output = await firstOutput(replay.predict([x]));
  const row = {
    dispatchesStock: replay.dispatches,
    stockMs: await medianOf(async () => {
      const results = await plain([x]);
      await results[0]?.tensor.data();
      tf.dispose(results.map(({tensor}) => tensor));
    }),
    stockReplayMs: await medianOf(() => replay.predictAsync([x])),
    stockPipelinedMs: await pipelined(replay, x),
    stockGpuMs: await gpuTime(replay, x),
    stockPeakMB: replay.memory.sum / 2 ** 20,
  };
  replay.dispose();
  return {row, output};
}

/** Measures tiles on the device, and says what that changed. */
async function tuned(fused: FusedModel, x: tf.Tensor): Promise<void> {
  const start = performance.now();
  const {problems, blocks} = await fused.tune(x);
  console.log(JSON.stringify({problems, blocks, seconds: Math.round((performance.now() - start) / 1000)}));
  if (values.tuned !== undefined) await writeTuned(values.tuned);
}

async function measureFused(fused: FusedModel, x: tf.Tensor): Promise<{row: Row; output: Float32Array}> {
  if (values.tune) await tuned(fused, x);
  await fused.warmup(x); // Compiles side by side.
  const read = (outputs: unknown): Promise<unknown> => firstOutput(outputs as tf.TensorContainer);
  const predict = async (): Promise<unknown> => read(fused.predict(x));
  const fusedFirstMs = await medianOfNext(1, predict);
  // Right behind it, since a shared host may run at half its speed a little later.
  const fusedNextMs = await medianOfNext(RUNS, predict, SECONDS);
  const replay = await fused.capture([x], {inFlight: IN_FLIGHT});
  const output = await firstOutput(replay.predict([x]));
  const fusedReplayMs = await medianOf(() => replay.predictAsync([x]));
  const row = {
    dispatchesFused: replay.dispatches,
    fusedFirstMs,
    fusedNextMs,
    fusedMs: await medianOf(predict),
    fusedReplayMs,
    fusedPipelinedMs: await pipelined(replay, x),
    // With a read-back each.
    fusedInFlightMs: await inFlightMs(
      {runs: countOf(4 * RUNS, 3 * fusedReplayMs), inFlight: IN_FLIGHT}, // Thrice so many.
      () => replay.predictAsync([x]),
    ),
    fusedGpuMs: await gpuTime(replay, x),
    peakMB: replay.memory.peak / 2 ** 20,
  };
  replay.dispose();
  return {row, output};
}

async function outputInF32(
  {model}: BenchmarkModel,
  inputShapes: Readonly<Record<string, readonly number[]>>,
  x: tf.Tensor,
): Promise<Float32Array> {
  const fused = await fuse(model, {inputShapes});
  const output = await firstOutput(fused.predict(x));
  fused.dispose();
  return output;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function measure(loaded: BenchmarkModel, batch: number): Promise<Row> {
  const shape = [batch, ...loaded.shape.slice(1)];
  const x = tf.tensor(randomInput({...loaded, shape}, 7), shape, loaded.dtype);
  const {declared} = openSource(loaded.model);
  const inputName = declared?.[0]?.name ?? loaded.model.inputs[0]?.name ?? '';
  const inputShapes = {[inputName]: shape};
  const fused: FusedModel = await fuse(loaded.model, {inputShapes, precision});
  const after = await measureFused(fused, x);
  const exact = precision === 'f16' ? await outputInF32(loaded, inputShapes, x) : undefined;
  const before = values.only === 'fused' ? undefined : await measureStock(loaded, x).catch(messageOf);
  fused.dispose();
  x.dispose();
  return {
    model: loaded.name.split('/').at(-2) ?? loaded.name,
    input: shape.slice(1).join('×'),
    batch,
    precision,
    ...(typeof before === 'string' ? {stockError: before} : before?.row),
    ...after.row,
    ...(typeof before === 'object' ? {difference: differenceOf(before.output, after.output)} : {}),
    ...(exact ? {differenceToF32: differenceOf(exact, after.output)} : {}),
  };
}

const rows: Row[] = [];
for (const name of positionals) {
  for (const batch of values.batches.split(',').map(Number)) {
    const loaded = await loadModel(name, values.size === undefined ? undefined : Number(values.size));
    const row = await measure(loaded, batch);
    rows.push(row);
    if (values.json) console.log(JSON.stringify(row));
    else console.log(Object.entries(row).map(([key, value]) => `${key} ${typeof value === 'number' && !Number.isInteger(value) ? value.toPrecision(4) : value}`).join(' | ')); // prettier-ignore
    loaded.model.dispose();
    // After each row: a time limit then loses one.
    if (values.out)
      writeFileSync(values.out, JSON.stringify({adapter, versions: process.versions, rows}, null, 1));
  }
}
adapter.dispose();
process.exit(0);
