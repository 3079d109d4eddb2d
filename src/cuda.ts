/** The entry for TensorFlow in Node (`@tensorflow/tfjs-node`, `@tensorflow/tfjs-node-gpu`). */
import * as tf from '@tensorflow/tfjs-core';
import {registerBlockKernels} from './register.js';

export * from './node.js';

export interface CudaSetup {
  /** Whether native kernels run the blocks. This version has none: blocks run as TensorFlow's own ops. */
  readonly isNative: false;
}

/**
 * Makes every block runnable on the `tensorflow` backend, by stock ops.
 * @throws where no `tensorflow` backend is registered: import `@tensorflow/tfjs-node-gpu` first.
 */
export async function useCuda(): Promise<CudaSetup> {
  if ((tf.findBackendFactory('tensorflow') as unknown) == null) {
    throw new Error(
      "useCuda: TF.js has no 'tensorflow' backend. Import @tensorflow/tfjs-node-gpu (or tfjs-node) before calling it.",
    );
  }
  registerBlockKernels();
  await tf.setBackend('tensorflow');
  await tf.ready();
  return {isNative: false};
}
