/**
 * A depth-wise convolution and the projection behind it in one dispatch, and before them an expansion: MBConv without a gate,
 * and MobileNetV1's separable convolution. A workgroup owns TILE_H × TILE_W output pixels of an image and walks the hidden
 * channels in chunks (fused.ts). Of each chunk it has the pixels under its tile in workgroup memory ('patch'), convolves them
 * into the hidden map, and multiplies that. Pixels under the edges of two tiles are made twice; hidden pixels outside the image
 * are zero, since padding comes behind the expansion.
 *
 * A thread convolves 1 × STRIP_W pixels of four channels at a time; neighbouring threads hold neighbouring channels.
 */
export const depthwiseProjectText = /* wgsl */ `
const TAPS = KERNEL_H * KERNEL_W;
const PATCH_H = (TILE_H - 1u) * STRIDE_H + (KERNEL_H - 1u) * DILATION_H + 1u;
const PATCH_W = (TILE_W - 1u) * STRIDE_W + (KERNEL_W - 1u) * DILATION_W + 1u;
const PATCH = PATCH_H * PATCH_W;
const PIXELS = TILE_H * TILE_W;
const HIDDEN_ROWS = PIXELS;
const STRIPS_X = TILE_W / STRIP_W;
const STRIPS = TILE_H * STRIPS_X;
const TILES_X = (OUT_WIDTH + TILE_W - 1u) / TILE_W;
const TAP_VECTORS = TAPS * CHUNK4;

var<workgroup> patchTile: array<vec4f, PATCH * CHUNK4>;  // [PATCH_H][PATCH_W][CHUNK4]
var<workgroup> tapTile: array<vec4f, TAP_VECTORS>;  // [KERNEL_H][KERNEL_W][CHUNK4]

// Where the i-th pixel of the patch lies in the image; origin is (image, y, x).
fn patchAt(origin: vec3i, i: u32) -> vec2i { return origin.yz + vec2i(i32(i / PATCH_W), i32(i % PATCH_W)); }

fn isInside(at: vec2i) -> bool {
  return at.x >= 0 && at.y >= 0 && at.x < i32(IN_HEIGHT) && at.y < i32(IN_WIDTH);
}

// The row of x of the patch's i-th pixel; of one outside, a neighbour's.
fn sourceRow(origin: vec3i, i: u32) -> u32 {
  let at = clamp(patchAt(origin, i), vec2i(0), vec2i(i32(IN_HEIGHT), i32(IN_WIDTH)) - 1);
  return (u32(origin.x) * IN_HEIGHT + u32(at.x)) * IN_WIDTH + u32(at.y);
}

fn fetchTaps(chunk: u32, local: u32, next: ptr<function, array<vec4f, TAP_LOADS>>) {
  // unroll i < TAP_LOADS
  {
    let at = local + i * WORKGROUP;
    let tap = select(at / CHUNK4, min(at / CHUNK4, TAPS - 1u), TAP_VECTORS % WORKGROUP != 0u);
    (*next)[i] = weights[FILTER / 4u + tap * HIDDEN4 + min(chunk * CHUNK4 + at % CHUNK4, HIDDEN4 - 1u)];
  }
}

fn storeTaps(local: u32, next: ptr<function, array<vec4f, TAP_LOADS>>) {
  // unroll i < TAP_LOADS
  {
    let at = local + i * WORKGROUP;
    if (TAP_VECTORS % WORKGROUP == 0u || at < TAP_VECTORS) { tapTile[at] = (*next)[i]; }
  }
}

// From the patch to the hidden map.
fn convolve(chunk: u32, local: u32) {
  for (var item = local; item < STRIPS * CHUNK4; item += WORKGROUP) {
    let own = item % CHUNK4;
    let strip = min(item / CHUNK4, STRIPS - 1u);  // It is less: said for the compiler, which else clamps every index.
    let y = strip / STRIPS_X;
    let x = (strip % STRIPS_X) * STRIP_W;
    let corner = (y * STRIDE_H * PATCH_W + x * STRIDE_W) * CHUNK4 + own;
    var sums = array<vec4f, STRIP_W>();
    // unroll ky < KERNEL_H
    {
      var line: array<vec4f, WINDOW_W>;
      // unroll wx < WINDOW_W
      {
        line[wx] = patchTile[corner + (ky * DILATION_H * PATCH_W + wx) * CHUNK4];
      }
      // unroll kx < KERNEL_W
      {
        let tap = tapTile[(ky * KERNEL_W + kx) * CHUNK4 + own];
        // unroll sx < STRIP_W
        {
          sums[sx] = fma(line[sx * STRIDE_W + kx * DILATION_W], tap, sums[sx]);
        }
      }
    }
    let h4 = min(chunk * CHUNK4 + own, HIDDEN4 - 1u);
    var bias = vec4f(0.0);
    if (HAS_SPATIAL_BIAS) { bias = weight4(SPATIAL_BIAS, h4); }
    var slope = vec4f(0.0);
    if (HAS_SPATIAL_SLOPE) { slope = weight4(SPATIAL_SLOPE, h4); }
    // unroll sx < STRIP_W
    {
      hidden[own * HIDDEN_STRIDE + y * TILE_W + x + sx] = activateSpatial(sums[sx] + bias, slope);
    }
  }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let tileY = (group.x / TILES_X) * TILE_H;
  let tileX = (group.x % TILES_X) * TILE_W;
  let image = group.z;
  let origin = vec3i(i32(image), i32(tileY * STRIDE_H) - PAD_TOP, i32(tileX * STRIDE_W) - PAD_LEFT);
  let projectAt = threadAt(local, PROJECT_THREADS_N, PROJECT_THREADS_M);

  var acc: array<vec4f, PROJECT_ROWS * PROJECT_COLUMNS>;  // [PROJECT_ROWS][PROJECT_COLUMNS]
  var ahead: Ahead;
  var tapsNext: array<vec4f, TAP_LOADS>;
  var projectNext: array<vec4f, PROJECT_LOADS>;
  let firstChunk = group.y * PART_CHUNKS;
  let end = min(firstChunk + PART_CHUNKS, CHUNKS);
  let inside = beginPatch(origin, firstChunk, local, &ahead);
  for (var chunk = firstChunk; chunk < end; chunk++) {
    fetchTaps(chunk, local, &tapsNext);
    makePatch(origin, inside, chunk, min(chunk + 1u, end - 1u), local, &ahead);
    storeTaps(local, &tapsNext);
    workgroupBarrier();
    fetchProject(chunk, 0u, local, &projectNext);
    convolve(chunk, local);
    projectChunk(chunk, local, projectAt, &projectNext, &acc);
  }
  if (PROJECT_THREADS < WORKGROUP && local >= PROJECT_THREADS) { return; }

  // unroll i < PROJECT_ROWS
  {
    let own = projectAt.y + i * PROJECT_THREADS_M;
    let y = tileY + own / TILE_W;
    let x = tileX + own % TILE_W;
    if (own < PIXELS && y < OUT_HEIGHT && x < OUT_WIDTH) {
      let row = (image * OUT_HEIGHT + y) * OUT_WIDTH + x;
      // unroll j < PROJECT_COLUMNS
      {
        let n4 = projectAt.x + j * PROJECT_THREADS_N;
        let sum = acc[i * PROJECT_COLUMNS + j];
        if (PROJECT_N4 == N4 || n4 < N4) {
          if (PARTS > 1u) { writeOut(group.y * M + row, n4, sum); } else { writeOut(row, n4, finish(row, n4, sum)); }
        }
      }
    }
  }
}
`;

/** The patch is a map in device memory, zero around it. */
export const mapPatch = /* wgsl */ `
struct Ahead { nothing: u32 }

fn beginPatch(origin: vec3i, chunk: u32, local: u32, next: ptr<function, Ahead>) -> u32 { return 0u; }

fn makePatch(origin: vec3i, inside: u32, chunk: u32, following: u32, local: u32, next: ptr<function, Ahead>) {
  for (var at = local; at < PATCH * CHUNK4; at += WORKGROUP) {
    let h4 = chunk * CHUNK4 + at % CHUNK4;
    var value = vec4f(0.0);
    if (isInside(patchAt(origin, at / CHUNK4)) && h4 < HIDDEN4) { value = readX(sourceRow(origin, at / CHUNK4), h4); }
    patchTile[at] = value;
  }
}
`;

/** The patch is expanded from x. */
export const expandedPatch = /* wgsl */ `
const SOURCE_ROWS = PATCH;

// Bit i: whether the thread's i-th pixel of the patch lies inside the image.
fn beginPatch(origin: vec3i, chunk: u32, local: u32, next: ptr<function, Ahead>) -> u32 {
  beginExpand(origin, chunk, local, next);
  let at = threadAt(local, EXPAND_THREADS_N, EXPAND_THREADS_M);
  var inside = 0u;
  // unroll i < EXPAND_ROWS
  {
    if (isInside(patchAt(origin, at.y + i * EXPAND_THREADS_M))) { inside |= 1u << i; }
  }
  return inside;
}

fn makePatch(origin: vec3i, inside: u32, chunk: u32, following: u32, local: u32, next: ptr<function, Ahead>) {
  let at = threadAt(local, EXPAND_THREADS_N, EXPAND_THREADS_M);
  var sums = array<vec4f, EXPAND_ROWS * EXPAND_COLUMNS>();  // [EXPAND_ROWS][EXPAND_COLUMNS]
  expandChunk(origin, chunk, following, local, at, next, &sums);
  if (EXPAND_THREADS < WORKGROUP && local >= EXPAND_THREADS) { return; }
  // unroll j < EXPAND_COLUMNS
  {
    let own = at.x + j * EXPAND_THREADS_N;
    let h4 = min(chunk * CHUNK4 + own, HIDDEN4 - 1u);
    let bias = expandBias(h4);
    let slope = expandSlope(h4);
    // unroll i < EXPAND_ROWS
    {
      let pixel = at.y + i * EXPAND_THREADS_M;
      let value = activateExpanded(sums[i * EXPAND_COLUMNS + j] + bias, slope);
      if (EXPAND_ROWS * EXPAND_THREADS_M == PATCH || pixel < PATCH) {
        patchTile[pixel * CHUNK4 + own] = select(vec4f(0.0), value, (inside & (1u << i)) != 0u);
      }
    }
  }
}
`;
