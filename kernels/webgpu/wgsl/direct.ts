/**
 * A pointwise convolution of few pixels: out[row, n] = Σ_k source[row, k] · filter[k, n], straight from memory to registers.
 *
 * Where a map is small there are few tiles, and a workgroup that stages its operands (matmul.ts) mostly waits: for the loads of a step,
 * for the barriers, for workgroup memory, with a warp or two a scheduler. Here the SPLIT_K teams of a workgroup walk K by turns, a vector of
 * four channels at a time and TILE_K channels in flight, and nobody waits for anybody before the end; what a team's threads
 * share, the cache serves. Then the teams' sums meet in workgroup memory, and each thread finishes vectors of its own, whose
 * bias, residual and moments it has loaded before.
 *
 * Rows come from pixelSource (matmul_sources.ts); how threads share a tile is in teams.ts.
 */
export const directText = /* wgsl */ `
const K4 = K / 4u;
const ROUNDS = (K4 + SPLIT_K * TILE_K4 - 1u) / (SPLIT_K * TILE_K4);
const COVERED_K = ROUNDS * SPLIT_K * TILE_K;
const VECTORS = TILE_M * TILE_N4;

var<workgroup> sums: array<vec4f, SPLIT_K * VECTORS>;  // [team][TILE_M][TILE_N / 4]

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
  let n4Origin = group.y * TILE_N4;
  let tx = thread % THREADS_N;
  let ty = thread / THREADS_N;

  var origins: array<Origin, THREAD_M>;
  // unroll i < THREAD_M
  {
    origins[i] = originOf(loadedRow(rowOrigin + ty + i * THREADS_M));
  }
  var columns: array<u32, THREAD_N4>;
  // unroll j < THREAD_N / 4
  {
    columns[j] = filterOrigin(rowOrigin) + min(n4Origin + tx + j * THREADS_N, N4 - 1u);
  }

  var acc: array<vec4f, THREAD_M * THREAD_N4>;  // [THREAD_M][THREAD_N / 4]
  for (var round = 0u; round < ROUNDS; round++) {
    var xs: array<vec4f, TILE_K4 * THREAD_M>;
    var ws: array<vec4f, TILE_K * THREAD_N4>;
    // unroll u < TILE_K / 4
    {
      let k4 = (round * TILE_K4 + u) * SPLIT_K + team;
      let tap = tapOf(k4, 0u);
      // unroll i < THREAD_M
      {
        xs[u * THREAD_M + i] = readSource(origins[i], tap);
        if (HAS_SCALES) { xs[u * THREAD_M + i] *= scaleOf(origins[i], tap); }
      }
      // unroll j < THREAD_N / 4
      {
        // Of rows beyond K the source is zero.
        let at = columns[j] + select(k4, min(k4, K4 - 1u), COVERED_K > K) * 4u * N4;
        // unroll c < 4
        {
          ws[(u * 4u + c) * THREAD_N4 + j] = weights[at + c * N4];
        }
      }
    }
    // unroll u < TILE_K / 4
    {
      // unroll c < 4
      {
        // unroll i < THREAD_M
        {
          // unroll j < THREAD_N / 4
          {
            let sum = acc[i * THREAD_N4 + j];
            acc[i * THREAD_N4 + j] = fma(vec4f(xs[u * THREAD_M + i][c]), ws[(u * 4u + c) * THREAD_N4 + j], sum);
          }
        }
      }
    }
  }

  // unroll i < THREAD_M
  {
    // unroll j < THREAD_N / 4
    {
      sums[(team * TILE_M + ty + i * THREADS_M) * TILE_N4 + tx + j * THREADS_N] = acc[i * THREAD_N4 + j];
    }
  }
  // Loaded before the barrier, on their way during it.
  var endings: array<Ending, FINISHED>;
  var moments: array<vec2f, FINISHED>;
  // unroll f < FINISHED
  {
    let vector = local + f * WORKGROUP;
    let row = min(rowOrigin + vector / TILE_N4, M - 1u);
    endings[f] = endingOf(row, min(n4Origin + vector % TILE_N4, N4 - 1u));
    if (HAS_NORM) { moments[f] = momentsOf(row); }
  }
  workgroupBarrier();
  // unroll f < FINISHED
  {
    let vector = local + f * WORKGROUP;
    let row = rowOrigin + vector / TILE_N4;
    let n4 = n4Origin + vector % TILE_N4;
    if (vector < VECTORS && row < M && n4 < N4) {
      var sum = vec4f(0.0);
      // unroll t < SPLIT_K
      {
        sum += sums[t * VECTORS + vector];
      }
      if (HAS_NORM) { sum = normed(sum, moments[f], n4); }
      writeOut(row, n4, finishBy(endings[f], sum));
    }
  }
}
`;
