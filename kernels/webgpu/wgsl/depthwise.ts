/**
 * Depth-wise convolution. A thread makes STRIP_H × STRIP_W output pixels of four channels: it reads each input row of
 * their common window once into registers and lets every output that row reaches take its taps from there. Neighbouring
 * threads hold neighbouring channels, so loads coalesce, and windows of neighbouring strips overlap in the cache.
 *
 * A workgroup is LANES groups of four channels by STRIPS strips. For a squeeze-and-excite gate it also sums its outputs per
 * channel (HAS_SUMS); for a LayerNorm it takes, per pixel, mean and squared deviations over its channels (HAS_MOMENTS).
 */
export const depthwiseText = /* wgsl */ `
const WORKGROUP = LANES * STRIPS;
const C4 = (OUT_CHANNELS + 3u) / 4u;
const WINDOW_H = (STRIP_H - 1u) * STRIDE_H + (KERNEL_H - 1u) * DILATION_H + 1u;
const WINDOW_W = (STRIP_W - 1u) * STRIDE_W + (KERNEL_W - 1u) * DILATION_W + 1u;
const STRIPS_X = (OUT_WIDTH + STRIP_W - 1u) / STRIP_W;
const STRIPS_Y = (OUT_HEIGHT + STRIP_H - 1u) / STRIP_H;
const BLOCKS = (C4 + LANES - 1u) / LANES;
const STRIP_PIXELS = STRIP_H * STRIP_W;

var<workgroup> parts: array<vec4f, select(1u, WORKGROUP, HAS_SUMS)>;
var<workgroup> moment: array<f32, select(1u, WORKGROUP * STRIP_PIXELS, HAS_MOMENTS)>;  // [strip][pixel][lane]

fn input4(image: u32, iy: i32, ix: i32, c4: u32) -> vec4f {
  if (iy < 0 || ix < 0 || iy >= i32(IN_HEIGHT) || ix >= i32(IN_WIDTH)) { return vec4f(0.0); }
  return readX((image * IN_HEIGHT + u32(iy)) * IN_WIDTH + u32(ix), c4);
}

// Sum over the lanes of 'strip' for one pixel, in a fixed order.
fn sumLanes(strip: u32, pixel: u32) -> f32 {
  var total = 0.0;
  for (var lane = 0u; lane < LANES; lane++) { total += moment[(strip * STRIP_PIXELS + pixel) * LANES + lane]; }
  return total;
}

fn live(value: vec4f, c4: u32) -> vec4f {
  return select(vec4f(0.0), value, c4 * 4u + vec4u(0u, 1u, 2u, 3u) < vec4u(OUT_CHANNELS));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let lane = local % LANES;
  let slot = local / LANES;
  let c4 = group.y * LANES + lane;
  let image = group.z;
  let strip = group.x * STRIPS + slot;
  let ox = (strip % STRIPS_X) * STRIP_W;
  let oy = (strip / STRIPS_X) * STRIP_H;
  let inside = c4 < C4 && strip < STRIPS_X * STRIPS_Y;

  var acc: array<vec4f, STRIP_PIXELS>;  // [STRIP_H][STRIP_W]
  if (inside) {
    for (var wy = 0u; wy < WINDOW_H; wy++) {
      var line: array<vec4f, WINDOW_W>;
      for (var wx = 0u; wx < WINDOW_W; wx++) {
        line[wx] = input4(image, i32(oy * STRIDE_H + wy) - PAD_TOP, i32(ox * STRIDE_W + wx) - PAD_LEFT, c4);
      }
      for (var sy = 0u; sy < STRIP_H; sy++) {
        // The tap of output row 'sy' that falls on this input row, if one does.
        let reach = i32(wy) - i32(sy * STRIDE_H);
        if (reach < 0 || reach % i32(DILATION_H) != 0 || reach / i32(DILATION_H) >= i32(KERNEL_H)) { continue; }
        let ky = u32(reach) / DILATION_H;
        for (var kx = 0u; kx < KERNEL_W; kx++) {
          let tap = weight4(FILTER, (ky * KERNEL_W + kx) * C4 + c4);
          for (var sx = 0u; sx < STRIP_W; sx++) {
            acc[sy * STRIP_W + sx] = fma(line[sx * STRIDE_W + kx * DILATION_W], tap, acc[sy * STRIP_W + sx]);
          }
        }
      }
    }
  }

  var sum = vec4f(0.0);
  for (var p = 0u; p < STRIP_PIXELS; p++) {
    let y = oy + p / STRIP_W;
    let x = ox + p % STRIP_W;
    if (inside && y < OUT_HEIGHT && x < OUT_WIDTH) {
      let row = (image * OUT_HEIGHT + y) * OUT_WIDTH + x;
      let value = finish(row, c4, acc[p]);
      acc[p] = live(value, c4);
      sum += acc[p];
      writeOut(row, c4, value);
    } else {
      acc[p] = vec4f(0.0);
    }
  }

  if (HAS_SUMS) {
    parts[local] = sum;
    workgroupBarrier();
    if (slot == 0u && c4 < C4) {
      for (var other = 1u; other < STRIPS; other++) { sum += parts[other * LANES + lane]; }
      statistics[(image * SUM_PARTS + group.x) * C4 + c4] = sum;
    }
  }

  if (HAS_MOMENTS) {
    let count = f32(min(LANES * 4u, OUT_CHANNELS - group.y * LANES * 4u));
    for (var p = 0u; p < STRIP_PIXELS; p++) { moment[(slot * STRIP_PIXELS + p) * LANES + lane] = dot(acc[p], vec4f(1.0)); }
    workgroupBarrier();
    var mean: array<f32, STRIP_PIXELS>;
    for (var p = 0u; p < STRIP_PIXELS; p++) { mean[p] = sumLanes(slot, p) / count; }
    workgroupBarrier();
    for (var p = 0u; p < STRIP_PIXELS; p++) {
      let deviation = live(acc[p] - mean[p], c4);
      moment[(slot * STRIP_PIXELS + p) * LANES + lane] = dot(deviation, deviation);
    }
    workgroupBarrier();
    // One lane a pixel writes; with fewer lanes than pixels each takes several.
    for (var p = lane; p < STRIP_PIXELS; p += LANES) {
      let y = oy + p / STRIP_W;
      let x = ox + p % STRIP_W;
      if (strip < STRIPS_X * STRIPS_Y && y < OUT_HEIGHT && x < OUT_WIDTH) {
        let row = (image * OUT_HEIGHT + y) * OUT_WIDTH + x;
        statistics[row * BLOCKS + group.y] = vec4f(mean[p], sumLanes(slot, p), count, 0.0);
      }
    }
  }
}
`;
