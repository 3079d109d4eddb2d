/** Stages without weights that change the map's size: pooling and blur-pooling. */
import * as tf from '@tensorflow/tfjs-core';
import {BlockError, type BlurPoolStage, type PoolStage, type Shape4D} from '../block.js';
import {type Padding, padMap, resolvePad, slideWindow} from '../shapes.js';
import type {StageDefinition} from './stage.js';

export const pool: StageDefinition<PoolStage> = {
  weights: () => ({}),
  outShape(stage, input, _blockInput, at) {
    const {kernel} = stage;
    const [top, bottom, left, right] = resolvePad(stage, input);
    if (Math.max(top, bottom) >= kernel[0] || Math.max(left, right) >= kernel[1]) {
      throw new BlockError(
        `${at}: a ${kernel.join('×')} pool padded by [${[top, bottom, left, right].join(', ')}] has windows without a pixel; pad less.`,
      );
    }
    return [input[0], ...slideWindow(stage, input, at), input[3]];
  },
  macs: () => 0,
  apply(stage, x, _weights, _blockInput, {differentiable}) {
    const {mode, kernel, stride, pad} = stage;
    const padding = resolvePad(stage, x.shape);
    if (mode === 'max') {
      // Not every backend of TF.js takes edges by number.
      return typeof pad === 'string'
        ? tf.maxPool(x, [...kernel], [...stride], pad)
        : tf.maxPool(padMap(x, padding, -Infinity), [...kernel], [...stride], 'valid');
    }
    if (typeof pad === 'string' && (!differentiable || padding.every((size) => size === 0)))
      return tf.avgPool(x, [...kernel], [...stride], pad);
    // TF.js divides the gradient by the whole window also where part of it lies outside the map. So: whole windows over a
    // padded map, scaled by how much of each is inside.
    const whole = tf.avgPool(padMap(x, padding), [...kernel], [...stride], 'valid');
    return tf.mul(
      whole,
      tf.tensor4d(windowShares(stage, x.shape, padding), [1, whole.shape[1], whole.shape[2], 1]),
    );
  },
};

/** Window size over the number of its pixels inside the map, for each place of the window, row by row. */
function windowShares({kernel, stride}: PoolStage, input: Shape4D, padding: Padding): number[] {
  const shares = (axis: 0 | 1, before: number, after: number): number[] => {
    const [size, taps, step] = [input[axis + 1] as number, kernel[axis], stride[axis]];
    const places = Math.floor((size + before + after - taps) / step) + 1;
    return Array.from({length: places}, (_, i) => {
      const start = i * step - before;
      return taps / (Math.min(start + taps, size) - Math.max(start, 0));
    });
  };
  const columns = shares(1, padding[2], padding[3]);
  return shares(0, padding[0], padding[1]).flatMap((row) => columns.map((column) => row * column));
}

export const blurPool: StageDefinition<BlurPoolStage> = {
  weights: () => ({}),
  outShape(stage, input, _blockInput, at) {
    const {taps, stride, mode} = stage;
    if (taps % 2 === 0)
      throw new BlockError(`${at}: a blur of ${taps} taps has no centre; use an odd number.`);
    const radius = (taps - 1) / 2;
    if (mode === 'reflect' && Math.min(input[1], input[2]) <= radius) {
      throw new BlockError(
        `${at}: a ${input[1]}×${input[2]} map cannot be reflected by ${radius}; use mode 'zero' or a larger map.`,
      );
    }
    const window = {
      kernel: [taps, taps],
      stride: [stride, stride],
      pad: [radius, radius, radius, radius],
    } as const;
    return [input[0], ...slideWindow(window, input, at), input[3]];
  },
  macs: () => 0,
  apply({taps, stride, mode}, x) {
    const radius = (taps - 1) / 2;
    const wide = [1, 2].reduce((map, axis) => extend(map, axis, radius, mode), x);
    const row = binomial(taps);
    const square = row.flatMap((a) => row.map((b) => a * b));
    const filter = tf.tile(tf.tensor4d(square, [taps, taps, 1, 1]), [1, 1, x.shape[3], 1]);
    return tf.depthwiseConv2d(wide, filter, stride, 'valid');
  },
};

/** Row `taps − 1` of Pascal's triangle, summing to 1. */
export function binomial(taps: number): number[] {
  let row = [1];
  while (row.length < taps) row = [...row, 0].map((value, i) => value + (row[i - 1] ?? 0));
  return row.map((value) => value / 2 ** (taps - 1));
}

/** Adds `radius` rows (axis 1) or columns (axis 2) at both ends. Mirrors by slices: TF.js cannot differentiate mirrorPad. */
function extend(x: tf.Tensor4D, axis: number, radius: number, mode: 'reflect' | 'zero'): tf.Tensor4D {
  const size = x.shape[axis] ?? 0;
  const line = (at: number): tf.Tensor4D => {
    const begin = [0, 0, 0, 0];
    const length = [-1, -1, -1, -1];
    begin[axis] = at;
    length[axis] = 1;
    return tf.slice(x, begin, length);
  };
  const steps = Array.from({length: radius}, (_, i) => i + 1);
  const edge = (at: (step: number) => number): tf.Tensor4D[] =>
    steps.map((step) => (mode === 'zero' ? tf.zerosLike(line(0)) : line(at(step))));
  return tf.concat([...edge((step) => step).reverse(), x, ...edge((step) => size - 1 - step)], axis);
}
