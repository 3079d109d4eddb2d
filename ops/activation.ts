/** Activations by name: the stock TF.js composition of each, and how a caller may abbreviate one. */
import * as tf from '@tensorflow/tfjs-core';
import {type Activation, type ActivationName, BlockError, LINEAR} from './block.js';

/** What a caller may write for an activation: its name with the usual parameters, or the whole record. */
export type ActivationLike = ActivationName | Activation;

const DEFAULTS: Readonly<Record<ActivationName, Activation>> = {
  linear: LINEAR,
  relu: {fn: 'relu'},
  relu6: {fn: 'relu6'},
  prelu: {fn: 'prelu'},
  sigmoid: {fn: 'sigmoid'},
  swish: {fn: 'swish'},
  gelu: {fn: 'gelu'},
  gelutanh: {fn: 'gelutanh'},
  leakyrelu: {fn: 'leakyrelu', alpha: 0.2},
  elu: {fn: 'elu', alpha: 1},
  hardsigmoid: {fn: 'hardsigmoid', slope: 1 / 6, offset: 0.5},
  hardswish: {fn: 'hardswish', slope: 1 / 6, offset: 0.5},
  clamp: {fn: 'clamp', min: 0, max: 6},
};

export const ACTIVATION_NAMES = Object.keys(DEFAULTS) as readonly ActivationName[];

/** @throws {BlockError} for a name that is no activation. */
export function activationOf(like: ActivationLike | undefined): Activation {
  if (like === undefined) return LINEAR;
  if (typeof like !== 'string') return like;
  const found = defaultOf(like);
  if (!found)
    throw new BlockError(`There is no activation '${like}'; use one of ${ACTIVATION_NAMES.join(', ')}.`);
  return found;
}

/** Whether `value` is an activation's record: a known name, and every number that goes with it. A clamp may be open-ended. */
export function isActivation(value: unknown): value is Activation {
  if (typeof value !== 'object' || value === null || !('fn' in value)) return false;
  const found = defaultOf(String(value.fn));
  const given = value as Readonly<Record<string, unknown>>;
  return (
    found !== undefined &&
    Object.keys(found).every(
      (key) =>
        key === 'fn' || Number.isFinite(given[key]) || (found.fn === 'clamp' && isInfinite(given[key])),
    )
  );
}

const defaultOf = (name: string): Activation | undefined =>
  Object.hasOwn(DEFAULTS, name) ? DEFAULTS[name as ActivationName] : undefined;
const isInfinite = (value: unknown): boolean => value === Infinity || value === -Infinity;

const hardSigmoid = (x: tf.Tensor, slope: number, offset: number): tf.Tensor =>
  tf.clipByValue(tf.add(tf.mul(x, slope), offset), 0, 1);

/** x of any shape; `alpha` is prelu's slope per channel, `[C]`. Stock ops alone, so it has TF.js's gradients. */
export function applyActivation<T extends tf.Tensor>(activation: Activation, x: T, alpha?: tf.Tensor): T {
  return compose(activation, x, alpha) as T; // Every branch keeps x's shape.
}

function compose(activation: Activation, x: tf.Tensor, alpha?: tf.Tensor): tf.Tensor {
  switch (activation.fn) {
    case 'linear':
      return x;
    case 'relu':
      return tf.relu(x);
    case 'relu6':
      return tf.relu6(x);
    case 'prelu':
      if (!alpha) throw new BlockError('prelu needs its slopes, a tensor [C].');
      return tf.prelu(x, alpha);
    case 'sigmoid':
      return tf.sigmoid(x);
    case 'swish':
      return tf.mul(x, tf.sigmoid(x));
    // Exact: x·Φ(x), Φ(x) = (1 + erf(x/√2)) / 2.
    case 'gelu':
      return tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1));
    // Hendrycks and Gimpel 2016, the tanh approximation.
    case 'gelutanh': {
      const inner = tf.mul(tf.add(x, tf.mul(tf.mul(tf.mul(x, x), x), 0.044715)), Math.sqrt(2 / Math.PI));
      return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(inner), 1));
    }
    case 'leakyrelu':
      return tf.leakyRelu(x, activation.alpha);
    // Not tf.elu: that one's scale is fixed at 1.
    case 'elu':
      return activation.alpha === 1
        ? tf.elu(x)
        : tf.add(tf.relu(x), tf.mul(tf.sub(tf.exp(tf.minimum(x, 0)), 1), activation.alpha));
    case 'hardsigmoid':
      return hardSigmoid(x, activation.slope, activation.offset);
    case 'hardswish':
      return tf.mul(x, hardSigmoid(x, activation.slope, activation.offset));
    case 'clamp':
      return tf.clipByValue(x, activation.min, activation.max);
  }
}
