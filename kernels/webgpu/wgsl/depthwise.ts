/**
 * Depth-wise convolution. A workgroup makes a TILE_H × TILE_W tile of output pixels of LANES groups of four channels, a thread
 * STRIP_H × STRIP_W of those pixels of one group. It walks the input rows under its strip; each row is read once into
 * registers, and every output row that it reaches takes its taps from there. Neighbouring threads hold neighbouring
 * channels, so loads coalesce.
 *
 * Copying the tile's input into workgroup memory first, zeros included, was slower on an H200, for 7×7 windows too (114
 * against 32 µs at [32, 28, 28, 192]): the cache serves the overlapping windows, and workgroup memory costs occupancy.
 *
 * For a squeeze-and-excite gate it also sums its outputs per channel (HAS_SUMS); for a LayerNorm it takes, per pixel, mean
 * and squared deviations over its channels (HAS_MOMENTS).
 */
export const depthwiseText = /* wgsl */ `
const C4 = (OUT_CHANNELS + 3u) / 4u;
const BLOCKS = (C4 + LANES - 1u) / LANES;
const STRIPS_X = (TILE_W + STRIP_W - 1u) / STRIP_W;
const STRIPS_Y = (TILE_H + STRIP_H - 1u) / STRIP_H;
const STRIPS = STRIPS_X * STRIPS_Y;
const STRIP_PIXELS = STRIP_H * STRIP_W;
const WORKGROUP = LANES * STRIPS;
const TILES_X = (OUT_WIDTH + TILE_W - 1u) / TILE_W;

var<workgroup> parts: array<vec4f, select(1u, WORKGROUP, HAS_SUMS)>;
var<workgroup> moment: array<f32, select(1u, WORKGROUP * STRIP_PIXELS, HAS_MOMENTS)>;  // [strip][pixel][lane]

fn input4(image: u32, iy: i32, ix: i32, c4: u32) -> vec4f {
  if (iy < 0 || ix < 0 || iy >= i32(IN_HEIGHT) || ix >= i32(IN_WIDTH) || c4 >= C4) { return vec4f(0.0); }
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
  let strip = local / LANES;
  let c4 = group.y * LANES + lane;
  let image = group.z;
  let tileY = (group.x / TILES_X) * TILE_H;
  let tileX = (group.x % TILES_X) * TILE_W;
  let stripY = (strip / STRIPS_X) * STRIP_H;  // within the tile
  let stripX = (strip % STRIPS_X) * STRIP_W;
  let originY = i32((tileY + stripY) * STRIDE_H) - PAD_TOP;  // of the strip's input
  let originX = i32((tileX + stripX) * STRIDE_W) - PAD_LEFT;

  var acc: array<vec4f, STRIP_PIXELS>;  // [STRIP_H][STRIP_W]
  let tapColumn = FILTER / 4u + min(c4, C4 - 1u);
  // unroll wy < WINDOW_H
  {
    var line: array<vec4f, WINDOW_W>;
    // unroll wx < WINDOW_W
    {
      line[wx] = input4(image, originY + i32(wy), originX + i32(wx), c4);
    }
    // unroll sy < STRIP_H
    {
      // The tap of output row 'sy' that falls on this input row, if one does.
      let reach = i32(wy) - i32(sy * STRIDE_H);
      if (reach >= 0 && reach % i32(DILATION_H) == 0 && reach / i32(DILATION_H) < i32(KERNEL_H)) {
        let ky = u32(reach) / DILATION_H;
        // unroll kx < KERNEL_W
        {
          let tap = weights[tapColumn + (ky * KERNEL_W + kx) * C4];
          // unroll sx < STRIP_W
          {
            acc[sy * STRIP_W + sx] = fma(line[sx * STRIDE_W + kx * DILATION_W], tap, acc[sy * STRIP_W + sx]);
          }
        }
      }
    }
  }

  var sum = vec4f(0.0);
  // unroll p < STRIP_H * STRIP_W
  {
    let y = tileY + stripY + p / STRIP_W;
    let x = tileX + stripX + p % STRIP_W;
    let inTile = (TILE_H % STRIP_H == 0u || stripY + p / STRIP_W < TILE_H) && (TILE_W % STRIP_W == 0u || stripX + p % STRIP_W < TILE_W);
    if (c4 < C4 && inTile && y < OUT_HEIGHT && x < OUT_WIDTH) {
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
    if (strip == 0u && c4 < C4) {
      for (var other = 1u; other < STRIPS; other++) { sum += parts[other * LANES + lane]; }
      statistics[(image * SUM_PARTS + group.x) * C4 + c4] = sum;
    }
  }

  if (HAS_MOMENTS) {
    let count = f32(min(LANES * 4u, OUT_CHANNELS - group.y * LANES * 4u));
    // unroll p < STRIP_H * STRIP_W
    {
      moment[(strip * STRIP_PIXELS + p) * LANES + lane] = dot(acc[p], vec4f(1.0));
    }
    workgroupBarrier();
    var mean: array<f32, STRIP_PIXELS>;
    // unroll p < STRIP_H * STRIP_W
    {
      mean[p] = sumLanes(strip, p) / count;
    }
    workgroupBarrier();
    // unroll p < STRIP_H * STRIP_W
    {
      let deviation = live(acc[p] - mean[p], c4);
      moment[(strip * STRIP_PIXELS + p) * LANES + lane] = dot(deviation, deviation);
    }
    workgroupBarrier();
    // One lane a pixel writes; with fewer lanes than pixels each takes several.
    // unroll p < STRIP_H * STRIP_W
    {
      let y = tileY + stripY + p / STRIP_W;
      let x = tileX + stripX + p % STRIP_W;
      let inTile = stripY + p / STRIP_W < TILE_H && stripX + p % STRIP_W < TILE_W;
      if (p % LANES == lane && inTile && y < OUT_HEIGHT && x < OUT_WIDTH) {
        let row = (image * OUT_HEIGHT + y) * OUT_WIDTH + x;
        statistics[row * BLOCKS + group.y] = vec4f(mean[p], sumLanes(strip, p), count, 0.0);
      }
    }
  }
}
`;
