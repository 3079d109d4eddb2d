/**
 * The gradient of a convolution by its filter and its bias: dW[tap, i, o] = Σ over pixels of x[window(pixel, tap), i] · dy[pixel, o].
 * TensorFlow.js has one thread a weight, which sums over all pixels of the batch. Here pixels are shared: among PARTS workgroups, and
 * in each among its threads; partial sums meet in workgroup memory and then in 'mergeGradient'. No atomics, so the order of the sums, and
 * with it the result, is the same each time.
 *
 * Sums are laid out [PARTS][(taps · group) rows, then the bias where there is one][OUT_CHANNELS].
 */

/** Where sums go: to the gradients themselves, where no other part has a share in them. */
export const gradientOutput = /* wgsl */ `
const FILTER_ROWS = KERNEL_H * KERNEL_W * GROUP;
const SIZE = (FILTER_ROWS + select(0u, 1u, HAS_BIAS)) * OUT_CHANNELS;

// Up to four columns of a row.
fn put(part: u32, row: u32, column: u32, count: u32, value: vec4f) {
  for (var i = 0u; i < min(count, 4u); i++) {
    if (PARTS > 1u) { sumsScalars[part * SIZE + row * OUT_CHANNELS + column + i] = value[i]; }
    else if (row < FILTER_ROWS) { outScalars[row * OUT_CHANNELS + column + i] = value[i]; }
    else { biasScalars[column + i] = value[i]; }
  }
}
`;

export const vectorSlopes = /* wgsl */ `
fn readDy(row: u32, c4: u32) -> vec4f { return dy[row * (OUT_CHANNELS / 4u) + c4]; }
`;

export const scalarSlopes = /* wgsl */ `
fn readDy(row: u32, c4: u32) -> vec4f {
  var value = vec4f(0.0);
  for (var i = 0u; i < 4u; i++) {
    if (c4 * 4u + i < OUT_CHANNELS) { value[i] = dyScalars[row * OUT_CHANNELS + c4 * 4u + i]; }
  }
  return value;
}
`;

/**
 * Depth-wise. A workgroup has one row of the filter, LANES groups of four channels, and CHUNK output pixels, of which each of its ROWS
 * teams takes every ROWS-th: a thread reads dy once and keeps KERNEL_W sums in registers.
 */
export const depthwiseGradientText = /* wgsl */ `
const C4 = (OUT_CHANNELS + 3u) / 4u;
const WORKGROUP = LANES * ROWS;
const MULTIPLIER = OUT_CHANNELS / X_CHANNELS;

var<workgroup> meeting: array<vec4f, WORKGROUP>;  // [ROWS][LANES]

// Of four output channels; with a depth multiplier some share an input channel.
fn inputs4(row: u32, c4: u32) -> vec4f {
  if (MULTIPLIER == 1u) { return readX(row, c4); }
  let c = min(c4 * 4u + vec4u(0u, 1u, 2u, 3u), vec4u(OUT_CHANNELS - 1u)) / MULTIPLIER;
  return vec4f(readX(row, c.x / 4u)[c.x % 4u], readX(row, c.y / 4u)[c.y % 4u], readX(row, c.z / 4u)[c.z % 4u], readX(row, c.w / 4u)[c.w % 4u]);
}

// Sum over the teams; only the first one gets it.
fn meet(local: u32, value: vec4f) -> vec4f {
  workgroupBarrier();
  meeting[local] = value;
  workgroupBarrier();
  for (var teams = ROWS / 2u; teams > 0u; teams /= 2u) {
    if (local < teams * LANES) { meeting[local] += meeting[local + teams * LANES]; }
    workgroupBarrier();
  }
  return meeting[local];
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let c4 = group.y * LANES + local % LANES;
  let ky = group.z;
  var acc: array<vec4f, KERNEL_W>;
  var total = vec4f(0.0);
  let end = select(0u, min((group.x + 1u) * CHUNK, PIXELS), c4 < C4);
  for (var pixel = group.x * CHUNK + local / LANES; pixel < end; pixel += ROWS) {
    let slope = readDy(pixel, c4);
    total += slope;
    let ox = pixel % OUT_WIDTH;
    let oy = pixel / OUT_WIDTH % OUT_HEIGHT;
    let image = pixel / (OUT_WIDTH * OUT_HEIGHT);
    let iy = i32(oy * STRIDE_H + ky * DILATION_H) - PAD_TOP;
    if (iy < 0 || iy >= i32(IN_HEIGHT)) { continue; }
    let origin = (image * IN_HEIGHT + u32(iy)) * IN_WIDTH;
    // unroll kx < KERNEL_W
    {
      let ix = i32(ox * STRIDE_W + kx * DILATION_W) - PAD_LEFT;
      if (ix >= 0 && ix < i32(IN_WIDTH)) { acc[kx] = fma(slope, inputs4(origin + u32(ix), c4), acc[kx]); }
    }
  }
  let writes = local < LANES && c4 < C4;
  // unroll kx < KERNEL_W
  {
    let sum = meet(local, acc[kx]);
    if (writes) { put(group.x, ky * KERNEL_W + kx, c4 * 4u, OUT_CHANNELS - c4 * 4u, sum); }
  }
  if (HAS_BIAS && ky == 0u) {
    let sum = meet(local, total);
    if (writes) { put(group.x, FILTER_ROWS, c4 * 4u, OUT_CHANNELS - c4 * 4u, sum); }
  }
}
`;

export const vectorGroups = /* wgsl */ `
fn readInputs(row: u32, convGroup: u32, i4: u32) -> vec4f { return x[(row * X_CHANNELS + convGroup * GROUP) / 4u + i4]; }
fn readSlopes(row: u32, convGroup: u32, n4: u32) -> vec4f { return dy[(row * OUT_CHANNELS + convGroup * N) / 4u + n4]; }
`;

/** Group widths that are no multiple of four, of inputs or of outputs: each group is padded to fours by itself. */
export const scalarGroups = /* wgsl */ `
fn readInputs(row: u32, convGroup: u32, i4: u32) -> vec4f {
  var value = vec4f(0.0);
  for (var i = 0u; i < 4u; i++) {
    if (i4 * 4u + i < GROUP) { value[i] = xScalars[row * X_CHANNELS + convGroup * GROUP + i4 * 4u + i]; }
  }
  return value;
}

fn readSlopes(row: u32, convGroup: u32, n4: u32) -> vec4f {
  var value = vec4f(0.0);
  for (var i = 0u; i < 4u; i++) {
    if (n4 * 4u + i < N) { value[i] = dyScalars[row * OUT_CHANNELS + convGroup * N + n4 * 4u + i]; }
  }
  return value;
}
`;

/**
 * Any other group width, all channels (a full or 1×1 convolution) included: per group the matrix product of the windows, transposed,
 * and dy. A workgroup makes a TILE_K × TILE_N tile of it, k = (tap, input channel), over CHUNK pixels in steps of TILE_P: both
 * operands come from memory in the layout in which they are read, the next step's while this one's are multiplied. A thread
 * keeps THREAD_K × 4 sums.
 */
export const groupedGradientText = /* wgsl */ `
const N = OUT_CHANNELS / GROUPS;
const N4 = (N + 3u) / 4u;
const GROUP4 = (GROUP + 3u) / 4u;
const K4 = KERNEL_H * KERNEL_W * GROUP4;
const TILE_K4 = TILE_K / 4u;
const TILE_N4 = TILE_N / 4u;
const THREADS_K = TILE_K / THREAD_K;
const WORKGROUP = THREADS_K * TILE_N4;
const K_TILES = (K4 + TILE_K4 - 1u) / TILE_K4;
const X_VECTORS = TILE_P * TILE_K4;
const DY_VECTORS = TILE_P * TILE_N4;

var<workgroup> xTile: array<vec4f, X_VECTORS>;  // [TILE_P][TILE_K / 4]
var<workgroup> dyTile: array<vec4f, DY_VECTORS>;  // [TILE_P][TILE_N / 4]

fn window4(pixel: u32, k4: u32, convGroup: u32) -> vec4f {
  if (pixel >= PIXELS || k4 >= K4) { return vec4f(0.0); }
  let tap = k4 / GROUP4;
  let oy = pixel / OUT_WIDTH % OUT_HEIGHT;
  let iy = i32(oy * STRIDE_H + tap / KERNEL_W * DILATION_H) - PAD_TOP;
  let ix = i32(pixel % OUT_WIDTH * STRIDE_W + tap % KERNEL_W * DILATION_W) - PAD_LEFT;
  if (iy < 0 || ix < 0 || iy >= i32(IN_HEIGHT) || ix >= i32(IN_WIDTH)) { return vec4f(0.0); }
  let image = pixel / (OUT_WIDTH * OUT_HEIGHT);
  return readInputs((image * IN_HEIGHT + u32(iy)) * IN_WIDTH + u32(ix), convGroup, k4 % GROUP4);
}

fn slopes4(pixel: u32, n4: u32, convGroup: u32) -> vec4f {
  if (pixel >= PIXELS || n4 >= N4) { return vec4f(0.0); }
  return readSlopes(pixel, convGroup, n4);
}

// Loads this thread's share of one step.
fn fetch(
  origin: vec3u,  // first pixel, k/4 and n/4
  convGroup: u32,
  local: u32,
  xNext: ptr<function, array<vec4f, X_LOADS>>,
  dyNext: ptr<function, array<vec4f, DY_LOADS>>,
) {
  // unroll i < X_LOADS
  {
    let at = local + i * WORKGROUP;
    (*xNext)[i] = window4(origin.x + at / TILE_K4, origin.y + at % TILE_K4, convGroup);
  }
  // unroll i < DY_LOADS
  {
    let at = local + i * WORKGROUP;
    (*dyNext)[i] = slopes4(origin.x + at / TILE_N4, origin.z + at % TILE_N4, convGroup);
  }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let k4Origin = (group.x % K_TILES) * TILE_K4;
  let n4Origin = (group.x / K_TILES) * TILE_N4;
  let convGroup = group.z;
  let tn = local % TILE_N4;
  let tk = local / TILE_N4;
  let begin = group.y * CHUNK;  // a multiple of TILE_P
  var acc: array<vec4f, THREAD_K>;  // [THREAD_K / 4][4 rows]
  var total = vec4f(0.0);
  var xNext: array<vec4f, X_LOADS>;
  var dyNext: array<vec4f, DY_LOADS>;
  fetch(vec3u(begin, k4Origin, n4Origin), convGroup, local, &xNext, &dyNext);

  for (var step = 1u; step <= CHUNK / TILE_P; step++) {
    // unroll i < X_LOADS
    {
      let at = local + i * WORKGROUP;
      if (X_VECTORS % WORKGROUP == 0u || at < X_VECTORS) { xTile[at] = xNext[i]; }
    }
    // unroll i < DY_LOADS
    {
      let at = local + i * WORKGROUP;
      if (DY_VECTORS % WORKGROUP == 0u || at < DY_VECTORS) { dyTile[at] = dyNext[i]; }
    }
    workgroupBarrier();
    // Behind the last step these loads are not used.
    fetch(vec3u(begin + step * TILE_P, k4Origin, n4Origin), convGroup, local, &xNext, &dyNext);
    // unroll p < TILE_P
    {
      let slope = dyTile[p * TILE_N4 + tn];
      if (HAS_BIAS) { total += slope; }
      // unroll i < THREAD_K / 4
      {
        let value = xTile[p * TILE_K4 + tk + i * THREADS_K];
        // unroll r < 4
        {
          acc[i * 4u + r] = fma(vec4f(value[r]), slope, acc[i * 4u + r]);
        }
      }
    }
    workgroupBarrier();
  }

  let n4 = n4Origin + tn;
  if (n4 >= N4) { return; }
  let column = convGroup * N + n4 * 4u;
  // unroll i < THREAD_K / 4
  {
    let k4 = k4Origin + tk + i * THREADS_K;
    // unroll r < 4
    {
      let channel = k4 % GROUP4 * 4u + r;
      if (k4 < K4 && channel < GROUP) { put(group.y, k4 / GROUP4 * GROUP + channel, column, N - n4 * 4u, acc[i * 4u + r]); }
    }
  }
  if (HAS_BIAS && tk == 0u && k4Origin == 0u) { put(group.y, FILTER_ROWS, column, N - n4 * 4u, total); }
}
`;

/** The parts' sums, one thread a weight. */
export const mergeGradientText = /* wgsl */ `
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) grid: vec3u) {
  let element = id.y * grid.x * WORKGROUP + id.x;
  if (element >= SIZE) { return; }
  var total = 0.0;
  for (var part = 0u; part < PARTS; part++) { total += sumsScalars[part * SIZE + element]; }
  if (element < FILTER_SIZE) { outScalars[element] = total; } else { biasScalars[element - FILTER_SIZE] = total; }
}
`;
