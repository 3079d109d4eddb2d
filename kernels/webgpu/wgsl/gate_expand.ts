/** The second half of a gate (squeeze.ts) as a dispatch: SHARES workgroups an image. Scales leave as [image][C4]. */
export const gateExpandText = /* wgsl */ `
const SHARE = ((CHANNELS + 3u) / 4u + SHARES - 1u) / SHARES;

fn partAt(at: u32) -> vec4f { return sums[at]; }

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let first = group.y * SHARE;
  let value = gateScales(group.x, first, local);
  if (local < SHARE && first + local < C4) { scales[group.x * C4 + first + local] = value; }
}
`;
