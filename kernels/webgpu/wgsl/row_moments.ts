/** The moments of a row of `norms`, for a product that takes a LayerNorm in. */
export const rowMomentsText = /* wgsl */ `
// Mean and 1/σ of a row that came in raw, for its LayerNorm. The statistics of NORM_BLOCKS blocks of channels (mean, sum of
// squared deviations, count) are merged as in Chan et al. 1979, which cancels nothing.
fn momentsOf(row: u32) -> vec2f {
  var total = norms[row * NORM_BLOCKS].xyz;
  for (var b = 1u; b < NORM_BLOCKS; b++) {
    let part = norms[row * NORM_BLOCKS + b].xyz;
    let count = total.z + part.z;
    let delta = part.x - total.x;
    total = vec3f(total.x + delta * part.z / count, total.y + part.y + delta * delta * total.z * part.z / count, count);
  }
  return vec2f(total.x, inverseSqrt(total.y / total.z + NORM_EPSILON));
}
`;
