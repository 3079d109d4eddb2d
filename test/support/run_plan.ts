/** Runs a plan that a test made, in the place of the one the planner would choose. */
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import * as tf from '@tensorflow/tfjs-core';
import type {Plan} from '../../kernels/plan.js';
import {executePlan} from '../../kernels/webgpu/execute.js';
import {packOnHost} from '../../kernels/webgpu/weights.js';
import {traceBlock} from '../../ops/index.js';
import type {DrawnBlock} from './draw.js';

/** On the current backend, which is WebGPU. @returns the output, which the caller owns. */
export async function runPlan(plan: Plan, {x, weights}: DrawnBlock): Promise<tf.Tensor> {
  const backend = tf.backend() as WebGPUBackend;
  const isMap = new Set(traceBlock(plan.block, plan.input).weights.filter((one) => one.isMap).map(({name}) => name)); // prettier-ignore
  const values = new Map<string, Float32Array>();
  let map: tf.Tensor | undefined;
  for (const [name, tensor] of Object.entries(weights)) {
    if (isMap.has(name)) map = tensor;
    else values.set(name, (await tensor.data()) as Float32Array);
  }
  const packed = tf.tensor1d(packOnHost(plan.weights, values));
  const out = executePlan(backend, plan, {x, weights: packed, map});
  packed.dispose();
  return tf.engine().makeTensorFromTensorInfo(out);
}
