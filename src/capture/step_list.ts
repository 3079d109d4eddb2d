/** Recorded commands bound to buffers of the capture's own, ready to be encoded as often as wanted. */
import type {Command, DispatchCommand, RecordedBuffer, UploadCommand} from './commands.js';
import type {Location} from './constants.js';

export interface Locator {
  locate(buffer: RecordedBuffer): Location;
  locateUpload(command: UploadCommand): Location;
}

interface ReadyDispatch {
  readonly kind: 'dispatch';
  readonly pipeline: GPUComputePipeline;
  readonly groups: readonly ReadyGroup[];
  readonly x: number;
  readonly y: number;
  readonly z: number;
  readonly indirect: Location | undefined;
}

interface ReadyGroup {
  readonly index: number;
  readonly group: GPUBindGroup;
  readonly dynamicOffsets: readonly number[];
}

interface ReadyCopy {
  readonly kind: 'copy';
  readonly source: Location;
  readonly target: Location;
  readonly size: number;
}

interface ReadyClear {
  readonly kind: 'clear';
  readonly target: Location;
  readonly size: number;
}

type ReadyStep = ReadyDispatch | ReadyCopy | ReadyClear;

export class StepList {
  readonly #steps: readonly ReadyStep[];
  readonly dispatches: number;

  constructor(device: GPUDevice, commands: readonly Command[], locator: Locator) {
    this.#steps = commands.map((command) => readyStep(device, command, locator));
    this.dispatches = commands.filter(({kind}) => kind === 'dispatch').length;
  }

  /**
   * One compute pass, interrupted only where a copy or a clear must happen between dispatches. Written for speed: at batch 1
   * this loop is most of what a prediction costs in JavaScript.
   */
  encode(encoder: GPUCommandEncoder): void {
    let pass: GPUComputePassEncoder | undefined;
    let pipeline: GPUComputePipeline | undefined;
    for (const step of this.#steps) {
      if (step.kind !== 'dispatch') {
        pass?.end();
        pass = undefined;
        pipeline = undefined;
        encodeTransfer(encoder, step);
        continue;
      }
      pass ??= encoder.beginComputePass();
      if (step.pipeline !== pipeline) {
        pipeline = step.pipeline;
        pass.setPipeline(pipeline);
      }
      for (const {index, group, dynamicOffsets} of step.groups) {
        // Left out, not undefined: as soon as V8 has optimized this loop, Chromium 156 refuses undefined as a sequence.
        if (dynamicOffsets.length === 0) pass.setBindGroup(index, group);
        else pass.setBindGroup(index, group, dynamicOffsets);
      }
      if (step.indirect) pass.dispatchWorkgroupsIndirect(step.indirect.buffer, step.indirect.offset);
      else pass.dispatchWorkgroups(step.x, step.y, step.z);
    }
    pass?.end();
  }
}

function encodeTransfer(encoder: GPUCommandEncoder, step: ReadyCopy | ReadyClear): void {
  const {target, size} = step;
  if (step.kind === 'clear') encoder.clearBuffer(target.buffer, target.offset, size);
  else encoder.copyBufferToBuffer(step.source.buffer, step.source.offset, target.buffer, target.offset, size);
}

const shifted = ({buffer, offset}: Location, by: number): Location => ({buffer, offset: offset + by});

function readyStep(device: GPUDevice, command: Command, locator: Locator): ReadyStep {
  switch (command.kind) {
    case 'dispatch':
      return readyDispatch(device, command, locator);
    case 'copy':
      return {
        kind: 'copy',
        source: shifted(locator.locate(command.source), command.sourceOffset),
        target: shifted(locator.locate(command.target), command.targetOffset),
        size: command.size,
      };
    case 'clear':
      return {
        kind: 'clear',
        target: shifted(locator.locate(command.target), command.offset),
        size: command.size,
      };
    case 'upload':
      return {
        kind: 'copy',
        source: locator.locateUpload(command),
        target: shifted(locator.locate(command.target), command.offset),
        size: command.data.length,
      };
  }
}

function readyDispatch(device: GPUDevice, command: DispatchCommand, locator: Locator): ReadyDispatch {
  const {pipeline, groups, workgroups, indirect, name} = command;
  const ready = groups.map(({index, layout, bindings, dynamicOffsets}): ReadyGroup => {
    const entries = bindings.map(({binding, buffer, offset, size}) => ({
      binding,
      resource: {...shifted(locator.locate(buffer), offset), size},
    }));
    return {index, group: device.createBindGroup({label: name, layout, entries}), dynamicOffsets};
  });
  const [x, y, z] = workgroups;
  const at = indirect && shifted(locator.locate(indirect.buffer), indirect.offset);
  return {kind: 'dispatch', pipeline, groups: ready, x, y, z, indirect: at};
}
