/**
 * How the kernels read the block's input and write its output: four channels at a time, which needs channels in multiples of
 * four, or one by one. Each text defines readX, readResidual and writeOut over a row (a pixel) and a group of four channels.
 * loadX(at) is for a kernel that has the address, in groups, of rows whose channels are a multiple of four.
 * Values are f32 in the kernels; x, residual and out may each be f16 in memory (X_F16, RESIDUAL_F16, OUT_F16).
 */

/** Of X_GROUPS groups of channels that are read by turns, the channel that comes at this place. */
const shuffle = /* wgsl */ `
fn shuffled(channel: u32) -> u32 { return (channel % X_GROUPS) * (X_CHANNELS / X_GROUPS) + channel / X_GROUPS; }
`;

const vectorX = /* wgsl */ `
fn loadX(at: u32) -> vec4f { return vec4f(x[at]); }

fn readX(row: u32, c4: u32) -> vec4f {
  if (X_GROUPS > 1u) {
    var value = vec4f(0.0);
    for (var i = 0u; i < 4u; i++) {
      let c = shuffled(c4 * 4u + i);
      value[i] = vec4f(x[row * (X_CHANNELS / 4u) + c / 4u])[c % 4u];
    }
    return value;
  }
  return vec4f(x[row * (X_CHANNELS / 4u) + c4]);
}
`;

export const vectorInput = shuffle + vectorX;

/** Where a residual is spread over the channels: the one it gives to an output channel, RESIDUAL_CHANNELS for none. */
const spread = /* wgsl */ `
fn spreadFrom(channel: u32) -> u32 {
  if (channel < SPREAD_AT) { return RESIDUAL_CHANNELS; }
  let i = (channel - SPREAD_AT) / SPREAD_STEP;
  if ((channel - SPREAD_AT) % SPREAD_STEP != 0u || i >= SPREAD_COUNT) { return RESIDUAL_CHANNELS; }
  return SPREAD_FROM + SPREAD_EVERY * i;
}
`;

/** A residual narrower than the output is zero where it has no channels. */
const vectorRows = /* wgsl */ `
fn readResidual(row: u32, c4: u32) -> vec4f {
  if (IS_SPREAD) {
    var value = vec4f(0.0);
    for (var i = 0u; i < 4u; i++) {
      let c = spreadFrom(c4 * 4u + i);
      if (c < RESIDUAL_CHANNELS) { value[i] = vec4f(residual[row * (RESIDUAL_CHANNELS / 4u) + c / 4u])[c % 4u]; }
    }
    return value;
  }
  if (c4 >= RESIDUAL_CHANNELS / 4u) { return vec4f(0.0); }
  return vec4f(residual[row * (RESIDUAL_CHANNELS / 4u) + c4]);
}

fn writeOut(row: u32, c4: u32, value: vec4f) { out[row * (OUT_CHANNELS / 4u) + c4] = OutVector(value); }
`;

export const vectorOutput = spread + vectorRows;

/** X_CHANNELS, RESIDUAL_CHANNELS and OUT_CHANNELS are multiples of four. */
export const vectorAccess = vectorInput + vectorOutput;

const scalarX = /* wgsl */ `
fn loadX(at: u32) -> vec4f {
  let first = at * 4u;
  return vec4f(f32(xScalars[first]), f32(xScalars[first + 1u]), f32(xScalars[first + 2u]), f32(xScalars[first + 3u]));
}

fn readX(row: u32, c4: u32) -> vec4f {
  var value = vec4f(0.0);
  for (var i = 0u; i < 4u; i++) {
    if (c4 * 4u + i < X_CHANNELS) { value[i] = f32(xScalars[row * X_CHANNELS + shuffled(c4 * 4u + i)]); }
  }
  return value;
}
`;

export const scalarInput = shuffle + scalarX;

const scalarRows = /* wgsl */ `
fn readResidual(row: u32, c4: u32) -> vec4f {
  var value = vec4f(0.0);
  for (var i = 0u; i < 4u; i++) {
    let c = select(c4 * 4u + i, spreadFrom(c4 * 4u + i), IS_SPREAD);
    if (c < RESIDUAL_CHANNELS) { value[i] = f32(residualScalars[row * RESIDUAL_CHANNELS + c]); }
  }
  return value;
}

fn writeOut(row: u32, c4: u32, value: vec4f) {
  for (var i = 0u; i < 4u; i++) {
    if (c4 * 4u + i < OUT_CHANNELS) { outScalars[row * OUT_CHANNELS + c4 * 4u + i] = OutScalar(value[i]); }
  }
}
`;

export const scalarOutput = spread + scalarRows;

/** Any channels. */
export const scalarAccess = scalarInput + scalarOutput;
