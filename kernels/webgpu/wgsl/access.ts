/**
 * How the kernels read the block's input and write its output: four channels at a time, which needs channels in multiples of
 * four, or one by one. Each text defines readX, readResidual and writeOut over a row (a pixel) and a group of four channels.
 */

/** X_CHANNELS, RESIDUAL_CHANNELS and OUT_CHANNELS are multiples of four; a residual narrower than the output is zero there. */
export const vectorAccess = /* wgsl */ `
fn readX(row: u32, c4: u32) -> vec4f { return x[row * (X_CHANNELS / 4u) + c4]; }

fn readResidual(row: u32, c4: u32) -> vec4f {
  if (c4 >= RESIDUAL_CHANNELS / 4u) { return vec4f(0.0); }
  return residual[row * (RESIDUAL_CHANNELS / 4u) + c4];
}

fn writeOut(row: u32, c4: u32, value: vec4f) { out[row * (OUT_CHANNELS / 4u) + c4] = value; }
`;

export const scalarAccess = /* wgsl */ `
fn readX(row: u32, c4: u32) -> vec4f {
  var value = vec4f(0.0);
  for (var i = 0u; i < 4u; i++) {
    if (c4 * 4u + i < X_CHANNELS) { value[i] = xScalars[row * X_CHANNELS + c4 * 4u + i]; }
  }
  return value;
}

fn readResidual(row: u32, c4: u32) -> vec4f {
  var value = vec4f(0.0);
  for (var i = 0u; i < 4u; i++) {
    if (c4 * 4u + i < RESIDUAL_CHANNELS) { value[i] = residualScalars[row * RESIDUAL_CHANNELS + c4 * 4u + i]; }
  }
  return value;
}

fn writeOut(row: u32, c4: u32, value: vec4f) {
  for (var i = 0u; i < 4u; i++) {
    if (c4 * 4u + i < OUT_CHANNELS) { outScalars[row * OUT_CHANNELS + c4 * 4u + i] = value[i]; }
  }
}
`;
