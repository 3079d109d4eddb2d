/** Units that pass a part of the channels by, in random spellings of the cut and of the join. */
import {ACTIVE, sum} from './pieces.js';
import {pointwise, spatial} from './stages.js';
import type {MapValue, Speller} from './speller.js';

type Halves = readonly [string, string];

const half = (x: MapValue, name: string): MapValue => ({...x, name, c: x.c / 2});

/** By strided slices: `x[…, :c/2]` with the pixels' axes masked, named or left to an ellipsis. */
function sliced(s: Speller, {name, h, w, c}: MapValue): Halves {
  const isShort = s.chance(0.3);
  const attrs = isShort
    ? {ellipsis_mask: 1}
    : s.chance(0.5)
      ? {begin_mask: 7, end_mask: 7}
      : {begin_mask: 1, end_mask: 1};
  const part = (from: number): string => {
    const list = (pixels: readonly number[], channel: number): string =>
      s.integers(isShort ? [0, channel] : [...pixels, channel]);
    const limits = [list([0, 0, 0], from), list([0, h, w], from + c / 2), list([1, 1, 1], 1)];
    return s.op('StridedSlice', [name, ...limits], attrs);
  };
  return [part(0), part(c / 2)];
}

function everySecond(s: Speller, {name}: MapValue): Halves {
  const part = (from: number): string => {
    const limits = [s.integers([0, 0, 0, from]), s.integers([0, 0, 0, 0]), s.integers([1, 1, 1, 2])];
    return s.op('StridedSlice', [name, ...limits], {begin_mask: 7, end_mask: 15});
  };
  return [part(0), part(1)];
}

export const cut = (s: Speller, x: MapValue): Halves =>
  s.pick<() => Halves>([
    () => {
      const split = s.op('Split', [s.integers([s.pick([3, -1])], []), x.name], {num_split: 2});
      return [split, `${split}:1`];
    },
    () => {
      const sizes = s.integers([x.c / 2, x.c / 2]);
      const split = s.op('SplitV', [x.name, sizes, s.integers([3], [])], {num_split: 2});
      return [split, `${split}:1`];
    },
    () => {
      const part = (from: number): string =>
        s.op('Slice', [x.name, s.integers([0, 0, 0, from]), s.integers([-1, x.h, x.w, x.c / 2])]);
      return [part(0), part(x.c / 2)];
    },
    () => sliced(s, x),
    () => everySecond(s, x),
    () => {
      const part = (from: number): string => {
        const channels = Array.from({length: x.c / 2}, (_, i) => from + i);
        return s.op('GatherV2', [x.name, s.integers(channels), s.integers([3], [])]);
      };
      return [part(0), part(x.c / 2)];
    },
  ])();

const joined = (s: Speller, maps: Halves): string =>
  s.op('ConcatV2', [...maps, s.integers([s.pick([3, -1])], [])], {N: 2});

/** @param order Of the channels; by turns unless given. */
export function mix(s: Speller, maps: Halves, {h, w, c}: MapValue, order?: readonly number[]): string {
  const flat = (wide: string): string => s.op('Reshape', [wide, s.integers([-1, h, w, c])]);
  const turned = (wide: string): string => s.op('Transpose', [wide, s.integers([0, 1, 2, 4, 3])]);
  const turns = Array.from({length: c}, (_, i) => (i % 2) * (c / 2) + Math.floor(i / 2));
  const gathered = (by: readonly number[]): string =>
    s.op('GatherV2', [joined(s, maps), s.integers(by), s.integers([3], [])]);
  if (order) return gathered(order);
  return s.pick<() => string>([
    () => flat(turned(s.op('Reshape', [joined(s, maps), s.integers([-1, h, w, 2, c / 2])]))),
    () => flat(turned(s.op('Pack', maps, {N: 2, axis: 3}))),
    () => flat(s.op('Pack', maps, {N: 2, axis: 4})),
    () => gathered(turns),
  ])();
}

export function branch(s: Speller, x: MapValue, channels: number, stride = 1): MapValue {
  const first = pointwise(s, x, channels, s.pick(ACTIVE));
  const of = {
    kernel: s.pick([3, 5]),
    stride,
    dilation: 1,
    group: 1,
    channels,
    activation: s.pick(['linear', 'relu']),
  };
  return pointwise(s, spatial(s, first, of), channels, s.pick(ACTIVE));
}

/** @param spoil What becomes of the half that is passed by, and of the order of the channels. */
export function unit(
  s: Speller,
  x: MapValue,
  spoil: {readonly passed?: (name: string) => string; readonly order?: readonly number[]} = {},
): MapValue {
  const [a, b] = cut(s, x);
  const passed = spoil.passed?.(a) ?? a;
  const end = branch(s, half(x, b), x.c / 2).name;
  const maps: Halves = s.chance(0.5) ? [passed, end] : [end, passed];
  const plain = !spoil.order && s.chance(0.2);
  return {...x, name: plain ? joined(s, maps) : mix(s, maps, x, spoil.order)};
}

/** ShuffleNet V1's: two or four groups, whose channels are exchanged. */
export function groupedUnit(s: Speller, x: MapValue): MapValue {
  const groups = s.pick([2, 4].filter((count) => x.c % count === 0));
  const hidden = groups * s.pick([2, 3]);
  const of = {kernel: 1, stride: 1, dilation: 1};
  const narrow = spatial(s, x, {...of, group: x.c / groups, channels: hidden, activation: s.pick(ACTIVE)});
  const order = Array.from(
    {length: hidden},
    (_, i) => (i % groups) * (hidden / groups) + Math.floor(i / groups),
  );
  const {h, w} = narrow;
  const flat = (): string => {
    const wide = s.op('Reshape', [narrow.name, s.integers([-1, h, w, groups, hidden / groups])]);
    return s.op('Reshape', [
      s.op('Transpose', [wide, s.integers([0, 1, 2, 4, 3])]),
      s.integers([-1, h, w, hidden]),
    ]);
  };
  const mixed = s.chance(0.7)
    ? flat()
    : s.op('GatherV2', [narrow.name, s.integers(order), s.integers([3], [])]);
  const stride = s.pick([1, 1, 2]);
  const dw = {...of, kernel: 3, stride, group: 1, channels: hidden, activation: s.pick(['linear', 'relu'])};
  const map = spatial(s, {...narrow, name: mixed}, dw);
  const end = spatial(s, map, {...of, group: hidden / groups, channels: x.c, activation: 'linear'});
  const isAdded = stride === 1 && s.chance(0.7);
  return {...end, name: isAdded ? sum(s, end.name, x.name) : end.name};
}

export function halving(s: Speller, x: MapValue): MapValue {
  const of = {kernel: 3, stride: 2, dilation: 1, group: 1, channels: x.c, activation: 'linear'};
  const width = s.pick([x.c, x.c / 2 + 1]);
  const short = pointwise(s, spatial(s, x, of), width, s.pick(ACTIVE));
  const long = branch(s, x, width, 2);
  return {...long, c: 2 * width, name: mix(s, [short.name, long.name], {...long, c: 2 * width})};
}
