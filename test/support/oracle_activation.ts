/** Activations in float64, from their definitions. */
import type {Activation} from '../../ops/index.js';

/**
 * To about 1e-15: erf x = 2/√π · e^(−x²) · Σ 2ⁿ x^(2n+1) / (2n+1)!!, whose terms all have x's sign, so nothing cancels
 * (Abramowitz and Stegun 7.1.6). Beyond 6 it is 1 in float64.
 */
export function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

const clip = (x: number, low: number, high: number): number => Math.min(Math.max(x, low), high);

/** @param slope prelu's, of x's channel. */
export function activate(activation: Activation, x: number, slope = NaN): number {
  switch (activation.fn) {
    case 'linear':
      return x;
    case 'relu':
      return Math.max(x, 0);
    case 'relu6':
      return clip(x, 0, 6);
    case 'prelu':
      return x < 0 ? slope * x : x;
    case 'sigmoid':
      return 1 / (1 + Math.exp(-x));
    case 'swish':
      return x / (1 + Math.exp(-x));
    case 'gelu':
      return (x / 2) * (1 + erf(x / Math.SQRT2));
    case 'gelutanh':
      return (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
    case 'leakyrelu':
      return x < 0 ? activation.alpha * x : x;
    case 'elu':
      return x < 0 ? activation.alpha * Math.expm1(x) : x;
    case 'hardsigmoid':
      return clip(activation.slope * x + activation.offset, 0, 1);
    case 'hardswish':
      return x * clip(activation.slope * x + activation.offset, 0, 1);
    case 'clamp':
      return clip(x, activation.min, activation.max);
  }
}
