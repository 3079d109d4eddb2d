/** Of a shader in SPIR-V, as Dawn's toggle `dump_shaders` writes it: the loads from workgroup memory in its loops. */

export interface LoopLoads {
  readonly loads: number;
  /** Those whose index is held within the array, as WGSL demands where a compiler cannot tell that it lies there. */
  readonly clamped: number;
}

/** Of the loop with the most loads from workgroup memory. */
export function busiestLoop(spirv: string): LoopLoads {
  const inWorkgroup = new Set<string>();
  const minima = new Set<string>();
  const chains = new Map<string, boolean>(); // Whether an index is clamped.
  const loops: LoopLoads[] = [];
  const open: {merge: string; at: number}[] = [];
  for (const line of spirv.split('\n')) {
    const [, result = '', op = '', operands = ''] = /^\s*(?:(%\w+) = )?(Op\w+) ?(.*)$/.exec(line) ?? [];
    const words = operands.split(' ');
    if (op === 'OpVariable' && words[1] === 'Workgroup') inWorkgroup.add(result);
    if (op === 'OpExtInst' && words[2] === 'UMin') minima.add(result);
    if (op === 'OpAccessChain' && inWorkgroup.has(words[1] ?? ''))
      chains.set(
        result,
        words.slice(2).some((index) => minima.has(index)),
      );
    if (op === 'OpLoopMerge') open.push({merge: words[0] ?? '', at: loops.push({loads: 0, clamped: 0}) - 1});
    if (op === 'OpLabel' && open.at(-1)?.merge === result) open.pop();
    const isClamped = op === 'OpLoad' ? chains.get(words[1] ?? '') : undefined;
    if (isClamped === undefined) continue;
    for (const {at} of open) {
      const {loads = 0, clamped = 0} = loops[at] ?? {};
      loops[at] = {loads: loads + 1, clamped: clamped + Number(isClamped)};
    }
  }
  return loops.reduce((most, loop) => (loop.loads > most.loads ? loop : most), {loads: 0, clamped: 0});
}
