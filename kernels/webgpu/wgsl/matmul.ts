/**
 * Pointwise and full convolution as a matrix product: out[row, n] = Σ_k source[row, k] · filter[k, n].
 *
 * A workgroup makes a TILE_M × TILE_N tile. Its threads form SPLIT_K teams; each team walks its own share of K in steps of
 * TILE_K, staging both operands in workgroup memory while the next step's loads are already in flight to registers, and
 * keeps THREAD_M × THREAD_N sums a thread in registers. The teams' sums meet in workgroup memory at the end: with few
 * pixels (a 7×7 map at batch 1) it is K that has to fill the GPU. Where that is not enough, PARTS workgroups share a tile,
 * each with a part of K: then out holds bare sums, [PARTS][M][N], which the kernel 'merge' adds and finishes.
 *
 * The source is transposed on its way into workgroup memory, in stacks of STACK rows of one k: a thread reads four rows or four
 * columns of one k at a time and holds few of them in registers. Each group of four k is a little longer than its stacks, so that what
 * neighbouring threads store lies in different banks. With BUFFERS 2 a step is staged while others still read the one before, at one
 * barrier a step instead of two. Measured of bare prototypes on an H200 at 25088×768×192:
 *
 * - 8×4 sums a thread: pairs of rows, sums row by row, 40.4 TFLOP/s; stacks of four 37.7, as half of the threads have no rows to stage.
 * - 8×8: stacks of four, sums column by column, every other one upwards, 44.7; all downwards 44.1; row by row 42; pairs 38.8. Up and
 *   down, each multiply-add shares an operand with the one before, which the processor need not read again from its registers.
 *
 * K is a multiple of four: the packed filter has zero rows where channels are not. Where the rows come from is said by one of the
 * texts of matmul_sources.ts: what of a row serves all steps (originOf), what of a group of four k serves all rows (tapOf), and what is
 * loaded for the two (readSource, scaleOf). Each thread stages the same rows at every step, so originOf is outside of the loop. How threads
 * share a tile is in teams.ts.
 */
export const matmulText = /* wgsl */ `
const STEPS = (K + TILE_K - 1u) / TILE_K;
const TEAM_STEPS = (STEPS + SPLIT_K * PARTS - 1u) / (SPLIT_K * PARTS);
const COVERED_K = TEAM_STEPS * SPLIT_K * PARTS * TILE_K;
const N_TILES = (N4 + TILE_N4 - 1u) / TILE_N4;
const THREAD_M4 = THREAD_M / 4u;
// Threads of a patch of eight by four read the same few vectors of both operands, which the hardware serves at once.
const PATCH_N = select(select(1u, 4u, THREADS_N % 4u == 0u), 8u, THREADS_N % 8u == 0u);
const PATCH_M = select(1u, 4u, THREADS_M % 4u == 0u);
const PATCHES_N = THREADS_N / PATCH_N;
// What a team stages per step: units of four k of the rows of a stack; vectors of the filter.
const STACKS = TILE_M / STACK;
const X_UNITS = STACKS * TILE_K4;
const W_VECTORS = TILE_K * TILE_N4;
// Of four k, with what keeps their stores in different ones of 32 banks.
const GROUP = 4u * STACKS + 32u / STACK / TILE_K4;
// Threads that have no rows to stage begin with vectors of the filter, W_FIRST each.
const SPARE = TEAM - min(TEAM, X_UNITS);
const FIRST_VECTORS = W_FIRST * SPARE;
// A gate's scales wait in registers beside the rows, and multiply them as both go into workgroup memory: as they are loaded, every step
// would wait for the loads of the next.
const SCALES = select(1u, X_LOADS * STACK, HAS_SCALES);
const X_BUFFER = SPLIT_K * TILE_K4 * GROUP;
const W_BUFFER = SPLIT_K * TILE_K * TILE_N4;

var<workgroup> xTile: array<Stack, BUFFERS * X_BUFFER>;  // [buffer][team][TILE_K / 4][4][TILE_M / STACK]
// [buffer][team][TILE_K][TILE_N / 4]; behind the last step the sums of all teams but the first, [team − 1][thread][THREAD_M × THREAD_N / 4]
var<workgroup> wTile: array<vec4f, max(BUFFERS * W_BUFFER, (SPLIT_K - 1u) * TILE_M * TILE_N4)>;

fn filter4(base: u32, k: u32, n4: u32) -> vec4f {
  if (COVERED_K > K && k >= K) { return vec4f(0.0); }
  return weights[base + k * N4 + select(n4, min(n4, N4 - 1u), N4 % TILE_N4 != 0u)];
}

// The at'th vector of a step's filter. begin: filter, k and n/4.
fn filterAt(begin: vec3u, at: u32) -> vec4f { return filter4(begin.x, begin.y + at / TILE_N4, begin.z + at % TILE_N4); }

// Loads this thread's share of one step: units of the source, a row each after the other, and their scales; vectors of the filter.
fn fetch(
  begin: vec3u,
  thread: u32,
  origins: ptr<function, array<Origin, X_LOADS * STACK>>,
  xNext: ptr<function, array<vec4f, X_LOADS * STACK>>,
  scaleNext: ptr<function, array<vec4f, SCALES>>,
  wNext: ptr<function, array<vec4f, max(1u, W_LOADS)>>,
) {
  if (W_FIRST == 0u || thread < X_UNITS) {
    // unroll i < X_LOADS
    {
      let tap = tapOf(begin.y / 4u, (thread + i * TEAM) % TILE_K4);
      // unroll r < STACK
      {
        (*xNext)[i * STACK + r] = readSource((*origins)[i * STACK + r], tap);
        if (HAS_SCALES) { (*scaleNext)[min(i * STACK + r, SCALES - 1u)] = scaleOf((*origins)[i * STACK + r], tap); }
      }
    }
  } else {
    // unroll i < W_FIRST
    {
      (*xNext)[i] = filterAt(begin, thread - X_UNITS + i * SPARE);
    }
  }
  // unroll i < W_LOADS
  {
    (*wNext)[i] = filterAt(begin, FIRST_VECTORS + thread + i * TEAM);
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

  let filterBase = filterOrigin(rowOrigin);

  // [THREAD_M][THREAD_N / 4]; with stacks of four [THREAD_N][THREAD_M / 4], rows of odd columns in reverse
  var acc: array<vec4f, THREAD_M * THREAD_N4>;
  var origins: array<Origin, X_LOADS * STACK>;
  // unroll i < X_LOADS
  {
    // unroll r < STACK
    {
      let row = rowOrigin + (thread + i * TEAM) / TILE_K4 * STACK + r;
      origins[i * STACK + r] = originOf(loadedRow(row));
    }
  }
  var xNext: array<vec4f, X_LOADS * STACK>;
  var scaleNext: array<vec4f, SCALES>;
  var wNext: array<vec4f, max(1u, W_LOADS)>;
  let firstK = (part * TEAM_STEPS * SPLIT_K + team) * TILE_K;
  fetch(vec3u(filterBase, firstK, n4Origin), thread, &origins, &xNext, &scaleNext, &wNext);
  makeScales(rowOrigin, part, local);

  for (var step = 1u; step <= TEAM_STEPS; step++) {
    let buffer = (step - 1u) % BUFFERS;  // Of a remainder the compiler knows the bounds; by '&' it would clamp every index below.
    let xBase = buffer * X_BUFFER + team * TILE_K4 * GROUP;
    let wBase = buffer * W_BUFFER + team * TILE_K * TILE_N4;
    if (W_FIRST == 0u || thread < X_UNITS) {
      // unroll i < X_LOADS
      {
        let at = thread + i * TEAM;
        if (X_UNITS % TEAM == 0u || W_FIRST > 0u || at < X_UNITS) {
          if (HAS_SCALES) {
            // unroll r < STACK
            {
              xNext[i * STACK + r] *= scaleNext[min(i * STACK + r, SCALES - 1u)];
            }
          }
          if (MAKES_SCALES) {
            let scale = madeScale(((step - 1u) * SPLIT_K + team) * TILE_K4 + at % TILE_K4);
            // unroll r < STACK
            {
              xNext[i * STACK + r] *= scale;
            }
          }
          let slot = xBase + at % TILE_K4 * GROUP + at / TILE_K4;
          // unroll c < 4
          {
            // only STACK == 2
            {
              xTile[slot + c * STACKS] = vec2f(xNext[i * 2u][c], xNext[i * 2u + 1u][c]);
            }
            // only STACK == 4
            {
              xTile[slot + c * STACKS] =
                vec4f(xNext[i * 4u][c], xNext[i * 4u + 1u][c], xNext[i * 4u + 2u][c], xNext[i * 4u + 3u][c]);
            }
          }
        }
      }
    } else {
      // unroll i < W_FIRST
      {
        wTile[wBase + thread - X_UNITS + i * SPARE] = xNext[i];
      }
    }
    // unroll i < W_LOADS
    {
      let at = FIRST_VECTORS + thread + i * TEAM;
      if (FIRST_VECTORS + W_LOADS * TEAM == W_VECTORS || at < W_VECTORS) { wTile[wBase + at] = wNext[i]; }
    }
    workgroupBarrier();
    // The last step loads once more what it has: a branch here costs more.
    let next = part * TEAM_STEPS + min(step, TEAM_STEPS - 1u);
    fetch(vec3u(filterBase, (next * SPLIT_K + team) * TILE_K, n4Origin), thread, &origins, &xNext, &scaleNext, &wNext);
    // unroll k < TILE_K
    {
      var xReg: array<vec4f, THREAD_M4>;
      // unroll i < THREAD_M / 4
      {
        let slot = xBase + k / 4u * GROUP + k % 4u * STACKS + (ty + i * THREADS_M) * (4u / STACK);
        // only STACK == 2
        {
          xReg[i] = vec4f(xTile[slot], xTile[slot + 1u]);
        }
        // only STACK == 4
        {
          xReg[i] = xTile[slot];
        }
      }
      // unroll j < THREAD_N / 4
      {
        let w = wTile[wBase + k * TILE_N4 + tx + j * THREADS_N];
        // only STACK == 2
        {
          // unroll i < THREAD_M
          {
            acc[i * THREAD_N4 + j] = fma(vec4f(xReg[i / 4u][i % 4u]), w, acc[i * THREAD_N4 + j]);
          }
        }
        // only STACK == 4
        {
          // unroll c < 2
          {
            let down = (j * 4u + c * 2u) * THREAD_M4;
            // unroll i < THREAD_M / 4
            {
              acc[down + i] = fma(xReg[i], vec4f(w[c * 2u]), acc[down + i]);
            }
            let up = down + THREAD_M4;
            // unroll i < THREAD_M / 4
            {
              let at = THREAD_M4 - 1u - i;
              acc[up + at] = fma(xReg[at].wzyx, vec4f(w[c * 2u + 1u]), acc[up + at]);
            }
          }
        }
      }
    }
    if (BUFFERS == 1u) { workgroupBarrier(); }
  }
  if (BUFFERS > 1u) { workgroupBarrier(); }

  // The moments of the tile's rows, each by one thread: a row has NORM_BLOCKS statistics and THREADS_N threads that want it.
  if (HAS_NORM) {
    for (var r = local; r < TILE_M; r += WORKGROUP) {
      let moments = momentsOf(min(rowOrigin + r, M - 1u));
      // only STACK == 2
      {
        xTile[r] = moments;
      }
      // only STACK == 4
      {
        xTile[r] = vec4f(moments, 0.0, 0.0);
      }
    }
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
      if (HAS_NORM) { moments = xTile[row - rowOrigin].xy; }
      // unroll j < THREAD_N / 4
      {
        let n4 = n4Origin + tx + j * THREADS_N;
        if (N4 % TILE_N4 == 0u || n4 < N4) {
          var sum: vec4f;
          // only STACK == 2
          {
            sum = acc[i * THREAD_N4 + j];
          }
          // only STACK == 4
          {
            let at = j * 4u * THREAD_M4 + i / 4u;
            let r = i % 4u;
            sum = vec4f(acc[at][r], acc[at + THREAD_M4][3u - r], acc[at + 2u * THREAD_M4][r], acc[at + 3u * THREAD_M4][3u - r]);
          }
          if (HAS_NORM) { sum = normed(sum, moments, n4); }
          if (PARTS > 1u) { writeOut(part * M + row, n4, sum); } else { writeOut(row, n4, finish(row, n4, sum)); }
        }
      }
    }
  }
}
`;
