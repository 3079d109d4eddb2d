/** What a kernel does with four finished channels of one pixel before it writes them. */
export const epilogueText = /* wgsl */ `
fn weight4(offset: u32, c4: u32) -> vec4f { return weights[offset / 4u + c4]; }

// Bias, activation, then the residual and the activation behind it.
fn finish(row: u32, c4: u32, sum: vec4f) -> vec4f {
  var value = sum;
  if (HAS_BIAS) { value += weight4(BIAS, c4); }
  var slope = vec4f(0.0);
  if (HAS_SLOPE) { slope = weight4(SLOPE, c4); }
  value = activate(value, slope);
  if (HAS_RESIDUAL) {
    if (HAS_RESIDUAL_SLOPE) { slope = weight4(RESIDUAL_SLOPE, c4); }
    value = activateSum(value + readResidual(row, c4), slope);
  }
  return value;
}
`;
