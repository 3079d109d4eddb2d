/** ShuffleNet V2's units in the spellings of its implementations: how a map is cut, joined and its channels exchanged. */
import type {TestGraph} from './test_graph.js';

export interface Size {
  readonly h: number;
  readonly w: number;
  readonly c: number;
}

/** `[N, H, W, C]` in two halves. */
export type Cut = (g: TestGraph, name: string, x: string, size: Size) => readonly [string, string];
/** Two maps of equal width as one, their channels by turns. */
export type Mix = (g: TestGraph, name: string, maps: readonly [string, string], size: Size) => string;

const slicing =
  (
    mask: Readonly<Record<string, number>>,
    limits: (at: number, size: Size) => readonly (readonly number[])[],
  ): Cut =>
  (g, name, x, size) => {
    const part = (i: number): string => {
      const [begin = [], end = [], step = []] = limits(i, size);
      const inputs = [begin, end, step].map((list, k) => g.integers(`${name}/limit${i}${k}`, list));
      return g.op(`${name}/part${i}`, 'StridedSlice', [x, ...inputs], mask);
    };
    return [part(0), part(1)];
  };

export const CUTS: Readonly<Record<string, Cut>> = {
  split: (g, name, x) => {
    const split = g.op(`${name}/split`, 'Split', [g.integers(`${name}/axis`, [3], []), x], {num_split: 2});
    return [split, `${split}:1`];
  },
  'split by sizes': (g, name, x, {c}) => {
    const sizes = g.integers(`${name}/sizes`, [c / 2, c / 2]);
    const axis = g.integers(`${name}/axis`, [-1], []);
    const split = g.op(`${name}/split`, 'SplitV', [x, sizes, axis], {num_split: 2});
    return [split, `${split}:1`];
  },
  slice: (g, name, x, {h, w, c}) => {
    const part = (i: number): string =>
      g.op(`${name}/part${i}`, 'Slice', [
        x,
        g.integers(`${name}/begin${i}`, [0, 0, 0, (i * c) / 2]),
        g.integers(`${name}/size${i}`, [-1, h, w, i === 0 ? c / 2 : -1]),
      ]);
    return [part(0), part(1)];
  },
  // x[:, :, :, :c/2] and x[:, :, :, c/2:].
  'strided slice': slicing({begin_mask: 7, end_mask: 7}, (i, {c}) => [
    [0, 0, 0, (i * c) / 2],
    [0, 0, 0, (c / 2) * (i + 1)],
    [1, 1, 1, 1],
  ]),
  // x[..., :c/2] and x[..., c/2:].
  'strided slice with an ellipsis': slicing({ellipsis_mask: 1}, (i, {c}) => [
    [0, (i * c) / 2],
    [0, (c / 2) * (i + 1)],
    [1, 1],
  ]),
};

const joined = (g: TestGraph, name: string, maps: readonly string[]): string =>
  g.op(`${name}/join`, 'ConcatV2', [...maps, g.integers(`${name}/end`, [3], [])], {N: maps.length});

const flat = (g: TestGraph, name: string, x: string, {h, w, c}: Size): string =>
  g.op(`${name}/flat`, 'Reshape', [x, g.integers(`${name}/shape`, [-1, h, w, c])]);

const turned = (g: TestGraph, name: string, x: string): string =>
  g.op(`${name}/turned`, 'Transpose', [x, g.integers(`${name}/order`, [0, 1, 2, 4, 3])]);

export const MIXES: Readonly<Record<string, Mix>> = {
  shuffle: (g, name, maps, size) => {
    const matrix = g.op(`${name}/matrix`, 'Reshape', [
      joined(g, name, maps),
      g.integers(`${name}/matrix/shape`, [-1, size.h, size.w, 2, size.c / 2]),
    ]);
    return flat(g, name, turned(g, name, matrix), size);
  },
  'stack and turn': (g, name, maps, size) =>
    flat(g, name, turned(g, name, g.op(`${name}/stack`, 'Pack', maps, {N: 2, axis: 3})), size),
  'stack behind': (g, name, maps, size) =>
    flat(g, name, g.op(`${name}/stack`, 'Pack', maps, {N: 2, axis: -1}), size),
  gather: (g, name, maps, {c}) => {
    const order = Array.from({length: c}, (_, i) => (i % 2) * (c / 2) + Math.floor(i / 2));
    return g.op(`${name}/mixed`, 'GatherV2', [
      joined(g, name, maps),
      g.integers(`${name}/order`, order),
      g.integers(`${name}/mixed/axis`, [3], []),
    ]);
  },
};

export const normal = (
  g: TestGraph,
  name: string,
  x: string,
  channels: number,
  activation?: string,
): string => {
  const scaled = g.op(`${name}/scaled`, 'Mul', [x, g.weight(`${name}/gain`, [channels])]);
  const shifted = g.op(`${name}/shifted`, 'AddV2', [scaled, g.weight(`${name}/offset`, [channels])]);
  return activation ? g.op(`${name}/${activation}`, activation, [shifted]) : shifted;
};

/** 1×1, depth-wise 3×3, 1×1. */
export function branch(
  g: TestGraph,
  name: string,
  x: string,
  [from, to]: readonly [number, number],
  {stride = 1, activation = 'Relu'} = {},
): string {
  const first = normal(g, `${name}/a`, g.pointwise(`${name}/a/conv`, x, from, to), to, activation);
  const dw = normal(g, `${name}/b`, g.depthwise(`${name}/b/conv`, first, to, {stride}), to);
  return normal(g, `${name}/c`, g.pointwise(`${name}/c/conv`, dw, to, to), to, activation);
}

/** The unit of stride 1. */
export function unit(
  g: TestGraph,
  name: string,
  x: string,
  size: Size,
  {cut, mix}: {cut: Cut; mix: Mix},
): string {
  const [passed, other] = cut(g, name, x, size);
  return mix(g, name, [passed, branch(g, name, other, [size.c / 2, size.c / 2])], size);
}

/** The unit that halves the map. @param size Of its output. */
export function halving(g: TestGraph, name: string, x: string, from: number, size: Size, mix: Mix): string {
  const half = size.c / 2;
  const left = normal(g, `${name}/l`, g.depthwise(`${name}/l/dw`, x, from, {stride: 2}), from);
  const short = normal(g, `${name}/m`, g.pointwise(`${name}/m/conv`, left, from, half), half, 'Relu');
  return mix(g, name, [short, branch(g, name, x, [from, half], {stride: 2})], size);
}
