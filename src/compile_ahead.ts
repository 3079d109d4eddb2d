/** Pipelines ahead of time: all that a run needs are compiled side by side, instead of each when it is first used. */
import * as tf from '@tensorflow/tfjs-core';
import type {Plan} from '../kernels/plan.js';
import type {BackendAccess} from '../kernels/webgpu/backend_access.js';
import {plansOf, preparePlans} from '../kernels/webgpu/index.js';

const COMPILE_ONLY = 'WEBGPU_ENGINE_COMPILE_ONLY';

/**
 * Runs once without computing anything, TF.js's programs and the blocks' alike, and waits for what both compile meanwhile.
 * What comes after an error of `run` is not compiled; the error is not told.
 * @param run must be synchronous. @param onProgress is told how many of the blocks' pipelines are there.
 */
export async function compileAhead(
  access: BackendAccess,
  run: () => void,
  onProgress?: (done: number, total: number) => void,
): Promise<void> {
  const plans = dryRun(access, run);
  await Promise.all([preparePlans(access.backend, plans, onProgress), access.settlePipelines()]);
}

function dryRun(access: BackendAccess, run: () => void): readonly Plan[] {
  const wasOn = tf.env().getBool(COMPILE_ONLY);
  const allowReads = access.refuseReads();
  tf.env().set(COMPILE_ONLY, true);
  try {
    return plansOf(() => {
      try {
        tf.tidy(run);
      } catch {
        // The run that follows tells what is wrong; or it reads values of the GPU, of which there are none yet.
      }
    });
  } finally {
    tf.env().set(COMPILE_ONLY, wasOn);
    allowReads();
  }
}
