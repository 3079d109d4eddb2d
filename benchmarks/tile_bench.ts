/**
 * What the programs that try tiles share: the device they run on, convolutions of networks, random operands, what a plan computes
 * beside what it should, and its time by timestamps.
 */
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import type {Dispatch, Plan} from '../kernels/plan.js';
import type {PipelineCache} from '../kernels/webgpu/compile.js';
import {executePlan, pipelinesOf} from '../kernels/webgpu/execute.js';
import {limitsOf} from '../kernels/webgpu/index.js';
import type {DeviceLimits} from '../kernels/webgpu/tiling.js';
import {packOnHost} from '../kernels/webgpu/weights.js';
import {findArchitecture, makeNetwork} from '../models/index.js';
import {traceNetwork} from '../models/trace.js';
import {LINEAR, type Shape4D, type SpatialStage} from '../ops/index.js';
import {type NodeWebGPU, useNodeWebGPU} from '../src/node_webgpu.js';
import {bufferSizes, stepOf} from '../src/tune/plan_steps.js';
import {ScratchBuffers} from '../src/tune/scratch_buffers.js';
import {seededRandom} from '../test/support/random.js';
import {EXACT_TIMESTAMPS, GpuTimer, type Recorded} from './timing.js';

export interface Bench {
  readonly adapter: NodeWebGPU;
  readonly backend: WebGPUBackend;
  readonly device: GPUDevice;
  readonly limits: DeviceLimits;
  readonly pipelines: PipelineCache;
  readonly timer: GpuTimer;
}

/** Prints the adapter and its limits. */
export async function openBench({halfPrecision = false} = {}): Promise<Bench> {
  const adapter = await useNodeWebGPU({flags: EXACT_TIMESTAMPS, halfPrecision});
  // Small tensors would otherwise be computed on the CPU.
  tf.env().set('WEBGPU_CPU_FORWARD', false);
  const backend = tf.backend() as WebGPUBackend;
  const {device} = backend;
  const limits = limitsOf(device);
  console.log(JSON.stringify({adapter, ...limits}));
  return {adapter, backend, device, limits, pipelines: pipelinesOf(device), timer: new GpuTimer(device)};
}

/** A convolution by itself, with a bias and no activation. */
export interface NetworkConvolution {
  /** The first that has it. */
  readonly network: string;
  readonly stage: SpatialStage;
  /** Of one image. */
  readonly input: Shape4D;
  readonly output: Shape4D;
}

/** The distinct convolutions of a window that are wanted. @param networks names of architectures, separated by commas. */
export function networkConvolutions(
  networks: string,
  size: number,
  isWanted: (stage: SpatialStage, input: Shape4D) => boolean,
): NetworkConvolution[] {
  const found = new Map<string, NetworkConvolution>();
  for (const network of networks.split(',').filter(Boolean)) {
    const units = traceNetwork(makeNetwork(findArchitecture(network)), [1, size, size, 3]);
    for (const {layer, input, output} of units.flatMap(({layers}) => layers)) {
      if (layer.stage.op !== 'spatial' || !isWanted(layer.stage, input)) continue;
      const stage = {...layer.stage, name: 'spatial', bias: true, activation: LINEAR};
      const key = JSON.stringify([stage, input]);
      if (!found.has(key)) found.set(key, {network, stage, input, output});
    }
  }
  return [...found.values()];
}

/** Uniform in [-1, 1) times `scale`. */
export function drawn(shape: readonly number[], seed: number, scale: number): Float32Array {
  const next = seededRandom(seed);
  return Float32Array.from({length: tf.util.sizeFromShape([...shape])}, () => scale * (2 * next() - 1));
}

/** Of all elements the largest, without its sign; infinite where one is no number, which a maximum would pass over. */
async function largestOf(tensor: tf.Tensor): Promise<number> {
  const [largest, isNumber] = tf.tidy((): [tf.Tensor, tf.Tensor] => {
    const size = tf.abs(tensor);
    return [tf.max(size), tf.min(tf.cast(tf.lessEqual(size, 3e38), 'float32'))];
  });
  const [value = NaN] = await largest.data();
  const [all = 0] = await isNumber.data();
  tf.dispose([largest, isNumber]);
  return all === 1 ? value : Infinity;
}

/** Largest difference of each plan's output from `expected`, over the largest value there. Disposes of nothing that it is given. */
export async function differencesFrom(
  expected: tf.Tensor,
  plans: readonly Plan[],
  {backend, x, weights}: {backend: WebGPUBackend; x: tf.Tensor; weights: ReadonlyMap<string, Float32Array>},
): Promise<number[]> {
  const scale = await largestOf(expected);
  const packed = new Map<string, tf.Tensor>();
  // Kept to the end, so that none gets a buffer in which the right answer already is.
  const outputs: tf.Tensor[] = [];
  const found: number[] = [];
  for (const plan of plans) {
    const key = JSON.stringify(plan.weights);
    const own = packed.get(key) ?? tf.tensor1d(packOnHost(plan.weights, weights));
    packed.set(key, own);
    const y = tf.engine().makeTensorFromTensorInfo(executePlan(backend, plan, {x, weights: own}));
    outputs.push(y);
    const apart = tf.sub(y, expected);
    found.push((await largestOf(apart)) / scale);
    apart.dispose();
  }
  tf.dispose([...outputs, ...packed.values()]);
  return found;
}

/** Largest difference over the largest value wanted; NaN where anything is NaN. */
export function differenceOf(want: Float32Array, got: Float32Array): number {
  const scale = want.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-30);
  return want.reduce((most, value, i) => Math.max(most, Math.abs(value - (got[i] ?? NaN))), 0) / scale;
}

/** What `out` holds, its first `size` bytes, after one run of `sequence`. */
export async function outputOf(
  device: GPUDevice,
  sequence: readonly Recorded[],
  out: GPUBuffer,
  size = out.size,
): Promise<Float32Array> {
  const staging = device.createBuffer({size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ});
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  for (const {pipeline, bindGroup, workgroups} of sequence) {
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    pass.dispatchWorkgroups(...workgroups);
  }
  pass.end();
  encoder.copyBufferToBuffer(out, 0, staging, 0, size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const copy = new Float32Array(staging.getMappedRange().slice(0));
  staging.destroy();
  return copy;
}

export interface Timed {
  readonly us: number;
  /** Of each dispatch by itself. */
  readonly parts: readonly number[];
}

/** A dispatch on buffers that it shares with others. */
export function recordedIn(dispatch: Dispatch, bench: Parameters<typeof stepOf>[1]): Recorded {
  const {pipeline, groups, workgroups} = stepOf(dispatch, bench);
  return {pipeline, bindGroup: groups[0] as GPUBindGroup, workgroups}; // Kernels have one group.
}

/** Microseconds of each plan, which may all have the same buffers. */
async function timesOf(plans: readonly Plan[], {device, pipelines, timer}: Bench): Promise<Timed[]> {
  const buffers = new ScratchBuffers(device);
  const bench = {device, pipelines, buffers, sizes: bufferSizes(plans)};
  const timed: Timed[] = [];
  for (const plan of plans) {
    const sequence = plan.dispatches.map((dispatch) => recordedIn(dispatch, bench));
    const us = await timer.microseconds(sequence);
    const parts: number[] = [];
    for (const one of sequence) parts.push(sequence.length === 1 ? us : await timer.microseconds([one]));
    timed.push({us, parts});
  }
  buffers.destroy();
  return timed;
}

/** Clocks of an idle GPU are a third of a busy one's. */
async function warmUp(plan: Plan | undefined, {device, pipelines, timer}: Bench): Promise<void> {
  const [first] = plan?.dispatches ?? [];
  if (!plan || !first) throw new Error('There is nothing to time.');
  const buffers = new ScratchBuffers(device);
  const bench = {device, pipelines, buffers, sizes: bufferSizes([plan])};
  await timer.microseconds([recordedIn(first, bench)], {samples: 5, milliseconds: 100});
  buffers.destroy();
}

/** What a convolution's plans in several tiles take, and how far their answers are off, each in the order of `plans`. */
export interface Measured {
  readonly timed: readonly Timed[];
  readonly differences: readonly number[];
}

interface Sweep<Job> {
  /** Computes the right answer, and the differences from it. */
  readonly differences: (job: Job) => Promise<number[]>;
  readonly report: (job: Job, measured: Measured) => void;
  /** From now; no job is begun after that. */
  readonly minutes: number;
  /** Compares and times nothing. */
  readonly checksOnly: boolean;
}

/** Compares and times the plans of every job. @returns the largest difference. */
export async function sweepJobs<Job extends {readonly plans: readonly Plan[]}>(
  jobs: readonly Job[],
  bench: Bench,
  {differences, report, minutes, checksOnly}: Sweep<Job>,
): Promise<number> {
  const started = performance.now();
  const seconds = (): string => ((performance.now() - started) / 1000).toFixed(1);
  await bench.pipelines.prepare(jobs.flatMap(({plans}) => plans.flatMap(({dispatches}) => dispatches)));
  console.log(`${jobs.length} convolutions, compiled after ${seconds()} s`);
  if (!checksOnly) await warmUp(jobs[0]?.plans[0], bench);
  let worst = 0;
  let done = 0;
  for (const job of jobs) {
    if (performance.now() - started > 60_000 * minutes) break;
    const apart = await differences(job);
    report(job, {differences: apart, timed: checksOnly ? [] : await timesOf(job.plans, bench)});
    worst = Math.max(worst, ...apart);
    done++;
  }
  console.log(`${done} of ${jobs.length} after ${seconds()} s; largest difference ${worst.toExponential(2)}`);
  return worst;
}
