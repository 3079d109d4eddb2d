/** The WebGPU kernels of all blocks, as TF.js kernel functions. */
import type * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {
  type Block,
  type BlockCall,
  encodeStages,
  namedWeights,
  readCall,
  reference,
  traceBlock,
} from '../../ops/index.js';
import type {Plan} from '../plan.js';
import {bufferOf, missingFields} from './backend_access.js';
import {executePlan, pipelinesOf} from './execute.js';
import {lowerBlock} from './lower.js';
import {type DeviceLimits, tilingFor} from './tiling.js';
import {packedWeights} from './weights.js';

export {pinWeights, unpinWeights} from './weights.js';

const plans = new WeakMap<GPUDevice, Map<string, Plan>>();

/** The plan of `block` for an input of `[N, H, W, C]` on the backend's device; made once per shape. */
export function planFor(backend: WebGPUBackend, block: Block, input: readonly number[]): Plan {
  let known = plans.get(backend.device);
  if (!known) plans.set(backend.device, (known = new Map<string, Plan>()));
  const key = `${block.kind} ${input.join('×')} ${encodeStages(block.stages)}`;
  let plan = known.get(key);
  if (!plan) known.set(key, (plan = lowerBlock(block, input, tilingFor(limitsOf(backend.device)))));
  return plan;
}

function limitsOf({limits}: GPUDevice): DeviceLimits {
  const {maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize} = limits;
  return {maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize, processors: 132};
}

/** While a dry run is on: the plans it came across. */
let sketched: Plan[] | undefined;

/**
 * Calls `run` with blocks that do nothing but say what they would run; their outputs hold zeros.
 * @param run must be synchronous. @returns the plans of the blocks it ran.
 */
export function plansOf(run: () => void): readonly Plan[] {
  const plans: Plan[] = [];
  sketched = plans;
  try {
    run();
  } finally {
    sketched = undefined;
  }
  return plans;
}

function sketch(backend: WebGPUBackend, plan: Plan): tf.TensorInfo {
  sketched?.push(plan);
  const out = backend.makeTensorInfo([...plan.output], 'float32');
  bufferOf(backend, out);
  return out;
}

/** The weights by name, and the map of a residual that is given one, which is not packed with them. */
function sortInputs(call: BlockCall): {weights: Map<string, tf.TensorInfo>; map: tf.TensorInfo | undefined} {
  const weights = new Map<string, tf.TensorInfo>(
    Object.entries(namedWeights(call, call.weights as tf.Tensor[])),
  );
  const name = traceBlock(call.block, call.x.shape).weights.find(({isMap}) => isMap)?.name ?? '';
  const map = weights.get(name);
  weights.delete(name);
  return {weights, map};
}

/** The kernel of `kind` on a WebGPUBackend; on a backend whose private fields are not those of 4.22.0, the reference. */
export function webgpuKernel(kind: string): tf.KernelFunc {
  return ({inputs, attrs, backend}) => {
    const call = readCall(kind, inputs, attrs);
    if (missingFields(backend).length > 0)
      return reference(call.block, call.x as tf.Tensor, namedWeights(call, call.weights as tf.Tensor[]));
    const webgpu = backend as WebGPUBackend;
    const plan = planFor(webgpu, call.block, call.x.shape);
    if (sketched) return sketch(webgpu, plan);
    const {weights, map} = sortInputs(call);
    const {packed, owned} = packedWeights(webgpu, plan.weights, weights);
    const out = executePlan(webgpu, plan, {x: call.x, weights: packed, map});
    if (owned) packed.dispose();
    return out;
  };
}

/** Compiles the pipelines of the plans side by side, so that the first prediction need not wait for each in turn. */
export async function preparePlans(
  backend: WebGPUBackend,
  all: readonly Plan[],
  onProgress?: (done: number, of: number) => void,
): Promise<void> {
  await pipelinesOf(backend.device).prepare(all.flatMap(({dispatches}) => dispatches), onProgress); // prettier-ignore
}
