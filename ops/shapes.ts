/** Arithmetic of padding and output sizes, as TensorFlow does it. */
import * as tf from '@tensorflow/tfjs-core';
import {BlockError, type Pad, type Pair, type Shape4D} from './block.js';

/** Rows and columns of zeros around the input: `[top, bottom, left, right]`. SAME puts the odd one at the end. */
export type Padding = readonly [number, number, number, number];

export interface Window {
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly dilation?: Pair;
  readonly pad: Pad;
}

const extent = (kernel: number, dilation: number): number => (kernel - 1) * dilation + 1;

function samePad(size: number, kernel: number, stride: number, dilation: number): readonly [number, number] {
  const total = Math.max(0, (Math.ceil(size / stride) - 1) * stride + extent(kernel, dilation) - size);
  return [Math.floor(total / 2), total - Math.floor(total / 2)];
}

/** What `pad` means for an input of `[N, H, W, C]`. */
export function resolvePad(window: Window, input: Shape4D): Padding {
  const {kernel, stride, pad, dilation = [1, 1]} = window;
  if (pad === 'valid') return [0, 0, 0, 0];
  if (pad !== 'same') return pad;
  const [top, bottom] = samePad(input[1], kernel[0], stride[0], dilation[0]);
  const [left, right] = samePad(input[2], kernel[1], stride[1], dilation[1]);
  return [top, bottom, left, right];
}

/** Zeros, or what `fill` says, around `[N, H, W, C]`; x itself where there is nothing to add. */
export function padMap(x: tf.Tensor4D, [top, bottom, left, right]: Padding, fill = 0): tf.Tensor4D {
  if (top + bottom + left + right === 0) return x;
  const amounts: [number, number][] = [[0, 0], [top, bottom], [left, right], [0, 0]]; // prettier-ignore
  return tf.pad(x, amounts, fill);
}

/** Height and width after sliding `window` over `[N, H, W, C]`. @throws {BlockError} where nothing is left. */
export function slideWindow(window: Window, input: Shape4D, at: string): readonly [number, number] {
  const {kernel, stride, dilation = [1, 1]} = window;
  const [top, bottom, left, right] = resolvePad(window, input);
  const out = (size: number, before: number, after: number, axis: 0 | 1): number =>
    Math.floor((size + before + after - extent(kernel[axis], dilation[axis])) / stride[axis]) + 1;
  const height = out(input[1], top, bottom, 0);
  const width = out(input[2], left, right, 1);
  if (height < 1 || width < 1) {
    throw new BlockError(
      `${at}: a ${kernel.join('×')} window of dilation ${dilation.join('×')} does not fit into a ${input[1]}×${input[2]} map ` +
        `padded by [${[top, bottom, left, right].join(', ')}]; pad more or feed a larger map.`,
    );
  }
  return [height, width];
}

export const elements = (shape: readonly number[]): number =>
  shape.reduce((product, size) => product * size, 1);
