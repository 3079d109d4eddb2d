/** Blocks in the bodies of loops and branches. */
import {sum} from './pieces.js';
import {layerNorm, pointwise, spatial} from './stages.js';
import type {MapValue, Speller} from './speller.js';

const INT = 'DT_INT32';

/** A block that leaves a map as large as it was. */
function level(s: Speller, x: MapValue): MapValue {
  const of = {kernel: 3, stride: 1, dilation: 1, group: 1, activation: 'linear'};
  const expanded = s.chance(0.5) ? pointwise(s, x, x.c * 2, s.pick(['relu', 'swish', 'hardswish'])) : x;
  const map = spatial(s, expanded, {...of, channels: expanded.c, activation: 'relu6'});
  const normal = s.chance(0.2) ? layerNorm(s, map) : map;
  const end = pointwise(s, normal, x.c, 'linear');
  return {...end, name: s.chance(0.6) ? sum(s, end.name, x.name, ['AddV2', 'AddN']) : end.name};
}

/** Two turns; some of its constants are operands of the loop, which each turn gives back as they came. */
export function loop(s: Speller, x: MapValue): MapValue {
  s.isDynamic = true;
  s.others += 6; // The loop, its counter and its condition; what stands beside the block.
  const [i, limit, map] = ['i', 'limit', 'map'].map((name) => s.fresh(name)) as [string, string, string];
  const args: (string | readonly [string, string])[] = [[i, INT], [limit, INT], map];
  const operands: string[] = [];
  const body = s.body(args, operands, () => {
    const next = s.op('AddV2', [i, s.integers([1], [])]);
    const turn = level(s, {...x, name: map});
    return [next, limit, turn.name, ...args.slice(3).map(String)];
  });
  const cond = s.body(args, [], () => [s.op('Less', [i, limit])]);
  const name = s.op(
    s.pick(['While', 'StatelessWhile']),
    [s.integers([0], []), s.integers([2], []), x.name, ...operands],
    {cond, body},
  );
  return {...x, name: `${name}:2`};
}

export function choice(s: Speller, x: MapValue): MapValue {
  s.isDynamic = true;
  s.others += 10;
  const total = s.op('Sum', [x.name, s.integers([0, 1, 2, 3])], {keep_dims: false});
  const isLarge = s.op('Greater', [total, s.scalar(0)]);
  const branch = (): ReturnType<Speller['body']> => {
    const map = s.fresh('map');
    return s.body([map], [], () => [level(s, {...x, name: map}).name]);
  };
  const branches = {then_branch: branch(), else_branch: branch()};
  return {...x, name: s.op(s.pick(['If', 'StatelessIf']), [isLarge, x.name], branches)};
}

/** Two turns between Enter and Exit. */
export function framed(s: Speller, x: MapValue): MapValue {
  s.isDynamic = true;
  s.others += 13;
  const frame = s.fresh('frame');
  const [count, map] = [s.fresh('next'), s.fresh('next')];
  const enter = (value: string, isConstant = false): string =>
    s.op('Enter', [value], {frame_name: frame, is_constant: isConstant});
  const i = s.op('Merge', [enter(s.integers([0], [])), count]);
  const state = s.op('Merge', [enter(x.name), map]);
  const more = s.op('LoopCond', [s.op('Less', [i, enter(s.integers([2], []), true)])]);
  const [left, turn] = [i, state].map((value) => s.op('Switch', [value, more])) as [string, string];
  s.graph.op(count, 'NextIteration', [s.op('AddV2', [`${left}:1`, s.integers([1], [])])]);
  s.frame = frame;
  const end = level(s, {...x, name: s.op('Identity', [`${turn}:1`])});
  s.frame = undefined;
  s.graph.op(map, 'NextIteration', [end.name]);
  return {...x, name: s.op('Exit', [turn])};
}
