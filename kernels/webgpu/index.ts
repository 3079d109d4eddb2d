/** The WebGPU kernels of all blocks, as TF.js kernel functions. */
import type * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {
  type Block,
  type BlockCall,
  namedWeights,
  type Precision,
  readCall,
  reference,
  type Stage,
  traceBlock,
} from '../../ops/index.js';
import {keptIn} from '../../ops/kept.js';
import type {Plan} from '../plan.js';
import {bufferOf, isKnownBackend} from './backend_access.js';
import {executePlan, pipelinesOf} from './execute.js';
import {lowerBlock} from './lower.js';
import {type HalfFeatures, halfFeaturesOf, withHalf} from './matrix_tiling.js';
import {type DeviceLimits, type Tiling, tilingFor} from './tiling.js';
import {TunedPlans, tunedTiling} from './tuned.js';
import {canPack, type NamedInfos, packedWeights} from './weights.js';

export {missingFields} from './backend_access.js';
export {pinWeights, unpinWeights} from './weights.js';

/** Plans by stages, which decodeStages shares, then by what else they depend on, of the measurements of that revision. */
interface PlanCache {
  readonly revision: number;
  readonly plans: WeakMap<readonly Stage[], Map<string, Plan>>;
}

const caches = new WeakMap<GPUDevice, PlanCache>();

/** The plan of `block` for an input of `[N, H, W, C]` on the backend's device; made once per shape and precision, anew after tuning. */
export function planFor(
  {device}: WebGPUBackend,
  block: Block,
  input: readonly number[],
  precision: Precision = 'f32',
): Plan {
  const {revision} = tunedOf(device);
  let cache = caches.get(device);
  if (cache?.revision !== revision) caches.set(device, (cache = {revision, plans: new WeakMap()}));
  const plans = keptIn(cache.plans, block.stages, () => new Map<string, Plan>());
  const key = `${precision} ${block.kind} ${input.join('×')}`;
  return keptIn(plans, key, () => lowerBlock(block, input, tilingOf(device, precision)));
}

/** The device's tiling: what was measured, else what the estimates choose. */
export function tilingOf(device: GPUDevice, precision: Precision = 'f32'): Tiling {
  const limits = limitsOf(device);
  const tiling = tunedTiling(tilingFor(limits), tunedOf(device));
  const features = precision === 'f16' ? halfOf(device) : undefined;
  return features ? withHalf(tiling, limits, features) : tiling;
}

const tuned = new WeakMap<GPUDevice, TunedPlans>();

/** What was measured on `device`, or loaded for it; the next plans follow it. */
export function tunedOf(device: GPUDevice): TunedPlans {
  let found = tuned.get(device);
  if (!found) {
    // Older browsers do not tell what adapter a device is of.
    const info = device.adapterInfo as GPUAdapterInfo | undefined;
    const identity = {
      vendor: info?.vendor ?? '',
      architecture: info?.architecture ?? '',
      device: info?.device ?? '',
      description: info?.description ?? '',
    };
    tuned.set(device, (found = new TunedPlans(identity, limitsOf(device))));
  }
  return found;
}

/** What of f16 a device has, read once: it is asked at every call. */
const half = new WeakMap<GPUDevice, HalfFeatures | undefined>();

function halfOf(device: GPUDevice): HalfFeatures | undefined {
  if (!half.has(device)) half.set(device, halfFeaturesOf(device));
  return half.get(device);
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

export function limitsOf({limits}: GPUDevice): DeviceLimits {
  const {maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize, maxStorageBufferBindingSize} = limits; // prettier-ignore
  return {
    maxComputeInvocationsPerWorkgroup,
    maxComputeWorkgroupStorageSize,
    maxStorageBufferBindingSize,
    processors: 132,
  };
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

const byReference = (call: BlockCall): tf.Tensor =>
  reference(call.block, call.x as tf.Tensor, namedWeights(call, call.weights as tf.Tensor[]));

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

/**
 * The kernel of `kind` on a WebGPUBackend; the reference where tuning found stock ops faster, and on a backend whose private
 * fields are not those of 4.22.0.
 */
export function webgpuKernel(kind: string): tf.KernelFunc {
  return ({inputs, attrs, backend}) => {
    const call = readCall(kind, inputs, attrs);
    if (!isKnownBackend(backend)) return byReference(call);
    const webgpu = backend as WebGPUBackend;
    const {weights, map} = sortInputs(call);
    const plan = planOf(webgpu, call, weights);
    if (sketched) return sketch(webgpu, plan);
    if (tunedOf(webgpu.device).prefersOps(call.block, call.x.shape)) return byReference(call);
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
  const tuned = tunedOf(backend.device);
  const fused = all.filter(({block, input}) => !tuned.prefersOps(block, input));
  await pipelinesOf(backend.device).prepare(fused.flatMap(({dispatches}) => dispatches), onProgress); // prettier-ignore
}
