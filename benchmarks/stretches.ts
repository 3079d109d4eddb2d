/**
 * Predictions behind `warmup`, one after the other: how long the host encodes and waits, in stretches, and what the collections of garbage hold up.
 *   node dist/benchmarks/stretches.js MODEL… [--count=1500] [--batch=1] [--size=224] [--null] [--json]
 * MODEL as in capture.js. A line a stretch of a tenth: medians in milliseconds of encoding, of waiting for the result, and of a loop of dependent
 * multiplications beside, which a busy neighbour on the core hardly slows. `overThrice` counts predictions of more than three times the
 * median of the 31 around. --null takes Dawn's null backend, which computes nothing: JavaScript alone, without a GPU.
 */
import {PerformanceObserver} from 'node:perf_hooks';
import {parseArgs} from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import {fuse} from '../src/index.js';
import {useNodeWebGPU} from '../src/node_webgpu.js';
import {median} from './clock.js';
import {loadModel, randomInput} from './capture_models.js';

const {values, positionals} = parseArgs({
  allowPositionals: true,
  options: {
    count: {type: 'string', default: '1500'},
    batch: {type: 'string', default: '1'},
    size: {type: 'string', default: '224'},
    null: {type: 'boolean', default: false},
    json: {type: 'boolean', default: false},
  },
});
const COUNT = Number(values.count);
const STRETCH = Math.ceil(COUNT / 10);
const LOOP = 200_000;
const EVERY = 10;
/** To each side. */
const AROUND = 15;

interface Prediction {
  readonly start: number;
  readonly encoding: number;
  readonly waiting: number;
  readonly loop?: number;
}

const adapter = await useNodeWebGPU({flags: values.null ? ['backend=null'] : []});
console.log(JSON.stringify({about: adapter}));

let product = 1;
function loopMs(): number {
  const start = performance.now();
  for (let i = 0; i < LOOP; i++) product = (Math.imul(product, 1103515245) + 12345) | 0;
  return performance.now() - start;
}

async function predictAll(name: string): Promise<{warmupMs: number; predictions: Prediction[]}> {
  const loaded = await loadModel(name, Number(values.size));
  const shape = [Number(values.batch), ...loaded.shape.slice(1)];
  const x = tf.tensor(randomInput({...loaded, shape}, 7), shape, loaded.dtype);
  const fused = await fuse(loaded.model, {inputShapes: {[loaded.model.inputs[0]?.name ?? '']: shape}});
  const begin = performance.now();
  await fused.warmup(x);
  const warmupMs = performance.now() - begin;
  const predictions: Prediction[] = [];
  for (let i = 0; i < COUNT; i++) {
    const start = performance.now();
    const y = fused.predict(x) as tf.Tensor;
    const encoded = performance.now();
    await y.data();
    const end = performance.now();
    y.dispose();
    const loop = i % EVERY === 0 ? {loop: loopMs()} : {};
    predictions.push({start, encoding: encoded - start, waiting: end - encoded, ...loop});
  }
  x.dispose();
  fused.dispose();
  loaded.model.dispose();
  return {warmupMs, predictions};
}

const totalMs = ({encoding, waiting}: Prediction): number => encoding + waiting;

const medianAround = (times: readonly number[], at: number): number =>
  median(times.slice(Math.max(0, at - AROUND), at + AROUND + 1));

const collections: {start: number; duration: number}[] = [];
new PerformanceObserver((list) => {
  for (const {startTime, duration} of list.getEntries()) collections.push({start: startTime, duration});
}).observe({entryTypes: ['gc']});

const round = (ms: number): number => Number(ms.toPrecision(3));

for (const name of positionals) {
  collections.length = 0;
  const {warmupMs, predictions} = await predictAll(name);
  await new Promise((resolve) => setTimeout(resolve, 50)); // for the observer
  const times = predictions.map(totalMs);
  const slow = predictions.filter((one, at) => totalMs(one) > 3 * medianAround(times, at));
  const [first] = predictions;
  const during = collections.filter(({start}) => first && start >= first.start);
  const isCollecting = (one: Prediction): boolean =>
    during.some(({start, duration}) => start < one.start + totalMs(one) && start + duration > one.start);
  const stretches = Array.from({length: Math.ceil(COUNT / STRETCH)}, (_, i) => predictions.slice(i * STRETCH, (i + 1) * STRETCH)); // prettier-ignore
  const row = {
    model: name,
    batch: Number(values.batch),
    warmupMs: round(warmupMs),
    firstMs: round(times[0] ?? NaN),
    nextMs: round(median(times.slice(1, 31))),
    medianMs: round(median(times)),
    encodingMs: stretches.map((part) => round(median(part.map(({encoding}) => encoding)))),
    waitingMs: stretches.map((part) => round(median(part.map(({waiting}) => waiting)))),
    loopMs: stretches.map((part) => round(median(part.flatMap(({loop}) => loop ?? [])))),
    overThrice: slow.length,
    overThriceCollecting: slow.filter(isCollecting).length,
    firstCollecting: predictions.findIndex(isCollecting),
    collections: during.length,
    collectionMs: round(median(during.map(({duration}) => duration))),
  };
  if (values.json) console.log(JSON.stringify(row));
  else for (const [key, value] of Object.entries(row)) console.log(`${key.padEnd(22)}${String(value)}`);
}

adapter.dispose();
process.exit(0);
