/** What the programs that try tiles share: random operands, differences, and times of plans by timestamps. */
import * as tf from '@tensorflow/tfjs-core';
import type {Plan} from '../kernels/plan.js';
import type {PipelineCache} from '../kernels/webgpu/compile.js';
import {bufferSizes, stepOf} from '../src/tune/plan_steps.js';
import {ScratchBuffers} from '../src/tune/scratch_buffers.js';
import {seededRandom} from '../test/support/random.js';
import type {GpuTimer, Recorded} from './timing.js';

/** Uniform in [-1, 1) times `scale`. */
export function drawn(shape: readonly number[], seed: number, scale: number): Float32Array {
  const next = seededRandom(seed);
  return Float32Array.from({length: tf.util.sizeFromShape([...shape])}, () => scale * (2 * next() - 1));
}

/** Of all elements the largest, without its sign; infinite where one is no number, which a maximum would pass over. */
export async function largestOf(tensor: tf.Tensor): Promise<number> {
  const [largest, isNumber] = tf.tidy((): [tf.Tensor, tf.Tensor] => {
    const size = tf.abs(tensor);
    return [tf.max(size), tf.min(tf.cast(tf.lessEqual(size, 3e38), 'float32'))];
  });
  const [value = NaN] = await largest.data();
  const [all = 0] = await isNumber.data();
  tf.dispose([largest, isNumber]);
  return all === 1 ? value : Infinity;
}

export interface Timed {
  readonly us: number;
  /** Of each dispatch by itself. */
  readonly parts: readonly number[];
}

interface Bench {
  readonly device: GPUDevice;
  readonly pipelines: PipelineCache;
  readonly timer: GpuTimer;
}

/** Microseconds of each plan, which may all have the same buffers. */
export async function timesOf(plans: readonly Plan[], {device, pipelines, timer}: Bench): Promise<Timed[]> {
  const buffers = new ScratchBuffers(device);
  const bench = {device, pipelines, buffers, sizes: bufferSizes(plans)};
  const timed: Timed[] = [];
  for (const plan of plans) {
    const sequence = plan.dispatches.map((dispatch): Recorded => {
      const {pipeline, groups, workgroups} = stepOf(dispatch, bench);
      return {pipeline, bindGroup: groups[0] as GPUBindGroup, workgroups}; // Kernels have one group.
    });
    const us = await timer.microseconds(sequence);
    const parts: number[] = [];
    for (const one of sequence) parts.push(sequence.length === 1 ? us : await timer.microseconds([one]));
    timed.push({us, parts});
  }
  buffers.destroy();
  return timed;
}

/** Clocks of an idle GPU are a third of a busy one's. */
export async function warmUp(plan: Plan | undefined, {device, pipelines, timer}: Bench): Promise<void> {
  const [first] = plan?.dispatches ?? [];
  if (!plan || !first) throw new Error('There is nothing to time.');
  const buffers = new ScratchBuffers(device);
  const bench = {device, pipelines, buffers, sizes: bufferSizes([plan])};
  const {pipeline, groups, workgroups} = stepOf(first, bench);
  const one = {pipeline, bindGroup: groups[0] as GPUBindGroup, workgroups};
  await timer.microseconds([one], {samples: 5, milliseconds: 100});
  buffers.destroy();
}
