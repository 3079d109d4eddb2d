/** How many programs the GPU is given: each costs JavaScript and the driver time, however little it computes. */
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {recordGPU} from '../src/profile/gpu_recorder.js';

/** @param run must end with reading what it computed. @returns NaN on a backend without programs. */
export async function programsOf(run: () => Promise<void>): Promise<number> {
  if (tf.getBackend() !== 'webgpu') {
    await run();
    return NaN;
  }
  const recording = recordGPU((tf.backend() as WebGPUBackend).device);
  // Recording puts a wrapper on the device, which must come off again whatever happens.
  const [ran] = await Promise.allSettled([run()]);
  const passes = await recording.stop();
  if (ran.status === 'rejected') throw new Error('What was to be counted failed.', {cause: ran.reason});
  return passes.reduce((sum, {dispatches}) => sum + dispatches, 0);
}
