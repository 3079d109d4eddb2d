/** Runs a plan on the TF.js WebGPU backend: scratch buffers, bind groups, dispatches. */
import type * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {keptIn} from '../../ops/kept.js';
import type {BufferName, Dispatch, Plan} from '../plan.js';
import {bufferOf, recordDispatch} from './backend_access.js';
import {bindGroupFor} from './bind_groups.js';
import {boundBuffers, PipelineCache} from './compile.js';

const caches = new WeakMap<GPUDevice, PipelineCache>();

export const pipelinesOf = (device: GPUDevice): PipelineCache =>
  keptIn(caches, device, () => new PipelineCache(device));

/**
 * Records the plan's dispatches into the backend's command queue.
 * @param given x `[N, H, W, C]` of the plan's input shape, weights packed in the plan's layout, and the map of a residual that
 *   is given one.
 * @returns the output, which the caller owns.
 */
export function executePlan(
  backend: WebGPUBackend,
  plan: Plan,
  given: Readonly<{x: tf.TensorInfo; weights: tf.TensorInfo; map?: tf.TensorInfo | undefined}>,
): tf.TensorInfo {
  const out = backend.makeTensorInfo([...plan.output], 'float32');
  const scratch = new Map(
    Object.entries(plan.scratch).map(([name, size]) => [name, backend.makeTensorInfo([size], 'float32')]),
  );
  recordAll(backend, {
    kind: plan.block.kind,
    dispatches: plan.dispatches,
    tensors: {...given, out, ...Object.fromEntries(scratch)},
  });
  // Released for reuse when the commands that read them have been submitted.
  for (const tensor of scratch.values()) backend.disposeData(tensor.dataId);
  return out;
}

/** Dispatches of one op, `kind`, and the tensors that they name. */
export interface Work {
  readonly kind: string;
  readonly dispatches: readonly Dispatch[];
  readonly tensors: Readonly<Partial<Record<BufferName, tf.TensorInfo | undefined>>>;
}

/** Records dispatches into the backend's command queue. */
export function recordAll(backend: WebGPUBackend, {kind, dispatches, tensors}: Work): void {
  const bufferNamed = (name: BufferName): GPUBuffer => {
    const tensor = tensors[name];
    if (!tensor) throw new Error(`${kind} has no buffer '${name}'.`);
    return bufferOf(backend, tensor);
  };
  for (const dispatch of dispatches) record(backend, kind, dispatch, bufferNamed);
}

function record(
  backend: WebGPUBackend,
  kind: string,
  dispatch: Dispatch,
  bufferNamed: (name: BufferName) => GPUBuffer,
): void {
  const {device} = backend;
  const {pipeline, layout} = pipelinesOf(device).get(dispatch);
  const bindings = boundBuffers(dispatch);
  const buffers = bindings.map(({buffer}) => bufferNamed(buffer));
  const bindGroup = bindGroupFor(device, dispatch, {layout, bindings, buffers});
  recordDispatch(backend, {
    name: `${kind}.${dispatch.kernel}`,
    pipeline,
    bindGroup,
    workgroups: dispatch.workgroups,
  });
}
