/**
 * The pixels under a tile of a depth-wise convolution in workgroup memory, a chunk of channels at a time, and the chunk's taps:
 * what depthwise_project.ts and expand_depthwise.ts share.
 */
export const patchText = /* wgsl */ `
const TAPS = KERNEL_H * KERNEL_W;
const PATCH_H = (TILE_H - 1u) * STRIDE_H + (KERNEL_H - 1u) * DILATION_H + 1u;
const PATCH_W = (TILE_W - 1u) * STRIDE_W + (KERNEL_W - 1u) * DILATION_W + 1u;
const PATCH = PATCH_H * PATCH_W;
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
