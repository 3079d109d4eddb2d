/**
 * The one file of the capture that touches private fields of the TF.js WebGPU backend (4.22.0). They are looked for before
 * anything else happens; where one is missing, the model runs plainly.
 */
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';

/** What the backend stores for a tensor: values in main memory, or a resource on the GPU. */
export interface TensorData {
  values: tf.BackendValues | null | undefined;
  readonly dtype: tf.DataType;
  readonly shape: readonly number[];
  resource?: unknown;
}

export interface TensorStore {
  get(dataId: object): TensorData | undefined;
  has(dataId: object): boolean;
}

export interface BufferPool {
  acquireBuffer(size: number, usage: number, mappedAtCreation?: boolean, reuse?: boolean): GPUBuffer;
}

interface PrivateFields {
  readonly device: GPUDevice;
  readonly queue: GPUQueue;
  readonly tensorMap: TensorStore;
  readonly bufferManager: BufferPool;
  readonly pipelineCache: Readonly<Record<string, unknown>>;
  readonly commandEncoder: GPUCommandEncoder | null;
  endComputePassEncoder(): void;
  submitQueue(): void;
}

const METHODS = [
  'endComputePassEncoder',
  'submitQueue',
  'getBufferData',
  'read',
  'readSync',
  'makeTensorInfo',
  'uploadToGPU',
  'incRef',
  'disposeData',
];
const FIELDS = ['device', 'queue', 'tensorMap', 'bufferManager', 'pipelineCache', 'commandEncoder'];
const MEMBER_METHODS = [
  ['tensorMap', 'get'],
  ['tensorMap', 'has'],
  ['bufferManager', 'acquireBuffer'],
] as const;

/** Names of the fields that `backend` lacks; empty for 4.22.0. */
export function missingFields(backend: object): readonly string[] {
  const fields = backend as Readonly<Record<string, unknown>>;
  const isFunction = (value: unknown): boolean => typeof value === 'function';
  return [
    ...METHODS.filter((name) => !isFunction(fields[name])),
    ...FIELDS.filter((name) => fields[name] === undefined),
    ...MEMBER_METHODS.filter(
      ([owner, name]) => !isFunction((fields[owner] as Record<string, unknown> | undefined)?.[name]),
    ).map((path) => path.join('.')),
  ];
}

export const TENSOR_USAGE = 0x80 | 0x4 | 0x8; // STORAGE | COPY_SRC | COPY_DST, as TF.js makes its own

/** One WebGPU backend, opened. */
export class BackendAccess {
  readonly backend: WebGPUBackend;
  readonly device: GPUDevice;
  readonly queue: GPUQueue;
  readonly tensorMap: TensorStore;
  readonly bufferManager: BufferPool;
  readonly #fields: PrivateFields;

  /** @throws where a field is missing; ask `missingFields` first. */
  constructor(backend: tf.KernelBackend) {
    const missing = missingFields(backend);
    if (missing.length > 0) {
      throw new Error(
        `This backend is not the WebGPU backend of TF.js 4.22.0: it lacks ${missing.join(', ')}. ` +
          "Call tf.setBackend('webgpu') with @tensorflow/tfjs-backend-webgpu 4.22.0.",
      );
    }
    this.backend = backend as unknown as WebGPUBackend;
    this.#fields = backend as unknown as PrivateFields; // missingFields() has looked.
    this.device = this.#fields.device;
    this.queue = this.#fields.queue;
    this.tensorMap = this.#fields.tensorMap;
    this.bufferManager = this.#fields.bufferManager;
  }

  /** Submits the commands that the backend has recorded and not submitted yet. */
  flush(): void {
    if (!this.#fields.commandEncoder) return;
    this.#fields.endComputePassEncoder();
    this.#fields.submitQueue();
  }

  /** Pipelines that TF.js compiled: their binding 0 is the result, all others are read. */
  stockPipelines(): ReadonlySet<unknown> {
    return new Set(Object.values(this.#fields.pipelineCache));
  }

  /** The tensor's buffer, undefined where its data is in main memory, a texture, or on another backend. */
  bufferOf({dataId}: tf.TensorInfo): GPUBuffer | undefined {
    const resource = this.tensorMap.has(dataId) ? this.tensorMap.get(dataId)?.resource : undefined;
    return resource instanceof GPUBuffer ? resource : undefined;
  }

  /** The tensor's values where they are in main memory. */
  valuesOf({dataId}: tf.TensorInfo): tf.BackendValues | undefined {
    return (this.tensorMap.has(dataId) ? this.tensorMap.get(dataId)?.values : undefined) ?? undefined;
  }

  /** A tensor on a buffer of the backend's pool, whose content the caller must write. */
  makeTensor(shape: readonly number[], dtype: tf.DataType): {tensor: tf.Tensor; buffer: GPUBuffer} {
    const info = this.backend.makeTensorInfo([...shape], dtype);
    const tensor = tf.engine().makeTensorFromTensorInfo(info, this.backend);
    this.backend.uploadToGPU(info.dataId);
    const buffer = this.bufferOf(info);
    if (!buffer) throw new Error('The WebGPU backend gave a new tensor no buffer. Was its device lost?');
    return {tensor, buffer};
  }

  /** Keeps the data of a tensor alive although its owner may dispose it. Undone by `unpin`. */
  pin(dataId: object): void {
    this.backend.incRef(dataId);
  }

  unpin(dataId: object): void {
    if (!this.tensorMap.has(dataId)) return;
    const engine = tf.engine();
    const isTracked = engine.state.tensorInfo.has(dataId);
    if (this.backend.disposeData(dataId) && isTracked) engine.removeDataId(dataId, this.backend);
  }
}
