/** Random numbers that are the same in every run, engine and backend. */
import * as tf from '@tensorflow/tfjs-core';

/** Uniform in [0, 1): Mulberry32, whose 32-bit state is enough for test data. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A generator of float32 tensors, uniform in [-1, 1) times `scale`; each call draws on where the last one stopped. */
export function seededTensors(seed: number): (shape: readonly number[], scale?: number) => tf.Tensor {
  const next = seededRandom(seed);
  return (shape, scale = 1) => {
    const values = Float32Array.from(
      {length: tf.util.sizeFromShape([...shape])},
      () => scale * (2 * next() - 1),
    );
    return tf.tensor(values, [...shape], 'float32');
  };
}
