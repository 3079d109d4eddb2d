/**
 * From an image's bytes to what a network expects: resized as PIL resizes (with a low-pass filter where it shrinks, unlike TF.js's own
 * resizing), cropped around the centre, and normalised. PyTorch's and Keras's pipelines do the same.
 */
import * as tf from '@tensorflow/tfjs-core';
import type {Interpolation, Preprocessing} from '../models/index.js';

/** Bytes in rows from the top, three or four a pixel; the fourth, opacity, is not looked at. */
export interface ImageBytes {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
}

/** In a browser also whatever `tf.browser.fromPixels` takes. */
export type ImageLike = ImageBytes | Parameters<typeof tf.browser.fromPixels>[0];

/** @returns `[1, H, W, 3]`, float32, for the caller to dispose of. @throws {Error} for bytes that are no RGB or RGBA image. */
export function prepareImage(image: ImageLike, preprocessing: Preprocessing): tf.Tensor4D {
  const {mean, std, channels} = preprocessing;
  return tf.tidy(() => {
    const pixels = resizeAndCrop(pixelsOf(image), preprocessing);
    const ordered = channels === 'bgr' ? tf.reverse(pixels, 2) : pixels;
    const normal = tf.div(tf.sub(tf.div(ordered, 255), tf.tensor1d([...mean])), tf.tensor1d([...std]));
    return tf.expandDims(normal, 0);
  });
}

/** @returns `[H, W, 3]`, float32 from 0 to 255. */
function pixelsOf(image: ImageLike): tf.Tensor3D {
  if (!isBytes(image)) return tf.cast(tf.browser.fromPixels(image, 3), 'float32');
  const {data, width, height} = image;
  const depth = data.length / (width * height);
  if (depth !== 3 && depth !== 4) {
    throw new Error(
      `The image of ${width}×${height} has ${data.length} bytes, ${depth} a pixel; give RGB or RGBA, 3 or 4 bytes a pixel.`,
    );
  }
  const all = tf.tensor3d(Float32Array.from(data), [height, width, depth]);
  return depth === 3 ? all : tf.slice(all, [0, 0, 0], [height, width, 3]);
}

const isBytes = (image: ImageLike): image is ImageBytes =>
  'data' in image && (image.data instanceof Uint8Array || image.data instanceof Uint8ClampedArray);

function resizeAndCrop(pixels: tf.Tensor3D, {size, crop, fit, interpolation}: Preprocessing): tf.Tensor3D {
  const [height, width] = pixels.shape;
  const [outHeight, outWidth] = size;
  // The shorter side becomes size / crop, rounded down, and the longer keeps the proportions.
  const scale =
    fit === 'squash' ? undefined : Math.floor(Math.min(outHeight, outWidth) / crop) / Math.min(height, width);
  const rows = resampling(
    height,
    scale ? Math.floor(height * scale + 1e-9) : outHeight,
    outHeight,
    interpolation,
  );
  const columns = resampling(
    width,
    scale ? Math.floor(width * scale + 1e-9) : outWidth,
    outWidth,
    interpolation,
  );
  const tall = tf.reshape(tf.matMul(rows, tf.reshape(pixels, [height, width * 3])), [outHeight, width, 3]);
  const byColumn = tf.reshape(tf.transpose(tall, [1, 0, 2]), [width, outHeight * 3]);
  const both = tf.reshape(tf.matMul(columns, byColumn), [outWidth, outHeight, 3]);
  return tf.round(tf.clipByValue(tf.transpose(both, [1, 0, 2]), 0, 255)) as tf.Tensor3D; // As `both`.
}

interface Filter {
  /** In pixels of the coarser of the two images. */
  readonly reach: number;
  /** Its value at a distance in those pixels. */
  readonly at: (x: number) => number;
}

const FILTERS: Readonly<Record<Exclude<Interpolation, 'nearest'>, Filter>> = {
  bilinear: {reach: 1, at: (x) => Math.max(0, 1 - Math.abs(x))},
  bicubic: {reach: 2, at: (x) => cubic(Math.abs(x))},
};

/** Keys's cubic with a = −1/2. */
function cubic(x: number): number {
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

/** As Python rounds: PyTorch's crop depends on it. */
const roundEven = (value: number): number =>
  value % 1 === 0.5 ? 2 * Math.round(value / 2) : Math.round(value);

/** The middle `kept` rows of the matrix `[to, from]` that resamples a line of `from` pixels to `to`. */
function resampling(from: number, to: number, kept: number, interpolation: Interpolation): tf.Tensor2D {
  const ratio = from / to;
  const first = roundEven((to - kept) / 2);
  const matrix = new Float32Array(kept * from);
  if (interpolation === 'nearest') fillNearest(matrix, from, ratio, first);
  else {
    for (let row = 0; row < kept; row++)
      fillRow(
        matrix.subarray(row * from, (row + 1) * from),
        (row + first + 0.5) * ratio,
        ratio,
        FILTERS[interpolation],
      );
  }
  return tf.tensor2d(matrix, [kept, from]);
}

function fillRow(row: Float32Array, centre: number, ratio: number, {reach, at}: Filter): void {
  const stretch = Math.max(1, ratio);
  const low = Math.max(0, Math.floor(centre - reach * stretch + 0.5));
  const high = Math.min(row.length, Math.floor(centre + reach * stretch + 0.5));
  let sum = 0;
  for (let i = low; i < high; i++) sum += at((i + 0.5 - centre) / stretch);
  for (let i = low; i < high; i++) row[i] = at((i + 0.5 - centre) / stretch) / sum;
}

/** Positions are summed up as PIL sums them: where one falls between two pixels, the rounding of the sum decides. */
function fillNearest(matrix: Float32Array, from: number, ratio: number, first: number): void {
  let position = ratio / 2;
  for (let row = -first; row < matrix.length / from; row++, position += ratio) {
    if (row >= 0) matrix[row * from + Math.min(from - 1, Math.floor(position))] = 1;
  }
}
