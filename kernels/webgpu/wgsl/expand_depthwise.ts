/**
 * An expansion and the depth-wise convolution behind it in one dispatch, so that the expanded map, the largest of its block, never
 * reaches device memory. A workgroup owns TILE_H × TILE_W output pixels of an image. It stages the pixels of x under its tile once
 * and walks its part of the hidden channels in chunks (fused.ts): of each it makes the pixels under its tile as a matrix product does
 * (patch.ts), convolves them, and writes them out. PARTS workgroups share a tile where there are few tiles.
 *
 * A thread convolves STRIP_H × STRIP_W pixels of four channels at a time; neighbouring threads hold neighbouring channels. The walk
 * over the rows of a window is a loop, and leaves out those beyond the map: see depthwise.ts for why.
 *
 * A chunk has two barriers: behind the first, in expandChunk, everyone has convolved the chunk before.
 *
 * For a squeeze-and-excite gate it sums its outputs per channel (HAS_SUMS) and may multiply these sums by its rows of the
 * gate's first filter (IS_REDUCED), as depthwise.ts does: a part of the channels leaves its part of the squeezed ones.
 */
export const expandDepthwiseText = /* wgsl */ `
const STRIPS_X = TILE_W / STRIP_W;
const STRIPS = (TILE_H / STRIP_H) * STRIPS_X;
const STRIP_PIXELS = STRIP_H * STRIP_W;
const TEAMS = WORKGROUP / CHUNK4;  // threads of a group of four channels
const REDUCED4 = (REDUCED + 3u) / 4u;
const PART_VECTORS = PART_CHUNKS * CHUNK4;
const REDUCE_TEAMS = min(WORKGROUP / REDUCED4, PART_VECTORS);

var<workgroup> sumTile: array<vec4f, select(1u, WORKGROUP, HAS_SUMS)>;  // [TEAMS][CHUNK4], behind the last chunk [team][r4]
var<workgroup> channelSums: array<vec4f, select(1u, PART_VECTORS, IS_REDUCED)>;

fn live(value: vec4f, c4: u32) -> vec4f {
  return select(vec4f(0.0), value, c4 * 4u + vec4u(0u, 1u, 2u, 3u) < vec4u(OUT_CHANNELS));
}

// From the patch to the output; the thread's sum over its pixels stays in sumTile.
fn convolve(tile: vec3u, origin: vec3i, chunk: u32, local: u32) {
  let own = local % CHUNK4;
  let c4 = chunk * CHUNK4 + own;
  if ((WORKGROUP % CHUNK4 != 0u && local >= TEAMS * CHUNK4) || (CHUNKS * CHUNK4 > HIDDEN4 && c4 >= HIDDEN4)) {
    if (HAS_SUMS) { sumTile[local] = vec4f(0.0); }
    return;
  }
  var ending = channelEnding(c4);
  var sum = vec4f(0.0);
  for (var strip = local / CHUNK4; strip < STRIPS; strip += TEAMS) {
    let stripY = strip / STRIPS_X * STRIP_H;  // within the tile
    let stripX = strip % STRIPS_X * STRIP_W;
    let corner = (stripY * STRIDE_H * PATCH_W + stripX * STRIDE_W) * CHUNK4 + own;
    let begin = origin.y + i32(stripY * STRIDE_H);
    var acc = array<vec4f, STRIP_PIXELS>();  // [STRIP_H][STRIP_W]
    // Bounds that are no constants, so that no driver writes the loop out.
    let end = u32(clamp(i32(IN_HEIGHT) - begin, 0, i32(WINDOW_H)));
    for (var wy = u32(max(0, -begin)); wy < end; wy++) {
      var line: array<vec4f, WINDOW_W>;
      // unroll wx < WINDOW_W
      {
        line[wx] = patchTile[corner + (wy * PATCH_W + wx) * CHUNK4];
      }
      // unroll sy < STRIP_H
      {
        // The tap of output row 'sy' that falls on this input row, if one does.
        let reach = i32(wy) - i32(sy * STRIDE_H);
        if (reach >= 0 && reach % i32(DILATION_H) == 0 && reach / i32(DILATION_H) < i32(KERNEL_H)) {
          let tapRow = u32(reach) / DILATION_H * KERNEL_W * CHUNK4 + own;
          // unroll kx < KERNEL_W
          {
            let tap = tapTile[tapRow + kx * CHUNK4];
            // unroll sx < STRIP_W
            {
              acc[sy * STRIP_W + sx] = fma(line[sx * STRIDE_W + kx * DILATION_W], tap, acc[sy * STRIP_W + sx]);
            }
          }
        }
      }
    }
    // unroll p < STRIP_H * STRIP_W
    {
      let y = tile.y + stripY + p / STRIP_W;
      let x = tile.z + stripX + p % STRIP_W;
      if (y < OUT_HEIGHT && x < OUT_WIDTH) {
        let row = (tile.x * OUT_HEIGHT + y) * OUT_WIDTH + x;
        if (HAS_RESIDUAL) { ending.residual = readResidual(row, c4); }
        let value = finishBy(ending, acc[p]);
        if (HAS_SUMS) { sum += live(value, c4); }
        writeOut(row, c4, value);
      }
    }
  }
  if (HAS_SUMS) { sumTile[local] = sum; }
}

// The chunk's sums over the tile, behind a barrier: where the gate takes them as they are, or where reduce does.
fn takeSums(image: u32, tile: u32, chunk: u32, firstChunk: u32, local: u32) {
  if (local >= CHUNK4) { return; }
  let c4 = chunk * CHUNK4 + local;
  var sum = vec4f(0.0);
  for (var team = 0u; team < TEAMS; team++) { sum += sumTile[team * CHUNK4 + local]; }
  if (IS_REDUCED) {
    channelSums[(chunk - firstChunk) * CHUNK4 + local] = sum;
  } else if (c4 < HIDDEN4) {
    statistics[(image * SUM_PARTS + tile) * HIDDEN4 + c4] = sum;
  }
}

// The row of channel 'i' of four; those beyond the last meet sums that are zero.
fn reduceRow(c4: u32, i: u32, r4: u32) -> vec4f {
  return weights[REDUCE_FILTER / 4u + (min(c4, HIDDEN4 - 1u) * 4u + i) * REDUCED4 + r4];
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let image = group.z;
  let tile = vec3u(image, group.x / TILES_X * TILE_H, group.x % TILES_X * TILE_W);
  let origin = vec3i(i32(image), i32(tile.y * STRIDE_H) - PAD_TOP, i32(tile.z * STRIDE_W) - PAD_LEFT);
  var ahead: Ahead;
  var tapsNext: array<vec4f, TAP_LOADS>;
  let firstChunk = group.y * PART_CHUNKS;
  let end = min(firstChunk + PART_CHUNKS, CHUNKS);
  let inside = beginPatch(origin, firstChunk, local, &ahead);
  for (var chunk = firstChunk; chunk < end; chunk++) {
    fetchTaps(chunk, local, &tapsNext);
    makePatch(origin, inside, chunk, min(chunk + 1u, end - 1u), local, &ahead);
    storeTaps(local, &tapsNext);
    if (HAS_SUMS && chunk > firstChunk) { takeSums(image, group.x, chunk - 1u, firstChunk, local); }
    workgroupBarrier();
    convolve(tile, origin, chunk, local);
  }
  if (!HAS_SUMS) { return; }

  // Threads (team, r4) share the channels of a group of squeezed ones. Their first rows are on their way meanwhile.
  let r4 = local % REDUCED4;
  let team = local / REDUCED4;
  let firstVector = firstChunk * CHUNK4;
  var rows: array<vec4f, 4>;
  if (IS_REDUCED) {
    // unroll i < 4
    {
      rows[i] = reduceRow(firstVector + team, i, r4);
    }
  }
  workgroupBarrier();
  takeSums(image, group.x, end - 1u, firstChunk, local);
  if (!IS_REDUCED) { return; }
  workgroupBarrier();
  let vectors = (end - firstChunk) * CHUNK4;
  if (team < REDUCE_TEAMS) {
    var reduced = vec4f(0.0);
    for (var at = team; at < vectors; at += REDUCE_TEAMS) {
      let channels = channelSums[at];
      if (at > team) {
        // unroll i < 4
        {
          rows[i] = reduceRow(firstVector + at, i, r4);
        }
      }
      reduced = fma(vec4f(channels.x), rows[0], reduced);
      reduced = fma(vec4f(channels.y), rows[1], reduced);
      reduced = fma(vec4f(channels.z), rows[2], reduced);
      reduced = fma(vec4f(channels.w), rows[3], reduced);
    }
    sumTile[local] = reduced;
  }
  workgroupBarrier();
  if (local < REDUCED4) {
    var total = sumTile[local];
    for (var other = 1u; other < REDUCE_TEAMS; other++) { total += sumTile[other * REDUCED4 + local]; }
    statistics[((image * SUM_PARTS + group.x) * PARTS + group.y) * REDUCED4 + local] = total;
  }
}
`;
