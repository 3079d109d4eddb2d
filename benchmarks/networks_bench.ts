/**
 * Whole networks: stock TF.js op by op, its dispatches replayed, fused, and fused and replayed, in one run on one device.
 *   node dist/benchmarks/networks_bench.js MODEL… [--batches=1,8,32] [--runs=30] [--out=FILE]
 * MODEL as in capture.js. Wall times are medians of single predictions with read-back; 'pipelined' is the time of a
 * prediction when many are submitted and only the last is read, which is GPU time where the GPU is the bottleneck.
 */
import {writeFileSync} from 'node:fs';
import {parseArgs} from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import {capture, type Capture} from '../src/capture/index.js';
import {BackendAccess} from '../kernels/webgpu/backend_access.js';
import {levelRun} from '../src/capture/levels.js';
import {openSource, type Run} from '../src/capture/source.js';
import {fuse, type FusedModel} from '../src/index.js';
import {useNodeWebGPU} from '../src/node_webgpu.js';
import {inFlightMs, median, medianMs} from './clock.js';
import {type BenchmarkModel, loadModel, randomInput} from './capture_models.js';

const {values, positionals} = parseArgs({
  allowPositionals: true,
  options: {
    batches: {type: 'string', default: '1,8,32'},
    runs: {type: 'string', default: '30'},
    out: {type: 'string'},
  },
});
const RUNS = Number(values.runs);
const IN_FLIGHT = 4;
const adapter = await useNodeWebGPU({flags: ['enable-dawn-features=allow_unsafe_apis']});
console.log(JSON.stringify(adapter));

const medianOf = (run: () => Promise<unknown>): Promise<number> => medianMs(RUNS, run);

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
  while (performance.now() - start < 500) await once(10); // See clock.ts.
  return median([await once(40), await once(40), await once(40)]);
}

const tensorsOf = (outputs: tf.TensorContainer): tf.Tensor[] =>
  outputs instanceof tf.Tensor ? [outputs] : Object.values(outputs as tf.NamedTensorMap);

async function firstOutput(outputs: tf.TensorContainer): Promise<Float32Array> {
  const data = (await (tensorsOf(outputs)[0] as tf.Tensor).data()) as Float32Array;
  tf.dispose(outputs);
  return data.slice();
}

async function measure(loaded: BenchmarkModel, batch: number): Promise<Record<string, number | string>> {
  const shape = [batch, ...loaded.shape.slice(1)];
  const x = tf.tensor(randomInput({...loaded, shape}, 7), shape, loaded.dtype);
  const {run, graph, declared} = openSource(loaded.model);
  const plain: Run = graph
    ? await levelRun(new BackendAccess(tf.backend()), graph, {feeds: graph.inputs, examples: [x]})
    : run;
  const inputName = declared?.[0]?.name ?? loaded.model.inputs[0]?.name ?? '';
  const fused: FusedModel = await fuse(loaded.model, {inputShapes: {[inputName]: shape}});
  const stockReplay = await capture(loaded.model, [x]);
  const fusedReplay = await fused.capture([x], {inFlight: IN_FLIGHT});
  const [want, got] = [
    await firstOutput(stockReplay.predict([x])),
    await firstOutput(fusedReplay.predict([x])),
  ];
  const scale = want.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-30);
  const difference =
    want.reduce((most, value, i) => Math.max(most, Math.abs(value - (got[i] ?? NaN))), 0) / scale;
  const read = (outputs: unknown): Promise<unknown> => firstOutput(outputs as tf.TensorContainer);
  const row = {
    model: loaded.name.split('/').at(-2) ?? loaded.name,
    batch,
    dispatchesStock: stockReplay.dispatches,
    dispatchesFused: fusedReplay.dispatches,
    stockMs: await medianOf(async () => {
      const results = await plain([x]);
      await results[0]?.tensor.data();
      tf.dispose(results.map(({tensor}) => tensor));
    }),
    stockReplayMs: await medianOf(() => stockReplay.predictAsync([x])),
    stockPipelinedMs: await pipelined(stockReplay, x),
    fusedMs: await medianOf(async () => read(fused.predict(x))),
    fusedReplayMs: await medianOf(() => fusedReplay.predictAsync([x])),
    fusedPipelinedMs: await pipelined(fusedReplay, x),
    // With a read-back each.
    fusedInFlightMs: await inFlightMs({runs: 4 * RUNS, inFlight: IN_FLIGHT}, () =>
      fusedReplay.predictAsync([x]),
    ),
    peakMB: fusedReplay.memory.peak / 2 ** 20,
    stockPeakMB: stockReplay.memory.sum / 2 ** 20,
    difference,
  };
  stockReplay.dispose();
  fusedReplay.dispose();
  fused.dispose();
  x.dispose();
  return row;
}

const rows: Record<string, number | string>[] = [];
for (const name of positionals) {
  for (const batch of values.batches.split(',').map(Number)) {
    const loaded = await loadModel(name);
    const row = await measure(loaded, batch);
    rows.push(row);
    console.log(Object.entries(row).map(([key, value]) => `${key} ${typeof value === 'number' && !Number.isInteger(value) ? value.toPrecision(4) : value}`).join(' | ')); // prettier-ignore
    loaded.model.dispose();
  }
}
if (values.out)
  writeFileSync(values.out, JSON.stringify({adapter, versions: process.versions, rows}, null, 1));
adapter.dispose();
process.exit(0);
