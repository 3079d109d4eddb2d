/** What a recording consists of: plain records of GPU commands and the buffers they touch. */
import type * as tf from '@tensorflow/tfjs-core';
import type {BindingAccess} from '../../kernels/webgpu/observed_device.js';

/**
 * One life of a GPUBuffer: TF.js hands a released buffer to the next tensor of the same size, and each tensor's turn is a
 * life of its own.
 *   weight: existed before the recording    input: holds an input of the function    temporary: made during the recording
 */
export interface RecordedBuffer {
  readonly role: 'weight' | 'input' | 'temporary';
  /** Position among the inputs; -1 for other roles. */
  readonly input: number;
  /** Bytes. */
  readonly size: number;
  /** The buffer of the recorded run. Only a weight's outlives the recording. */
  readonly buffer: GPUBuffer;
}

export interface BufferBinding {
  readonly binding: number;
  readonly access: BindingAccess;
  readonly buffer: RecordedBuffer;
  /** Bytes into the buffer. */
  readonly offset: number;
  readonly size: number;
}

export interface BoundGroup {
  readonly index: number;
  readonly layout: GPUBindGroupLayout;
  readonly bindings: readonly BufferBinding[];
  readonly dynamicOffsets: readonly number[];
}

export interface DispatchCommand {
  readonly kind: 'dispatch';
  /** The pipeline's label: for TF.js the program's class name. */
  readonly name: string;
  readonly pipeline: GPUComputePipeline;
  readonly groups: readonly BoundGroup[];
  readonly workgroups: readonly [number, number, number];
  readonly indirect: {readonly buffer: RecordedBuffer; readonly offset: number} | undefined;
}

export interface CopyCommand {
  readonly kind: 'copy';
  readonly source: RecordedBuffer;
  readonly sourceOffset: number;
  readonly target: RecordedBuffer;
  readonly targetOffset: number;
  readonly size: number;
}

export interface ClearCommand {
  readonly kind: 'clear';
  readonly target: RecordedBuffer;
  readonly offset: number;
  readonly size: number;
}

export interface UploadCommand {
  readonly kind: 'upload';
  readonly target: RecordedBuffer;
  readonly offset: number;
  readonly data: Uint8Array<ArrayBuffer>;
}

export type Command = DispatchCommand | CopyCommand | ClearCommand | UploadCommand;

/** A result of the recorded function: in a buffer, or, where it never depended on the GPU, as values. */
export interface RecordedOutput {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: tf.DataType;
  readonly from:
    | {readonly kind: 'buffer'; readonly buffer: RecordedBuffer}
    | {readonly kind: 'values'; readonly values: tf.TypedArray};
}

export interface Recording {
  readonly commands: readonly Command[];
  readonly outputs: readonly RecordedOutput[];
  /** Tensors that existed before and were used: the weights. */
  readonly weights: readonly RecordedWeight[];
}

export interface RecordedWeight {
  readonly dataId: object;
  readonly buffer: GPUBuffer | undefined;
}

export function readsOf(command: Command): RecordedBuffer[] {
  if (command.kind === 'copy') return [command.source];
  if (command.kind !== 'dispatch') return [];
  const bound = command.groups.flatMap(({bindings}) => bindings);
  const read = bound.filter(({access}) => access === 'read').map(({buffer}) => buffer);
  return command.indirect ? [...read, command.indirect.buffer] : read;
}

export function writesOf(command: Command): RecordedBuffer[] {
  if (command.kind !== 'dispatch') return [command.target];
  const bound = command.groups.flatMap(({bindings}) => bindings);
  return bound.filter(({access}) => access === 'write').map(({buffer}) => buffer);
}
