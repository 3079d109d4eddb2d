/** Activations on four channels at once. ACTIVATION_* are the codes of ../activation_codes.ts. */
export const activationText = /* wgsl */ `
fn sigmoid4(x: vec4f) -> vec4f { return 1.0 / (1.0 + exp(-x)); }

// Abramowitz and Stegun 7.1.26, |error| < 1.5e-7: the formula TensorFlow.js uses, so both round alike.
fn erf4(x: vec4f) -> vec4f {
  let t = 1.0 / (1.0 + 0.3275911 * abs(x));
  let series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return sign(x) * (1.0 - series * exp(-x * x));
}

// 'slope' is prelu's; 'p' and 'q' are the activation's parameters in the order of their names in ops/block.ts.
fn activate(code: u32, x: vec4f, slope: vec4f, p: f32, q: f32) -> vec4f {
  switch code {
    case 1u: { return max(x, vec4f(0.0)); }
    case 2u: { return clamp(x, vec4f(0.0), vec4f(6.0)); }
    case 3u: { return select(x * slope, x, x >= vec4f(0.0)); }
    case 4u: { return sigmoid4(x); }
    case 5u: { return x * sigmoid4(x); }
    case 6u: { return 0.5 * x * (1.0 + erf4(x * 0.70710678118)); }
    // tanh of a large argument overflows in some drivers; beyond 10 it is 1 in float32.
    case 7u: { return 0.5 * x * (1.0 + tanh(clamp(0.79788456080 * (x + 0.044715 * x * x * x), vec4f(-10.0), vec4f(10.0)))); }
    case 8u: { return select(x * p, x, x >= vec4f(0.0)); }
    case 9u: { return select(p * (exp(min(x, vec4f(0.0))) - 1.0), x, x >= vec4f(0.0)); }
    case 10u: { return clamp(x * p + q, vec4f(0.0), vec4f(1.0)); }
    case 11u: { return x * clamp(x * p + q, vec4f(0.0), vec4f(1.0)); }
    case 12u: { return clamp(x, vec4f(p), vec4f(q)); }
    default: { return x; }
  }
}
`;
