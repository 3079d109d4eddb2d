/**
 * Grouped convolution of any group width, depth multipliers included: many small matrix products. A thread makes STRIP output
 * pixels of four output channels; it reads the group's input channels one by one, each broadcast to four sums.
 * Output channels of one vector may lie in different groups (a width that is no multiple of four), so each of the four
 * reads its own group's channel.
 */
export const groupedText = /* wgsl */ `
const WORKGROUP = LANES * STRIPS;
const C4 = (OUT_CHANNELS + 3u) / 4u;
const STRIPS_X = (OUT_WIDTH + STRIP - 1u) / STRIP;
const OUT_GROUP = OUT_CHANNELS / GROUPS;

fn inputAt(row: u32, channel: u32) -> f32 { return readX(row, channel / 4u)[channel % 4u]; }

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let c4 = group.y * LANES + local % LANES;
  let strip = group.x * STRIPS + local / LANES;
  let image = group.z;
  let ox = (strip % STRIPS_X) * STRIP;
  let oy = strip / STRIPS_X;
  if (c4 >= C4 || oy >= OUT_HEIGHT) { return; }
  let channels = min(c4 * 4u + vec4u(0u, 1u, 2u, 3u), vec4u(OUT_CHANNELS - 1u));
  let origin = (channels / OUT_GROUP) * GROUP;  // first input channel of each output channel's group

  var acc: array<vec4f, STRIP>;
  for (var ky = 0u; ky < KERNEL_H; ky++) {
    let iy = i32(oy * STRIDE_H + ky * DILATION_H) - PAD_TOP;
    if (iy < 0 || iy >= i32(IN_HEIGHT)) { continue; }
    for (var kx = 0u; kx < KERNEL_W; kx++) {
      for (var c = 0u; c < GROUP; c += CHANNEL_STEP) {
        for (var s = 0u; s < STRIP; s++) {
          let ix = i32((ox + s) * STRIDE_W + kx * DILATION_W) - PAD_LEFT;
          if (ix < 0 || ix >= i32(IN_WIDTH)) { continue; }
          let row = (image * IN_HEIGHT + u32(iy)) * IN_WIDTH + u32(ix);
          let tap = ((ky * KERNEL_W + kx) * GROUP + c) * C4 + c4;
          if (CHANNEL_STEP == 4u) {
            // The four outputs share a group whose width is a multiple of four: one vector of inputs serves all.
            let value = readX(row, (origin.x + c) / 4u);
            acc[s] += value.x * weight4(FILTER, tap) + value.y * weight4(FILTER, tap + C4)
              + value.z * weight4(FILTER, tap + 2u * C4) + value.w * weight4(FILTER, tap + 3u * C4);
          } else {
            let value = vec4f(inputAt(row, origin.x + c), inputAt(row, origin.y + c), inputAt(row, origin.z + c), inputAt(row, origin.w + c));
            acc[s] += value * weight4(FILTER, tap);
          }
        }
      }
    }
  }
  for (var s = 0u; s < STRIP; s++) {
    if (ox + s < OUT_WIDTH) {
      let row = (image * OUT_HEIGHT + oy) * OUT_WIDTH + ox + s;
      writeOut(row, c4, finish(row, c4, acc[s]));
    }
  }
}
`;
