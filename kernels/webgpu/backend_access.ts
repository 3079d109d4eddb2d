/**
 * The one place that touches private fields of the TF.js WebGPU backend (4.22.0), for the kernels and for capture. They are
 * looked for before anything else happens: where one is missing, blocks run as their reference and captures run plainly.
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
  readonly pipelineCache: Record<string, unknown>;
  commandEncoder: GPUCommandEncoder | null;
  computePassEncoder: GPUComputePassEncoder | null;
  readonly commandQueueOwnedIds: WeakSet<object>;
  dispatchCountInPass: number;
  readonly activeTimers: {name: string; query: Promise<number>}[] | null | undefined;
  readonly supportTimestampQuery: boolean;
  querySet: GPUQuerySet | null | undefined;
  readonly querySetCount: number;
  ensureCommandEncoderReady(): void;
  endComputePassEncoder(): void;
  submitQueue(): void;
  getQueryTime(): Promise<number>;
}

const METHODS = [
  'ensureCommandEncoderReady',
  'endComputePassEncoder',
  'submitQueue',
  'getQueryTime',
  'getBufferData',
  'read',
  'readSync',
  'makeTensorInfo',
  'uploadToGPU',
  'incRef',
  'disposeData',
];
const FIELDS = [
  'device',
  'queue',
  'tensorMap',
  'bufferManager',
  'pipelineCache',
  'commandEncoder',
  'computePassEncoder',
  'commandQueueOwnedIds',
  'dispatchCountInPass',
  'supportTimestampQuery',
];
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

/** Whether nothing is missing, without a list of what is: kernels ask at every call. */
export function isKnownBackend(backend: object): boolean {
  const fields = backend as Readonly<Record<string, unknown>>;
  const isIn = (owner: string, name: string): boolean =>
    typeof (fields[owner] as Record<string, unknown> | undefined)?.[name] === 'function';
  return (
    METHODS.every((name) => typeof fields[name] === 'function') &&
    FIELDS.every((name) => fields[name] !== undefined) &&
    MEMBER_METHODS.every(([owner, name]) => isIn(owner, name))
  );
}

const open = (backend: WebGPUBackend): PrivateFields => backend as unknown as PrivateFields; // missingFields() has looked.

export interface Recording {
  /** Shown by tf.profile. */
  readonly name: string;
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  readonly workgroups: readonly [number, number, number];
}

/** Records one dispatch into the backend's pass, batched, timed and submitted as the backend does with its own. */
export function recordDispatch(
  backend: WebGPUBackend,
  {name, pipeline, bindGroup, workgroups}: Recording,
): void {
  const fields = open(backend);
  const timing = fields.activeTimers != null;
  fields.ensureCommandEncoderReady();
  if (timing && fields.supportTimestampQuery) openTimedPass(fields);
  fields.computePassEncoder ??= fields.commandEncoder?.beginComputePass() ?? null;
  const pass = fields.computePassEncoder;
  if (!pass) throw new Error('The WebGPU backend has no command encoder; was its device lost?');
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, bindGroup);
  pass.dispatchWorkgroups(...workgroups);
  fields.dispatchCountInPass++;
  if (timing) {
    fields.endComputePassEncoder();
    fields.activeTimers.push({name, query: fields.getQueryTime()});
  } else if (fields.dispatchCountInPass >= tf.env().getNumber('WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE')) {
    fields.endComputePassEncoder();
    fields.submitQueue();
  }
}

/** While a timer is active every dispatch is a pass of its own, between two timestamps. */
function openTimedPass(fields: PrivateFields): void {
  fields.endComputePassEncoder();
  fields.querySet ??= fields.device.createQuerySet({type: 'timestamp', count: fields.querySetCount});
  fields.computePassEncoder =
    fields.commandEncoder?.beginComputePass({
      timestampWrites: {querySet: fields.querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1},
    }) ?? null;
}

/** The tensor's buffer, uploaded if need be, and held until the commands recorded so far are submitted. */
export function bufferOf(backend: WebGPUBackend, {dataId}: tf.TensorInfo): GPUBuffer {
  backend.uploadToGPU(dataId);
  const fields = open(backend);
  fields.commandQueueOwnedIds.add(dataId);
  const resource = fields.tensorMap.get(dataId)?.resource;
  if (!(resource instanceof GPUBuffer))
    throw new Error('A tensor of the WebGPU backend has no buffer on the GPU.');
  return resource;
}

/** The tensor's values where they are in main memory, so that nothing need be read back. */
export function hostValues(backend: WebGPUBackend, {dataId}: tf.TensorInfo): Float32Array | undefined {
  const values = open(backend).tensorMap.get(dataId)?.values;
  return values instanceof Float32Array ? values : undefined;
}

/** One WebGPU backend, opened for capture. */
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
    this.#fields = open(this.backend);
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

  /**
   * Takes the pipelines that TF.js is compiling side by side out of its cache, where it would not bear with unfinished ones, and
   * puts each back when it is done. One that fails is left out: the op that needs it compiles it again and tells.
   */
  async settlePipelines(): Promise<void> {
    const {pipelineCache} = this.#fields;
    const pending = Object.entries(pipelineCache).filter(([, pipeline]) => pipeline instanceof Promise);
    for (const [key] of pending) Reflect.deleteProperty(pipelineCache, key);
    const compiled = await Promise.allSettled(pending.map(([, pipeline]) => pipeline));
    compiled.forEach((result, i) => {
      const [key] = pending[i] ?? [];
      if (key !== undefined && result.status === 'fulfilled') pipelineCache[key] ??= result.value;
    });
  }

  /** Has synchronous reads of values on the GPU throw until the returned function is called. */
  refuseReads(): () => void {
    const {backend} = this;
    const readSync = backend.readSync.bind(backend);
    backend.readSync = (dataId) => {
      const data = this.tensorMap.get(dataId);
      if (data && !data.values && data.resource instanceof GPUBuffer)
        throw new Error('Values on the GPU are not to be read now.');
      return readSync(dataId);
    };
    return () => void Reflect.deleteProperty(backend, 'readSync');
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
