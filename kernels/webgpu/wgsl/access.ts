/**
 * How the kernels read the block's input and write its output: four channels at a time, which needs channels in multiples of
 * four, or one by one. Each text defines readX, readResidual and writeOut over a row (a pixel) and a group of four channels.
 * loadX(at) is for a kernel that has the address, in groups, of rows whose channels are a multiple of four.
 * Values are f32 in the kernels; x, residual and out may each be f16 in memory (X_F16, RESIDUAL_F16, OUT_F16).
 */

export const vectorInput = /* wgsl */ `
fn loadX(at: u32) -> vec4f { return vec4f(x[at]); }

fn readX(row: u32, c4: u32) -> vec4f { return vec4f(x[row * (X_CHANNELS / 4u) + c4]); }
`;

/** A residual narrower than the output is zero where it has no channels. */
export const vectorOutput = /* wgsl */ `
fn readResidual(row: u32, c4: u32) -> vec4f {
  if (c4 >= RESIDUAL_CHANNELS / 4u) { return vec4f(0.0); }
  return vec4f(residual[row * (RESIDUAL_CHANNELS / 4u) + c4]);
}

fn writeOut(row: u32, c4: u32, value: vec4f) { out[row * (OUT_CHANNELS / 4u) + c4] = OutVector(value); }
`;

/** X_CHANNELS, RESIDUAL_CHANNELS and OUT_CHANNELS are multiples of four. */
export const vectorAccess = vectorInput + vectorOutput;

export const scalarInput = /* wgsl */ `
fn loadX(at: u32) -> vec4f {
  let first = at * 4u;
  return vec4f(f32(xScalars[first]), f32(xScalars[first + 1u]), f32(xScalars[first + 2u]), f32(xScalars[first + 3u]));
}

fn readX(row: u32, c4: u32) -> vec4f {
  var value = vec4f(0.0);
  for (var i = 0u; i < 4u; i++) {
    if (c4 * 4u + i < X_CHANNELS) { value[i] = f32(xScalars[row * X_CHANNELS + c4 * 4u + i]); }
  }
  return value;
}
`;

export const scalarOutput = /* wgsl */ `
fn readResidual(row: u32, c4: u32) -> vec4f {
  var value = vec4f(0.0);
  for (var i = 0u; i < 4u; i++) {
    if (c4 * 4u + i < RESIDUAL_CHANNELS) { value[i] = f32(residualScalars[row * RESIDUAL_CHANNELS + c4 * 4u + i]); }
  }
  return value;
}

fn writeOut(row: u32, c4: u32, value: vec4f) {
  for (var i = 0u; i < 4u; i++) {
    if (c4 * 4u + i < OUT_CHANNELS) { outScalars[row * OUT_CHANNELS + c4 * 4u + i] = OutScalar(value[i]); }
  }
}
`;

/** Any channels. */
export const scalarAccess = scalarInput + scalarOutput;
