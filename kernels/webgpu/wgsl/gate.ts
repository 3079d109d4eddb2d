/**
 * From partial sums over pixels to per-channel scales, SHARES workgroups an image. Squeeze-and-excite: mean, reduce,
 * activation, expand, gate. GRN (IS_GRN): the root of the sum of squares relative to its mean over channels.
 * Each share of a gate reduces for itself, and expands to a part of the channels.
 * Sums arrive as [image][SUM_PARTS][C4], scales leave as [image][C4].
 */
export const gateText = /* wgsl */ `
const C4 = (CHANNELS + 3u) / 4u;
const REDUCED4 = (REDUCED + 3u) / 4u;
// Threads that share a group of four channels, as the mean is taken and in each of the two layers.
const MEAN_LANES = min(C4, WORKGROUP);
const MEAN_TEAMS = WORKGROUP / MEAN_LANES;
const REDUCE_TEAMS = WORKGROUP / REDUCED4;
const SHARE = (C4 + SHARES - 1u) / SHARES;
const EXPAND_LANES = min(SHARE, WORKGROUP);
const EXPAND_TEAMS = WORKGROUP / EXPAND_LANES;

var<workgroup> mean: array<vec4f, C4>;
var<workgroup> parts: array<vec4f, WORKGROUP>;
var<workgroup> squeezed: array<vec4f, REDUCED4>;

fn weight4(offset: u32, c4: u32) -> vec4f { return weights[offset / 4u + c4]; }

fn live(value: vec4f, c4: u32) -> vec4f {
  return select(vec4f(0.0), value, c4 * 4u + vec4u(0u, 1u, 2u, 3u) < vec4u(CHANNELS));
}

// The sum over teams of 'lanes' threads each, to the first team; the whole workgroup has to call it. By halves: added up by one
// thread a lane, hundreds of loads would wait for one another.
fn overTeams(local: u32, value: vec4f, lanes: u32, teams: u32) -> vec4f {
  parts[local] = value;
  workgroupBarrier();
  for (var reach = teams; reach > 1u;) {
    let half = (reach + 1u) / 2u;
    if (local < (reach - half) * lanes) { parts[local] += parts[local + half * lanes]; }
    workgroupBarrier();
    reach = half;
  }
  return parts[local];
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let image = group.x;
  // Thread 'meanLane' of each team takes every MEAN_TEAMS-th part; then the teams' sums meet.
  let meanLane = local % MEAN_LANES;
  let meanTeam = local / MEAN_LANES;
  for (var origin = 0u; origin < C4; origin += MEAN_LANES) {
    let c4 = origin + meanLane;
    var total = vec4f(0.0);
    if (c4 < C4 && meanTeam < MEAN_TEAMS) {
      for (var first = meanTeam; first < SUM_PARTS; first += MEAN_TEAMS * IN_FLIGHT) {
        // unroll u < IN_FLIGHT
        {
          let part = first + u * MEAN_TEAMS;
          if (part < SUM_PARTS) { total += sums[(image * SUM_PARTS + part) * C4 + c4]; }
        }
      }
    }
    total = overTeams(local, total, MEAN_LANES, MEAN_TEAMS);
    if (c4 < C4 && meanTeam == 0u) { mean[c4] = live(select(total / f32(PIXELS), sqrt(total), IS_GRN), c4); }
    workgroupBarrier();
  }

  if (IS_GRN) {
    var total = vec4f(0.0);
    for (var c4 = local; c4 < C4; c4 += WORKGROUP) { total += mean[c4]; }
    _ = overTeams(local, total, 1u, WORKGROUP);
    let scale = 1.0 / (dot(parts[0], vec4f(1.0)) / f32(CHANNELS) + EPSILON);
    for (var c4 = local; c4 < C4; c4 += WORKGROUP) { scales[image * C4 + c4] = 1.0 + weight4(GAIN, c4) * mean[c4] * scale; }
    return;
  }

  // Reduce: thread r4 of each team takes every REDUCE_TEAMS-th input channel; then the teams' sums meet.
  let r4 = local % REDUCED4;
  let team = local / REDUCED4;
  var sum = vec4f(0.0);
  if (team < REDUCE_TEAMS) {
    for (var first = team; first < CHANNELS; first += REDUCE_TEAMS * IN_FLIGHT) {
      // unroll u < IN_FLIGHT
      {
        let c = first + u * REDUCE_TEAMS;
        if (c < CHANNELS) { sum += mean[c / 4u][c % 4u] * weight4(REDUCE_FILTER, c * REDUCED4 + r4); }
      }
    }
  }
  sum = overTeams(local, sum, REDUCED4, REDUCE_TEAMS);
  if (team == 0u) {
    if (HAS_GATE_BIAS) { sum += weight4(REDUCE_BIAS, r4); }
    var slope = vec4f(0.0);
    if (HAS_SQUEEZE_SLOPE) { slope = weight4(SQUEEZE_SLOPE, r4); }
    squeezed[r4] = activateSqueezed(sum, slope);
  }
  workgroupBarrier();

  // Expand: the same over the squeezed channels, as many output channels at a time as there are lanes.
  let lane = local % EXPAND_LANES;
  let share = local / EXPAND_LANES;
  let end = min((group.y + 1u) * SHARE, C4);
  for (var origin = group.y * SHARE; origin < end; origin += EXPAND_LANES) {
    let c4 = origin + lane;
    var gate = vec4f(0.0);
    if (c4 < end && share < EXPAND_TEAMS) {
      for (var first = share; first < REDUCED; first += EXPAND_TEAMS * IN_FLIGHT) {
        // unroll u < IN_FLIGHT
        {
          let r = first + u * EXPAND_TEAMS;
          if (r < REDUCED) { gate += squeezed[r / 4u][r % 4u] * weight4(EXPAND_FILTER, r * C4 + c4); }
        }
      }
    }
    gate = overTeams(local, gate, EXPAND_LANES, EXPAND_TEAMS);
    if (share == 0u && c4 < end) {
      if (HAS_GATE_BIAS) { gate += weight4(EXPAND_BIAS, c4); }
      scales[image * C4 + c4] = gateOf(gate, vec4f(0.0));
    }
    workgroupBarrier();
  }
}
`;
