/**
 * Activations on four channels at once, a function each. Only those a kernel ends with are put into its text: with all of them
 * behind a switch the driver leaves the loops around it rolled, and the sums they index fall out of registers (a ConvNeXt
 * expand ran at 2 instead of 34 TFLOP/s on an H200).
 */
import type {ActivationName} from '../../../ops/index.js';

/** 'slope' is prelu's; 'p' and 'q' are the activation's parameters in the order of their names in ops/block.ts. */
export const ACTIVATION_TEXTS: Readonly<Record<ActivationName, string>> = {
  linear: /* wgsl */ `
fn linear(x: vec4f, slope: vec4f, p: f32, q: f32) -> vec4f { return x; }
`,
  relu: /* wgsl */ `
fn relu(x: vec4f, slope: vec4f, p: f32, q: f32) -> vec4f { return max(x, vec4f(0.0)); }
`,
  relu6: /* wgsl */ `
fn relu6(x: vec4f, slope: vec4f, p: f32, q: f32) -> vec4f { return clamp(x, vec4f(0.0), vec4f(6.0)); }
`,
  prelu: /* wgsl */ `
fn prelu(x: vec4f, slope: vec4f, p: f32, q: f32) -> vec4f { return select(x * slope, x, x >= vec4f(0.0)); }
`,
  sigmoid: /* wgsl */ `
fn sigmoid(x: vec4f, slope: vec4f, p: f32, q: f32) -> vec4f { return 1.0 / (1.0 + exp(-x)); }
`,
  swish: /* wgsl */ `
fn swish(x: vec4f, slope: vec4f, p: f32, q: f32) -> vec4f { return x / (1.0 + exp(-x)); }
`,
  // erf by Abramowitz and Stegun 7.1.26, |error| < 1.5e-7: the formula TensorFlow.js uses, so both round alike.
  gelu: /* wgsl */ `
fn gelu(x: vec4f, slope: vec4f, p: f32, q: f32) -> vec4f {
  let z = abs(x) * 0.70710678118;
  let t = 1.0 / (1.0 + 0.3275911 * z);
  let series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return 0.5 * x * (1.0 + sign(x) * (1.0 - series * exp(-z * z)));
}
`,
  // tanh of a large argument overflows in some drivers; beyond 10 it is 1 in float32.
  gelutanh: /* wgsl */ `
fn gelutanh(x: vec4f, slope: vec4f, p: f32, q: f32) -> vec4f {
  return 0.5 * x * (1.0 + tanh(clamp(0.79788456080 * (x + 0.044715 * x * x * x), vec4f(-10.0), vec4f(10.0))));
}
`,
  leakyrelu: /* wgsl */ `
fn leakyrelu(x: vec4f, slope: vec4f, p: f32, q: f32) -> vec4f { return select(x * p, x, x >= vec4f(0.0)); }
`,
  elu: /* wgsl */ `
fn elu(x: vec4f, slope: vec4f, p: f32, q: f32) -> vec4f {
  return select(p * (exp(min(x, vec4f(0.0))) - 1.0), x, x >= vec4f(0.0));
}
`,
  hardsigmoid: /* wgsl */ `
fn hardsigmoid(x: vec4f, slope: vec4f, p: f32, q: f32) -> vec4f { return clamp(x * p + q, vec4f(0.0), vec4f(1.0)); }
`,
  hardswish: /* wgsl */ `
fn hardswish(x: vec4f, slope: vec4f, p: f32, q: f32) -> vec4f { return x * clamp(x * p + q, vec4f(0.0), vec4f(1.0)); }
`,
  clamp: /* wgsl */ `
fn clampTo(x: vec4f, slope: vec4f, p: f32, q: f32) -> vec4f { return clamp(x, vec4f(p), vec4f(q)); }
`,
};
