/** Inputs of a prediction as tensors, for models that run plainly, on whatever backend. */
import * as tf from '@tensorflow/tfjs-core';
import {type ImageOptions, type ImageSource, isPixelData} from './image_input.js';
import {type CaptureInput, checkTensor, gpuValues, isArrayInput, type NamedSpec} from './values.js';

/** New tensors, the caller's to dispose. @throws where a shape or dtype does not fit. */
export function plainInputs(
  specs: readonly NamedSpec[],
  inputs: readonly CaptureInput[],
  image: ImageOptions,
): tf.Tensor[] {
  return specs.map((spec, i) => plainInput(spec, inputs[i] as CaptureInput, image)); // as many as specs
}

function plainInput(spec: NamedSpec, input: CaptureInput, image: ImageOptions): tf.Tensor {
  const shape = [...spec.shape];
  if (isArrayInput(input)) return tf.tensor(gpuValues(spec, input), shape, spec.dtype);
  if (input instanceof tf.Tensor) {
    checkTensor(spec, input);
    return input.clone();
  }
  if (typeof GPUBuffer !== 'undefined' && input instanceof GPUBuffer) {
    return tf.tensor({buffer: input}, shape, spec.dtype);
  }
  return tf.tidy(() => imageTensor(spec, input as ImageSource, image)); // all else was ruled out above
}

/** The same as the capture's own kernel computes, from TF.js's ops. */
function imageTensor({shape, dtype}: NamedSpec, source: ImageSource, options: ImageOptions): tf.Tensor {
  const {alignCorners = false, halfPixelCenters = false, channels: order = 'rgb', offset = 0} = options;
  const {scale = dtype === 'float32' ? 1 / 255 : 1} = options;
  const [rows = 1, columns = 1, channels = 1] = shape.slice(-3);
  const pixels = isPixelData(source)
    ? tf.tensor3d(Float32Array.from(source.data), [source.height, source.width, 4])
    : tf.browser.fromPixels(source as HTMLCanvasElement, 4); // TF.js takes the others too, but VideoFrame
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
