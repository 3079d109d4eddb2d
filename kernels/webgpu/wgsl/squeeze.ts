/**
 * The second half of a squeeze-and-excite gate whose first layer the depth-wise kernel has taken in: a workgroup adds up the parts
 * of an image's squeezed channels, activates them and expands them to SHARE vectors of scales. All of it is latency, so whatever
 * comes from memory is asked for at once. The text is short, since an instruction that runs once is fetched first: sums that met
 * sixteen at a time were slower in a row of blocks, though faster alone.
 * Parts lie as [image][SUM_PARTS][REDUCED4]; whoever uses this defines partAt, which reads them, SHARE and WORKGROUP.
 */
export const squeezeText = /* wgsl */ `
const C4 = (CHANNELS + 3u) / 4u;
const REDUCED4 = (REDUCED + 3u) / 4u;
const SQUEEZE_TEAMS = WORKGROUP / REDUCED4;
const EXPAND_TEAMS = WORKGROUP / SHARE;

var<workgroup> parts: array<vec4f, WORKGROUP>;
var<workgroup> squeezed: array<vec4f, REDUCED4>;

fn gateWeight(offset: u32, at: u32) -> vec4f { return weights[offset / 4u + at]; }

// The sum over teams of 'lanes' threads each, to the first team; the whole workgroup has to call it.
fn overTeams(local: u32, value: vec4f, lanes: u32, teams: u32) -> vec4f {
  parts[local] = value;
  workgroupBarrier();
  var total = value;
  let team = local / lanes;
  for (var reach = teams; reach > 1u;) {
    let next = (reach + 3u) / 4u;
    if (team < next) {
      // unroll i < 3
      {
        if (team + (i + 1u) * next < reach) { total += parts[local + (i + 1u) * next * lanes]; }
      }
      parts[local] = total;
    }
    workgroupBarrier();
    reach = next;
  }
  return total;
}

// The scales of vector 'first' + local % SHARE, to the first SHARE threads; the whole workgroup has to call it.
fn gateScales(image: u32, first: u32, local: u32) -> vec4f {
  let column = min(first + local % SHARE, C4 - 1u);
  let share = local / SHARE;
  var rows: array<vec4f, EXPAND_ROWS>;
  // unroll i < EXPAND_ROWS
  {
    rows[i] = gateWeight(EXPAND_FILTER, min(share + i * EXPAND_TEAMS, REDUCED - 1u) * C4 + column);
  }
  let r4 = local % REDUCED4;
  let team = local / REDUCED4;
  var reduceBias = vec4f(0.0);
  var gate = vec4f(0.0);
  var slope = vec4f(0.0);
  if (HAS_GATE_BIAS) {
    reduceBias = gateWeight(REDUCE_BIAS, r4);
    if (share == 0u) { gate = gateWeight(EXPAND_BIAS, column); }
  }
  if (HAS_SQUEEZE_SLOPE) { slope = gateWeight(SQUEEZE_SLOPE, r4); }

  var sum = vec4f(0.0);
  if (team < SQUEEZE_TEAMS) {
    for (var at = team; at < SUM_PARTS; at += SQUEEZE_TEAMS * IN_FLIGHT) {
      // unroll u < IN_FLIGHT
      {
        let part = at + u * SQUEEZE_TEAMS;
        if (part < SUM_PARTS) { sum += partAt((image * SUM_PARTS + part) * REDUCED4 + r4); }
      }
    }
  }
  sum = overTeams(local, sum, REDUCED4, SQUEEZE_TEAMS);
  if (team == 0u) { squeezed[r4] = activateSqueezed(sum / f32(PIXELS) + reduceBias, slope); }
  workgroupBarrier();

  // unroll i < EXPAND_ROWS
  {
    let r = share + i * EXPAND_TEAMS;
    if (share < EXPAND_TEAMS && r < REDUCED) { gate = fma(vec4f(squeezed[r / 4u][r % 4u]), rows[i], gate); }
  }
  return gateOf(overTeams(local, gate, SHARE, EXPAND_TEAMS), vec4f(0.0));
}
`;
