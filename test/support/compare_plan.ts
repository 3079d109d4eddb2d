/** A block by a plan of the test's choice, against the reference. */
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import type {Plan} from '../../kernels/plan.js';
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

/** Another for each plan: what one leaves out would else be there, from the plan before, in memory that is used again. */
const seedOf = ({dispatches}: Plan): number =>
  new TextEncoder()
    .encode(JSON.stringify(dispatches.map(({constants}) => constants)))
    .reduce((hash, byte) => (31 * hash + byte) >>> 0, 11);

/** Runs `block` by the plan that `change` makes of the usual tiling. `raised` is added to the weights of those names. */
export async function compare(
  block: Block,
  input: readonly number[],
  change: Partial<Tiling>,
  raised: Readonly<Record<string, number>> = {},
): Promise<void> {
  const plan = lowerBlock(block, input, {...tilingFor(limitsOf(backend().device)), ...change});
  const make = seededTensors(seedOf(plan));
  const x = make(input);
  const trace = traceBlock(block, input);
  const weights = new Map(
    trace.weights.map(
      ({name, shape}) => [name, tf.tidy(() => tf.add(make(shape), raised[name] ?? 0))] as const,
    ),
  );
  const values = new Map<string, Float32Array>();
  for (const [name, tensor] of weights) values.set(name, (await tensor.data()) as Float32Array);
  const packed = tf.tensor1d(packOnHost(plan.weights, values));
  const out = executePlan(backend(), plan, {x, weights: packed});
  const got = tf.engine().makeTensorFromTensorInfo(out);
  const want = tf.tidy(() => reference(block, x, Object.fromEntries(weights)));
  await expectClose(got, await want.data(), {name: plan.name, tolerance: 1e-5});
  tf.dispose([x, packed, got, want, ...weights.values()]);
}
