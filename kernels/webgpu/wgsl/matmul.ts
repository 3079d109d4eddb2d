/**
 * Pointwise and full convolution as a matrix product: out[row, n] = Σ_k source[row, k] · filter[k, n].
 *
 * A workgroup makes a TILE_M × TILE_N tile. Its threads form SPLIT_K teams; each team walks its own share of K in steps of
 * TILE_K, staging both operands in workgroup memory while the next step's loads are already in flight to registers, and
 * keeps THREAD_M × THREAD_N sums a thread in registers. The teams' sums meet in workgroup memory at the end: with few
 * pixels (a 7×7 map at batch 1) it is K that has to fill the GPU.
 *
 * Operands lie in workgroup memory as they do in device memory, four channels a vector: source [row][k/4], filter
 * [k][n/4]. A thread reads one vector of k for each of its rows and one vector of n for each of those four k, 64 FMAs per
 * 4 loads at 4×4, 256 per 16 at 8×8. The columns of a thread lie THREADS_N apart, so neighbours read neighbouring vectors.
 *
 * K is a multiple of four: the packed filter has zero rows where channels are not. readSource(row, k4) comes from one of the
 * two sources below.
 */
export const matmulText = /* wgsl */ `
const THREADS_M = TILE_M / THREAD_M;
const THREADS_N = TILE_N / THREAD_N;
const TEAM = THREADS_M * THREADS_N;
const WORKGROUP = TEAM * SPLIT_K;
const TILE_K4 = TILE_K / 4u;
const TILE_N4 = TILE_N / 4u;
const THREAD_N4 = THREAD_N / 4u;
// Vectors each thread stages per step, and the stages: two, so that one barrier a step is enough.
const X_LOADS = (TILE_M * TILE_K4 + TEAM - 1u) / TEAM;
const W_LOADS = (TILE_K * TILE_N4 + TEAM - 1u) / TEAM;
const STEPS = (K + TILE_K - 1u) / TILE_K;
const TEAM_STEPS = (STEPS + SPLIT_K - 1u) / SPLIT_K;
const N4 = (N + 3u) / 4u;

var<workgroup> xTile: array<vec4f, 2u * SPLIT_K * TILE_M * TILE_K4>;  // [stage][team][TILE_M][TILE_K / 4]
var<workgroup> wTile: array<vec4f, 2u * SPLIT_K * TILE_K * TILE_N4>;  // [stage][team][TILE_K][TILE_N / 4]
var<workgroup> sums: array<vec4f, select(1u, (SPLIT_K - 1u) * TILE_M * TILE_N4, SPLIT_K > 1u)>;

fn filter4(k: u32, n4: u32) -> vec4f {
  if (K % (TILE_K * SPLIT_K) != 0u && k >= K) { return vec4f(0.0); }
  return weights[FILTER / 4u + k * N4 + min(n4, N4 - 1u)];
}

fn source4(row: u32, k4: u32) -> vec4f {
  if (K % (TILE_K * SPLIT_K) != 0u && k4 * 4u >= K) { return vec4f(0.0); }
  var value = readSource(min(row, M - 1u), k4);
  if (HAS_SCALES) { value *= scales[(min(row, M - 1u) / PIXELS) * (K / 4u) + k4]; }
  return value;
}

// Mean and 1/σ of a row that came in raw, for its LayerNorm. The statistics of NORM_BLOCKS blocks of channels (mean, sum of
// squared deviations, count) are merged as in Chan et al. 1979, which cancels nothing.
fn momentsOf(row: u32) -> vec2f {
  var total = norms[row * NORM_BLOCKS].xyz;
  for (var b = 1u; b < NORM_BLOCKS; b++) {
    let part = norms[row * NORM_BLOCKS + b].xyz;
    let count = total.z + part.z;
    let delta = part.x - total.x;
    total = vec3f(total.x + delta * part.z / count, total.y + part.y + delta * delta * total.z * part.z / count, count);
  }
  return vec2f(total.x, inverseSqrt(total.y / total.z + NORM_EPSILON));
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let team = local / TEAM;
  let thread = local % TEAM;
  // More rows of tiles than one axis of the grid holds continue on z.
  let rowOrigin = (group.z * grid.x + group.x) * TILE_M;
  if (rowOrigin >= M) { return; }
  let n4Origin = group.y * TILE_N4;
  let tx = thread % THREADS_N;
  let ty = thread / THREADS_N;

  var acc: array<vec4f, THREAD_M * THREAD_N4>;  // [THREAD_M][THREAD_N / 4]
  var xNext: array<vec4f, X_LOADS>;
  var wNext: array<vec4f, W_LOADS>;

  for (var step = 0u; step <= TEAM_STEPS; step++) {
    let kOrigin = (step * SPLIT_K + team) * TILE_K;
    if (step < TEAM_STEPS) {
      for (var i = 0u; i < X_LOADS; i++) {
        let at = thread + i * TEAM;
        xNext[i] = source4(rowOrigin + at / TILE_K4, kOrigin / 4u + at % TILE_K4);
      }
      for (var i = 0u; i < W_LOADS; i++) {
        let at = thread + i * TEAM;
        wNext[i] = filter4(kOrigin + at / TILE_N4, n4Origin + at % TILE_N4);
      }
    }
    if (step > 0u) {
      let xBase = (((step - 1u) % 2u) * SPLIT_K + team) * TILE_M * TILE_K4;
      let wBase = (((step - 1u) % 2u) * SPLIT_K + team) * TILE_K * TILE_N4;
      for (var k4 = 0u; k4 < TILE_K4; k4++) {
        var xReg: array<vec4f, THREAD_M>;
        for (var i = 0u; i < THREAD_M; i++) { xReg[i] = xTile[xBase + (ty + i * THREADS_M) * TILE_K4 + k4]; }
        for (var k = 0u; k < 4u; k++) {
          for (var j = 0u; j < THREAD_N4; j++) {
            let w = wTile[wBase + (k4 * 4u + k) * TILE_N4 + tx + j * THREADS_N];
            for (var i = 0u; i < THREAD_M; i++) { acc[i * THREAD_N4 + j] = fma(vec4f(xReg[i][k]), w, acc[i * THREAD_N4 + j]); }
          }
        }
      }
    }
    if (step < TEAM_STEPS) {
      let xBase = ((step % 2u) * SPLIT_K + team) * TILE_M * TILE_K4;
      let wBase = ((step % 2u) * SPLIT_K + team) * TILE_K * TILE_N4;
      for (var i = 0u; i < X_LOADS; i++) {
        let at = thread + i * TEAM;
        if ((TILE_M * TILE_K4) % TEAM == 0u || at < TILE_M * TILE_K4) { xTile[xBase + at] = xNext[i]; }
      }
      for (var i = 0u; i < W_LOADS; i++) {
        let at = thread + i * TEAM;
        if ((TILE_K * TILE_N4) % TEAM == 0u || at < TILE_K * TILE_N4) { wTile[wBase + at] = wNext[i]; }
      }
    }
    workgroupBarrier();
  }

  if (SPLIT_K > 1u) {
    if (team > 0u) {
      for (var i = 0u; i < THREAD_M * THREAD_N4; i++) { sums[((team - 1u) * TEAM + thread) * THREAD_M * THREAD_N4 + i] = acc[i]; }
    }
    workgroupBarrier();
    if (team > 0u) { return; }
    for (var other = 0u; other < SPLIT_K - 1u; other++) {
      for (var i = 0u; i < THREAD_M * THREAD_N4; i++) { acc[i] += sums[(other * TEAM + thread) * THREAD_M * THREAD_N4 + i]; }
    }
  }

  // unroll i < THREAD_M
  {
    let row = rowOrigin + ty + i * THREADS_M;
    if (M % TILE_M == 0u || row < M) {
      var moments = vec2f(0.0, 1.0);
      if (HAS_NORM) { moments = momentsOf(row); }
      // unroll j < THREAD_N / 4
      {
        let n4 = n4Origin + tx + j * THREADS_N;
        if (N4 % TILE_N4 == 0u || n4 < N4) {
          var sum = acc[i * THREAD_N4 + j];
          // (x − mean) / σ · W = (x · W − mean · column sums of W) / σ
          if (HAS_NORM) { sum = moments.y * (sum - moments.x * weight4(COLUMN_SUMS, n4)); }
          writeOut(row, n4, finish(row, n4, sum));
        }
      }
    }
  }
}
`;

/** The source of a pointwise stage: a row is a pixel. */
export const pixelSource = /* wgsl */ `
fn readSource(row: u32, k4: u32) -> vec4f { return readX(row, k4); }
`;

/**
 * The source of a full convolution, gathered from the window of each output pixel (implicit im2col): k = (ky, kx, c). Each
 * tap's channels are padded to X_CHANNELS4 groups of four, in the filter as well.
 */
export const windowSource = /* wgsl */ `
fn readSource(row: u32, k4: u32) -> vec4f {
  let tap = k4 / X_CHANNELS4;
  let ox = row % OUT_WIDTH;
  let oy = (row / OUT_WIDTH) % OUT_HEIGHT;
  let iy = i32(oy * STRIDE_H + (tap / KERNEL_W) * DILATION_H) - PAD_TOP;
  let ix = i32(ox * STRIDE_W + (tap % KERNEL_W) * DILATION_W) - PAD_LEFT;
  if (iy < 0 || ix < 0 || iy >= i32(IN_HEIGHT) || ix >= i32(IN_WIDTH)) { return vec4f(0.0); }
  let image = row / (OUT_WIDTH * OUT_HEIGHT);
  return readX((image * IN_HEIGHT + u32(iy)) * IN_WIDTH + u32(ix), k4 % X_CHANNELS4);
}
`;
