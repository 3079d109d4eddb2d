/**
 * What the kernels share that keep hidden channels in workgroup memory (feed_forward.ts, depthwise_project.ts). A workgroup owns
 * a tile of output pixels and walks the hidden channels in chunks of HIDDEN_CHUNK. Of each chunk it makes the hidden map of its
 * tile and multiplies it by that chunk's rows of the projection; the projection's sums stay in registers from the first chunk
 * to the last. PARTS workgroups may share a tile, each with a part of the chunks: then out holds bare sums, [PARTS][rows][C],
 * which the kernel 'merge' adds and finishes, as behind a matrix product (matmul.ts).
 *
 * Both products read four channels of a row at a time, [channels / 4][rows]: whoever makes the hidden map holds vectors of
 * channels, so nothing is transposed. Strides are odd, which spreads vectors of a column over the banks. What the next step
 * needs is in flight to registers while this one is multiplied, and all indices of sums are constants.
 *
 * Sums within the loop over chunks have their zeros written out: 'var a: array<…>;' in a loop kept the values of the turn before
 * on SwiftShader where 'a' was passed by pointer, though WGSL says otherwise.
 */
export const projectText = /* wgsl */ `
const CHUNK4 = HIDDEN_CHUNK / 4u;
const HIDDEN4 = (HIDDEN + 3u) / 4u;
const CHUNKS = (HIDDEN + HIDDEN_CHUNK - 1u) / HIDDEN_CHUNK;
const PART_CHUNKS = (CHUNKS + PARTS - 1u) / PARTS;
const N4 = (OUT_CHANNELS + 3u) / 4u;
const STEP_H4 = STEP_H / 4u;
const STEPS_H = HIDDEN_CHUNK / STEP_H;
const PROJECT_THREADS_N = (N4 + PROJECT_COLUMNS - 1u) / PROJECT_COLUMNS;
const PROJECT_THREADS_M = WORKGROUP / PROJECT_THREADS_N;
const PROJECT_THREADS = PROJECT_THREADS_M * PROJECT_THREADS_N;
const PROJECT_N4 = PROJECT_THREADS_N * PROJECT_COLUMNS;
const PROJECT_VECTORS = STEP_H * PROJECT_N4;
const HIDDEN_STRIDE = max(PROJECT_ROWS * PROJECT_THREADS_M, HIDDEN_ROWS) | 1u;

var<workgroup> hidden: array<vec4f, CHUNK4 * HIDDEN_STRIDE>;  // [CHUNK4][HIDDEN_STRIDE]
var<workgroup> projectTile: array<vec4f, PROJECT_VECTORS>;  // [STEP_H][PROJECT_N4]

// Where a thread stands among threadsM × threadsN. Threads of a square of eight by four read the same few vectors of both operands.
fn threadAt(local: u32, threadsN: u32, threadsM: u32) -> vec2u {
  let across = select(select(1u, 4u, threadsN % 4u == 0u), 8u, threadsN % 8u == 0u);
  let down = select(1u, 4u, threadsM % 4u == 0u);
  let lane = local % (across * down);
  let square = local / (across * down);
  let squares = threadsN / across;
  return vec2u((square % squares) * across + lane % across, (square / squares) * down + lane / across);
}

fn projectFilter(h: u32, n4: u32) -> vec4f {
  if (h >= HIDDEN4 * 4u) { return vec4f(0.0); }
  return weights[PROJECT_FILTER / 4u + h * N4 + select(n4, min(n4, N4 - 1u), PROJECT_N4 > N4)];
}

fn fetchProject(chunk: u32, step: u32, local: u32, next: ptr<function, array<vec4f, PROJECT_LOADS>>) {
  // unroll i < PROJECT_LOADS
  {
    let at = local + i * WORKGROUP;
    (*next)[i] = projectFilter(chunk * HIDDEN_CHUNK + step * STEP_H + at / PROJECT_N4, at % PROJECT_N4);
  }
}

fn storeProject(local: u32, next: ptr<function, array<vec4f, PROJECT_LOADS>>) {
  // unroll i < PROJECT_LOADS
  {
    let at = local + i * WORKGROUP;
    if (PROJECT_VECTORS % WORKGROUP == 0u || at < PROJECT_VECTORS) { projectTile[at] = (*next)[i]; }
  }
}

fn multiplyProject(first: u32, at: vec2u, acc: ptr<function, array<vec4f, PROJECT_ROWS * PROJECT_COLUMNS>>) {
  for (var base = 0u; base < STEP_H4; base += UNROLL_H) {
    // unroll k < UNROLL_H
    {
      var rows: array<vec4f, PROJECT_ROWS>;
      // unroll i < PROJECT_ROWS
      {
        rows[i] = hidden[(first + base + k) * HIDDEN_STRIDE + at.y + i * PROJECT_THREADS_M];
      }
      // unroll j < PROJECT_COLUMNS
      {
        let column = (base + k) * 4u * PROJECT_N4 + at.x + j * PROJECT_THREADS_N;
        let w0 = projectTile[column];
        let w1 = projectTile[column + PROJECT_N4];
        let w2 = projectTile[column + 2u * PROJECT_N4];
        let w3 = projectTile[column + 3u * PROJECT_N4];
        // unroll i < PROJECT_ROWS
        {
          var sum = (*acc)[i * PROJECT_COLUMNS + j];
          sum = fma(vec4f(rows[i].x), w0, sum);
          sum = fma(vec4f(rows[i].y), w1, sum);
          sum = fma(vec4f(rows[i].z), w2, sum);
          (*acc)[i * PROJECT_COLUMNS + j] = fma(vec4f(rows[i].w), w3, sum);
        }
      }
    }
  }
}

// Adds the chunk's share. The first step's filter is on its way in 'next'; behind the first barrier everyone's hidden map is there.
fn projectChunk(
  chunk: u32,
  local: u32,
  at: vec2u,
  next: ptr<function, array<vec4f, PROJECT_LOADS>>,
  acc: ptr<function, array<vec4f, PROJECT_ROWS * PROJECT_COLUMNS>>,
) {
  for (var step = 0u; step < STEPS_H; step++) {
    if (step > 0u) { workgroupBarrier(); }
    storeProject(local, next);
    workgroupBarrier();
    if (STEPS_H > 1u) { fetchProject(chunk, min(step + 1u, STEPS_H - 1u), local, next); }
    if (PROJECT_THREADS == WORKGROUP || local < PROJECT_THREADS) { multiplyProject(step * STEP_H4, at, acc); }
  }
}
`;

/**
 * The expansion of SOURCE_ROWS rows of x, a chunk at a time. sourceRow(origin, i) says which row of x is the tile's i-th. Where
 * one step takes all of K, the rows stay in workgroup memory from the first chunk on.
 */
export const expandText = /* wgsl */ `
const K4 = (X_CHANNELS + 3u) / 4u;
const STEP_K4 = STEP_K / 4u;
const STEPS_K = (K4 + STEP_K4 - 1u) / STEP_K4;
const EXPAND_THREADS_N = CHUNK4 / EXPAND_COLUMNS;
const EXPAND_THREADS_M = WORKGROUP / EXPAND_THREADS_N;
const EXPAND_THREADS = EXPAND_THREADS_M * EXPAND_THREADS_N;
const X_STRIDE = (EXPAND_ROWS * EXPAND_THREADS_M) | 1u;
const X_VECTORS = SOURCE_ROWS * STEP_K4;
const EXPAND_VECTORS = STEP_K * CHUNK4;

var<workgroup> xTile: array<vec4f, STEP_K4 * X_STRIDE>;  // [STEP_K4][X_STRIDE]
var<workgroup> expandTile: array<vec4f, EXPAND_VECTORS>;  // [STEP_K][CHUNK4]

// On the way to workgroup memory.
struct Ahead {
  x: array<vec4f, X_LOADS>,
  filter4: array<vec4f, EXPAND_LOADS>,
}

fn fetchX(origin: vec3i, step: u32, local: u32, next: ptr<function, Ahead>) {
  // unroll i < X_LOADS
  {
    let at = local + i * WORKGROUP;
    let row = select(at / STEP_K4, min(at / STEP_K4, SOURCE_ROWS - 1u), X_VECTORS % WORKGROUP != 0u);
    let k4 = step * STEP_K4 + at % STEP_K4;
    var value = vec4f(0.0);
    if (STEPS_K * STEP_K4 == K4 || k4 < K4) { value = readX(sourceRow(origin, row), k4); }
    (*next).x[i] = value;
  }
}

fn storeX(local: u32, next: ptr<function, Ahead>) {
  // unroll i < X_LOADS
  {
    let at = local + i * WORKGROUP;
    if (X_VECTORS % WORKGROUP == 0u || at < X_VECTORS) { xTile[(at % STEP_K4) * X_STRIDE + at / STEP_K4] = (*next).x[i]; }
  }
}

fn fetchExpand(chunk: u32, step: u32, local: u32, next: ptr<function, Ahead>) {
  // unroll i < EXPAND_LOADS
  {
    let at = local + i * WORKGROUP;
    let k = step * STEP_K + at / CHUNK4;
    let h4 = chunk * CHUNK4 + at % CHUNK4;
    var value = vec4f(0.0);
    if (k < K4 * 4u) {
      value = weights[EXPAND_FILTER / 4u + k * HIDDEN4 + select(h4, min(h4, HIDDEN4 - 1u), CHUNKS * CHUNK4 > HIDDEN4)];
    }
    (*next).filter4[i] = value;
  }
}

fn storeExpand(local: u32, next: ptr<function, Ahead>) {
  // unroll i < EXPAND_LOADS
  {
    let at = local + i * WORKGROUP;
    if (EXPAND_VECTORS % WORKGROUP == 0u || at < EXPAND_VECTORS) { expandTile[at] = (*next).filter4[i]; }
  }
}

fn multiplyExpand(at: vec2u, acc: ptr<function, array<vec4f, EXPAND_ROWS * EXPAND_COLUMNS>>) {
  for (var base = 0u; base < STEP_K4; base += UNROLL_K) {
    // unroll k < UNROLL_K
    {
      var rows: array<vec4f, EXPAND_ROWS>;
      // unroll i < EXPAND_ROWS
      {
        rows[i] = xTile[(base + k) * X_STRIDE + at.y + i * EXPAND_THREADS_M];
      }
      // unroll j < EXPAND_COLUMNS
      {
        let column = (base + k) * 4u * CHUNK4 + at.x + j * EXPAND_THREADS_N;
        let w0 = expandTile[column];
        let w1 = expandTile[column + CHUNK4];
        let w2 = expandTile[column + 2u * CHUNK4];
        let w3 = expandTile[column + 3u * CHUNK4];
        // unroll i < EXPAND_ROWS
        {
          var sum = (*acc)[i * EXPAND_COLUMNS + j];
          sum = fma(vec4f(rows[i].x), w0, sum);
          sum = fma(vec4f(rows[i].y), w1, sum);
          sum = fma(vec4f(rows[i].z), w2, sum);
          (*acc)[i * EXPAND_COLUMNS + j] = fma(vec4f(rows[i].w), w3, sum);
        }
      }
    }
  }
}

// Before the first chunk.
fn beginExpand(origin: vec3i, chunk: u32, local: u32, next: ptr<function, Ahead>) {
  fetchX(origin, 0u, local, next);
  fetchExpand(chunk, 0u, local, next);
  if (STEPS_K == 1u) { storeX(local, next); }
}

// The chunk's sums; its first step is on its way in 'next', where that of the 'following' chunk is behind it.
fn expandChunk(
  origin: vec3i,
  chunk: u32,
  following: u32,
  local: u32,
  at: vec2u,
  next: ptr<function, Ahead>,
  acc: ptr<function, array<vec4f, EXPAND_ROWS * EXPAND_COLUMNS>>,
) {
  for (var step = 0u; step < STEPS_K; step++) {
    if (step > 0u) { workgroupBarrier(); }
    if (STEPS_K > 1u) { storeX(local, next); }
    storeExpand(local, next);
    workgroupBarrier();
    let isLast = step + 1u == STEPS_K;
    let nextStep = select(step + 1u, 0u, isLast);
    if (STEPS_K > 1u) { fetchX(origin, nextStep, local, next); }
    fetchExpand(select(chunk, following, isLast), nextStep, local, next);
    if (EXPAND_THREADS == WORKGROUP || local < EXPAND_THREADS) { multiplyExpand(at, acc); }
  }
}

fn expandBias(h4: u32) -> vec4f {
  if (!HAS_EXPAND_BIAS) { return vec4f(0.0); }
  return weights[EXPAND_BIAS / 4u + h4];
}

fn expandSlope(h4: u32) -> vec4f {
  if (!HAS_EXPAND_SLOPE) { return vec4f(0.0); }
  return weights[EXPAND_SLOPE / 4u + h4];
}
`;
