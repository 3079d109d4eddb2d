/** The two ways to run a block, ready to be timed on buffers of their own: as planned, and as stock ops by its reference. */
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import * as tf from '@tensorflow/tfjs-core';
import type {Dispatch, Plan} from '../../kernels/plan.js';
import {boundBuffers, type PipelineCache} from '../../kernels/webgpu/compile.js';
import {observeDevice} from '../../kernels/webgpu/observed_device.js';
import {type Block, reference, traceBlock} from '../../ops/index.js';
import {BackendAccess} from '../../kernels/webgpu/backend_access.js';
import type {Command, DispatchCommand, RecordedBuffer} from '../capture/commands.js';
import {record} from '../capture/record.js';
import type {TimedDispatch, TimedStep} from './gpu_clock.js';
import type {ScratchBuffers} from './scratch_buffers.js';

const product = (shape: readonly number[]): number => shape.reduce((all, size) => all * size, 1);

/** Bytes of each buffer that the plans name, enough for every one of them. */
export function bufferSizes(plans: readonly Plan[]): ReadonlyMap<string, number> {
  const largest = new Map<string, number>();
  for (const {input, output, weights, scratch} of plans) {
    // A residual's map has the shape it is added to, which is the output's.
    const sizes = {x: product(input), map: product(output), out: product(output), weights: weights.size};
    for (const [name, elements] of Object.entries({...sizes, ...scratch}))
      largest.set(name, Math.max(largest.get(name) ?? 0, 4 * elements));
  }
  return largest;
}

/** What plans are timed with: pipelines that are compiled, and buffers of the sizes of `bufferSizes`. */
export interface Bench {
  readonly device: GPUDevice;
  readonly pipelines: PipelineCache;
  readonly buffers: ScratchBuffers;
  readonly sizes: ReadonlyMap<string, number>;
  /** What `sizes` and `buffers` call the weights, where plans have their own. */
  readonly weights?: string | undefined;
}

export function stepOf(
  dispatch: Dispatch,
  {device, pipelines, buffers, sizes, weights = 'weights'}: Bench,
): TimedDispatch {
  const {pipeline, layout} = pipelines.get(dispatch);
  const entries = boundBuffers(dispatch).map(({binding, buffer}) => {
    const name = buffer === 'weights' ? weights : buffer;
    return {binding, resource: {buffer: buffers.get(name, sizes.get(name) ?? 16)}};
  });
  const group = device.createBindGroup({layout, entries});
  return {kind: 'dispatch', pipeline, groups: [group], workgroups: dispatch.workgroups};
}

/**
 * Runs the block's reference on the backend, writes its commands down, and binds them to `buffers`.
 * @returns undefined where the reference does something that cannot be repeated.
 */
export async function referenceSteps(
  backend: WebGPUBackend,
  block: Block,
  input: readonly number[],
  buffers: ScratchBuffers,
): Promise<readonly TimedStep[] | undefined> {
  observeDevice(backend.device);
  // Only what runs matters here; it is timed on other buffers.
  const weights = Object.fromEntries(
    traceBlock(block, input).weights.map(({name, shape}) => [name, tf.zeros([...shape])]),
  );
  try {
    const access = new BackendAccess(backend);
    for (const {dataId} of Object.values(weights)) backend.uploadToGPU(dataId);
    access.flush();
    const x = {values: new Float32Array(product(input)), shape: input, dtype: 'float32'} as const;
    const run = ([own]: readonly tf.Tensor[]): {name: string; tensor: tf.Tensor}[] => [
      {name: 'out', tensor: reference(block, own as tf.Tensor, weights)}, // One input goes in.
    ];
    const outcome = await record(access, {run}, [x]);
    if (outcome.kind !== 'recording') return undefined;
    return bindCommands(backend.device, outcome.recording.commands, buffers);
  } finally {
    tf.dispose(weights);
  }
}

/**
 * Every life of a buffer gets a buffer of its own. What is uploaded stays, as a capture keeps it: uniforms and constants are
 * written once and not timed. Undefined where a command is no dispatch, copy or upload.
 */
function bindCommands(
  device: GPUDevice,
  commands: readonly Command[],
  buffers: ScratchBuffers,
): readonly TimedStep[] | undefined {
  const bufferOf = (life: RecordedBuffer): GPUBuffer => buffers.get(life, life.size);
  const uploaded = new Set<RecordedBuffer>();
  const steps: TimedStep[] = [];
  for (const command of commands) {
    if (command.kind === 'upload') {
      uploaded.add(command.target);
      device.queue.writeBuffer(bufferOf(command.target), command.offset, command.data);
    } else if (command.kind === 'copy') {
      const [source, target] = [bufferOf(command.source), bufferOf(command.target)];
      if (!uploaded.has(command.source)) {
        steps.push({kind: 'copy', source, target, size: command.size});
        continue;
      }
      uploaded.add(command.target);
      const encoder = device.createCommandEncoder();
      encoder.copyBufferToBuffer(source, command.sourceOffset, target, command.targetOffset, command.size);
      device.queue.submit([encoder.finish()]);
    } else if (command.kind === 'dispatch' && !command.indirect) {
      steps.push(bindDispatch(device, command, bufferOf));
    } else return undefined;
  }
  return steps;
}

function bindDispatch(
  device: GPUDevice,
  {pipeline, groups, workgroups}: DispatchCommand,
  bufferOf: (life: RecordedBuffer) => GPUBuffer,
): TimedDispatch {
  const bound = [...groups]
    .sort((a, b) => a.index - b.index)
    .map(({layout, bindings}) =>
      device.createBindGroup({
        layout,
        entries: bindings.map(({binding, buffer, offset, size}) => ({
          binding,
          resource: {buffer: bufferOf(buffer), offset, size},
        })),
      }),
    );
  return {kind: 'dispatch', pipeline, groups: bound, workgroups};
}
