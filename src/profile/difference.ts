/** How far two tensors are apart, and what a classifier's scores say. */
import type * as tf from '@tensorflow/tfjs-core';
import type {Difference, TopClass} from './types.js';

/** @throws where the shapes differ: the models then compute different things. */
export async function differenceOf(
  name: string,
  actual: tf.Tensor,
  expected: tf.Tensor,
): Promise<Difference> {
  if (actual.shape.join() !== expected.shape.join()) {
    throw new Error(
      `compare: '${name}' is [${expected.shape.join(', ')}] before but [${actual.shape.join(', ')}] after; ` +
        'compare a model with its own fused form, on the same inputs.',
    );
  }
  const [got, want] = [await actual.data(), await expected.data()];
  let [absolute, scale] = [0, 0];
  for (let i = 0; i < want.length; i++) {
    const [a, b] = [Number(got[i]), Number(want[i])];
    const error = Object.is(a, b) || a === b ? 0 : Math.abs(a - b);
    absolute = Math.max(absolute, Number.isNaN(error) ? Infinity : error);
    if (Number.isFinite(b)) scale = Math.max(scale, Math.abs(b));
  }
  return {name, shape: expected.shape, absolute, relative: absolute === 0 ? 0 : absolute / (scale || 1)};
}

/** Softmax rounds; more than this and the row is no distribution. */
const SUM_TOLERANCE = 1e-3;
/** Fewer scores than this, not summing to one, are more likely a regression than logits. */
const MIN_LOGITS = 10;

/** The best `count` entries of a classifier's first row; `null` where `[N, classes]` scores are not what it holds. */
export async function topClasses(
  output: tf.Tensor,
  labels: readonly string[] = [],
  count = 5,
): Promise<readonly TopClass[] | null> {
  const [, classes] = output.shape;
  if (output.rank !== 2 || classes === undefined || classes < 2) return null;
  const scores = Array.from(await output.data())
    .slice(0, classes)
    .map(Number);
  const sum = scores.reduce((total, score) => total + score, 0);
  const isDistribution = Math.abs(sum - 1) < SUM_TOLERANCE && scores.every((score) => score >= 0);
  if (!isDistribution && classes < MIN_LOGITS) return null;
  return scores
    .map((score, i) => ({label: labels[i] ?? `class ${i}`, score}))
    .sort((a, b) => b.score - a.score)
    .slice(0, count);
}
