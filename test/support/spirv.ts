/** Of a shader in SPIR-V, as Dawn's toggle `dump_shaders` writes it: the loads from workgroup memory where it makes most of them. */

export interface Loads {
  readonly loads: number;
  /** Those whose index is held within the array, as WGSL demands where a compiler cannot tell that it lies there. */
  readonly clamped: number;
}

interface Place extends Loads {
  /** Of a loop, the label behind it; of a function, its name. */
  readonly id: string;
  readonly isLoop: boolean;
}

/** Of the loop, or the function that has none and that a loop may call, with the most loads. */
export function busiestPlace(spirv: string): Loads {
  const inWorkgroup = new Set<string>();
  const minima = new Set<string>();
  const chains = new Map<string, boolean>(); // Whether an index is clamped.
  const done: Place[] = [];
  let entry = '';
  let open: readonly Place[] = [];
  for (const line of spirv.split('\n')) {
    const [, result = '', op = '', operands = ''] = /^\s*(?:(%\w+) = )?(Op\w+) ?(.*)$/.exec(line) ?? [];
    const words = operands.split(' ');
    if (op === 'OpEntryPoint') entry = words[1] ?? '';
    if (op === 'OpVariable' && words[1] === 'Workgroup') inWorkgroup.add(result);
    if (op === 'OpExtInst' && words[2] === 'UMin') minima.add(result);
    if (op === 'OpAccessChain' && inWorkgroup.has(words[1] ?? ''))
      chains.set(
        result,
        words.slice(2).some((index) => minima.has(index)),
      );
    const isClamped = op === 'OpLoad' ? chains.get(words[1] ?? '') : undefined;
    if (isClamped !== undefined)
      open = open.map((place) => {
        const {loads, clamped} = place;
        return {...place, loads: loads + 1, clamped: clamped + Number(isClamped)};
      });
    const inner = open.at(-1);
    if (op === 'OpFunction') open = [{id: result, isLoop: false, loads: 0, clamped: 0}];
    if (op === 'OpLoopMerge')
      open = [...open.filter(({isLoop}) => isLoop), {id: words[0] ?? '', isLoop: true, loads: 0, clamped: 0}];
    if (inner && (inner.isLoop ? op === 'OpLabel' && inner.id === result : op === 'OpFunctionEnd')) {
      if (inner.id !== entry) done.push(inner);
      open = open.slice(0, -1);
    }
  }
  return done.reduce((most, place) => (place.loads > most.loads ? place : most), {loads: 0, clamped: 0});
}
