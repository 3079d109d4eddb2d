/** Registers the blocks with TF.js: a kernel for each backend, and the gradient. Nothing of TF.js itself changes. */
import * as tf from '@tensorflow/tfjs-core';
import {BLOCK_SPECS, blockGradient, hasKernel, namedWeights, readCall, reference} from '../ops/index.js';
import {activationKernel, filterGradientKernel} from '../kernels/webgpu/gradients.js';
import {webgpuKernel} from '../kernels/webgpu/index.js';
import {ACTIVATION, FILTER_GRADIENT} from '../ops/stages/gradient_kernels.js';
import {registerBlockOps} from './graph_ops.js';

/** The kernel where none faster exists: the block by stock ops, on the backend it was called on. */
function referenceKernel(kind: string): tf.KernelFunc {
  return ({inputs, attrs}) => {
    const call = readCall(kind, inputs, attrs);
    return reference(call.block, call.x as tf.Tensor, namedWeights(call, call.weights as tf.Tensor[]));
  };
}

/** Backends by name, and what makes a block's kernel there. */
const KERNELS: Readonly<Record<string, (kind: string) => tf.KernelFunc>> = {
  webgpu: webgpuKernel,
  tensorflow: referenceKernel,
  wasm: referenceKernel,
  webgl: referenceKernel,
  cpu: referenceKernel,
};

/** What gradients of blocks need besides; other backends do it by stock ops. */
const GRADIENT_KERNELS = {[FILTER_GRADIENT]: filterGradientKernel, [ACTIVATION]: activationKernel};

const hasGradient = (kind: string): boolean =>
  (tf.getGradient(kind) as tf.GradConfig | undefined) !== undefined;

/** Makes every block runnable on every backend, differentiable, and an op of graph models. Calling it again changes nothing. */
export function registerBlockKernels(): void {
  for (const {kind} of BLOCK_SPECS) {
    for (const [backendName, kernelOf] of Object.entries(KERNELS)) {
      if (hasKernel(kind, backendName)) continue;
      tf.registerKernel({kernelName: kind, backendName, kernelFunc: kernelOf(kind)});
    }
    if (!hasGradient(kind)) tf.registerGradient(blockGradient(kind));
  }
  for (const [kernelName, kernelFunc] of Object.entries(GRADIENT_KERNELS))
    if (!hasKernel(kernelName, 'webgpu')) tf.registerKernel({kernelName, backendName: 'webgpu', kernelFunc});
  registerBlockOps();
}
