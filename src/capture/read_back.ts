/** Reading several buffers of the GPU with one copy list, one staging buffer and one mapping. */
import * as tf from '@tensorflow/tfjs-core';
import type {BackendAccess} from '../../kernels/webgpu/backend_access.js';
import type {Location} from './constants.js';
import {BYTES_PER_ELEMENT} from './values.js';

export interface Readable {
  readonly shape: readonly number[];
  readonly dtype: tf.DataType;
}

export interface ReadLayout {
  readonly offsets: readonly number[];
  readonly sizes: readonly number[];
  /** Bytes of the staging buffer. */
  readonly total: number;
}

export function readLayout(readables: readonly Readable[]): ReadLayout {
  const sizes = readables.map(({shape}) => tf.util.sizeFromShape([...shape]) * BYTES_PER_ELEMENT);
  let total = 0;
  const offsets = sizes.map((size) => {
    const offset = total;
    total += Math.ceil(size / 8) * 8; // mapped ranges start at multiples of 8
    return offset;
  });
  return {offsets, sizes, total: Math.max(total, 8)};
}

export function createStaging(device: GPUDevice, size: number): GPUBuffer {
  const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
  return device.createBuffer({label: 'capture read-back', size, usage});
}

export function copyToStaging(
  encoder: GPUCommandEncoder,
  staging: GPUBuffer,
  {locations, layout}: {locations: readonly (Location | undefined)[]; layout: ReadLayout},
): void {
  locations.forEach((location, i) => {
    const size = layout.sizes[i] ?? 0;
    if (!location || size === 0) return;
    encoder.copyBufferToBuffer(location.buffer, location.offset, staging, layout.offsets[i] ?? 0, size);
  });
}

/** The typed arrays that `tensor.data()` would give. Leaves the staging buffer unmapped. */
export async function mapStaging(
  staging: GPUBuffer,
  readables: readonly Readable[],
  {offsets, sizes}: ReadLayout,
): Promise<tf.TypedArray[]> {
  await staging.mapAsync(GPUMapMode.READ);
  try {
    const bytes = staging.getMappedRange();
    return readables.map(({dtype}, i) => {
      const start = offsets[i] ?? 0;
      const values = bytes.slice(start, start + (sizes[i] ?? 0));
      return tf.util.convertBackendValuesAndArrayBuffer(values, dtype) as tf.TypedArray; // strings are never captured
    });
  } finally {
    staging.unmap();
  }
}

/** All tensors' values, with one mapping for those on the GPU. */
export async function readTensors(
  access: BackendAccess,
  tensors: readonly tf.Tensor[],
): Promise<tf.TypedArray[]> {
  const buffers = tensors.map((tensor) => access.bufferOf(tensor));
  if (tensors.some((tensor, i) => !buffers[i] || access.valuesOf(tensor) !== undefined)) {
    return Promise.all(tensors.map((tensor) => tensor.data()));
  }
  const locations = buffers.map((buffer) => buffer && {buffer, offset: 0});
  return readLocations(access, tensors, locations);
}

export async function readLocations(
  access: BackendAccess,
  readables: readonly Readable[],
  locations: readonly (Location | undefined)[],
): Promise<tf.TypedArray[]> {
  const layout = readLayout(readables);
  const staging = createStaging(access.device, layout.total);
  access.flush();
  const encoder = access.device.createCommandEncoder();
  copyToStaging(encoder, staging, {locations, layout});
  access.queue.submit([encoder.finish()]);
  try {
    return await mapStaging(staging, readables, layout);
  } finally {
    staging.destroy();
  }
}
