/** Activations as kernel constants. */
import type {Activation, ActivationName} from '../../ops/index.js';
import type {Constants} from '../plan.js';

/** The cases of wgsl/activation.ts; a missing row is a compile error. */
const CODES: Readonly<Record<ActivationName, number>> = {
  linear: 0,
  relu: 1,
  relu6: 2,
  prelu: 3,
  sigmoid: 4,
  swish: 5,
  gelu: 6,
  gelutanh: 7,
  leakyrelu: 8,
  elu: 9,
  hardsigmoid: 10,
  hardswish: 11,
  clamp: 12,
};

function parameters(activation: Activation): readonly [number, number] {
  switch (activation.fn) {
    case 'leakyrelu':
    case 'elu':
      return [activation.alpha, 0];
    case 'hardsigmoid':
    case 'hardswish':
      return [activation.slope, activation.offset];
    case 'clamp':
      return [activation.min, activation.max];
    default:
      return [0, 0];
  }
}

/** `NAME`, `NAME_P` and `NAME_Q`. The parameters carry a decimal point, so that they become f32 constants. */
export function activationConstants(name: string, activation: Activation): Constants {
  const [p, q] = parameters(activation);
  return {[name]: CODES[activation.fn], [`${name}_P:f32`]: p, [`${name}_Q:f32`]: q};
}
