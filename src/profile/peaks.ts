/**
 * The device's ceilings, measured: arithmetic by a kernel of fused multiply-adds on registers, bandwidth by a copy. Raw WGSL
 * on the backend's own device, so that the peaks and the model see the same driver, toggles and clocks.
 */
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {clockStepNs, readQuerySet} from './gpu_recorder.js';
import {median} from './statistics.js';
import {waitForDevice, webgpuBackend} from './stopwatch.js';
import type {PeakSample, Peaks, Timer} from './types.js';

const WORKGROUP = 256;
const FMA_STEPS = 512;
/** Independent chains of vec4 per invocation: 16 FMAs in flight hide the latency of one. */
const FMA_CHAINS = 4;
const OPERATIONS_PER_INVOCATION = FMA_STEPS * FMA_CHAINS * 4 * 2;

/** The factor depends on the invocation and the sum is stored, so nothing can be folded; values stay near 4. */
const FMA_SHADER = /* wgsl */ `
override WORKGROUP: u32;
override STEPS: u32;
@group(0) @binding(0) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let factor = vec4f(0.75 + f32(id.x & 63u) * 1e-6);
  let one = vec4f(1.0);
  var a = vec4f(0.5);
  var b = vec4f(1.5);
  var c = vec4f(2.5);
  var d = vec4f(3.5);
  for (var step = 0u; step < STEPS; step++) {
    a = fma(a, factor, one);
    b = fma(b, factor, one);
    c = fma(c, factor, one);
    d = fma(d, factor, one);
  }
  let sum = a + b + c + d;
  result[id.x] = sum.x + sum.y + sum.z + sum.w;
}`;

const COPY_SHADER = /* wgsl */ `
override WORKGROUP: u32;
@group(0) @binding(0) var<storage, read_write> result: array<vec4f>;
@group(0) @binding(1) var<storage, read> source: array<vec4f>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let stride = groups.x * WORKGROUP;
  for (var i = id.x; i < arrayLength(&source); i += stride) {
    result[i] = source[i];
  }
}`;

const FMA_WORKGROUPS = [16, 64, 256, 1024, 4096, 16384];
const MIB = 2 ** 20;
/** The largest is several times the last-level cache of today's GPUs (H200: 50 MB). */
const COPY_BYTES = [1 * MIB, 4 * MIB, 16 * MIB, 64 * MIB, 256 * MIB];
const COPY_WORKGROUPS = 8192;
const REPEATS = 5;
/** A size that takes longer than this ends its series: a larger one teaches nothing and a CPU rasteriser would take minutes. */
const LONG_ENOUGH_MS = 30;
const ENOUGH_MS = 2;
const MAX_DISPATCHES = 64;

/** One kernel with its buffers bound. */
interface Bound {
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  readonly workgroups: number;
}

interface Timing {
  readonly ms: number;
  readonly stamps: readonly bigint[];
}

/**
 * Operations and bytes per second of the current webgpu backend's device, in float32.
 * @returns `null` on another backend. Takes up to a second.
 */
export async function measurePeaks(): Promise<Peaks | null> {
  const backend = webgpuBackend();
  if (!backend) return null;
  await waitForDevice([]);
  const {device} = backend;
  const timer: Timer = device.features.has('timestamp-query') ? 'timestamp-query' : 'wall-clock';
  const stamps: bigint[] = [];
  const compute = await measureFMA(device, timer, stamps);
  const copy = await measureCopy(backend, timer, stamps);
  const operationsPerSecond = Math.max(...compute.map(({perSecond}) => perSecond));
  const bytesPerSecond = copy.at(-1)?.perSecond ?? 0;
  return {
    operationsPerSecond,
    bytesPerSecond,
    waterline: operationsPerSecond / bytesPerSecond,
    timer,
    timestampStepNs: clockStepNs(stamps),
    compute,
    copy,
  };
}

async function measureFMA(device: GPUDevice, timer: Timer, stamps: bigint[]): Promise<PeakSample[]> {
  const pipeline = makePipeline(device, 'peak FMA', FMA_SHADER, {STEPS: FMA_STEPS});
  const samples: PeakSample[] = [];
  for (const workgroups of FMA_WORKGROUPS) {
    const size = workgroups * WORKGROUP * 4;
    const result = device.createBuffer({size, usage: GPUBufferUsage.STORAGE});
    const bindGroup = bind(device, pipeline, [result]);
    const timing = await timeKernel(device, {pipeline, bindGroup, workgroups}, timer);
    result.destroy();
    stamps.push(...timing.stamps);
    samples.push(sampleOf(workgroups * WORKGROUP * OPERATIONS_PER_INVOCATION, timing.ms));
    if (timing.ms > LONG_ENOUGH_MS) break;
  }
  return samples;
}

async function measureCopy({device}: WebGPUBackend, timer: Timer, stamps: bigint[]): Promise<PeakSample[]> {
  const pipeline = makePipeline(device, 'peak copy', COPY_SHADER);
  const {maxStorageBufferBindingSize, maxBufferSize} = device.limits;
  const sizes = COPY_BYTES.filter((size) => size <= Math.min(maxStorageBufferBindingSize, maxBufferSize));
  const samples: PeakSample[] = [];
  for (const size of sizes) {
    const [result, source] = [0, 1].map(() => device.createBuffer({size, usage: GPUBufferUsage.STORAGE}));
    const buffers = [result, source] as GPUBuffer[]; // exactly two were made
    const workgroups = Math.min(COPY_WORKGROUPS, size / 16 / WORKGROUP);
    const timing = await timeKernel(
      device,
      {pipeline, bindGroup: bind(device, pipeline, buffers), workgroups},
      timer,
    );
    buffers.forEach((buffer) => buffer.destroy());
    stamps.push(...timing.stamps);
    samples.push(sampleOf(2 * size, timing.ms));
    if (timing.ms > LONG_ENOUGH_MS) break;
  }
  return samples;
}

/** A measurement of 0 ms (a clock of coarse steps) counts as no rate at all, not as an infinite one. */
const sampleOf = (amount: number, ms: number): PeakSample => ({
  amount,
  ms,
  perSecond: ms > 0 ? (amount / ms) * 1000 : 0,
});

function makePipeline(
  device: GPUDevice,
  label: string,
  code: string,
  constants: Record<string, number> = {},
): GPUComputePipeline {
  const module = device.createShaderModule({label, code});
  return device.createComputePipeline({
    label,
    layout: 'auto',
    compute: {module, entryPoint: 'main', constants: {WORKGROUP, ...constants}},
  });
}

function bind(device: GPUDevice, pipeline: GPUComputePipeline, buffers: readonly GPUBuffer[]): GPUBindGroup {
  const entries = buffers.map((buffer, binding) => ({binding, resource: {buffer}}));
  return device.createBindGroup({layout: pipeline.getBindGroupLayout(0), entries});
}

/**
 * Median of the repeats. A first run, not counted, says how many dispatches one measurement needs to stand well above the
 * step of the clock and the cost of a submit.
 */
async function timeKernel(device: GPUDevice, kernel: Bound, timer: Timer): Promise<Timing> {
  const run = timer === 'timestamp-query' ? runStamped : runByWallClock;
  const first = await run(device, kernel, 1);
  const times = Math.min(
    MAX_DISPATCHES,
    Math.ceil(ENOUGH_MS / Math.max(first.ms, ENOUGH_MS / MAX_DISPATCHES)),
  );
  const timings: Timing[] = [];
  for (let i = 0; i < REPEATS; i++) timings.push(await run(device, kernel, times));
  return {ms: median(timings.map(({ms}) => ms)), stamps: timings.flatMap(({stamps}) => stamps)};
}

async function runStamped(device: GPUDevice, kernel: Bound, times: number): Promise<Timing> {
  const querySet = device.createQuerySet({type: 'timestamp', count: 2});
  try {
    const timestampWrites = {querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1};
    dispatch(device, kernel, times, {timestampWrites});
    const stamps = await readQuerySet(device, querySet, 2);
    const [begin, end] = stamps as [bigint, bigint]; // two queries were read
    return {ms: Number(end - begin) / 1e6 / times, stamps};
  } finally {
    querySet.destroy();
  }
}

async function runByWallClock(device: GPUDevice, kernel: Bound, times: number): Promise<Timing> {
  const start = performance.now();
  dispatch(device, kernel, times);
  await device.queue.onSubmittedWorkDone();
  return {ms: (performance.now() - start) / times, stamps: []};
}

function dispatch(
  device: GPUDevice,
  {pipeline, bindGroup, workgroups}: Bound,
  times: number,
  descriptor?: GPUComputePassDescriptor,
): void {
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass(descriptor);
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, bindGroup);
  for (let i = 0; i < times; i++) pass.dispatchWorkgroups(workgroups);
  pass.end();
  device.queue.submit([encoder.finish()]);
}
