/** Inputs of a capture: what a caller may pass, and how each kind reaches the GPU. */
import * as tf from '@tensorflow/tfjs-core';
import type {BackendAccess} from '../../kernels/webgpu/backend_access.js';
import type {ImageSource} from './image_input.js';

export type InputDType = 'float32' | 'int32' | 'bool';

export interface InputSpec {
  readonly shape: readonly number[];
  readonly dtype: InputDType;
}

export interface NamedSpec extends InputSpec {
  readonly name: string;
}

/** Values of one input in main memory. */
export interface HostValues extends InputSpec {
  readonly values: tf.TypedArray;
}

/** Numbers in main memory, row-major, as many as the input has elements. */
export type ArrayInput = Float32Array | Int32Array | Uint8Array | Uint8ClampedArray;

/** One input of a prediction. Tensors may be on the GPU or not; a GPUBuffer needs COPY_SRC. */
export type CaptureInput = tf.Tensor | ArrayInput | GPUBuffer | ImageSource;

export const BYTES_PER_ELEMENT = 4;

export const bytesOf = ({shape}: InputSpec): number =>
  Math.max(1, tf.util.sizeFromShape([...shape])) * BYTES_PER_ELEMENT;

export function isArrayInput(value: unknown): value is ArrayInput {
  return (
    value instanceof Float32Array ||
    value instanceof Int32Array ||
    value instanceof Uint8Array ||
    value instanceof Uint8ClampedArray
  );
}

export function isSpec(value: unknown): value is InputSpec {
  return typeof value === 'object' && value !== null && 'shape' in value && !(value instanceof tf.Tensor);
}

/** As the GPU stores them: 4 bytes an element. @throws where the number of elements differs. */
export function gpuValues({name, shape, dtype}: NamedSpec, values: ArrayInput): Float32Array | Int32Array {
  const size = tf.util.sizeFromShape([...shape]);
  if (values.length !== size) {
    throw new Error(
      `Capture: input '${name}' has shape [${shape.join(', ')}], so ${size} elements, but ${values.length} were given. ` +
        'A capture is for one shape; use a CaptureCache where shapes change.',
    );
  }
  if (dtype === 'float32') return values instanceof Float32Array ? values : Float32Array.from(values);
  return values instanceof Int32Array ? values : Int32Array.from(values);
}

/** @throws where shape or dtype differs. */
export function checkTensor({name, shape, dtype}: NamedSpec, tensor: tf.Tensor): void {
  if (tensor.shape.join() !== shape.join()) {
    throw new Error(
      `Capture: input '${name}' was captured with shape [${shape.join(', ')}], but the tensor has [${tensor.shape.join(', ')}]. ` +
        'A capture is for one shape; use a CaptureCache where shapes change.',
    );
  }
  if (tensor.dtype !== dtype) {
    throw new Error(
      `Capture: input '${name}' is ${dtype}, but the tensor is ${tensor.dtype}. Convert it with tf.cast(x, '${dtype}').`,
    );
  }
}

type Encode = (encoder: GPUCommandEncoder) => void;

/** Uploads `tensor` into `target`, or encodes a copy where it is on the GPU already. */
export function writeTensor(
  access: BackendAccess,
  spec: NamedSpec,
  {tensor, target}: {tensor: tf.Tensor; target: GPUBuffer},
): Encode | undefined {
  checkTensor(spec, tensor);
  const written = writeData(access, spec, {tensor, target});
  if (written) return written.copy;
  // On another backend: a kernel of this one makes TF.js move it here.
  const here = tf.clone(tensor);
  try {
    const moved = writeData(access, spec, {tensor: here, target});
    if (!moved) throw new Error(`Capture: the tensor for input '${spec.name}' has no values.`);
    return moved.copy;
  } finally {
    here.dispose();
  }
}

/** Undefined where this backend has neither buffer nor values of the tensor. */
function writeData(
  access: BackendAccess,
  spec: NamedSpec,
  {tensor, target}: {tensor: tf.Tensor; target: GPUBuffer},
): {copy: Encode | undefined} | undefined {
  const source = access.bufferOf(tensor);
  if (source) {
    access.flush(); // The commands that compute it may not be submitted yet.
    return {copy: (encoder) => encoder.copyBufferToBuffer(source, 0, target, 0, bytesOf(spec))};
  }
  const values = access.valuesOf(tensor);
  if (!values) return undefined;
  access.queue.writeBuffer(target, 0, gpuValues(spec, values as ArrayInput) as GPUAllowSharedBufferSource);
  return {copy: undefined};
}

/** A second set of values, to tell what follows from the inputs: the same numbers in reverse, floats scaled too. */
export function variationOf({values, shape, dtype}: HostValues): HostValues {
  const reversed = values.slice().reverse();
  if (dtype !== 'float32') return {values: reversed, shape, dtype};
  return {values: new Float32Array(reversed).map((value, i) => 0.75 * value + (i % 7) * 1e-3), shape, dtype};
}
