/** What a capture holds of the model's weights: on the GPU against their disposal, in main memory against a lost device. */
import * as tf from '@tensorflow/tfjs-core';
import type {BackendAccess} from '../../kernels/webgpu/backend_access.js';
import type {RecordedWeight} from './commands.js';
import {readLocations} from './read_back.js';

export interface KeptWeights {
  /** On the GPU. */
  readonly bytes: number;
  /** Gives the tensors of the lost backend their values back, so that TF.js moves them to the next one at first use. */
  restore(): void;
  /** The model's owner alone decides about the weights from now on. */
  release(): void;
}

export interface KeepRequest {
  /** Weights that the recorded commands use. */
  readonly recorded: readonly RecordedWeight[];
  /** All tensors of the model. */
  readonly owned: readonly tf.Tensor[];
  /** Whether to copy them into main memory. */
  readonly copy: boolean;
}

/** Shared by all captures of a model. What a tensor holds never changes. */
const knownCopies = new WeakMap<object, WeakRef<tf.TypedArray>>();

/** Staging memory for one read; more than one is needed for large models only. */
const BYTES_AT_ONCE = 64 * 2 ** 20;

export async function keepWeights(
  access: BackendAccess,
  {recorded, owned, copy}: KeepRequest,
): Promise<KeptWeights> {
  for (const {dataId} of recorded) access.pin(dataId);
  let isReleased = false;
  const release = (): void => {
    if (isReleased) return;
    isReleased = true;
    for (const {dataId} of recorded) access.unpin(dataId);
  };
  const dataIds = new Set([...recorded, ...owned].map(({dataId}) => dataId));
  let copies = new Map<object, tf.TypedArray>();
  try {
    if (copy) copies = await copyWeights(access, [...dataIds]);
  } catch (error) {
    release();
    throw error;
  }
  return {
    bytes: recorded.reduce((total, {buffer}) => total + (buffer?.size ?? 0), 0),
    restore: () => {
      for (const [dataId, values] of copies) {
        const data = access.tensorMap.has(dataId) ? access.tensorMap.get(dataId) : undefined;
        if (data) data.values ??= values;
      }
    },
    release,
  };
}

async function copyWeights(
  access: BackendAccess,
  dataIds: readonly object[],
): Promise<Map<object, tf.TypedArray>> {
  const copies = new Map<object, tf.TypedArray>();
  const onGPU = dataIds.flatMap((dataId) => {
    const known = knownCopies.get(dataId)?.deref();
    if (known) copies.set(dataId, known);
    if (known) return [];
    const data = access.tensorMap.has(dataId) ? access.tensorMap.get(dataId) : undefined;
    if (!data || data.values || !(data.resource instanceof GPUBuffer)) return [];
    const {dtype, shape, resource} = data;
    return [{dataId, dtype, shape, buffer: resource}];
  });
  while (onGPU.length > 0) {
    let bytes = 0;
    const end = onGPU.findIndex(({buffer}, i) => (bytes += buffer.size) > BYTES_AT_ONCE && i > 0);
    const batch = onGPU.splice(0, end < 0 ? onGPU.length : end);
    const values = await readLocations(
      access,
      batch,
      batch.map(({buffer}) => ({buffer, offset: 0})),
    );
    batch.forEach(({dataId}, i) => {
      const array = values[i];
      if (!array) return;
      copies.set(dataId, array);
      knownCopies.set(dataId, new WeakRef(array));
    });
  }
  return copies;
}

/** TF.js's own priority for the WebGPU backend. */
const PRIORITY = 3;

/** Starts a new backend from the lost one's factory, unless the caller has made another one current. */
export async function restartBackend({backend}: BackendAccess): Promise<void> {
  if (tf.backend() !== backend) return;
  const name = tf.getBackend();
  const factory = tf.findBackendFactory(name) as ReturnType<typeof tf.findBackendFactory> | undefined;
  if (!factory)
    throw new Error(`Capture: TF.js has no factory for '${name}'. Register a new backend, then recover().`);
  tf.removeBackend(name);
  tf.registerBackend(name, factory, PRIORITY);
  if (!(await tf.setBackend(name))) {
    throw new Error(`Capture: no new '${name}' backend could be started after the device was lost.`);
  }
}
