/**
 * A full convolution of up to three channels, as a network begins with. As a matrix product it finds and checks each of its K values by
 * itself; here a thread makes STRIP output pixels in a row of VECTORS × 4 channels, and reads a line of input once, as it lies, for all of
 * them. Lanes hold neighbouring channels, so stores coalesce; the line is the same to all lanes.
 *
 * The loop over the window's rows is not written out: a dispatch that runs once has to fetch its text first.
 */
export const stemText = /* wgsl */ `
const WORKGROUP = LANES * STRIPS;
const C4 = (OUT_CHANNELS + 3u) / 4u;
const STRIPS_X = (OUT_WIDTH + STRIP - 1u) / STRIP;
const TAPS = KERNEL_W * X_CHANNELS;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let lane = local % LANES;
  let strip = group.x * STRIPS + local / LANES;
  let image = group.z;
  let ox = (strip % STRIPS_X) * STRIP;
  let oy = strip / STRIPS_X;
  if (oy >= OUT_HEIGHT) { return; }
  let c4 = group.y * VECTORS * LANES + lane;  // the first of VECTORS, LANES apart
  let y0 = i32(oy * STRIDE_H) - PAD_TOP;
  let x0 = i32(ox * STRIDE_W) - PAD_LEFT;
  let isInside = x0 >= 0 && x0 + i32(WINDOW_W) <= i32(IN_WIDTH);

  var acc: array<vec4f, VECTORS * STRIP>;  // [VECTORS][STRIP]
  for (var ky = 0u; ky < KERNEL_H; ky++) {
    let y = y0 + i32(ky * DILATION_H);
    if (y < 0 || y >= i32(IN_HEIGHT)) { continue; }
    let row = (i32(image * IN_HEIGHT) + y) * i32(IN_WIDTH) + x0;
    var line: array<f32, WINDOW_W * X_CHANNELS>;  // [WINDOW_W][X_CHANNELS]
    if (isInside) {
      // unroll i < WINDOW_W * X_CHANNELS
      {
        line[i] = f32(xScalars[u32(row) * X_CHANNELS + i]);
      }
    } else {
      // unroll i < WINDOW_W * X_CHANNELS
      {
        line[i] = 0.0;
        if (u32(x0 + i32(i / X_CHANNELS)) < IN_WIDTH) { line[i] = f32(xScalars[u32(row * i32(X_CHANNELS) + i32(i))]); }
      }
    }
    // unroll tap < KERNEL_W * X_CHANNELS
    {
      // unroll v < VECTORS
      {
        let w = weight4(FILTER, (ky * TAPS + tap) * C4 + min(c4 + v * LANES, C4 - 1u));
        // unroll s < STRIP
        {
          let value = line[(s * STRIDE_W + tap / X_CHANNELS * DILATION_W) * X_CHANNELS + tap % X_CHANNELS];
          acc[v * STRIP + s] = fma(vec4f(value), w, acc[v * STRIP + s]);
        }
      }
    }
  }

  // unroll s < STRIP
  {
    let row = (image * OUT_HEIGHT + oy) * OUT_WIDTH + ox + s;
    if (OUT_WIDTH % STRIP == 0u || ox + s < OUT_WIDTH) {
      // unroll v < VECTORS
      {
        let at = c4 + v * LANES;
        if (C4 % (VECTORS * LANES) == 0u || at < C4) { writeOut(row, at, finish(row, at, acc[v * STRIP + s])); }
      }
    }
  }
}
`;
