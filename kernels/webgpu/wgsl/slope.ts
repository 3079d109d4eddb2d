/** Activations by themselves and their derivatives, one thread per four channels: what the gradient of a block needs besides its convolutions. */
import type {ActivationName} from '../../../ops/index.js';

/** x activated. */
export const activationText = /* wgsl */ `
const C4 = (X_CHANNELS + 3u) / 4u;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) grid: vec3u) {
  let thread = id.y * grid.x * WORKGROUP + id.x;
  if (thread >= M * C4) { return; }
  writeOut(thread / C4, thread % C4, activate(readX(thread / C4, thread % C4), vec4f(0.0)));
}
`;

/** The gradient behind an activation ('residual') times the derivative at x, which went into it. */
export const slopeText = /* wgsl */ `
const C4 = (X_CHANNELS + 3u) / 4u;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) grid: vec3u) {
  let thread = id.y * grid.x * WORKGROUP + id.x;
  if (thread >= M * C4) { return; }
  let row = thread / C4;
  let c4 = thread % C4;
  writeOut(row, c4, readResidual(row, c4) * derivative(readX(row, c4)));
}
`;

/**
 * Derivatives on four channels at once, `p` and `q` as in wgsl/activation.ts. At a kink they are what TensorFlow.js takes there. Those of
 * relu and relu6 are the same whether x is what went into the activation or what came out.
 */
export const DERIVATIVE_TEXTS: Readonly<Record<Exclude<ActivationName, 'prelu'>, string>> = {
  linear: /* wgsl */ `
fn slopeOf(x: vec4f, p: f32, q: f32) -> vec4f { return vec4f(1.0); }
`,
  relu: /* wgsl */ `
fn slopeOf(x: vec4f, p: f32, q: f32) -> vec4f { return select(vec4f(0.0), vec4f(1.0), x > vec4f(0.0)); }
`,
  relu6: /* wgsl */ `
fn slopeOf(x: vec4f, p: f32, q: f32) -> vec4f { return select(vec4f(0.0), vec4f(1.0), (x > vec4f(0.0)) & (x < vec4f(6.0))); }
`,
  sigmoid: /* wgsl */ `
fn slopeOf(x: vec4f, p: f32, q: f32) -> vec4f {
  let s = 1.0 / (1.0 + exp(-abs(x)));
  return s * (1.0 - s);
}
`,
  swish: /* wgsl */ `
fn slopeOf(x: vec4f, p: f32, q: f32) -> vec4f {
  let s = 1.0 / (1.0 + exp(-x));
  return s * (1.0 + x * (1.0 - s));
}
`,
  // Φ(x) + x · φ(x), with the Φ of wgsl/activation.ts.
  gelu: /* wgsl */ `
fn slopeOf(x: vec4f, p: f32, q: f32) -> vec4f {
  let u = abs(x);
  var series = fma(vec4f(-8.7094412e-07), u, vec4f(1.51299519e-05));
  series = fma(series, u, vec4f(-6.9687565e-05));
  series = fma(series, u, vec4f(-0.000413977163));
  series = fma(series, u, vec4f(0.00740792882));
  series = fma(series, u, vec4f(-0.0527135246));
  series = fma(series, u, vec4f(-0.459146708));
  series = fma(series, u, vec4f(-1.15111077));
  let tail = exp2(fma(series, u, vec4f(-1.0)));
  return select(tail, 1.0 - tail, x > vec4f(0.0)) + x * 0.3989422804 * exp(-0.5 * x * x);
}
`,
  // tanh of a large argument overflows in some drivers; beyond 10 it is 1 in float32.
  gelutanh: /* wgsl */ `
fn slopeOf(x: vec4f, p: f32, q: f32) -> vec4f {
  let t = tanh(clamp(0.79788456080 * (x + 0.044715 * x * x * x), vec4f(-10.0), vec4f(10.0)));
  return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * 0.79788456080 * (1.0 + 0.134145 * x * x);
}
`,
  leakyrelu: /* wgsl */ `
fn slopeOf(x: vec4f, p: f32, q: f32) -> vec4f { return select(vec4f(p), vec4f(1.0), x > vec4f(0.0)); }
`,
  elu: /* wgsl */ `
fn slopeOf(x: vec4f, p: f32, q: f32) -> vec4f { return select(p * exp(min(x, vec4f(0.0))), vec4f(1.0), x >= vec4f(0.0)); }
`,
  hardsigmoid: /* wgsl */ `
fn slopeOf(x: vec4f, p: f32, q: f32) -> vec4f {
  let line = x * p + q;
  return select(vec4f(0.0), vec4f(p), (line >= vec4f(0.0)) & (line <= vec4f(1.0)));
}
`,
  hardswish: /* wgsl */ `
fn slopeOf(x: vec4f, p: f32, q: f32) -> vec4f {
  let line = x * p + q;
  return clamp(line, vec4f(0.0), vec4f(1.0)) + select(vec4f(0.0), x * p, (line >= vec4f(0.0)) & (line <= vec4f(1.0)));
}
`,
  clamp: /* wgsl */ `
fn slopeOf(x: vec4f, p: f32, q: f32) -> vec4f { return select(vec4f(0.0), vec4f(1.0), (x >= vec4f(p)) & (x <= vec4f(q))); }
`,
};
