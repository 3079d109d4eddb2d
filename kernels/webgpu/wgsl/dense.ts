/**
 * Dense layer on vectors, [images, K] × [K, columns], for a network's head: few rows, so it is the filter's bytes that count, and
 * a filter is read once for IMAGES rows.
 *
 * A workgroup makes LANES × 4 columns of IMAGES rows. Its TEAMS teams share K: each takes every TEAMS-th vector of the rows,
 * which lie in workgroup memory CHUNK4 vectors at a time, against four vectors of the filter's; neighbouring lanes read
 * neighbouring columns, so loads coalesce. The teams' sums meet in a tree.
 *
 * A row comes as SUM_PARTS partial sums over PIXELS pixels, of which it is the mean (1 and 1: it comes as it is). With HAS_NORM it is
 * normalised first: each workgroup works out the moments for itself, from the K values, in two passes that cancel nothing;
 * gain and offset are in the filter and the bias. Without a filter (HAS_FILTER false) it is the row itself that is written.
 */
export const denseText = /* wgsl */ `
const WORKGROUP = LANES * TEAMS;
const K4 = (K + 3u) / 4u;
const N4 = (OUT_CHANNELS + 3u) / 4u;

var<workgroup> xTile: array<vec4f, CHUNK4 * IMAGES>;  // [CHUNK4][IMAGES]
var<workgroup> parts: array<vec4f, WORKGROUP>;  // [TEAMS][LANES]

fn live(value: vec4f, c4: u32) -> vec4f {
  return select(vec4f(0.0), value, c4 * 4u + vec4u(0u, 1u, 2u, 3u) < vec4u(K));
}

fn mean4(image: u32, c4: u32) -> vec4f {
  var sum = vec4f(0.0);
  for (var part = 0u; part < SUM_PARTS; part++) { sum += readX(image * SUM_PARTS + part, c4); }
  return live(sum / f32(PIXELS), c4);
}

// Sum over all threads, the same to each of them.
fn sumThreads(local: u32, value: f32) -> f32 {
  workgroupBarrier();
  parts[local].x = value;
  for (var reach = WORKGROUP / 2u; reach > 0u; reach /= 2u) {
    workgroupBarrier();
    if (local < reach) { parts[local].x += parts[local + reach].x; }
  }
  workgroupBarrier();
  return parts[0].x;
}

// Mean and 1/σ of a row; 0 and 1 where it is not normalised.
fn momentsOf(image: u32, local: u32) -> vec2f {
  if (!HAS_NORM) { return vec2f(0.0, 1.0); }
  var total = 0.0;
  for (var c4 = local; c4 < K4; c4 += WORKGROUP) { total += dot(mean4(image, c4), vec4f(1.0)); }
  let mean = sumThreads(local, total) / f32(K);
  var squares = 0.0;
  for (var c4 = local; c4 < K4; c4 += WORKGROUP) {
    let deviation = live(mean4(image, c4) - mean, c4);
    squares += dot(deviation, deviation);
  }
  return vec2f(mean, inverseSqrt(sumThreads(local, squares) / f32(K) + NORM_EPSILON));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let lane = local % LANES;
  let team = local / LANES;
  let n4 = group.x * LANES + lane;
  let origin = group.y * IMAGES;

  var moments: array<vec2f, IMAGES>;
  // unroll i < IMAGES
  {
    moments[i] = momentsOf(min(origin + i, BATCH - 1u), local);
  }

  if (!HAS_FILTER) {
    // unroll i < IMAGES
    {
      for (var c4 = local; c4 < K4; c4 += WORKGROUP) {
        var value = (mean4(min(origin + i, BATCH - 1u), c4) - moments[i].x) * moments[i].y;
        if (IS_AFFINE) { value = value * weight4(GAIN, c4) + weight4(OFFSET, c4); }
        if (origin + i < BATCH) { writeOut(origin + i, c4, value); }
      }
    }
    return;
  }

  var acc: array<vec4f, IMAGES>;
  let column = min(n4, N4 - 1u);
  for (var chunk = 0u; chunk < K4; chunk += CHUNK4) {
    let size = min(CHUNK4, K4 - chunk);
    // unroll i < IMAGES
    {
      for (var k4 = local; k4 < size; k4 += WORKGROUP) {
        let value = (mean4(min(origin + i, BATCH - 1u), chunk + k4) - moments[i].x) * moments[i].y;
        xTile[k4 * IMAGES + i] = live(value, chunk + k4);
      }
    }
    workgroupBarrier();
    for (var k4 = team; k4 < size; k4 += TEAMS) {
      let row = (chunk + k4) * 4u;
      let w0 = weight4(FILTER, row * N4 + column);
      let w1 = weight4(FILTER, (row + 1u) * N4 + column);
      let w2 = weight4(FILTER, (row + 2u) * N4 + column);
      let w3 = weight4(FILTER, (row + 3u) * N4 + column);
      // unroll i < IMAGES
      {
        let value = xTile[k4 * IMAGES + i];
        acc[i] = fma(vec4f(value.x), w0, acc[i]);
        acc[i] = fma(vec4f(value.y), w1, acc[i]);
        acc[i] = fma(vec4f(value.z), w2, acc[i]);
        acc[i] = fma(vec4f(value.w), w3, acc[i]);
      }
    }
    workgroupBarrier();
  }

  // unroll i < IMAGES
  {
    parts[local] = acc[i];
    for (var reach = TEAMS / 2u; reach > 0u; reach /= 2u) {
      workgroupBarrier();
      if (team < reach) { parts[local] += parts[local + reach * LANES]; }
    }
    // The first team's threads have added to their own places last.
    if (team == 0u && n4 < N4 && origin + i < BATCH) { writeOut(origin + i, n4, finish(origin + i, n4, parts[local])); }
    workgroupBarrier();
  }
}
`;
