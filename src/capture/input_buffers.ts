/** The input buffers of a capture, and the ways into them. */
import * as tf from '@tensorflow/tfjs-core';
import type {BackendAccess} from '../../kernels/webgpu/backend_access.js';
import {checkImage, ImageInput, type ImageOptions} from './image_input.js';
import {bytesOf, type CaptureInput, gpuValues, isArrayInput, type NamedSpec, writeTensor} from './values.js';

/** What still has to be encoded before the steps. */
export interface StagedInputs {
  readonly copies: readonly ((encoder: GPUCommandEncoder) => void)[];
  readonly dispatches: readonly ((pass: GPUComputePassEncoder) => void)[];
  /** Names of inputs that are GPUBuffers of the caller's, of which nobody knows whether they can be copied. */
  readonly foreign: readonly string[];
}

/**
 * One buffer per input is enough for any number of predictions in flight: the queue runs its work in order, so the next
 * upload waits on the GPU, not in JavaScript, until the prediction before it has read its input.
 */
export class InputBuffers {
  readonly #access: BackendAccess;
  readonly #specs: readonly NamedSpec[];
  readonly #buffers: readonly GPUBuffer[];
  readonly #image: ImageOptions;
  readonly #images = new Map<number, ImageInput>();

  constructor(access: BackendAccess, specs: readonly NamedSpec[], image: ImageOptions) {
    this.#access = access;
    this.#specs = specs;
    this.#image = image;
    const {STORAGE, UNIFORM, COPY_SRC, COPY_DST} = GPUBufferUsage;
    const usage = STORAGE | UNIFORM | COPY_SRC | COPY_DST;
    this.#buffers = specs.map((spec) =>
      access.device.createBuffer({label: `capture input ${spec.name}`, size: bytesOf(spec), usage}),
    );
  }

  bufferAt(index: number): GPUBuffer {
    const buffer = this.#buffers[index];
    if (!buffer) throw new Error(`The capture has no input ${index}.`);
    return buffer;
  }

  /** @throws where the number of inputs, a shape or a dtype differs from what was captured; nothing is submitted then. */
  write(inputs: readonly CaptureInput[]): StagedInputs {
    if (inputs.length !== this.#specs.length) {
      throw new Error(`Capture: ${this.#specs.length} inputs were captured, but ${inputs.length} are given.`);
    }
    const copies: ((encoder: GPUCommandEncoder) => void)[] = [];
    const dispatches: ((pass: GPUComputePassEncoder) => void)[] = [];
    const foreign: string[] = [];
    this.#specs.forEach((spec, i) => {
      const input = inputs[i] as CaptureInput; // The length was compared above.
      const target = this.bufferAt(i);
      if (isArrayInput(input)) {
        this.#access.queue.writeBuffer(target, 0, gpuValues(spec, input) as GPUAllowSharedBufferSource);
      } else if (input instanceof tf.Tensor) {
        const copy = writeTensor(this.#access, spec, {tensor: input, target});
        if (copy) copies.push(copy);
      } else if (input instanceof GPUBuffer) {
        copies.push(bufferCopy(spec, input, target));
        foreign.push(spec.name);
      } else {
        checkImage(spec, input); // before its spec is blamed
        dispatches.push(this.#imageInput(i, spec).stage(input));
      }
    });
    return {copies, dispatches, foreign};
  }

  destroy(): void {
    for (const image of this.#images.values()) image.destroy();
    for (const buffer of this.#buffers) buffer.destroy();
  }

  #imageInput(index: number, spec: NamedSpec): ImageInput {
    const target = this.bufferAt(index);
    const image =
      this.#images.get(index) ?? new ImageInput(this.#access.device, spec, {target, options: this.#image});
    this.#images.set(index, image);
    return image;
  }
}

/** Encodes a copy of the caller's buffer. @throws where its size or usage does not allow one. */
export function bufferCopy(
  spec: NamedSpec,
  source: GPUBuffer,
  target: GPUBuffer,
): (encoder: GPUCommandEncoder) => void {
  const size = bytesOf(spec);
  if (source.size < size || (source.usage & GPUBufferUsage.COPY_SRC) === 0) {
    throw new Error(
      `Capture: the GPUBuffer for input '${spec.name}' has ${source.size} bytes and usage ${source.usage}; ` +
        `it needs ${size} bytes ([${spec.shape.join(', ')}], 4 bytes an element) and COPY_SRC (${GPUBufferUsage.COPY_SRC}).`,
    );
  }
  return (encoder) => encoder.copyBufferToBuffer(source, 0, target, 0, size);
}
