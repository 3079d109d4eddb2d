/** Kernels that sweep over pixels without a filter. */

/**
 * Sums over pixels, per channel, of x or (SQUARED) of x²: [image][SUM_PARTS][C4]. A workgroup is LANES channels by ROWS pixels.
 * IS_MEAN: there is one part, and the block's output is the mean.
 */
export const sumText = /* wgsl */ `
const WORKGROUP = LANES * ROWS;
const C4 = (X_CHANNELS + 3u) / 4u;
const PART = (PIXELS + SUM_PARTS - 1u) / SUM_PARTS;

var<workgroup> parts: array<vec4f, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let lane = local % LANES;
  let c4 = group.y * LANES + lane;
  var sum = vec4f(0.0);
  if (c4 < C4) {
    let end = min((group.x + 1u) * PART, PIXELS);
    for (var pixel = group.x * PART + local / LANES; pixel < end; pixel += ROWS) {
      let value = readX(group.z * PIXELS + pixel, c4);
      sum += select(value, value * value, SQUARED);
    }
  }
  parts[local] = sum;
  workgroupBarrier();
  if (local < LANES && c4 < C4) {
    for (var other = 1u; other < ROWS; other++) { sum += parts[other * LANES + lane]; }
    if (IS_MEAN) { writeOut(group.z, c4, sum / f32(PIXELS)); } else { sums[(group.z * SUM_PARTS + group.x) * C4 + c4] = sum; }
  }
}
`;

/**
 * What normalizing and taking moments share: LANES threads share a row, each with VECTORS of its groups of four channels in registers,
 * and WORKGROUP / LANES rows a workgroup. The squared deviations are taken from the mean, which cancels nothing. Sums over lanes go
 * through workgroup memory: by subgroups they took 0.83 to 1.15 times as long on an H200 (benchmarks/NOTES.md).
 */
const rowsByLanes = /* wgsl */ `
const C4 = (X_CHANNELS + 3u) / 4u;
const ROWS = WORKGROUP / LANES;

var<workgroup> parts: array<f32, WORKGROUP>;

fn live(value: vec4f, c4: u32) -> vec4f {
  return select(vec4f(0.0), value, c4 * 4u + vec4u(0u, 1u, 2u, 3u) < vec4u(X_CHANNELS));
}

// Sum over the lanes of a row, the same to each of them.
fn sumLanes(local: u32, value: f32) -> f32 {
  workgroupBarrier();
  parts[local] = value;
  workgroupBarrier();
  var total = 0.0;
  let first = local / LANES * LANES;
  // unroll lane < LANES
  {
    total += parts[first + lane];
  }
  return total;
}

// Mean of a row and the sum of its squared deviations, which are left in 'values'.
fn centre(row: u32, local: u32, values: ptr<function, array<vec4f, VECTORS>>) -> vec2f {
  let lane = local % LANES;
  var total = vec4f(0.0);
  // unroll i < VECTORS
  {
    let c4 = lane + i * LANES;
    (*values)[i] = vec4f(0.0);
    if (c4 < C4) { (*values)[i] = readX(row, c4); }
    total += (*values)[i];
  }
  let mean = sumLanes(local, dot(total, vec4f(1.0))) / f32(X_CHANNELS);
  var squares = 0.0;
  // unroll i < VECTORS
  {
    (*values)[i] = live((*values)[i] - mean, lane + i * LANES);
    squares += dot((*values)[i], (*values)[i]);
  }
  return vec2f(mean, sumLanes(local, squares));
}
`;

/** Mean and squared deviations of each row over its channels: (mean, sum of squares, count, 0). */
export const momentsText =
  rowsByLanes +
  /* wgsl */ `
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  // A thread beyond the last row works on the last one: barriers need them all.
  let own = (group.y * grid.x + group.x) * ROWS + local / LANES;
  var values: array<vec4f, VECTORS>;
  let found = centre(min(own, M - 1u), local, &values);
  if (own < M && local % LANES == 0u) { moments[own] = vec4f(found, f32(X_CHANNELS), 0.0); }
}
`;

/** LayerNorm. */
export const normalizeText =
  rowsByLanes +
  /* wgsl */ `
fn weight4(offset: u32, c4: u32) -> vec4f { return weights[offset / 4u + c4]; }

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  // A thread beyond the last row works on the last one: barriers need them all.
  let own = (group.y * grid.x + group.x) * ROWS + local / LANES;
  let row = min(own, M - 1u);
  var values: array<vec4f, VECTORS>;
  let scale = inverseSqrt(centre(row, local, &values).y / f32(X_CHANNELS) + EPSILON);
  if (own >= M) { return; }
  // unroll i < VECTORS
  {
    let c4 = local % LANES + i * LANES;
    if (c4 < C4) {
      var value = values[i] * scale;
      if (IS_AFFINE) { value = value * weight4(GAIN, c4) + weight4(OFFSET, c4); }
      writeOut(row, c4, value);
    }
  }
}
`;

/**
 * Pooling: the maximum (IS_MAX) or the mean of the cells that exist under a window, as TensorFlow counts them.
 */
export const poolText = /* wgsl */ `
const C4 = (OUT_CHANNELS + 3u) / 4u;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) grid: vec3u) {
  // More workgroups than one axis holds continue on the next row of the grid.
  let at = id.y * grid.x * WORKGROUP + id.x;
  if (at >= M * C4) { return; }
  let row = at / C4;
  let c4 = at % C4;
  let ox = row % OUT_WIDTH;
  let oy = (row / OUT_WIDTH) % OUT_HEIGHT;
  let image = row / (OUT_WIDTH * OUT_HEIGHT);
  var best = vec4f(-3.402823e38);
  var sum = vec4f(0.0);
  var count = 0.0;
  for (var ky = 0u; ky < KERNEL_H; ky++) {
    let iy = i32(oy * STRIDE_H + ky) - PAD_TOP;
    if (iy < 0 || iy >= i32(IN_HEIGHT)) { continue; }
    for (var kx = 0u; kx < KERNEL_W; kx++) {
      let ix = i32(ox * STRIDE_W + kx) - PAD_LEFT;
      if (ix < 0 || ix >= i32(IN_WIDTH)) { continue; }
      let value = readX((image * IN_HEIGHT + u32(iy)) * IN_WIDTH + u32(ix), c4);
      best = max(best, value);
      sum += value;
      count += 1.0;
    }
  }
  writeOut(row, c4, select(sum / count, best, IS_MAX));
}
`;

/** Blur-pool of the channels of x followed by those of the residual (the block's input), or of x alone (JOINED false). */
export const blurText = /* wgsl */ `
const C4 = (OUT_CHANNELS + 3u) / 4u;

fn mirror(at: i32, size: u32) -> i32 { return select(select(at, -at, at < 0), 2 * (i32(size) - 1) - at, at >= i32(size)); }

// From one number of row TAPS − 1 of Pascal's triangle to the next; the first is 1, all together 2^(TAPS − 1).
fn nextBinomial(value: f32, i: u32) -> f32 { return value * f32(TAPS - 1u - i) / f32(i + 1u); }

// Four channels of x followed by the residual's.
fn joined4(row: u32, c4: u32) -> vec4f {
  if (X_CHANNELS % 4u == 0u) {
    if (c4 < X_CHANNELS / 4u) { return readX(row, c4); }
    return readResidual(row, c4 - X_CHANNELS / 4u);
  }
  var value = vec4f(0.0);
  for (var i = 0u; i < 4u; i++) {
    if (c4 * 4u + i < OUT_CHANNELS) { value[i] = joined(row, c4 * 4u + i); }
  }
  return value;
}

fn joined(row: u32, channel: u32) -> f32 {
  if (channel < X_CHANNELS) { return readX(row, channel / 4u)[channel % 4u]; }
  let own = channel - X_CHANNELS;
  return readResidual(row, own / 4u)[own % 4u];
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) grid: vec3u) {
  // More workgroups than one axis holds continue on the next row of the grid.
  let at = id.y * grid.x * WORKGROUP + id.x;
  if (at >= M * C4) { return; }
  let row = at / C4;
  let c4 = at % C4;
  let ox = row % OUT_WIDTH;
  let oy = (row / OUT_WIDTH) % OUT_HEIGHT;
  let image = row / (OUT_WIDTH * OUT_HEIGHT);
  var sum = vec4f(0.0);
  var down = 1.0;
  for (var ky = 0u; ky < TAPS; ky++) {
    var iy = i32(oy * STRIDE + ky) - i32(TAPS / 2u);
    if (REFLECT) { iy = mirror(iy, IN_HEIGHT); }
    if (iy >= 0 && iy < i32(IN_HEIGHT)) {
      var line = vec4f(0.0);
      var across = 1.0;
      for (var kx = 0u; kx < TAPS; kx++) {
        var ix = i32(ox * STRIDE + kx) - i32(TAPS / 2u);
        if (REFLECT) { ix = mirror(ix, IN_WIDTH); }
        if (ix >= 0 && ix < i32(IN_WIDTH)) {
          line += across * joined4((image * IN_HEIGHT + u32(iy)) * IN_WIDTH + u32(ix), c4);
        }
        across = nextBinomial(across, kx);
      }
      sum += down * line;
    }
    down = nextBinomial(down, ky);
  }
  sum /= exp2(2.0 * f32(TAPS - 1u));
  writeOut(row, c4, sum);
}
`;

/** out = activation(x · scale + shortcut): the end of a block whose last stage has no kernel to end in. */
export const joinText = /* wgsl */ `
const C4 = (OUT_CHANNELS + 3u) / 4u;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) grid: vec3u) {
  // More workgroups than one axis holds continue on the next row of the grid.
  let at = id.y * grid.x * WORKGROUP + id.x;
  if (at >= M * C4) { return; }
  let row = at / C4;
  let c4 = at % C4;
  var value = readX(row, c4);
  if (HAS_SCALES) { value *= scales[(row / PIXELS) * C4 + c4]; }
  writeOut(row, c4, finish(row, c4, value));
}
`;

/** Adds the PARTS sums that workgroups made of one row, [PARTS][M][C4], and finishes it: bias, activation, residual. */
export const mergeText = /* wgsl */ `
const C4 = (OUT_CHANNELS + 3u) / 4u;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) grid: vec3u) {
  // More workgroups than one axis holds continue on the next row of the grid.
  let at = id.y * grid.x * WORKGROUP + id.x;
  if (at >= M * C4) { return; }
  let row = at / C4;
  let c4 = at % C4;
  var sum = vec4f(0.0);
  // unroll part < PARTS
  {
    sum += readX(part * M + row, c4);
  }
  writeOut(row, c4, finish(row, c4, sum));
}
`;
