/**
 * An expansion and the depth-wise convolution behind it in one dispatch, so that the expanded map, the largest of its block, exists in
 * registers alone. A workgroup owns TILE_H × TILE_W output pixels of an image and LANES groups of four channels, a thread
 * STRIP_H × STRIP_W of the pixels and one group. It walks down the window under its strip, STEP_ROWS rows at a time: it expands the
 * pixels of these rows ('line'), each a vector of x that all lanes read as one times the thread's four columns of the filter, and adds
 * them by their taps to all outputs that they reach. Of these CARRIED rows go on to the next step; OUTPUTS rows are complete and
 * written. Only pixels at the sides of a strip and at its upper end are expanded twice.
 *
 * STAGED: the pixels of x under the tile and the filter wait in workgroup memory, all loaded at once, which is faster in small
 * dispatches. A processor of an H200 has about 100 KB for all its workgroups: in large ones their number counts more, and threads
 * read straight from memory (56²×24 → 144, 3×3 of stride 2: at batch 8 16.7 and 20.3 µs, at 32 61.5 at best and 49.5).
 *
 * For a squeeze-and-excite gate it sums its outputs per channel (channel_sums.ts).
 */
export const expandRowsText = /* wgsl */ `
const C4 = (OUT_CHANNELS + 3u) / 4u;
const K4 = (X_CHANNELS + 3u) / 4u;
const BLOCKS = (C4 + LANES - 1u) / LANES;
const STRIPS_X = TILE_W / STRIP_W;
const STRIPS = TILE_H / STRIP_H * STRIPS_X;
const WORKGROUP = LANES * STRIPS;
const TILES_X = (OUT_WIDTH + TILE_W - 1u) / TILE_W;
const PATCH_H = (TILE_H - 1u) * STRIDE_H + (KERNEL_H - 1u) * DILATION_H + 1u;
const PATCH_W = (TILE_W - 1u) * STRIDE_W + (KERNEL_W - 1u) * DILATION_W + 1u;
const PATCH_VECTORS = select(0u, PATCH_H * PATCH_W * K4, STAGED);
const ALL_COLUMNS = 0xffffffffu >> (32u - WINDOW_W);
const STEPS = (STRIP_H + CARRIED + OUTPUTS - 1u) / OUTPUTS;

const FILTER_VECTORS = select(0u, K4 * 4u * LANES, STAGED);
const STAGED_VECTORS = max(PATCH_VECTORS, FILTER_VECTORS);

var<workgroup> filterTile: array<vec4f, max(1u, FILTER_VECTORS)>;  // [4 · K4][LANES]
var<workgroup> xTile: array<vec4f, max(1u, PATCH_VECTORS)>;  // [PATCH_H][PATCH_W][K4]

// The pixels of x under the tile, by neighbours' values around the map: what is made of those is dropped. And the filter: in
// a small dispatch it would take longest to wait for its rows one after another.
fn stage(image: u32, block: u32, origin: vec2i, local: u32) {
  for (var first = local; first < STAGED_VECTORS; first += WORKGROUP * X_LOADS) {
    var pixels: array<vec4f, X_LOADS>;
    var filters: array<vec4f, X_LOADS>;
    if (first < PATCH_VECTORS) {
      // unroll i < X_LOADS
      {
        let at = min(first + i * WORKGROUP, PATCH_VECTORS - 1u);
        let pixel = at / K4;
        let y = clamp(origin.x + i32(pixel / PATCH_W), 0, i32(IN_HEIGHT) - 1);
        let x = clamp(origin.y + i32(pixel % PATCH_W), 0, i32(IN_WIDTH) - 1);
        pixels[i] = readX((image * IN_HEIGHT + u32(y)) * IN_WIDTH + u32(x), at % K4);
      }
    }
    if (first < FILTER_VECTORS) {
      // unroll i < X_LOADS
      {
        let at = min(first + i * WORKGROUP, FILTER_VECTORS - 1u);
        filters[i] = weights[EXPAND_FILTER / 4u + at / LANES * C4 + min(block * LANES + at % LANES, C4 - 1u)];
      }
    }
    // unroll i < X_LOADS
    {
      let at = first + i * WORKGROUP;
      if (at < PATCH_VECTORS) { xTile[at] = pixels[i]; }
      if (at < FILTER_VECTORS) { filterTile[at] = filters[i]; }
    }
  }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let lane = local % LANES;
  let strip = local / LANES;
  let c4 = group.y * LANES + lane;
  let column = min(c4, C4 - 1u);
  let image = group.z;
  let tileY = group.x / TILES_X * TILE_H;
  let tileX = group.x % TILES_X * TILE_W;
  let stripY = strip / STRIPS_X * STRIP_H;  // within the tile
  let stripX = strip % STRIPS_X * STRIP_W;
  let origin = vec2i(i32(tileY * STRIDE_H) - PAD_TOP, i32(tileX * STRIDE_W) - PAD_LEFT);  // of the tile's input

  // On their way while x is staged.
  let tapColumn = FILTER / 4u + column;
  var taps: array<vec4f, HELD_TAPS>;
  // unroll i < HELD_TAPS
  {
    taps[i] = weights[tapColumn + i * C4];
  }
  var expandBias = vec4f(0.0);
  if (HAS_EXPAND_BIAS) { expandBias = weights[EXPAND_BIAS / 4u + column]; }
  var expandSlope = vec4f(0.0);
  if (HAS_EXPAND_SLOPE) { expandSlope = weights[EXPAND_SLOPE / 4u + column]; }
  var ending = channelEnding(column);
  if (STAGED) {
    stage(image, group.y, origin, local);
    workgroupBarrier();
  }

  // Bit wx: whether the window's column lies on the map.
  var columns = 0u;
  // unroll wx < WINDOW_W
  {
    if (u32(origin.y + i32(stripX * STRIDE_W + wx)) < IN_WIDTH) { columns |= 1u << wx; }
  }
  var acc: array<vec4f, SLOTS * STRIP_W>;  // [SLOTS][STRIP_W]: rows of outputs, the first ones complete next
  var sum = vec4f(0.0);
  // A bound that is no constant, so that no driver writes the loop out.
  let steps = select(STEPS, 0u, tileY + stripY >= OUT_HEIGHT);
  for (var step = 0u; step < steps; step++) {
    let y = stripY * STRIDE_H + step * STEP_ROWS;  // within the patch
    var line: array<vec4f, STEP_ROWS * WINDOW_W>;  // [STEP_ROWS][WINDOW_W]
    var rows: array<u32, STEP_ROWS>;  // of x, where it is not staged
    // unroll i < STEP_ROWS
    {
      // only STAGED == 0
      {
        let row = clamp(origin.x + i32(y + i), 0, i32(IN_HEIGHT) - 1);
        rows[i] = u32((i32(image * IN_HEIGHT) + row) * i32(IN_WIDTH) + origin.y + i32(stripX * STRIDE_W));
      }
      // unroll wx < WINDOW_W
      {
        line[i * WINDOW_W + wx] = expandBias;
      }
    }
    for (var k4 = 0u; k4 < K4; k4++) {
      var w: array<vec4f, 4>;  // the thread's four columns of the filter
      // unroll c < 4
      {
        // only STAGED == 1
        {
          w[c] = filterTile[(k4 * 4u + c) * LANES + lane];
        }
        // only STAGED == 0
        {
          w[c] = weights[EXPAND_FILTER / 4u + (k4 * 4u + c) * C4 + column];
        }
      }
      // unroll i < STEP_ROWS
      {
        // unroll wx < WINDOW_W
        {
          var value: vec4f;
          // only STAGED == 1
          {
            // Written out, as of a row that waits in a variable no compiler knows the bounds: it would clamp the index.
            value = xTile[(min(y + i, PATCH_H - 1u) * PATCH_W + stripX * STRIDE_W + wx) * K4 + k4];
          }
          // only STAGED == 0
          {
            // One beyond the sides of the map is another row's, or of no row, and is dropped.
            value = readX(rows[i] + wx, k4);
          }
          var made = line[i * WINDOW_W + wx];
          made = fma(vec4f(value.x), w[0], made);
          made = fma(vec4f(value.y), w[1], made);
          made = fma(vec4f(value.z), w[2], made);
          line[i * WINDOW_W + wx] = fma(vec4f(value.w), w[3], made);
        }
      }
    }
    // unroll i < STEP_ROWS
    {
      let isRow = u32(origin.x + i32(y + i)) < IN_HEIGHT;
      // unroll wx < WINDOW_W
      {
        line[i * WINDOW_W + wx] = activateExpanded(line[i * WINDOW_W + wx], expandSlope);
      }
      if (!isRow || columns != ALL_COLUMNS) {
        // unroll wx < WINDOW_W
        {
          line[i * WINDOW_W + wx] = select(vec4f(0.0), line[i * WINDOW_W + wx], isRow && (columns & (1u << wx)) != 0u);
        }
      }
      // unroll a < SLOTS
      {
        // The taps of the output row that fall on this row, if any do.
        let reach = i32(i) - (i32(a) - i32(CARRIED)) * i32(STRIDE_H);
        if (reach >= 0 && reach % i32(DILATION_H) == 0 && reach / i32(DILATION_H) < i32(KERNEL_H)) {
          // unroll kx < KERNEL_W
          {
            let at = u32(reach) / DILATION_H * KERNEL_W + kx;
            var tap: vec4f;
            if (HELD_TAPS > 1u) { tap = taps[min(at, HELD_TAPS - 1u)]; } else { tap = weights[tapColumn + at * C4]; }
            // unroll sx < STRIP_W
            {
              acc[a * STRIP_W + sx] = fma(line[i * WINDOW_W + sx * STRIDE_W + kx * DILATION_W], tap, acc[a * STRIP_W + sx]);
            }
          }
        }
      }
    }
    // unroll a < OUTPUTS
    {
      let own = i32(step * OUTPUTS + a) - i32(CARRIED);
      let outY = tileY + stripY + u32(max(own, 0));
      if (c4 < C4 && own >= 0 && own < i32(STRIP_H) && outY < OUT_HEIGHT) {
        // unroll sx < STRIP_W
        {
          let outX = tileX + stripX + sx;
          if (outX < OUT_WIDTH) {
            let row = (image * OUT_HEIGHT + outY) * OUT_WIDTH + outX;
            if (HAS_RESIDUAL) { ending.residual = readResidual(row, c4); }
            let value = finishBy(ending, acc[a * STRIP_W + sx]);
            if (HAS_SUMS) { sum += live(value, c4); }
            writeOut(row, c4, value);
          }
        }
      }
    }
    // unroll p < CARRIED * STRIP_W
    {
      acc[p] = acc[p + OUTPUTS * STRIP_W];
    }
    // unroll p < OUTPUTS * STRIP_W
    {
      acc[CARRIED * STRIP_W + p] = vec4f(0.0);
    }
  }
  if (!HAS_SUMS) { return; }

  var early: EarlyRows;
  fetchRows(group.y, local, &early);
  leaveSums(group, local, sum, &early);
}
`;
