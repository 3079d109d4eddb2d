/**
 * What a depth-wise kernel leaves for the squeeze-and-excite gate behind it, where a workgroup is STRIPS strips of LANES groups of four
 * channels: sums over its pixels per channel (HAS_SUMS), or (IS_REDUCED) these times its rows of the gate's first filter. That layer
 * is linear, so each workgroup leaves its part of the squeezed channels, which are few.
 */
export const channelSumsText = /* wgsl */ `
// Threads (team, r4) share the channels of a group of squeezed ones; a team takes every REDUCE_TEAMS-th lane, REDUCE_LANES in all.
const REDUCED4 = (REDUCED + 3u) / 4u;
const REDUCE_TEAMS = min(WORKGROUP / REDUCED4, LANES);

var<workgroup> parts: array<vec4f, select(1u, WORKGROUP, HAS_SUMS)>;
var<workgroup> reducedParts: array<vec4f, select(1u, REDUCE_TEAMS * REDUCED4, IS_REDUCED)>;  // [team][r4]

fn live(value: vec4f, c4: u32) -> vec4f {
  return select(vec4f(0.0), value, c4 * 4u + vec4u(0u, 1u, 2u, 3u) < vec4u(OUT_CHANNELS));
}

// The row of channel 'i' of a lane's four; those beyond the last meet sums that are zero.
fn reduceRow(block: u32, lane: u32, i: u32, r4: u32) -> vec4f {
  return weights[REDUCE_FILTER / 4u + (min(block * LANES + lane, C4 - 1u) * 4u + i) * REDUCED4 + r4];
}

alias EarlyRows = array<vec4f, max(1u, 4u * REDUCE_EARLY)>;

// The rows of a thread's first lanes, so that they are on their way while outputs are finished.
fn fetchRows(block: u32, local: u32, rows: ptr<function, EarlyRows>) {
  // unroll i < REDUCE_EARLY * 4
  {
    (*rows)[i] = reduceRow(block, local / REDUCED4 + (i / 4u) * REDUCE_TEAMS, i % 4u, local % REDUCED4);
  }
}

fn timesRow(channels: vec4f, row0: vec4f, row1: vec4f, row2: vec4f, row3: vec4f, sum: vec4f) -> vec4f {
  return fma(vec4f(channels.w), row3, fma(vec4f(channels.z), row2, fma(vec4f(channels.y), row1, fma(vec4f(channels.x), row0, sum))));
}

// 'own' is the sum of the thread's pixels; every thread of the workgroup calls this. group is (tile, block, image).
fn leaveSums(group: vec3u, local: u32, own: vec4f, rows: ptr<function, EarlyRows>) {
  let lane = local % LANES;
  let c4 = group.y * LANES + lane;
  let r4 = local % REDUCED4;
  let team = local / REDUCED4;
  parts[local] = own;
  workgroupBarrier();
  if (local < LANES) {
    var sum = own;
    for (var other = 1u; other < STRIPS; other++) { sum += parts[other * LANES + lane]; }
    if (IS_REDUCED) { parts[lane] = sum; } else if (c4 < C4) { statistics[(group.z * SUM_PARTS + group.x) * C4 + c4] = sum; }
  }
  if (!IS_REDUCED) { return; }
  workgroupBarrier();
  var reduced = vec4f(0.0);
  if (team < REDUCE_TEAMS) {
    // unroll i < REDUCE_EARLY
    {
      if (team + i * REDUCE_TEAMS < LANES) {
        reduced = timesRow(parts[team + i * REDUCE_TEAMS], (*rows)[i * 4u], (*rows)[i * 4u + 1u], (*rows)[i * 4u + 2u], (*rows)[i * 4u + 3u], reduced);
      }
    }
    for (var late = team + REDUCE_EARLY * REDUCE_TEAMS; late < LANES; late += REDUCE_TEAMS) {
      reduced = timesRow(parts[late], reduceRow(group.y, late, 0u, r4), reduceRow(group.y, late, 1u, r4), reduceRow(group.y, late, 2u, r4), reduceRow(group.y, late, 3u, r4), reduced);
    }
    reducedParts[local] = reduced;
  }
  workgroupBarrier();
  if (local < REDUCED4) {
    var total = reducedParts[local];
    for (var other = 1u; other < REDUCE_TEAMS; other++) { total += reducedParts[other * REDUCED4 + local]; }
    statistics[((group.z * SUM_PARTS + group.x) * BLOCKS + group.y) * REDUCED4 + local] = total;
  }
}
`;
