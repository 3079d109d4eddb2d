/** Activations as kernel constants, and the functions those constants stand for. */
import type {Activation, ActivationName} from '../../ops/index.js';
import type {Constants} from '../plan.js';
import {ACTIVATION_TEXTS, HALF_ACTIVATION_TEXTS} from './wgsl/activation.js';
import {DERIVATIVE_TEXTS} from './wgsl/slope.js';

const NAMES = Object.keys(ACTIVATION_TEXTS) as readonly ActivationName[];

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

/** `NAME`, the activation's number, and its parameters `NAME_P` and `NAME_Q`, which are f32. */
export function activationConstants(name: ActivationSlot, activation: Activation): Constants {
  const [p, q] = parameters(activation);
  return {[name]: NAMES.indexOf(activation.fn), [`${name}_P:f32`]: p, [`${name}_Q:f32`]: q};
}

/** An activation whose derivative at a value depends on that value alone: prelu's depends on a weight. */
export type PlainActivation = Exclude<Activation, {readonly fn: 'prelu'}>;

/** The same for a kernel that multiplies by the derivative. */
export function derivativeConstants(activation: PlainActivation): Constants {
  const [p, q] = parameters(activation);
  return {DERIVATIVE: NAMES.indexOf(activation.fn), 'DERIVATIVE_P:f32': p, 'DERIVATIVE_Q:f32': q};
}

/** Places in the kernels where an activation stands, and the function each calls there. */
const SLOTS = {
  ACTIVATION: 'activate',
  SQUEEZE_ACTIVATION: 'activateSqueezed',
  RESIDUAL_ACTIVATION: 'activateSum',
  GATE: 'gateOf',
  EXPAND_ACTIVATION: 'activateExpanded',
  SPATIAL_ACTIVATION: 'activateSpatial',
} as const;
export type ActivationSlot = keyof typeof SLOTS;

/** The activation functions a kernel with these constants calls: each once, and per slot one that names it. */
export function activationText(constants: Constants): string {
  const used = (Object.keys(SLOTS) as ActivationSlot[]).flatMap((slot) => {
    const name = NAMES[Number(constants[slot] ?? NaN)];
    return name ? [{slot, name}] : [];
  });
  const shorter = constants.OUT_F16 === true ? HALF_ACTIVATION_TEXTS : {};
  const bodies = [...new Set(used.map(({name}) => shorter[name] ?? ACTIVATION_TEXTS[name]))];
  const calls = used.map(({slot, name}) => {
    const target = name === 'clamp' ? 'clampTo' : name;
    return `fn ${SLOTS[slot]}(x: vec4f, slope: vec4f) -> vec4f { return ${target}(x, slope, ${slot}_P, ${slot}_Q); }\n`;
  });
  return [...bodies, ...calls, derivativeText(constants)].join('');
}

/** 'derivative', where a kernel with these constants calls it. */
function derivativeText(constants: Constants): string {
  const name = NAMES[Number(constants['DERIVATIVE'] ?? NaN)];
  if (name === undefined || name === 'prelu') return '';
  return `${DERIVATIVE_TEXTS[name]}fn derivative(x: vec4f) -> vec4f { return slopeOf(x, DERIVATIVE_P, DERIVATIVE_Q); }\n`;
}
