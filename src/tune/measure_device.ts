/** The figures of the current WebGPU device that estimates need, measured once. */
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import * as tf from '@tensorflow/tfjs-core';
import type {DeviceModel} from '../../kernels/webgpu/device_model.js';
import {limitsOf, missingFields} from '../../kernels/webgpu/index.js';
import {measurePeaks} from '../profile/peaks.js';
import {GpuClock} from './gpu_clock.js';

/** Each dispatch reads what the one before it wrote. */
const CHAIN_SHADER = /* wgsl */ `
@group(0) @binding(0) var<storage, read_write> value: array<f32>;
@compute @workgroup_size(1) fn main() { value[0] = value[0] * 0.5 + 1.0; }`;

const measured = new WeakMap<GPUDevice, DeviceModel>();

/** @throws where the current backend is not TF.js's WebGPU; `caller` is named in the message. */
export function currentWebGPU(caller: string): WebGPUBackend {
  const backend = tf.backend();
  if (tf.getBackend() !== 'webgpu' || missingFields(backend).length > 0) {
    throw new Error(
      `${caller}: the current backend is '${tf.getBackend()}', but only the WebGPU backend has plans; call tf.setBackend('webgpu') first.`,
    );
  }
  return backend as WebGPUBackend;
}

/** Takes a second or two at the first call for a device. */
export async function measureDevice({device}: WebGPUBackend): Promise<DeviceModel> {
  const known = measured.get(device);
  if (known) return known;
  const peaks = await measurePeaks();
  if (!peaks) throw new Error('measureDevice: the WebGPU backend is gone; was another one set meanwhile?');
  const info = device.adapterInfo as GPUAdapterInfo | undefined; // Older browsers do not tell.
  const model: DeviceModel = {
    name: info?.description || `${info?.vendor ?? ''} ${info?.architecture ?? ''}`.trim() || 'unknown GPU',
    operationsPerSecond: peaks.operationsPerSecond,
    bytesPerSecond: peaks.bytesPerSecond,
    launchMicroseconds: await launchOf(device),
    limits: limitsOf(device),
  };
  measured.set(device, model);
  return model;
}

async function launchOf(device: GPUDevice): Promise<number> {
  const module = device.createShaderModule({label: 'launch', code: CHAIN_SHADER});
  const compute = {module, entryPoint: 'main'};
  const pipeline = await device.createComputePipelineAsync({label: 'launch', layout: 'auto', compute});
  const buffer = device.createBuffer({size: 16, usage: GPUBufferUsage.STORAGE});
  const entries = [{binding: 0, resource: {buffer}}];
  const group = device.createBindGroup({layout: pipeline.getBindGroupLayout(0), entries});
  const step = {kind: 'dispatch', pipeline, groups: [group], workgroups: [1, 1, 1]} as const;
  const clock = new GpuClock(device);
  try {
    return (await clock.microseconds(Array.from({length: 16}, () => step))) / 16;
  } finally {
    clock.destroy();
    buffer.destroy();
  }
}
