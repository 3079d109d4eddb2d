/**
 * What cuts and exchanges channels in front of their pixels, channels-last: splits, slices, gathers, and the three steps of a shuffle.
 * Of a split or a matrix of channels there is no `Transpose` back: the op stays for whoever still reads it.
 */
import type {AttrDef} from './attrs.js';
import {numberAttr} from './attrs.js';
import type {Node, NodeDef} from './graph.js';
import type {Turning} from './nchw.js';
import {valuesOf} from './weights.js';

/** Where the axes of `[N, rows, columns, H, W]` come from, channels-last and in their own order. */
export const WIDE_TO_LAST = [0, 3, 4, 1, 2] as const;
const FIRST_CHANNELS = 1;
const LAST_CHANNELS = 3;
const TO_NHWC = [0, 2, 3, 1] as const;

/** Under a name of its own, beside the op. */
export interface Twin {
  readonly def: NodeDef;
  /** How many maps it gives. */
  readonly outputs: number;
  /** It gives a matrix of channels instead. */
  readonly isWide?: true;
}

type TwinRow = (node: Node, turning: Turning) => Twin | undefined;
type Row = (node: Node, turning: Turning) => NodeDef | undefined;

const texts = (node: Node): readonly string[] => node.def.input ?? [];

const twin = (node: Node, input: readonly string[]): NodeDef => ({
  name: `${node.name}/channels_last`,
  op: node.op,
  input,
  attr: node.def.attr ?? {},
});

const isChannels = (turning: Turning, node: Node, input: number): boolean => {
  const axis = turning.constant(node.inputs[input]);
  return axis !== undefined && [FIRST_CHANNELS, FIRST_CHANNELS - 4].includes(valuesOf(axis)[0] ?? 0);
};

const lastAxis = (turning: Turning, node: Node): string =>
  turning.integers(`${node.name}/axis`, [LAST_CHANNELS], []);

const split: TwinRow = (node, turning) => {
  const x = turning.last(node.inputs[1]);
  if (x === undefined || !isChannels(turning, node, 0)) return undefined;
  return {def: twin(node, [lastAxis(turning, node), x]), outputs: numberAttr(node.attrs, 'num_split', 1)};
};

const splitBySizes: TwinRow = (node, turning) => {
  const x = turning.last(node.inputs[0]);
  if (x === undefined || !isChannels(turning, node, 2)) return undefined;
  const input = [x, texts(node)[1] ?? '', lastAxis(turning, node)];
  return {def: twin(node, input), outputs: numberAttr(node.attrs, 'num_split', 1)};
};

const sizesOf = (turning: Turning, node: Node): readonly number[] | undefined => {
  const target = turning.constant(node.inputs[1]);
  return target && [...valuesOf(target)];
};

/** The channels as a matrix, pixels as they are. */
const matrix: TwinRow = (node, turning) => {
  const x = turning.last(node.inputs[0]);
  const from = node.inputs[0] && turning.inference.shape(node.inputs[0]);
  const to = turning.inference.shape({node: node.name, index: 0});
  const sizes = sizesOf(turning, node);
  const isSplit = from?.length === 4 && to?.length === 5 && from.slice(2).join() === to.slice(3).join();
  if (x === undefined || !sizes || !isSplit || Math.min(...to.slice(1)) < 1) return undefined;
  const wide = turning.integers(
    `${node.name}/sizes`,
    WIDE_TO_LAST.map((axis) => sizes[axis] ?? -1),
  );
  return {def: twin(node, [x, wide]), outputs: 0, isWide: true};
};

const turnedMatrix: TwinRow = (node, turning) => {
  const x = turning.wide(node.inputs[0]);
  const order = node.inputs[1] && turning.inference.known(node.inputs[1])?.data.join();
  if (x === undefined || order !== '0,2,1,3,4') return undefined;
  return {
    def: twin(node, [x, turning.integers(`${node.name}/order`, [0, 1, 2, 4, 3])]),
    outputs: 0,
    isWide: true,
  };
};

export const TWINS: Readonly<Record<string, TwinRow | undefined>> = {
  Split: split,
  SplitV: splitBySizes,
  Reshape: matrix,
  Transpose: turnedMatrix,
};

const moved = <T>(list: readonly T[]): readonly T[] => TO_NHWC.map((axis) => list[axis] as T); // Lists of four.

/** The matrix as one row of channels again. */
export const flattened: Row = (node, turning) => {
  const x = turning.wide(node.inputs[0]);
  const from = node.inputs[0] && turning.inference.shape(node.inputs[0]);
  const to = turning.inference.shape({node: node.name, index: 0});
  const sizes = sizesOf(turning, node);
  const isFlat = to?.length === 4 && from?.length === 5 && from.slice(3).join() === to.slice(2).join();
  if (x === undefined || !sizes || !isFlat || (from[1] ?? 0) * (from[2] ?? 0) !== to[1]) return undefined;
  return twin(node, [x, turning.integers(`${node.name}/sizes`, moved(sizes))]);
};

export const slice: Row = (node, turning) => {
  const x = turning.last(node.inputs[0]);
  const limits = [1, 2].map((input) => turning.constant(node.inputs[input]));
  if (x === undefined || !limits.every((limit) => limit?.shape.join() === '4')) return undefined;
  const lists = limits.map((limit, i) =>
    turning.integers(`${node.name}/limit${i}`, moved([...(limit ? valuesOf(limit) : [])])),
  );
  return twin(node, [x, ...lists]);
};

const MASKS = ['begin_mask', 'end_mask'] as const;
const OTHER_MASKS = ['ellipsis_mask', 'new_axis_mask', 'shrink_axis_mask'] as const;

export const stridedSlice: Row = (node, turning) => {
  const x = turning.last(node.inputs[0]);
  const limits = [1, 2, 3].map((input) => turning.constant(node.inputs[input]));
  const isPlain = OTHER_MASKS.every((mask) => numberAttr(node.attrs, mask, 0) === 0);
  if (x === undefined || !isPlain || !limits.every((limit) => limit && limit.shape.length === 1))
    return undefined;
  // Axes that are not named stay whole.
  const named = limits[0]?.shape[0] ?? 0;
  const fill = [0, 0, 1];
  const lists = limits.map((limit, i) => {
    const values = limit ? [...valuesOf(limit)] : [];
    return turning.integers(
      `${node.name}/limit${i}`,
      moved([0, 1, 2, 3].map((axis) => values[axis] ?? fill[i] ?? 0)),
    );
  });
  const attr: Record<string, AttrDef> = {};
  for (const mask of MASKS) {
    const bits = numberAttr(node.attrs, mask, 0);
    const isSet = (axis: number): boolean => axis >= named || (bits & (1 << axis)) !== 0;
    attr[mask] = {i: String(TO_NHWC.reduce<number>((sum, axis, at) => sum + (isSet(axis) ? 1 << at : 0), 0))};
  }
  const def = twin(node, [x, ...lists]);
  return {...def, attr: {...def.attr, ...attr}};
};

export const gather: Row = (node, turning) => {
  const x = turning.last(node.inputs[0]);
  const indices = node.inputs[1] && turning.inference.shape(node.inputs[1]);
  if (x === undefined || indices?.length !== 1 || !isChannels(turning, node, 2)) return undefined;
  return twin(node, [x, texts(node)[1] ?? '', lastAxis(turning, node)]);
};
