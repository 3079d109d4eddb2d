/** What the capture suites share. */
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import type {Capture} from '../../src/capture/index.js';
import {watchGrowth} from '../support/memory_growth.js';
import {placeholder, type SmallGraph} from '../support/small_graphs.js';

const bits = (array: tf.TypedArray): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** Fails unless both hold the same bits: NaN equals NaN, and 0 does not equal -0. */
export function expectSameBits(actual: readonly tf.TypedArray[], expected: readonly tf.TypedArray[]): void {
  expect(actual.length).withContext('number of outputs').toBe(expected.length);
  expected.forEach((want, i) => {
    const got = actual[i] as tf.TypedArray;
    const [a, b] = [bits(got), bits(want)];
    const differing = b.reduce(
      (count, byte, at) => count + (a[at] === byte ? 0 : 1),
      Math.abs(a.length - b.length),
    );
    expect(differing).withContext(`differing bytes of output ${i}`).toBe(0);
    expect(got.constructor).withContext(`type of output ${i}`).toBe(want.constructor);
  });
}

export async function valuesOf(tensors: readonly tf.Tensor[]): Promise<tf.TypedArray[]> {
  const values = await Promise.all(tensors.map((tensor) => tensor.data()));
  tf.dispose([...tensors]);
  return values;
}

/** Compares predictions of both kinds with uncaptured runs, over changing inputs. */
export async function expectReplayEquals(
  captured: Capture,
  run: (x: tf.Tensor) => tf.Tensor[],
  inputs: readonly tf.Tensor[],
): Promise<void> {
  for (const x of inputs) {
    // A function may return its input; the copy is what gets disposed.
    const expected = await valuesOf(tf.tidy(() => run(x).map((tensor) => tensor.clone())));
    expectSameBits(await captured.predictAsync(x), expected);
    expectSameBits(await valuesOf(captured.predict(x)), expected);
  }
}

export const BOXES = 6;

/** Boxes are scaled, the best are chosen, and the chosen ones gathered and squared. */
export function detector(): SmallGraph {
  return {
    nodes: [
      placeholder('boxes', [BOXES, 4]),
      placeholder('scores', [BOXES]),
      {name: 'scaled', op: 'Mul', input: ['boxes', 'scale'], attr: {T: {type: 'DT_FLOAT'}}},
      {name: 'sure', op: 'Sigmoid', input: ['scores'], attr: {T: {type: 'DT_FLOAT'}}},
      {name: 'chosen', op: 'NonMaxSuppressionV3', input: ['scaled', 'sure', 'most', 'overlap', 'least']},
      {name: 'gathered', op: 'GatherV2', input: ['scaled', 'chosen', 'axis'], attr: {batch_dims: {i: '0'}}},
      {name: 'result', op: 'Square', input: ['gathered']},
    ],
    weights: {
      scale: tf.tensor1d([1, 1, 2, 2]),
      most: tf.scalar(3, 'int32'),
      overlap: tf.scalar(0.5),
      least: tf.scalar(0.5),
      axis: tf.scalar(0, 'int32'),
    },
    outputs: ['result', 'sure'],
  };
}

/** GPUBuffers that `run` makes and leaves. */
export async function buffersLeft(run: () => Promise<void>): Promise<number> {
  await run(); // fills TF.js's pool
  const watch = watchGrowth((tf.backend() as WebGPUBackend).device);
  try {
    await watch.restart();
    await run();
    return (await watch.growth()).buffers;
  } finally {
    watch.stop();
  }
}
