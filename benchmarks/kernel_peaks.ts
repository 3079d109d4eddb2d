/**
 * What fraction of the device's peaks each kernel reaches within whole networks, fused and captured, and what holds the rest.
 *   npm run bench -- kernel_peaks [--networks=NAME,…] [--batches=1,32] [--size=224] [--samples=15] [--seconds=Infinity]
 *     [--commit=TEXT] [--out=FILE]
 * NAME: an architecture of models/, eight of them unless given. Each dispatch of a prediction is timed in a compute pass of its own, in
 * its place; two empty dispatches follow in others, and what such a pass costs beyond an empty dispatch that waits for the one
 * before it is taken off. Operations and bytes are those of the plans, as `explain` counts them: multiplications that are done (fewer
 * with Winograd), bytes once each. Peaks are measured in the same run: independent FMAs on all processors, a copy larger than the
 * caches, and the time from one dependent empty dispatch to the next. No network is begun after --seconds. FILE has all dispatches.
 */
import {parseArgs} from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {fuse, type FusedModel} from '../src/index.js';
import {useNodeWebGPU} from '../src/node_webgpu.js';
import {measurePeaks} from '../src/profile/peaks.js';
import type {Peaks} from '../src/profile/types.js';
import {GpuClock, type TimedDispatch} from '../src/tune/gpu_clock.js';
import {plansOfModel} from '../src/warmup.js';
import {about, writeResults} from './about.js';
import {loadModel, randomInput} from './capture_models.js';
import {median, warmUp} from './clock.js';
import {
  type Figures,
  microsecondsOf,
  networksTable,
  networkTable,
  type NetworkTimes,
  summaryTable,
} from './kernel_shares.js';
import {COMPARED_NETWORKS} from './networks.js';
import {type PlannedDispatch, withPlans} from './planned_dispatches.js';
import {dispatchesOf, type ReplayedDispatch, timeEach} from './replayed.js';
import {EXACT_TIMESTAMPS} from './timing.js';

const {values} = parseArgs({
  options: {
    networks: {type: 'string', default: COMPARED_NETWORKS.join()},
    batches: {type: 'string', default: '1,32'},
    size: {type: 'string', default: '224'},
    samples: {type: 'string', default: '15'},
    seconds: {type: 'string', default: 'Infinity'},
    commit: {type: 'string'},
    out: {type: 'string'},
  },
});
/** Clocks of an idle GPU are a third of a busy one's. */
const WARM_UP_MS = 500;
const SAMPLES = Number(values.samples);
const started = performance.now();
const seconds = (): number => (performance.now() - started) / 1000;
const adapter = await useNodeWebGPU({flags: EXACT_TIMESTAMPS});
const {device} = tf.backend() as WebGPUBackend;
const clock = new GpuClock(device);

/** Each reads what the one before it wrote. */
const EMPTY_SHADER = /* wgsl */ `
override FACTOR: f32;
@group(0) @binding(0) var<storage, read_write> value: array<f32>;
@compute @workgroup_size(1) fn main() { value[0] = value[0] * FACTOR + 1.0; }`;

/** Two, as pipelines change from dispatch to dispatch in a network. */
function emptyDispatches(): [ReplayedDispatch, ReplayedDispatch] {
  const module = device.createShaderModule({label: 'empty', code: EMPTY_SHADER});
  const buffer = device.createBuffer({size: 16, usage: GPUBufferUsage.STORAGE});
  const make = (FACTOR: number): ReplayedDispatch => {
    const compute = {module, entryPoint: 'main', constants: {FACTOR}};
    const pipeline = device.createComputePipeline({label: 'empty', layout: 'auto', compute});
    const entries = [{binding: 0, resource: {buffer}}];
    const bindGroup = device.createBindGroup({layout: pipeline.getBindGroupLayout(0), entries});
    return {label: 'empty', pipeline, bindGroup, workgroups: [1, 1, 1]};
  };
  return [make(0.5), make(0.25)];
}

const empties = emptyDispatches();
const stepOf = ({pipeline, bindGroup, workgroups}: ReplayedDispatch): TimedDispatch => ({
  kind: 'dispatch',
  pipeline,
  groups: [bindGroup], // A capture's dispatches have one.
  workgroups,
});

/** Measured until the clocks are up; see clock.ts. */
async function peaksWhenWarm(): Promise<Peaks> {
  await warmUp(measurePeaks);
  const peaks = await measurePeaks();
  if (!peaks) throw new Error('The backend is not WebGPU.');
  return peaks;
}

/** Microseconds from one empty dispatch to the next that waits for it. */
async function launch(): Promise<number> {
  const chain = Array.from({length: 8}, () => empties.map(stepOf)).flat();
  return (await clock.microseconds(chain, {samples: 5})) / chain.length;
}

/**
 * Microseconds of the pass of each dispatch, and medians of those of the two empty dispatches behind it. Where a pass began before the
 * work in front of it had ended, the first would tell.
 */
async function timePasses(
  dispatches: readonly PlannedDispatch[],
): Promise<{passes: number[]; behindKernel: number; empty: number}> {
  const turns = dispatches.flatMap((dispatch) => [dispatch, ...empties]);
  const times = await timeEach(device, turns, SAMPLES);
  const every = (from: number): number[] => times.filter((_, at) => at % 3 === from);
  return {passes: every(0), behindKernel: median(every(1)), empty: median(every(2))};
}

/** To nanoseconds, as the clock has them. */
const rounded = (microseconds: number): number => Math.round(1000 * microseconds) / 1000;

async function timed(
  dispatches: readonly PlannedDispatch[],
): Promise<Omit<NetworkTimes, 'network' | 'batch'>> {
  const steps = dispatches.map(stepOf);
  await clock.warmUp(steps, WARM_UP_MS);
  const gpuMicroseconds = await clock.microseconds(steps, {samples: SAMPLES, milliseconds: 2});
  const launchMicroseconds = await launch();
  const {passes, behindKernel, empty} = await timePasses(dispatches);
  return {
    launchMicroseconds,
    emptyPassMicroseconds: empty,
    emptyPassBehindKernelMicroseconds: behindKernel,
    gpuMicroseconds,
    dispatches: dispatches.map(({kernel, workgroups, planned}, at) => {
      const passMicroseconds = passes[at] ?? NaN;
      return {
        kernel,
        workgroups,
        block: planned?.block,
        input: planned?.input,
        ...planned?.cost,
        passMicroseconds,
        microseconds: rounded(passMicroseconds - (empty - launchMicroseconds)),
      };
    }),
  };
}

async function measure(network: string, fused: FusedModel, x: tf.Tensor): Promise<NetworkTimes> {
  await fused.warmup(x); // Compiles side by side.
  const plans = plansOfModel(fused, x);
  const replay = await fused.capture([x]);
  try {
    const predict = (): void => tf.dispose(replay.predict([x]));
    predict(); // The first encodes the next one's commands besides its own.
    const replayed = dispatchesOf(device, replay, predict);
    const [batch = 0] = x.shape;
    return {network, batch, ...(await timed(withPlans(device, replayed, plans)))};
  } finally {
    replay.dispose();
  }
}

const peaks = await peaksWhenWarm();
const {operationsPerSecond, bytesPerSecond} = peaks;
const networks: NetworkTimes[] = [];
const leftOut: string[] = [];
const begin = {
  ...about(values.commit),
  adapter,
  settings: {size: Number(values.size), samples: SAMPLES},
  peaks,
};
for (const network of values.networks.split(',')) {
  if (seconds() > Number(values.seconds)) {
    leftOut.push(network);
    continue;
  }
  const from = seconds();
  const {model, shape, dtype} = await loadModel(network, Number(values.size));
  const fused = await fuse(model);
  model.dispose();
  for (const batch of values.batches.split(',').map(Number)) {
    const batched = [batch, ...shape.slice(1)];
    const x = tf.tensor(randomInput({shape: batched, dtype}, 7), batched, dtype);
    const times = await measure(network, fused, x);
    x.dispose();
    networks.push(times);
    if (values.out) writeResults(values.out, {...begin, leftOut, networks});
    console.log(`${network} ${batch}: ${times.dispatches.length} dispatches, ${microsecondsOf(times.dispatches).toFixed(0)} µs`); // prettier-ignore
  }
  fused.dispose();
  console.log(`${network} took ${(seconds() - from).toFixed(1)} s`);
}
if (values.out) writeResults(values.out, {...begin, leftOut, networks});
if (leftOut.length > 0) console.log(`no time for ${leftOut.join(', ')}`);

const figures: Figures = {
  operationsPerSecond,
  bytesPerSecond,
  launchMicroseconds: median(networks.map(({launchMicroseconds}) => launchMicroseconds)),
};
console.log(`${adapter.description}${adapter.isSoftware ? ' (a CPU: the times mean nothing)' : ''}: ${(operationsPerSecond / 1e12).toPrecision(3)} TFLOP/s by FMAs, ${(bytesPerSecond / 1e12).toPrecision(3)} TB/s by a copy, ${figures.launchMicroseconds.toPrecision(3)} µs a dependent empty dispatch`); // prettier-ignore
for (const times of networks) console.log(`\n${networkTable(times, figures)}`);
console.log(`\n${networksTable(networks, figures)}`);
for (const batch of new Set(networks.map((one) => one.batch))) console.log(`\n${summaryTable(batch, networks, figures)}`); // prettier-ignore
clock.destroy();
adapter.dispose();
process.exit(0);
