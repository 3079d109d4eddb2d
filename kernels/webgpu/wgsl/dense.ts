/**
 * Dense layer on vectors, [images, K] × [K, columns], for a network's head: few rows, so it is the filter's bytes that count, and
 * a filter is read once for IMAGES rows.
 *
 * A workgroup makes LANES × 4 columns of IMAGES rows. Its TEAMS teams share K: each takes every TEAMS-th vector of the rows
 * against four vectors of the filter's, STEP of them at once, so that as many loads are in flight. No vector of a row is wanted by two teams,
 * so none is staged: between a load and its sums there is no barrier. Neighbouring lanes read neighbouring columns, so loads coalesce. The
 * teams' sums meet in a tree, those of all images at once.
 *
 * A row comes as SUM_PARTS partial sums over PIXELS pixels, of which it is the mean (1 and 1: it comes as it is). With HAS_NORM it is
 * normalised first: each workgroup works out the moments for itself, from the K values, in two passes that cancel nothing;
 * gain and offset are in the filter and the bias. Without a filter (HAS_FILTER false) it is the row itself that is written.
 */
export const denseText = /* wgsl */ `
const WORKGROUP = LANES * TEAMS;
const K4 = (K + 3u) / 4u;
const N4 = (OUT_CHANNELS + 3u) / 4u;
const HALF = max(1u, TEAMS / 2u) * LANES;

// [IMAGES][TEAMS / 2][LANES]; before that, for the moments, [QUADS][WORKGROUP], four images' sums a vector
var<workgroup> parts: array<vec4f, max(IMAGES * HALF, QUADS * WORKGROUP)>;

fn live(value: vec4f, c4: u32) -> vec4f {
  return select(vec4f(0.0), value, c4 * 4u + vec4u(0u, 1u, 2u, 3u) < vec4u(K));
}

fn mean4(image: u32, c4: u32) -> vec4f {
  var sum = vec4f(0.0);
  for (var part = 0u; part < SUM_PARTS; part++) { sum += readX(image * SUM_PARTS + part, c4); }
  return live(sum / f32(PIXELS), c4);
}

// Sums over all threads, of every image its own, the same to each of them.
fn sumThreads(local: u32, totals: ptr<function, array<vec4f, QUADS>>) {
  workgroupBarrier();
  // unroll q < QUADS
  {
    parts[q * WORKGROUP + local] = (*totals)[q];
  }
  for (var reach = WORKGROUP / 2u; reach > 0u; reach /= 2u) {
    workgroupBarrier();
    if (local < reach) {
      // unroll q < QUADS
      {
        parts[q * WORKGROUP + local] += parts[q * WORKGROUP + local + reach];
      }
    }
  }
  workgroupBarrier();
  // unroll q < QUADS
  {
    (*totals)[q] = parts[q * WORKGROUP];
  }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let lane = local % LANES;
  let team = local / LANES;
  let n4 = group.x * LANES + lane;
  let origin = group.y * IMAGES;

  // Mean and 1/σ of each row; 0 and 1 where it is not normalised.
  var means: array<vec4f, QUADS>;
  var factors: array<vec4f, QUADS>;
  // unroll q < QUADS
  {
    means[q] = vec4f(0.0);
    factors[q] = vec4f(select(1.0, 0.0, HAS_NORM));
  }
  if (HAS_NORM) {
    // unroll i < IMAGES
    {
      let image = min(origin + i, BATCH - 1u);
      for (var c4 = local; c4 < K4; c4 += WORKGROUP) { means[i / 4u][i % 4u] += dot(mean4(image, c4), vec4f(1.0)); }
    }
    sumThreads(local, &means);
    // unroll i < IMAGES
    {
      let image = min(origin + i, BATCH - 1u);
      means[i / 4u][i % 4u] /= f32(K);
      for (var c4 = local; c4 < K4; c4 += WORKGROUP) {
        let deviation = live(mean4(image, c4) - means[i / 4u][i % 4u], c4);
        factors[i / 4u][i % 4u] += dot(deviation, deviation);
      }
    }
    sumThreads(local, &factors);
    // unroll q < QUADS
    {
      factors[q] = inverseSqrt(factors[q] / f32(K) + NORM_EPSILON);
    }
  }

  if (!HAS_FILTER) {
    // unroll i < IMAGES
    {
      for (var c4 = local; c4 < K4; c4 += WORKGROUP) {
        var value = (mean4(min(origin + i, BATCH - 1u), c4) - means[i / 4u][i % 4u]) * factors[i / 4u][i % 4u];
        if (IS_AFFINE) { value = value * weight4(GAIN, c4) + weight4(OFFSET, c4); }
        if (origin + i < BATCH) { writeOut(origin + i, c4, value); }
      }
    }
    return;
  }

  var acc: array<vec4f, IMAGES>;
  let column = min(n4, N4 - 1u);
  for (var first = team; first < K4; first += STEP * TEAMS) {
    var w: array<vec4f, STEP * 4u>;
    var rows: array<vec4f, STEP * IMAGES>;
    // unroll s < STEP
    {
      // Beyond K the last vector of the filter again, against zeros: a branch would keep the loads apart.
      let k4 = min(first + s * TEAMS, K4 - 1u);
      // unroll c < 4
      {
        w[s * 4u + c] = weight4(FILTER, (k4 * 4u + c) * N4 + column);
      }
      // unroll i < IMAGES
      {
        rows[s * IMAGES + i] = mean4(min(origin + i, BATCH - 1u), k4);
      }
    }
    // unroll s < STEP
    {
      let k4 = first + s * TEAMS;
      // unroll i < IMAGES
      {
        let value = live((rows[s * IMAGES + i] - means[i / 4u][i % 4u]) * factors[i / 4u][i % 4u], k4);
        acc[i] = fma(vec4f(value.x), w[s * 4u], acc[i]);
        acc[i] = fma(vec4f(value.y), w[s * 4u + 1u], acc[i]);
        acc[i] = fma(vec4f(value.z), w[s * 4u + 2u], acc[i]);
        acc[i] = fma(vec4f(value.w), w[s * 4u + 3u], acc[i]);
      }
    }
  }

  // The upper half of the teams hands its sums to the lower, and so on.
  for (var reach = TEAMS / 2u; reach > 0u; reach /= 2u) {
    workgroupBarrier();
    if (team >= reach && team < 2u * reach) {
      // unroll i < IMAGES
      {
        parts[i * HALF + local - reach * LANES] = acc[i];
      }
    }
    workgroupBarrier();
    if (team < reach) {
      // unroll i < IMAGES
      {
        acc[i] += parts[i * HALF + local];
      }
    }
  }
  if (team == 0u && n4 < N4) {
    // unroll i < IMAGES
    {
      if (origin + i < BATCH) { writeOut(origin + i, n4, finish(origin + i, n4, acc[i])); }
    }
  }
}
`;
