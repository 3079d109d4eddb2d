/** What a kernel does with four finished channels of one pixel before it writes them. */
export const epilogueText = /* wgsl */ `
fn weight4(offset: u32, c4: u32) -> vec4f { return weights[offset / 4u + c4]; }

// What finish reads from memory, apart so that a kernel can have the loads of many pixels in flight.
struct Ending {
  bias: vec4f,
  slope: vec4f,
  residual: vec4f,
  residualSlope: vec4f,
}

// All but the residual.
fn channelEnding(c4: u32) -> Ending {
  var ending: Ending;
  if (HAS_BIAS) { ending.bias = weight4(BIAS, c4); }
  if (HAS_SLOPE) { ending.slope = weight4(SLOPE, c4); }
  if (HAS_RESIDUAL_SLOPE) { ending.residualSlope = weight4(RESIDUAL_SLOPE, c4); }
  return ending;
}

fn endingOf(row: u32, c4: u32) -> Ending {
  var ending = channelEnding(c4);
  if (HAS_RESIDUAL) { ending.residual = readResidual(row, c4); }
  return ending;
}

// Bias, activation, then the residual and the activation behind it.
fn finishBy(ending: Ending, sum: vec4f) -> vec4f {
  var value = sum;
  if (HAS_BIAS) { value += ending.bias; }
  value = activate(value, ending.slope);
  if (HAS_RESIDUAL) { value = activateSum(value + ending.residual, ending.residualSlope); }
  return value;
}

fn finish(row: u32, c4: u32, sum: vec4f) -> vec4f { return finishBy(endingOf(row, c4), sum); }
`;
