/** Inputs of a prediction as tensors, for models that run plainly, on whatever backend. */
import * as tf from '@tensorflow/tfjs-core';
import type {BackendAccess} from '../../kernels/webgpu/backend_access.js';
import {checkImage, type ImageOptions, type ImageSource, isPixelData, type PixelData} from './image_input.js';
import {bufferCopy} from './input_buffers.js';
import {type CaptureInput, checkTensor, gpuValues, isArrayInput, type NamedSpec} from './values.js';

interface Ways {
  /** Undefined where the backend is not WebGPU. */
  readonly access: BackendAccess | undefined;
  readonly image: ImageOptions;
}

/** New tensors, the caller's to dispose. @throws where a shape or dtype does not fit. */
export function plainInputs(
  specs: readonly NamedSpec[],
  inputs: readonly CaptureInput[],
  ways: Ways,
): tf.Tensor[] {
  const tensors: tf.Tensor[] = [];
  try {
    for (const [i, spec] of specs.entries()) tensors.push(plainInput(spec, inputs[i] as CaptureInput, ways)); // as many as specs
    return tensors;
  } catch (error) {
    tf.dispose(tensors);
    throw error;
  }
}

function plainInput(spec: NamedSpec, input: CaptureInput, {access, image}: Ways): tf.Tensor {
  const shape = [...spec.shape];
  if (isArrayInput(input)) return tf.tensor(gpuValues(spec, input), shape, spec.dtype);
  if (input instanceof tf.Tensor) {
    checkTensor(spec, input);
    return input.clone();
  }
  if (typeof GPUBuffer !== 'undefined' && input instanceof GPUBuffer) {
    return copyOf(access, spec, input);
  }
  const source = input as ImageSource; // all else was ruled out above
  checkImage(spec, source);
  return tf.tidy(() => imageTensor(spec, source, image));
}

/** TF.js would want more usages of the buffer than a replay does, and copy it later. */
function copyOf(access: BackendAccess | undefined, spec: NamedSpec, source: GPUBuffer): tf.Tensor {
  if (!access)
    throw new Error(`Capture: input '${spec.name}' is a GPUBuffer, and the backend is not WebGPU.`);
  const {device, queue} = access;
  const {tensor, buffer} = access.makeTensor(spec.shape, spec.dtype);
  try {
    const encoder = device.createCommandEncoder();
    bufferCopy(spec, source, buffer)(encoder);
    queue.submit([encoder.finish()]);
    return tensor;
  } catch (error) {
    tensor.dispose();
    throw error;
  }
}

/** TF.js takes every kind of image but a VideoFrame. */
function drawable(source: Exclude<ImageSource, PixelData>): Exclude<ImageSource, PixelData> {
  if (!('displayWidth' in source)) return source;
  const canvas = new OffscreenCanvas(source.displayWidth, source.displayHeight);
  canvas.getContext('2d')?.drawImage(source, 0, 0);
  return canvas;
}

/** The same as the capture's own kernel computes, from TF.js's ops. */
function imageTensor({shape, dtype}: NamedSpec, source: ImageSource, options: ImageOptions): tf.Tensor {
  const {alignCorners = false, halfPixelCenters = false, channels: order = 'rgb', offset = 0} = options;
  const {scale = dtype === 'float32' ? 1 / 255 : 1} = options;
  const [rows = 1, columns = 1, channels = 1] = shape.slice(-3);
  const pixels = isPixelData(source)
    ? tf.tensor3d(Float32Array.from(source.data), [source.height, source.width, 4])
    : tf.browser.fromPixels(drawable(source) as HTMLCanvasElement, 4); // TF.js takes all of these, if not by its types
  const resized: tf.Tensor3D = tf.image.resizeBilinear(
    tf.cast(pixels, 'float32'),
    [rows, columns],
    alignCorners,
    halfPixelCenters,
  );
  const perChannel = (value: number | readonly number[]): tf.Tensor =>
    typeof value === 'number' ? tf.scalar(value) : tf.tensor1d(value.slice(0, channels));
  let picked: tf.Tensor;
  if (channels === 1) {
    const weights = tf.tensor2d([0.299, 0.587, 0.114, 0], [4, 1]);
    picked = tf.reshape(tf.matMul(tf.reshape(resized, [-1, 4]), weights), [rows, columns, 1]);
  } else {
    const order4 = order === 'rgb' ? [0, 1, 2, 3] : [2, 1, 0, 3];
    picked = tf.gather(resized, tf.tensor1d(order4.slice(0, channels), 'int32'), 2);
  }
  const scaled = tf.add(tf.mul(picked, perChannel(scale)), perChannel(offset));
  return tf.cast(tf.reshape(scaled, [...shape]), dtype);
}
