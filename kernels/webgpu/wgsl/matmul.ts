/**
 * Pointwise and full convolution as a matrix product: out[row, n] = Σ_k source[row, k] · filter[k, n].
 *
 * A workgroup makes a TILE_M × TILE_N tile. Its threads form SPLIT_K teams; each team walks its own share of K in steps of
 * TILE_K, staging both operands in workgroup memory while the next step's loads are already in flight to registers, and
 * keeps THREAD_M × THREAD_N sums a thread in registers. The teams' sums meet in workgroup memory at the end: with few
 * pixels (a 7×7 map at batch 1) it is K that has to fill the GPU. Where that is not enough, PARTS workgroups share a tile,
 * each with a part of K: then out holds bare sums, [PARTS][M][N], which the kernel 'merge' adds and finishes.
 *
 * The source is transposed on its way into workgroup memory, [k][row/2], in pairs of rows: a thread reads four rows or four
 * columns of one k at a time, 24 bytes of loads for 16 FMAs, and holds few of them in registers. Measured on an H200 at
 * 25088×768×192, 64×64 tiles of 8×4 sums: rows as they are 37.6 TFLOP/s, pairs 39.6, whole fours 36.1 (their stores need
 * four loads a thread and leave half of the threads without work). One stage and two barriers a step beat two stages and one
 * barrier by a fifth: the index of the stage costs arithmetic.
 *
 * K is a multiple of four: the packed filter has zero rows where channels are not. Where the rows come from is said by one of the
 * texts of matmul_sources.ts: what of a row serves all steps (originOf), what of a group of four k serves all rows (tapOf), and what is
 * loaded for the two (readSource, scaleOf). Each thread stages the same rows at every step, so originOf is outside of the loop. How threads
 * share a tile is in teams.ts.
 */
export const matmulText = /* wgsl */ `
const X_STRIDE = TILE_M / 2u + 2u;
const STEPS = (K + TILE_K - 1u) / TILE_K;
const TEAM_STEPS = (STEPS + SPLIT_K * PARTS - 1u) / (SPLIT_K * PARTS);
const COVERED_K = TEAM_STEPS * SPLIT_K * PARTS * TILE_K;
const N_TILES = (N4 + TILE_N4 - 1u) / TILE_N4;
// Threads of a patch of eight by four read the same few vectors of both operands, which the hardware serves at once.
const PATCH_N = select(select(1u, 4u, THREADS_N % 4u == 0u), 8u, THREADS_N % 8u == 0u);
const PATCH_M = select(1u, 4u, THREADS_M % 4u == 0u);
const PATCHES_N = THREADS_N / PATCH_N;
// What a team stages per step: pairs of vectors of the source, of two rows; vectors of the filter.
const X_PAIRS = TILE_M / 2u * TILE_K4;
const W_VECTORS = TILE_K * TILE_N4;
// A gate's scales wait in registers beside the rows, and multiply them as both go into workgroup memory: as they are loaded, every step
// would wait for the loads of the next.
const SCALES = select(1u, X_LOADS * 2u, HAS_SCALES);

var<workgroup> xTile: array<vec2f, SPLIT_K * TILE_K * X_STRIDE>;  // [team][TILE_K][TILE_M / 2 + 2]
// [team][TILE_K][TILE_N / 4]; behind the last step the sums of all teams but the first, [team − 1][thread][THREAD_M][THREAD_N / 4]
var<workgroup> wTile: array<vec4f, max(SPLIT_K * TILE_K, (SPLIT_K - 1u) * TILE_M) * TILE_N4>;

fn filter4(base: u32, k: u32, n4: u32) -> vec4f {
  if (COVERED_K > K && k >= K) { return vec4f(0.0); }
  return weights[base + k * N4 + select(n4, min(n4, N4 - 1u), N4 % TILE_N4 != 0u)];
}

// Loads this thread's share of one step: pairs of rows of the source and their scales, [X_LOADS][2], and vectors of the filter.
fn fetch(
  begin: vec3u,  // filter, k and n/4
  thread: u32,
  origins: ptr<function, array<Origin, X_LOADS * 2u>>,
  xNext: ptr<function, array<vec4f, X_LOADS * 2u>>,
  scaleNext: ptr<function, array<vec4f, SCALES>>,
  wNext: ptr<function, array<vec4f, W_LOADS>>,
) {
  // unroll i < X_LOADS
  {
    let tap = tapOf(begin.y / 4u, (thread + i * TEAM) % TILE_K4);
    // unroll second < 2
    {
      (*xNext)[i * 2u + second] = readSource((*origins)[i * 2u + second], tap);
      if (HAS_SCALES) { (*scaleNext)[min(i * 2u + second, SCALES - 1u)] = scaleOf((*origins)[i * 2u + second], tap); }
    }
  }
  // unroll i < W_LOADS
  {
    let at = thread + i * TEAM;
    (*wNext)[i] = filter4(begin.x, begin.y + at / TILE_N4, begin.z + at % TILE_N4);
  }
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let team = local / TEAM;
  let thread = local % TEAM;
  let rowOrigin = tileRow(group, grid);
  if (rowOrigin >= M) { return; }
  let n4Origin = (group.y % N_TILES) * TILE_N4;
  let part = group.y / N_TILES;
  let lane = thread % (PATCH_N * PATCH_M);
  let square = thread / (PATCH_N * PATCH_M);
  let tx = (square % PATCHES_N) * PATCH_N + lane % PATCH_N;
  let ty = (square / PATCHES_N) * PATCH_M + lane / PATCH_N;
  let xBase = team * TILE_K * X_STRIDE;
  let wBase = team * TILE_K * TILE_N4;

  let filterBase = filterOrigin(rowOrigin);

  var acc: array<vec4f, THREAD_M * THREAD_N4>;  // [THREAD_M][THREAD_N / 4]
  var origins: array<Origin, X_LOADS * 2u>;
  // unroll i < X_LOADS
  {
    // unroll second < 2
    {
      let row = rowOrigin + (thread + i * TEAM) / TILE_K4 * 2u + second;
      origins[i * 2u + second] = originOf(loadedRow(row));
    }
  }
  var xNext: array<vec4f, X_LOADS * 2u>;
  var scaleNext: array<vec4f, SCALES>;
  var wNext: array<vec4f, W_LOADS>;
  let firstK = (part * TEAM_STEPS * SPLIT_K + team) * TILE_K;
  fetch(vec3u(filterBase, firstK, n4Origin), thread, &origins, &xNext, &scaleNext, &wNext);
  makeScales(rowOrigin, part, local);

  for (var step = 1u; step <= TEAM_STEPS; step++) {
    // unroll i < X_LOADS
    {
      let at = thread + i * TEAM;
      if (X_PAIRS % TEAM == 0u || at < X_PAIRS) {
        let slot = xBase + (at % TILE_K4) * 4u * X_STRIDE + at / TILE_K4;
        var first = xNext[i * 2u];
        var second = xNext[i * 2u + 1u];
        if (HAS_SCALES) {
          first *= scaleNext[min(i * 2u, SCALES - 1u)];
          second *= scaleNext[min(i * 2u + 1u, SCALES - 1u)];
        }
        if (MAKES_SCALES) {
          let scale = madeScale(((step - 1u) * SPLIT_K + team) * TILE_K4 + at % TILE_K4);
          first *= scale;
          second *= scale;
        }
        // unroll c < 4
        {
          xTile[slot + c * X_STRIDE] = vec2f(first[c], second[c]);
        }
      }
    }
    // unroll i < W_LOADS
    {
      let at = thread + i * TEAM;
      if (W_VECTORS % TEAM == 0u || at < W_VECTORS) { wTile[wBase + at] = wNext[i]; }
    }
    workgroupBarrier();
    // The last step loads once more what it has: a branch here costs more.
    let next = part * TEAM_STEPS + min(step, TEAM_STEPS - 1u);
    fetch(vec3u(filterBase, (next * SPLIT_K + team) * TILE_K, n4Origin), thread, &origins, &xNext, &scaleNext, &wNext);
    // unroll k < TILE_K
    {
      var xReg: array<vec4f, THREAD_M / 4u>;
      // unroll i < THREAD_M / 4
      {
        let slot = xBase + k * X_STRIDE + (ty + i * THREADS_M) * 2u;
        xReg[i] = vec4f(xTile[slot], xTile[slot + 1u]);
      }
      // unroll j < THREAD_N / 4
      {
        let w = wTile[wBase + k * TILE_N4 + tx + j * THREADS_N];
        // unroll i < THREAD_M
        {
          acc[i * THREAD_N4 + j] = fma(vec4f(xReg[i / 4u][i % 4u]), w, acc[i * THREAD_N4 + j]);
        }
      }
    }
    workgroupBarrier();
  }

  // The moments of the tile's rows, each by one thread: a row has NORM_BLOCKS statistics and THREADS_N threads that want it.
  if (HAS_NORM) {
    for (var r = local; r < TILE_M; r += WORKGROUP) { xTile[r] = momentsOf(min(rowOrigin + r, M - 1u)); }
    workgroupBarrier();
  }

  if (SPLIT_K > 1u) {
    if (team > 0u) {
      // unroll i < THREAD_M * THREAD_N / 4
      {
        wTile[((team - 1u) * TEAM + thread) * THREAD_M * THREAD_N4 + i] = acc[i];
      }
    }
    workgroupBarrier();
    if (team > 0u) { return; }
    for (var other = 0u; other < SPLIT_K - 1u; other++) {
      // unroll i < THREAD_M * THREAD_N / 4
      {
        acc[i] += wTile[(other * TEAM + thread) * THREAD_M * THREAD_N4 + i];
      }
    }
  }

  // unroll i < THREAD_M
  {
    let row = rowOrigin + (ty + (i / 4u) * THREADS_M) * 4u + i % 4u;
    if (M % TILE_M == 0u || row < M) {
      var moments = vec2f(0.0, 1.0);
      if (HAS_NORM) { moments = xTile[row - rowOrigin]; }
      // unroll j < THREAD_N / 4
      {
        let n4 = n4Origin + tx + j * THREADS_N;
        if (N4 % TILE_N4 == 0u || n4 < N4) {
          var sum = acc[i * THREAD_N4 + j];
          if (HAS_NORM) { sum = normed(sum, moments, n4); }
          if (PARTS > 1u) { writeOut(part * M + row, n4, sum); } else { writeOut(row, n4, finish(row, n4, sum)); }
        }
      }
    }
  }
}
`;
