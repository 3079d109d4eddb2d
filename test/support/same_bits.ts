/** Bits of predictions, compared; and the order in which inputs are taken. */
import type * as tf from '@tensorflow/tfjs-core';

/** NaN equals NaN, and 0 does not equal -0. */
export function sameBits(some: readonly tf.TypedArray[], others: readonly tf.TypedArray[]): boolean {
  return some.length === others.length && some.every((one, i) => sameWords(one, others[i]));
}

function sameWords(one: tf.TypedArray, other: tf.TypedArray | undefined): boolean {
  if (other?.byteLength !== one.byteLength || other.constructor !== one.constructor) return false;
  const [a, b] = [wordsOf(one), wordsOf(other)];
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Four bytes at a time where the array allows it. */
function wordsOf({buffer, byteOffset, byteLength}: tf.TypedArray): Uint32Array | Uint8Array {
  const isAligned = byteOffset % 4 === 0 && byteLength % 4 === 0;
  return isAligned
    ? new Uint32Array(buffer, byteOffset, byteLength / 4)
    : new Uint8Array(buffer, byteOffset, byteLength);
}

/** Numbers below `size`, each once before any comes again, in a random order each time; none follows itself unless it is alone. */
export function shuffledCycle(size: number, random: () => number): () => number {
  const order = Array.from({length: size}, (_, i) => i);
  const swap = (i: number, j: number): void => {
    [order[i], order[j]] = [order[j] as number, order[i] as number]; // both below size
  };
  let at = size;
  return () => {
    if (at === size) {
      const last = order.at(-1);
      for (let i = size - 1; i > 0; i--) swap(i, Math.floor(random() * (i + 1)));
      if (size > 1 && order[0] === last) swap(0, size - 1);
      at = 0;
    }
    return order[at++] ?? 0;
  };
}
