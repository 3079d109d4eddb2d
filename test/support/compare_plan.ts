/** A block by a plan of the test's choice, against the reference. */
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {executePlan} from '../../kernels/webgpu/execute.js';
import {lowerBlock} from '../../kernels/webgpu/lower.js';
import {type DeviceLimits, type Tiling, tilingFor} from '../../kernels/webgpu/tiling.js';
import {packOnHost} from '../../kernels/webgpu/weights.js';
import {type Block, reference, traceBlock} from '../../ops/index.js';
import {expectClose} from './expect_close.js';
import {seededTensors} from './random.js';

export const backend = (): WebGPUBackend => tf.backend() as WebGPUBackend;

export function limitsOf({limits}: GPUDevice): DeviceLimits {
  const {maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize} = limits;
  return {maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize, processors: 16};
}

/** Runs `block` by the plan that `change` makes of the usual tiling. `raised` is added to the weights of those names. */
export async function compare(
  block: Block,
  input: readonly number[],
  change: Partial<Tiling>,
  raised: Readonly<Record<string, number>> = {},
): Promise<void> {
  const make = seededTensors(11);
  const x = make(input);
  const trace = traceBlock(block, input);
  const weights = new Map(
    trace.weights.map(
      ({name, shape}) => [name, tf.tidy(() => tf.add(make(shape), raised[name] ?? 0))] as const,
    ),
  );
  const values = new Map<string, Float32Array>();
  for (const [name, tensor] of weights) values.set(name, (await tensor.data()) as Float32Array);
  const plan = lowerBlock(block, input, {...tilingFor(limitsOf(backend().device)), ...change});
  const packed = tf.tensor1d(packOnHost(plan.weights, values));
  const out = executePlan(backend(), plan, {x, weights: packed});
  const got = tf.engine().makeTensorFromTensorInfo(out);
  const want = tf.tidy(() => reference(block, x, Object.fromEntries(weights)));
  await expectClose(got, await want.data(), {name: plan.name, tolerance: 1e-5});
  tf.dispose([x, packed, got, want, ...weights.values()]);
}
