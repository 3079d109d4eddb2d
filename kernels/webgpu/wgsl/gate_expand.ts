/**
 * The second half of a squeeze-and-excite gate whose first layer the depth-wise kernel has taken in: the parts of the squeezed
 * channels are added up, activated and expanded. SHARES workgroups an image add up all parts each, and make their share of
 * the scales. All of it is latency: whatever comes from memory is asked for at once, and sums meet sixteen at a time.
 * Parts arrive as [image][SUM_PARTS][REDUCED4], scales leave as [image][C4].
 */
export const gateExpandText = /* wgsl */ `
const C4 = (CHANNELS + 3u) / 4u;
const REDUCED4 = (REDUCED + 3u) / 4u;
const TEAMS = WORKGROUP / REDUCED4;
const SHARE = (C4 + SHARES - 1u) / SHARES;
const EXPAND_TEAMS = WORKGROUP / SHARE;

var<workgroup> parts: array<vec4f, WORKGROUP>;
var<workgroup> squeezed: array<vec4f, REDUCED4>;

fn weight4(offset: u32, c4: u32) -> vec4f { return weights[offset / 4u + c4]; }

// The sum over teams of 'lanes' threads each, to the first team; the whole workgroup has to call it.
fn overTeams(local: u32, value: vec4f, lanes: u32, teams: u32) -> vec4f {
  parts[local] = value;
  workgroupBarrier();
  var total = value;
  for (var reach = teams; reach > 1u;) {
    let next = (reach + 15u) / 16u;
    let team = local / lanes;
    if (team < next) {
      // unroll i < 15
      {
        let other = team + (i + 1u) * next;
        if (other < reach) { total += parts[local + (i + 1u) * next * lanes]; }
      }
      parts[local] = total;
    }
    workgroupBarrier();
    reach = next;
  }
  return total;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let image = group.x;
  let lane = local % SHARE;
  let share = local / SHARE;
  let c4 = group.y * SHARE + lane;
  let column = min(c4, C4 - 1u);
  var rows: array<vec4f, EXPAND_ROWS>;
  // unroll i < EXPAND_ROWS
  {
    rows[i] = weight4(EXPAND_FILTER, min(share + i * EXPAND_TEAMS, REDUCED - 1u) * C4 + column);
  }

  let r4 = local % REDUCED4;
  let team = local / REDUCED4;
  var sum = vec4f(0.0);
  if (team < TEAMS) {
    for (var first = team; first < SUM_PARTS; first += TEAMS * IN_FLIGHT) {
      // unroll u < IN_FLIGHT
      {
        let part = first + u * TEAMS;
        if (part < SUM_PARTS) { sum += sums[(image * SUM_PARTS + part) * REDUCED4 + r4]; }
      }
    }
  }
  sum = overTeams(local, sum, REDUCED4, TEAMS);
  if (team == 0u) {
    sum /= f32(PIXELS);
    if (HAS_BIAS) { sum += weight4(REDUCE_BIAS, r4); }
    var slope = vec4f(0.0);
    if (HAS_SLOPE) { slope = weight4(SLOPE, r4); }
    squeezed[r4] = activate(sum, slope);
  }
  workgroupBarrier();

  var gate = vec4f(0.0);
  // unroll i < EXPAND_ROWS
  {
    let r = share + i * EXPAND_TEAMS;
    if (share < EXPAND_TEAMS && r < REDUCED) { gate = fma(vec4f(squeezed[r / 4u][r % 4u]), rows[i], gate); }
  }
  gate = overTeams(local, gate, SHARE, EXPAND_TEAMS);
  if (share == 0u && c4 < C4) {
    if (HAS_BIAS) { gate += weight4(EXPAND_BIAS, c4); }
    scales[image * C4 + c4] = gateOf(gate, vec4f(0.0));
  }
}
`;
