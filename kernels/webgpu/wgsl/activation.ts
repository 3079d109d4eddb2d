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
  // max(x, 0) − u·½ erfc(u/√2), u = |x|, erfc(u/√2) = 2^(u · P(u)), P a polynomial fitted by scripts/fit_gelu.py: no division,
  // and no cancellation where x is negative. |error| < 3e-7 for |x| < 8, where TensorFlow.js's erf is off by up to 5e-7.
  gelu: /* wgsl */ `
fn gelu(x: vec4f, slope: vec4f, p: f32, q: f32) -> vec4f {
  let u = abs(x);
  var series = fma(vec4f(-8.7094412e-07), u, vec4f(1.51299519e-05));
  series = fma(series, u, vec4f(-6.9687565e-05));
  series = fma(series, u, vec4f(-0.000413977163));
  series = fma(series, u, vec4f(0.00740792882));
  series = fma(series, u, vec4f(-0.0527135246));
  series = fma(series, u, vec4f(-0.459146708));
  series = fma(series, u, vec4f(-1.15111077));
  return fma(-u, exp2(fma(series, u, vec4f(-1.0))), max(x, vec4f(0.0)));
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

/** Shorter ones whose result is stored in f16, which hides their error: half a step of f16 is 1.2e-4 at 0.25. */
export const HALF_ACTIVATION_TEXTS: Partial<Readonly<Record<ActivationName, string>>> = {
  // As above, with P of degree 2. |error| < 9e-5.
  gelu: /* wgsl */ `
fn gelu(x: vec4f, slope: vec4f, p: f32, q: f32) -> vec4f {
  let u = abs(x);
  let series = fma(fma(vec4f(-0.0276291594), u, vec4f(-0.488260448)), u, vec4f(-1.14091647));
  return fma(-u, exp2(fma(series, u, vec4f(-1.0))), max(x, vec4f(0.0)));
}
`,
};
