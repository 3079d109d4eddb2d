/**
 * The feed-forward pair in one dispatch: out = finish(activation(norm(x) · W₁ + b₁) · W₂), where finish is bias, activation and
 * residual. A workgroup owns TILE_M pixels; see fused.ts for how it walks the hidden channels, which never reach device memory.
 */
export const feedForwardText = /* wgsl */ `
const SOURCE_ROWS = TILE_M;
const HIDDEN_ROWS = EXPAND_ROWS * EXPAND_THREADS_M;

var<workgroup> moments: array<vec2f, select(1u, HIDDEN_ROWS, HAS_NORM)>;

fn sourceRow(origin: vec3i, i: u32) -> u32 {
  return select(u32(origin.x) + i, min(u32(origin.x) + i, M - 1u), M % TILE_M != 0u);
}

// Norm, bias and activation; the hidden map of the chunk.
fn keepHidden(chunk: u32, at: vec2u, acc: ptr<function, array<vec4f, EXPAND_ROWS * EXPAND_COLUMNS>>) {
  // unroll j < EXPAND_COLUMNS
  {
    let own = at.x + j * EXPAND_THREADS_N;
    let h4 = min(chunk * CHUNK4 + own, HIDDEN4 - 1u);
    let bias = expandBias(h4);
    let slope = expandSlope(h4);
    var columnSums = vec4f(0.0);
    if (HAS_NORM) { columnSums = weight4(COLUMN_SUMS, h4); }
    // unroll i < EXPAND_ROWS
    {
      let row = at.y + i * EXPAND_THREADS_M;
      var value = (*acc)[i * EXPAND_COLUMNS + j];
      // (x − mean) / σ · W = (x · W − mean · column sums of W) / σ
      if (HAS_NORM) { value = moments[row].y * (value - moments[row].x * columnSums); }
      hidden[own * HIDDEN_STRIDE + row] = activateExpanded(value + bias, slope);
    }
  }
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  // More tiles than one axis of the grid holds continue on z.
  let rowOrigin = (group.z * grid.x + group.x) * TILE_M;
  if (rowOrigin >= M) { return; }
  let origin = vec3i(i32(rowOrigin), 0, 0);
  let expandAt = threadAt(local, EXPAND_THREADS_N, EXPAND_THREADS_M);
  let projectAt = threadAt(local, PROJECT_THREADS_N, PROJECT_THREADS_M);
  // Seen by all behind the first barrier of the first chunk.
  if (HAS_NORM) {
    for (var r = local; r < HIDDEN_ROWS; r += WORKGROUP) { moments[r] = momentsOf(min(rowOrigin + r, M - 1u)); }
  }

  var acc: array<vec4f, PROJECT_ROWS * PROJECT_COLUMNS>;  // [PROJECT_ROWS][PROJECT_COLUMNS]
  var ahead: Ahead;
  var projectNext: array<vec4f, PROJECT_LOADS>;
  let firstChunk = group.y * PART_CHUNKS;
  let end = min(firstChunk + PART_CHUNKS, CHUNKS);
  beginExpand(origin, firstChunk, local, &ahead);
  for (var chunk = firstChunk; chunk < end; chunk++) {
    var expanded = array<vec4f, EXPAND_ROWS * EXPAND_COLUMNS>();  // written out: see fused.ts
    expandChunk(origin, chunk, min(chunk + 1u, end - 1u), local, expandAt, &ahead, &expanded);
    fetchProject(chunk, 0u, local, &projectNext);
    if (EXPAND_THREADS == WORKGROUP || local < EXPAND_THREADS) { keepHidden(chunk, expandAt, &expanded); }
    projectChunk(chunk, local, projectAt, &projectNext, &acc);
  }
  if (PROJECT_THREADS < WORKGROUP && local >= PROJECT_THREADS) { return; }

  // unroll i < PROJECT_ROWS
  {
    let own = projectAt.y + i * PROJECT_THREADS_M;
    let row = rowOrigin + own;
    if (own < TILE_M && row < M) {
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
