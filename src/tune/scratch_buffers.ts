/** Buffers for measurements, filled with random numbers: a GPU runs faster on zeros. Knows no plan. */
import {seededRandom} from '../profile/statistics.js';

const BLOCK_BYTES = 1 << 18;

export class ScratchBuffers {
  readonly #device: GPUDevice;
  readonly #noise: Float32Array<ArrayBuffer>;
  readonly #buffers = new Map<unknown, GPUBuffer>();

  constructor(device: GPUDevice) {
    this.#device = device;
    const random = seededRandom(1);
    this.#noise = Float32Array.from({length: BLOCK_BYTES / 4}, () => 0.2 * (random() - 0.5));
  }

  /** The buffer of `key`, made at the first call. */
  get(key: unknown, bytes: number): GPUBuffer {
    let buffer = this.#buffers.get(key);
    if (!buffer) this.#buffers.set(key, (buffer = this.#make(Math.max(16, Math.ceil(bytes / 4) * 4))));
    return buffer;
  }

  destroy(): void {
    for (const buffer of this.#buffers.values()) buffer.destroy();
    this.#buffers.clear();
  }

  /** The first block comes from the host, the rest is copied from it on the GPU. */
  #make(size: number): GPUBuffer {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST | GPUBufferUsage.UNIFORM; // prettier-ignore
    const buffer = this.#device.createBuffer({size, usage});
    const {queue} = this.#device;
    queue.writeBuffer(buffer, 0, this.#noise, 0, Math.min(size, BLOCK_BYTES) / 4);
    if (size <= BLOCK_BYTES) return buffer;
    // WebGPU copies within one buffer only by way of another.
    const between = this.#device.createBuffer({size: BLOCK_BYTES, usage: GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST}); // prettier-ignore
    const encoder = this.#device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, 0, between, 0, BLOCK_BYTES);
    for (let at = BLOCK_BYTES; at < size; at += BLOCK_BYTES)
      encoder.copyBufferToBuffer(between, 0, buffer, at, Math.min(BLOCK_BYTES, size - at));
    queue.submit([encoder.finish()]);
    between.destroy();
    return buffer;
  }
}
