/** The loop that encodes a prediction, run as often as in use: engines check the arguments of what they have optimized by other code. */
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import * as tf from '@tensorflow/tfjs-core';
import type {DispatchCommand, RecordedBuffer} from '../../src/capture/commands.js';
import {type Locator, StepList} from '../../src/capture/step_list.js';
import {onBackend} from '../support/environment.js';

const DISPATCHES = 150;
const PREDICTIONS = 2000;

onBackend('webgpu', 'the steps of a capture', () => {
  it('are encoded many thousand times without an error', async () => {
    const {device} = tf.backend() as WebGPUBackend;
    const code =
      '@group(0) @binding(0) var<storage, read_write> x: array<f32>;' +
      '@compute @workgroup_size(1) fn main() { x[0] += 1.0; }';
    const pipeline = await device.createComputePipelineAsync({
      layout: 'auto',
      compute: {module: device.createShaderModule({code}), entryPoint: 'main'},
    });
    const buffer = device.createBuffer({size: 4, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC});
    const recorded: RecordedBuffer = {role: 'weight', input: -1, size: 4, buffer};
    const command: DispatchCommand = {
      kind: 'dispatch',
      name: 'count',
      pipeline,
      groups: [
        {
          index: 0,
          layout: pipeline.getBindGroupLayout(0),
          bindings: [{binding: 0, buffer: recorded, access: 'write', offset: 0, size: 4}],
          dynamicOffsets: [],
        },
      ],
      workgroups: [1, 1, 1],
      indirect: undefined,
    };
    const locator: Locator = {
      locate: () => ({buffer, offset: 0}),
      locateUpload: () => ({buffer, offset: 0}),
    };
    const steps = new StepList(device, Array<DispatchCommand>(DISPATCHES).fill(command), locator);
    for (let prediction = 0; prediction < PREDICTIONS; prediction++) {
      const encoder = device.createCommandEncoder();
      steps.encode(encoder);
      const last = prediction === PREDICTIONS - 1;
      const commands = encoder.finish();
      if (last) device.queue.submit([commands]);
    }
    const staging = device.createBuffer({size: 4, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST});
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, 0, staging, 0, 4);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    expect(new Float32Array(staging.getMappedRange())[0]).toBe(DISPATCHES);
    staging.destroy();
    buffer.destroy();
  });
});
