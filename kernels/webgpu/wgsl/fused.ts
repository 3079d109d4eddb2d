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

interface Multiply {
  readonly name: 'Project' | 'Expand';
  /** Workgroup memory of the left operand, [vectors][stride], and of the filter, [channels][columns4]. */
  readonly left: string;
  readonly vectors: string;
  readonly stride: string;
  readonly tile: string;
  readonly columns4: string;
  /** STEP_`step`4 vectors of channels a step, UNROLL_`step` of them written out. */
  readonly step: 'H' | 'K';
}

/**
 * One step of either product: the left operand from vector 'first' on, times the filter, onto a thread's sums. Minima say what a compiler cannot
 * know of parameters: else it would clamp every index of the loop.
 */
function multiplyText({name, left, vectors, stride, tile, columns4, step}: Multiply): string {
  const NAME = name.toUpperCase();
  return /* wgsl */ `fn multiply${name}(first: u32, at: vec2u, acc: ptr<function, array<vec4f, ${NAME}_ROWS * ${NAME}_COLUMNS>>) {
  let row = min(first, ${vectors} - STEP_${step}4) * ${stride} + min(at.y, ${NAME}_THREADS_M - 1u);
  let column = min(at.x, ${NAME}_THREADS_N - 1u);
  for (var turn = 0u; turn < STEP_${step}4 / UNROLL_${step}; turn++) {
    // unroll k < UNROLL_${step}
    {
      let vector = turn * UNROLL_${step} + k;
      var rows: array<vec4f, ${NAME}_ROWS>;
      // unroll i < ${NAME}_ROWS
      {
        rows[i] = ${left}[row + vector * ${stride} + i * ${NAME}_THREADS_M];
      }
      // unroll j < ${NAME}_COLUMNS
      {
        let own = vector * 4u * ${columns4} + column + j * ${NAME}_THREADS_N;
        let w0 = ${tile}[own];
        let w1 = ${tile}[own + ${columns4}];
        let w2 = ${tile}[own + 2u * ${columns4}];
        let w3 = ${tile}[own + 3u * ${columns4}];
        // unroll i < ${NAME}_ROWS
        {
          var sum = (*acc)[i * ${NAME}_COLUMNS + j];
          sum = fma(vec4f(rows[i].x), w0, sum);
          sum = fma(vec4f(rows[i].y), w1, sum);
          sum = fma(vec4f(rows[i].z), w2, sum);
          (*acc)[i * ${NAME}_COLUMNS + j] = fma(vec4f(rows[i].w), w3, sum);
        }
      }
    }
  }
}
`;
}

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

${multiplyText({name: 'Project', left: 'hidden', vectors: 'CHUNK4', stride: 'HIDDEN_STRIDE', tile: 'projectTile', columns4: 'PROJECT_N4', step: 'H'})}
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

${multiplyText({name: 'Expand', left: 'xTile', vectors: 'STEP_K4', stride: 'X_STRIDE', tile: 'expandTile', columns4: 'CHUNK4', step: 'K'})}
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
    if (EXPAND_THREADS == WORKGROUP || local < EXPAND_THREADS) { multiplyExpand(0u, at, acc); }
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
