/** Comparison of results. Errors are relative to the scale of the expected values, not to each value: sums cancel. */
import * as tf from '@tensorflow/tfjs-core';

export type Comparable = tf.Tensor | ArrayLike<number>;

export interface CloseOptions {
  /** Largest allowed |actual - expected| / max|expected|. Derive it from the accumulation depth where that is long. */
  readonly tolerance?: number;
  /** Names the value in the message. */
  readonly name?: string;
}

const DEFAULT_TOLERANCE = 1e-5;

/** Fails the spec unless shapes agree and every element is close; the message has the worst element and its index. */
export async function expectClose(
  actual: Comparable,
  expected: Comparable,
  {tolerance = DEFAULT_TOLERANCE, name = 'value'}: CloseOptions = {},
): Promise<void> {
  if (actual instanceof tf.Tensor && expected instanceof tf.Tensor) {
    expect(actual.shape).withContext(`${name}: shape`).toEqual(expected.shape);
  }
  const [got, want] = [await values(actual), await values(expected)];
  if (got.length !== want.length) return fail(`${name}: ${got.length} values, expected ${want.length}`);
  const {error, index, scale} = worstError(got, want);
  if (error <= tolerance * scale) {
    expect(error).toBeLessThanOrEqual(tolerance * scale);
    return;
  }
  const at =
    actual instanceof tf.Tensor
      ? `[${tf.util.indexToLoc(index, actual.rank, tf.util.computeStrides(actual.shape)).join(', ')}]`
      : index;
  fail(
    `${name}: ${got[index]} is not ${want[index]} at ${at}: error ${(error / scale).toExponential(2)} of the scale ` +
      `${scale.toExponential(2)}, tolerance ${tolerance.toExponential(2)}`,
  );
}

async function values(value: Comparable): Promise<ArrayLike<number>> {
  return value instanceof tf.Tensor ? value.data() : value;
}

export interface WorstError {
  /** max|actual - expected|; a NaN or an infinity that is not expected counts as infinite. */
  readonly error: number;
  readonly index: number;
  /** max|expected| over the finite values, or 1 where all are zero. */
  readonly scale: number;
}

export function worstError(got: ArrayLike<number>, want: ArrayLike<number>): WorstError {
  let [error, index, scale] = [0, 0, 0];
  for (let i = 0; i < want.length; i++) {
    const [a, b] = [got[i] as number, want[i] as number]; // within length, which was compared above
    if (Number.isFinite(b)) scale = Math.max(scale, Math.abs(b));
    const difference = Object.is(a, b) || a === b ? 0 : Math.abs(a - b);
    const size = Number.isNaN(difference) ? Infinity : difference;
    if (size > error) [error, index] = [size, i];
  }
  return {error, index, scale: scale || 1};
}
