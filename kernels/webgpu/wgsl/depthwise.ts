/**
 * Depth-wise convolution. A workgroup makes a TILE_H × TILE_W tile of output pixels of LANES groups of four channels, a thread
 * STRIP_H × STRIP_W of those pixels of one group. It walks the input rows under its strip; each row is read once into
 * registers, and every output row that it reaches takes its taps from there. Neighbouring threads hold neighbouring
 * channels, so loads coalesce.
 *
 * The walk is a loop and not written out: in a network every dispatch comes upon processors that hold another kernel's instructions,
 * and 7×7 written out, some 40 KB, took 19 to 23 µs at [8, 14, 14, 384] in a pass of its own where a repetition of it took 8; as a loop 8.7 and 8.3 (H200).
 *
 * The input comes from one of the two sources below: a map in device memory, or the 1×1 expansion of one, made tile by tile in
 * workgroup memory so that the expanded map never reaches device memory. Copying a plain map there first was slower on an
 * H200, for 7×7 windows too (114 against 32 µs at [32, 28, 28, 192]): the cache serves overlapping windows, and
 * workgroup memory costs occupancy.
 *
 * For a squeeze-and-excite gate it also sums its outputs per channel (channel_sums.ts). For a LayerNorm it takes, per pixel, mean and
 * squared deviations over its channels (HAS_MOMENTS).
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

// Of a thread's channels, per pixel: their sum, and the squared deviations from their own mean.
var<workgroup> moment: array<vec2f, select(1u, WORKGROUP * STRIP_PIXELS, HAS_MOMENTS)>;  // [strip][pixel][lane]

// Channels of the lane's four that there are.
fn channelsOf(block: u32, lane: u32) -> f32 {
  if (OUT_CHANNELS % (LANES * 4u) == 0u) { return 4.0; }
  let first = (block * LANES + lane) * 4u;
  return f32(min(4u, max(first, OUT_CHANNELS) - first));
}

// (mean, squared deviations, count, 0) of the lanes together: deviations of each one's from its own mean, then of those from the mean of all, as
// in Chan et al. 1979, which subtracts no squares.
fn momentsOfLanes(block: u32, strip: u32, pixel: u32) -> vec4f {
  let first = (min(strip, STRIPS - 1u) * STRIP_PIXELS + min(pixel, STRIP_PIXELS - 1u)) * LANES;  // Else every index is clamped.
  var sum = 0.0;
  for (var lane = 0u; lane < LANES; lane++) { sum += moment[first + lane].x; }
  let count = f32(min(LANES * 4u, OUT_CHANNELS - block * LANES * 4u));
  let mean = sum / count;
  var squares = 0.0;
  for (var lane = 0u; lane < LANES; lane++) {
    let own = moment[first + lane];
    let channels = channelsOf(block, lane);
    let deviation = own.x / max(channels, 1.0) - mean;
    squares += own.y + channels * deviation * deviation;
  }
  return vec4f(mean, squares, count, 0.0);
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
  let origin = vec2i(i32(tileY * STRIDE_H) - PAD_TOP, i32(tileX * STRIDE_W) - PAD_LEFT);  // of the tile's input
  prepare(image, origin, c4, local);

  var acc: array<vec4f, STRIP_PIXELS>;  // [STRIP_H][STRIP_W]
  let column = min(c4, C4 - 1u);
  let tapColumn = FILTER / 4u + column;
  let corner = vec2u(stripY * STRIDE_H, stripX * STRIDE_W);  // of the strip's window within the tile's
  let begin = i32(corner.x) + origin.x;
  var line: array<vec4f, WINDOW_W>;
  // Bounds that are no constants, so that no driver writes the loop out.
  let end = rowsEnd(begin);
  for (var wy = rowsBegin(begin); wy < end; wy++) {
    readLine(&line, image, origin, corner + vec2u(wy, 0u), column, lane);
    // unroll sy < STRIP_H
    {
      // The tap of output row 'sy' that falls on this input row, if one does.
      let reach = i32(wy) - i32(sy * STRIDE_H);
      if (reach >= 0 && reach % i32(DILATION_H) == 0 && reach / i32(DILATION_H) < i32(KERNEL_H)) {
        let tapRow = tapColumn + u32(reach) / DILATION_H * KERNEL_W * C4;
        // unroll kx < KERNEL_W
        {
          let tap = weights[tapRow + kx * C4];
          // unroll sx < STRIP_W
          {
            acc[sy * STRIP_W + sx] = fma(line[sx * STRIDE_W + kx * DILATION_W], tap, acc[sy * STRIP_W + sx]);
          }
        }
      }
    }
  }

  // On their way from memory while the outputs are finished.
  var rows: EarlyRows;
  fetchRows(group.y, local, &rows);

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

  if (HAS_SUMS) { leaveSums(group, local, sum, &rows); }

  if (HAS_MOMENTS) {
    let channels = max(channelsOf(group.y, lane), 1.0);
    // unroll p < STRIP_H * STRIP_W
    {
      let total = dot(acc[p], vec4f(1.0));
      let deviation = live(acc[p] - total / channels, c4);
      moment[(strip * STRIP_PIXELS + p) * LANES + lane] = vec2f(total, dot(deviation, deviation));
    }
    workgroupBarrier();
    // One lane a pixel; with fewer lanes than pixels each takes several.
    for (var p = lane; p < STRIP_PIXELS; p += LANES) {
      let y = tileY + stripY + p / STRIP_W;
      let x = tileX + stripX + p % STRIP_W;
      let inTile = stripY + p / STRIP_W < TILE_H && stripX + p % STRIP_W < TILE_W;
      if (inTile && y < OUT_HEIGHT && x < OUT_WIDTH) {
        let row = (image * OUT_HEIGHT + y) * OUT_WIDTH + x;
        statistics[row * BLOCKS + group.y] = momentsOfLanes(group.y, strip, p);
      }
    }
  }
}
`;

/**
 * A map in device memory: nothing to prepare; zero around it. Rows beyond its edges are left out; a column beyond them is a load that is
 * masked. A branch around the unmasked loads of inner strips was slower: it keeps the loads of the next row behind the sums of this one.
 */
export const mapSource = /* wgsl */ `
fn prepare(image: u32, origin: vec2i, c4: u32, local: u32) {}

// The rows of a window that begins at 'y' which lie on the map.
fn rowsBegin(y: i32) -> u32 { return u32(max(0, -y)); }
fn rowsEnd(y: i32) -> u32 { return u32(clamp(i32(IN_HEIGHT) - y, 0, i32(WINDOW_H))); }

// The line of input at 'at' from the tile's origin.
fn readLine(line: ptr<function, array<vec4f, WINDOW_W>>, image: u32, origin: vec2i, at: vec2u, c4: u32, lane: u32) {
  let x = origin.y + i32(at.y);
  let row = i32((image * IN_HEIGHT + at.x) * IN_WIDTH) + origin.x * i32(IN_WIDTH) + x;
  // unroll wx < WINDOW_W
  {
    (*line)[wx] = vec4f(0.0);
    if (u32(x + i32(wx)) < IN_WIDTH) { (*line)[wx] = readX(u32(row + i32(wx)), c4); }
  }
}
`;

/**
 * The expansion of x by a 1×1 convolution: expanded = activation(x · W + b) for the pixels under the tile, zero around the map.
 * Pixels under the edges of two tiles are made twice. A thread makes PIXELS pixels of its group of four channels, so that
 * a vector of the filter serves that many.
 */
export const expandSource = /* wgsl */ `
const K4 = (X_CHANNELS + 3u) / 4u;
const PATCH_H = (STRIPS_Y * STRIP_H - 1u) * STRIDE_H + (KERNEL_H - 1u) * DILATION_H + 1u;
const PATCH_W = (STRIPS_X * STRIP_W - 1u) * STRIDE_W + (KERNEL_W - 1u) * DILATION_W + 1u;
const PATCH = PATCH_H * PATCH_W;
const TURNS = (PATCH + PIXELS - 1u) / PIXELS;

var<workgroup> expanded: array<vec4f, PATCH * LANES>;  // [PATCH_H][PATCH_W][LANES]

fn prepare(image: u32, origin: vec2i, c4: u32, local: u32) {
  let lane = local % LANES;
  let column = min(c4, C4 - 1u);
  // Pixels of one turn lie TURNS apart, so that the threads of a turn read neighbours.
  for (var turn = local / LANES; turn < TURNS; turn += STRIPS) {
    var rows: array<u32, PIXELS>;
    var acc: array<vec4f, PIXELS>;
    // unroll i < PIXELS
    {
      let pixel = min(turn + i * TURNS, PATCH - 1u);
      let y = clamp(origin.x + i32(pixel / PATCH_W), 0, i32(IN_HEIGHT) - 1);
      let x = clamp(origin.y + i32(pixel % PATCH_W), 0, i32(IN_WIDTH) - 1);
      rows[i] = (image * IN_HEIGHT + u32(y)) * IN_WIDTH + u32(x);
      if (HAS_EXPAND_BIAS) { acc[i] = weights[EXPAND_BIAS / 4u + column]; }
    }
    for (var k4 = 0u; k4 < K4; k4++) {
      let filterAt = EXPAND_FILTER / 4u + k4 * 4u * C4 + column;
      let w0 = weights[filterAt];
      let w1 = weights[filterAt + C4];
      let w2 = weights[filterAt + 2u * C4];
      let w3 = weights[filterAt + 3u * C4];
      // unroll i < PIXELS
      {
        let value = readX(rows[i], k4);
        acc[i] = fma(vec4f(value.x), w0, acc[i]);
        acc[i] = fma(vec4f(value.y), w1, acc[i]);
        acc[i] = fma(vec4f(value.z), w2, acc[i]);
        acc[i] = fma(vec4f(value.w), w3, acc[i]);
      }
    }
    var slope = vec4f(0.0);
    if (HAS_EXPAND_SLOPE) { slope = weights[EXPAND_SLOPE / 4u + column]; }
    // unroll i < PIXELS
    {
      let pixel = turn + i * TURNS;
      let y = origin.x + i32(pixel / PATCH_W);
      let x = origin.y + i32(pixel % PATCH_W);
      let isInside = y >= 0 && x >= 0 && y < i32(IN_HEIGHT) && x < i32(IN_WIDTH);
      if (pixel < PATCH) { expanded[pixel * LANES + lane] = select(vec4f(0.0), activateExpanded(acc[i], slope), isInside); }
    }
  }
  workgroupBarrier();
}

fn rowsBegin(y: i32) -> u32 { return 0u; }
fn rowsEnd(y: i32) -> u32 { return WINDOW_H; }

fn readLine(line: ptr<function, array<vec4f, WINDOW_W>>, image: u32, origin: vec2i, at: vec2u, c4: u32, lane: u32) {
  // It is less: said for the compiler, which else clamps every index.
  let first = min((at.x * PATCH_W + at.y) * LANES + lane, (PATCH - WINDOW_W) * LANES + LANES - 1u);
  // unroll wx < WINDOW_W
  {
    (*line)[wx] = expanded[first + wx * LANES];
  }
}
`;
