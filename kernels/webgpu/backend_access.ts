/**
 * The one place that touches private fields of the TF.js WebGPU backend (4.22.0): recording a dispatch into the compute pass
 * the backend has open. Its own `runWebGPUProgram` makes a uniform buffer per call and cannot take a finished pipeline.
 */
import {env, type TensorInfo} from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';

interface PrivateFields {
  readonly device: GPUDevice;
  commandEncoder: GPUCommandEncoder | null;
  computePassEncoder: GPUComputePassEncoder | null;
  readonly commandQueueOwnedIds: WeakSet<object>;
  dispatchCountInPass: number;
  readonly activeTimers: {name: string; query: Promise<number>}[] | null | undefined;
  readonly supportTimestampQuery: boolean;
  querySet: GPUQuerySet | null | undefined;
  readonly querySetCount: number;
  readonly tensorMap: {get(dataId: object): {resource?: unknown; values?: unknown} | undefined};
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
  'makeTensorInfo',
  'uploadToGPU',
  'disposeData',
];
const FIELDS = [
  'device',
  'commandEncoder',
  'computePassEncoder',
  'commandQueueOwnedIds',
  'dispatchCountInPass',
  'supportTimestampQuery',
  'tensorMap',
];

/** Names of fields this version of the backend lacks; where there are any, the reference must run instead. */
export function missingFields(backend: object): readonly string[] {
  const fields = backend as Readonly<Record<string, unknown>>;
  return [
    ...METHODS.filter((name) => typeof fields[name] !== 'function'),
    ...FIELDS.filter((name) => fields[name] === undefined),
  ];
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
  } else if (fields.dispatchCountInPass >= env().getNumber('WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE')) {
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
export function bufferOf(backend: WebGPUBackend, {dataId}: TensorInfo): GPUBuffer {
  backend.uploadToGPU(dataId);
  const fields = open(backend);
  fields.commandQueueOwnedIds.add(dataId);
  const resource = fields.tensorMap.get(dataId)?.resource;
  if (!(resource instanceof GPUBuffer))
    throw new Error('A tensor of the WebGPU backend has no buffer on the GPU.');
  return resource;
}

/** The tensor's values where they are in main memory, so that nothing need be read back. */
export function hostValues(backend: WebGPUBackend, {dataId}: TensorInfo): Float32Array | undefined {
  const values = open(backend).tensorMap.get(dataId)?.values;
  return values instanceof Float32Array ? values : undefined;
}
