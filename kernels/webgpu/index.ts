/** The WebGPU kernels of all blocks, as TF.js kernel functions. */
import type * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {
  type Block,
  type BlockCall,
  encodeStages,
  namedWeights,
  type Precision,
  readCall,
  reference,
} from '../../ops/index.js';
import type {Plan} from '../plan.js';
import {bufferOf, missingFields} from './backend_access.js';
import {executePlan, pipelinesOf} from './execute.js';
import {lowerBlock} from './lower.js';
import {type HalfFeatures, halfFeaturesOf, withHalf} from './matrix_tiling.js';
import {type DeviceLimits, type Tiling, tilingFor} from './tiling.js';
import {canPack, type NamedInfos, packedWeights} from './weights.js';

export {pinWeights, unpinWeights} from './weights.js';

const plans = new WeakMap<GPUDevice, Map<string, Plan>>();

/** The plan of `block` for an input of `[N, H, W, C]` on the backend's device; made once per shape and precision. */
export function planFor(
  backend: WebGPUBackend,
  block: Block,
  input: readonly number[],
  precision: Precision = 'f32',
): Plan {
  const {device} = backend;
  let known = plans.get(device);
  if (!known) plans.set(device, (known = new Map<string, Plan>()));
  const key = `${block.kind} ${precision} ${input.join('×')} ${encodeStages(block.stages)}`;
  let plan = known.get(key);
  if (!plan) known.set(key, (plan = lowerBlock(block, input, tilingOf(device, precision))));
  return plan;
}

function tilingOf(device: GPUDevice, precision: Precision): Tiling {
  const limits = limitsOf(device);
  const tiling = tilingFor(limits);
  const features = precision === 'f16' ? halfOf(device) : undefined;
  return features ? withHalf(tiling, limits, features) : tiling;
}

const halves = new WeakMap<GPUDevice, {readonly features: HalfFeatures | undefined}>();

/** Asked at every call of a block, so remembered. */
function halfOf(device: GPUDevice): HalfFeatures | undefined {
  let known = halves.get(device);
  if (!known) halves.set(device, (known = {features: halfFeaturesOf(device)}));
  return known.features;
}

const warned = new WeakSet<GPUDevice>();

/** What a call is run at: f32 where the device has no f16, which is said once, or its weights are on the GPU alone. */
function planOf(backend: WebGPUBackend, call: BlockCall, weights: NamedInfos): Plan {
  const {block, x, precision} = call;
  const {device} = backend;
  if (precision === 'f16' && halfOf(device)) {
    const plan = planFor(backend, block, x.shape, 'f16');
    if (canPack(backend, plan.weights, weights)) return plan;
  } else if (precision === 'f16' && !warned.has(device)) {
    warned.add(device);
    console.warn(
      "precision 'f16': this WebGPU device has no 'shader-f16', so blocks run in f32. Call setupWebGPU() before loading models" +
        ' (in Node after useNodeWebGPU({halfPrecision: true})) to get a device with all that the adapter has.',
    );
  }
  return planFor(backend, block, x.shape);
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

/** The kernel of `kind` on a WebGPUBackend; on a backend whose private fields are not those of 4.22.0, the reference. */
export function webgpuKernel(kind: string): tf.KernelFunc {
  return ({inputs, attrs, backend}) => {
    const call = readCall(kind, inputs, attrs);
    if (missingFields(backend).length > 0)
      return reference(call.block, call.x as tf.Tensor, namedWeights(call, call.weights as tf.Tensor[]));
    const webgpu = backend as WebGPUBackend;
    const weights = new Map(Object.entries(namedWeights(call, call.weights as tf.Tensor[])));
    const plan = planOf(webgpu, call, weights);
    if (sketched) return sketch(webgpu, plan);
    const {packed, owned} = packedWeights(webgpu, plan.weights, weights);
    const out = executePlan(webgpu, plan, call.x, packed);
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
