/**
 * Grouped convolution as a matrix product a group, of group widths in multiples of four. A workgroup makes ROWS · STRIP by TILE_W
 * output pixels of SPAN groups, or of THREADS_N vectors of one wide group's channels. The input under them, zeros around the map
 * included, and the filter are staged in workgroup memory, SLICE4 vectors of each group's input channels at a time.
 *
 * A thread makes a column of STRIP pixels of one vector: a column of input serves all taps of one kx, so that with eight pixels and
 * a 3×3 window 10 loads of input and 12 of the filter feed 96 FMAs of vectors. Two vectors a thread were never faster on an H200.
 * Neighbouring threads are neighbours in the channels, so that they write whole cache lines and read the same few vectors of input.
 *
 * For a squeeze-and-excite gate it also sums its outputs per channel (HAS_SUMS); for a LayerNorm it takes, per pixel, mean and
 * squared deviations over its channels (HAS_MOMENTS).
 */
export const groupedProductText = /* wgsl */ `
const C4 = OUT_CHANNELS / 4u;
const GROUP4 = GROUP / 4u;
const SLICES = GROUP4 / SLICE4;
const OUT_GROUP4 = C4 / GROUPS;
const SHARES = OUT_GROUP4 / THREADS_N;
const LANES = SPAN * THREADS_N;  // threads of a pixel
const COLUMNS = TILE_W * ROWS;
const WORKGROUP = LANES * COLUMNS;
const TILE_H = ROWS * STRIP;
const TILES_X = (OUT_WIDTH + TILE_W - 1u) / TILE_W;
const PATCH_H = (TILE_H - 1u) * STRIDE_H + (KERNEL_H - 1u) * DILATION_H + 1u;
const PATCH_W = (TILE_W - 1u) * STRIDE_W + (KERNEL_W - 1u) * DILATION_W + 1u;
const PATCH = PATCH_H * PATCH_W;
const CELL = SPAN * SLICE4;  // vectors of a staged pixel
const TAPS = KERNEL_H * KERNEL_W;
const W_ROW = SPAN * THREADS_N;
const X_VECTORS = PATCH * CELL;
const W_VECTORS = TAPS * SLICE4 * 4u * W_ROW;
const BLOCKS = C4 / W_ROW;
const SUM_VECTORS = select(0u, WORKGROUP, HAS_SUMS);
const MOMENT_VECTORS = select(0u, WORKGROUP * STRIP4, HAS_MOMENTS);

// [PATCH_H][PATCH_W][SPAN][SLICE4]; behind the product the statistics of the workgroup's threads
var<workgroup> xTile: array<vec4f, max(X_VECTORS, max(SUM_VECTORS, MOMENT_VECTORS))>;
var<workgroup> wTile: array<vec4f, W_VECTORS>;  // [tap][SLICE4 · 4][group][vector of its outputs]

// Loads this thread's share of a slice of the groups' input channels, and of the filter's rows. No load is in a branch, so that all are
// in flight at once: whoever is outside of the map loads its first cell and drops it.
fn fetch(
  tile: vec3i,  // input row, input column, image
  channels: vec3u,  // first group, share of its outputs, slice
  local: u32,
  xNext: ptr<function, array<vec4f, X_LOADS>>,
  wNext: ptr<function, array<vec4f, W_LOADS>>,
) {
  // unroll i < X_LOADS
  {
    let at = local + i * WORKGROUP;
    let channel = at % CELL;
    let pixel = at / CELL;
    let y = tile.x + i32(pixel / PATCH_W);
    let x = tile.y + i32(pixel % PATCH_W);
    let isInside = (u32(y) < IN_HEIGHT) & (u32(x) < IN_WIDTH);
    let c4 = (channels.x + channel / SLICE4) * GROUP4 + channels.z * SLICE4 + channel % SLICE4;
    let row = select(0u, (u32(tile.z) * IN_HEIGHT + u32(y)) * IN_WIDTH + u32(x), isInside);
    (*xNext)[i] = select(vec4f(0.0), readX(row, c4), isInside);
  }
  // unroll i < W_LOADS
  {
    let at = min(local + i * WORKGROUP, W_VECTORS - 1u);
    let column = at % W_ROW;
    let row = at / W_ROW;
    let k = row / (SLICE4 * 4u) * GROUP + channels.z * SLICE4 * 4u + row % (SLICE4 * 4u);
    let c4 = (channels.x + column / THREADS_N) * OUT_GROUP4 + channels.y * THREADS_N + column % THREADS_N;
    (*wNext)[i] = weights[FILTER / 4u + k * C4 + c4];
  }
}

fn store(local: u32, xNext: ptr<function, array<vec4f, X_LOADS>>, wNext: ptr<function, array<vec4f, W_LOADS>>) {
  // unroll i < X_LOADS
  {
    let at = local + i * WORKGROUP;
    if (X_VECTORS % WORKGROUP == 0u || at < X_VECTORS) { xTile[at] = (*xNext)[i]; }
  }
  // unroll i < W_LOADS
  {
    let at = local + i * WORKGROUP;
    if (W_VECTORS % WORKGROUP == 0u || at < W_VECTORS) { wTile[at] = (*wNext)[i]; }
  }
}

// Of four pixels of a column, the sums over the lanes, in a fixed order.
fn sumLanes(quad: u32, column: u32) -> vec4f {
  var total = vec4f(0.0);
  for (var lane = 0u; lane < LANES; lane++) { total += xTile[quad * WORKGROUP + column * LANES + lane]; }
  return total;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let lane = local % LANES;
  let column = local / LANES;
  let ownGroup = lane / THREADS_N;
  let tx = column % TILE_W;
  let ty = column / TILE_W * STRIP;
  let image = group.z;
  let firstGroup = group.y / SHARES * SPAN;
  let share = group.y % SHARES;
  let tileY = group.x / TILES_X * TILE_H;
  let tileX = group.x % TILES_X * TILE_W;
  let tile = vec3i(i32(tileY * STRIDE_H) - PAD_TOP, i32(tileX * STRIDE_W) - PAD_LEFT, i32(image));
  let xFirst = (ty * STRIDE_H * PATCH_W + tx * STRIDE_W) * CELL + ownGroup * SLICE4;
  let wFirst = ownGroup * THREADS_N + lane % THREADS_N;
  let ownC4 = (firstGroup + ownGroup) * OUT_GROUP4 + share * THREADS_N + lane % THREADS_N;

  var acc: array<vec4f, STRIP>;
  var xNext: array<vec4f, X_LOADS>;
  var wNext: array<vec4f, W_LOADS>;
  fetch(tile, vec3u(firstGroup, share, 0u), local, &xNext, &wNext);
  for (var slice = 1u; slice <= SLICES; slice++) {
    store(local, &xNext, &wNext);
    workgroupBarrier();
    // The last slice loads once more what it has: a branch here costs more.
    if (SLICES > 1u) { fetch(tile, vec3u(firstGroup, share, min(slice, SLICES - 1u)), local, &xNext, &wNext); }
    for (var c4 = 0u; c4 < SLICE4; c4++) {
      for (var kx = 0u; kx < KERNEL_W; kx++) {
        let xAt = xFirst + kx * DILATION_W * CELL + c4;
        let wAt = wFirst + (kx * SLICE4 + c4) * 4u * W_ROW;
        var xReg: array<vec4f, WINDOW_H>;
        // unroll wy < WINDOW_H
        {
          xReg[wy] = xTile[xAt + wy * PATCH_W * CELL];
        }
        // unroll ky < KERNEL_H
        {
          // unroll c < 4
          {
            let w = wTile[wAt + (ky * KERNEL_W * SLICE4 * 4u + c) * W_ROW];
            // unroll s < STRIP
            {
              acc[s] = fma(vec4f(xReg[s * STRIDE_H + ky * DILATION_H][c]), w, acc[s]);
            }
          }
        }
      }
    }
    if (SLICES > 1u) { workgroupBarrier(); }
  }

  // unroll s < STRIP
  {
    let y = tileY + ty + s;
    let x = tileX + tx;
    let row = (image * OUT_HEIGHT + y) * OUT_WIDTH + x;
    if (y < OUT_HEIGHT && x < OUT_WIDTH) {
      acc[s] = finish(row, ownC4, acc[s]);
      writeOut(row, ownC4, acc[s]);
    } else {
      acc[s] = vec4f(0.0);
    }
  }

  if (HAS_SUMS) {
    workgroupBarrier();
    var sum = vec4f(0.0);
    // unroll s < STRIP
    {
      sum += acc[s];
    }
    xTile[local] = sum;
    workgroupBarrier();
    // By halves, in a fixed order.
    for (var left = COLUMNS; left > 1u; left = (left + 1u) / 2u) {
      let step = (left + 1u) / 2u;
      if (column + step < left) { xTile[local] += xTile[local + step * LANES]; }
      workgroupBarrier();
    }
    if (column == 0u) { statistics[(image * SUM_PARTS + group.x) * C4 + ownC4] = xTile[lane]; }
  }

  if (HAS_MOMENTS) {
    let count = f32(4u * W_ROW);
    var part: array<vec4f, STRIP4>;  // of four pixels each
    var mean: array<vec4f, STRIP4>;
    // unroll s < STRIP
    {
      part[s / 4u][s % 4u] += dot(acc[s], vec4f(1.0));
    }
    workgroupBarrier();
    // unroll q < STRIP4
    {
      xTile[q * WORKGROUP + local] = part[q];
    }
    workgroupBarrier();
    // unroll q < STRIP4
    {
      mean[q] = sumLanes(q, column) / count;
      part[q] = vec4f(0.0);
    }
    workgroupBarrier();
    // unroll s < STRIP
    {
      let deviation = acc[s] - mean[s / 4u][s % 4u];
      part[s / 4u][s % 4u] += dot(deviation, deviation);
    }
    // unroll q < STRIP4
    {
      xTile[q * WORKGROUP + local] = part[q];
    }
    workgroupBarrier();
    // A lane a pixel writes; with fewer lanes than pixels each takes several.
    // unroll s < STRIP
    {
      let y = tileY + ty + s;
      let x = tileX + tx;
      if (s % LANES == lane && y < OUT_HEIGHT && x < OUT_WIDTH) {
        let row = (image * OUT_HEIGHT + y) * OUT_WIDTH + x;
        statistics[row * BLOCKS + group.y] = vec4f(mean[s / 4u][s % 4u], sumLanes(s / 4u, column)[s % 4u], count, 0.0);
      }
    }
  }
}
`;
