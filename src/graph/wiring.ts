/**
 * Where each channel of a map comes from, through ops that only cut, join and exchange channels: splits, slices, gathers, concats,
 * and the matrix of channels that a shuffle turns, in whichever of these a converter spelled it.
 */
import type {CanonicalNode} from './forms.js';
import {type Ref, refKey} from './graph.js';
import type {Element} from './known.js';
import type {Overlay} from './overlay.js';
import {rangeOf, spansOf} from './strided_slice.js';

export interface Wire {
  readonly source: Ref;
  readonly channel: number;
}

export interface Wiring {
  /** One a channel. */
  readonly wires: readonly Wire[];
  /** The nodes in between. */
  readonly nodes: readonly CanonicalNode[];
}

const CHANNELS = 3;

/** Of a map of a known number of channels; undefined for any other value. */
export function wiringOf(overlay: Overlay, ref: Ref): Wiring | undefined {
  const shape = overlay.shape(ref);
  const channels = shape?.[CHANNELS] ?? -1;
  if (shape?.length !== 4 || channels < 1) return undefined;
  const node = overlay.nodes.get(ref.node);
  const found = node && (ROWS[node.op]?.(overlay, node, ref.index) ?? undefined);
  if (found?.wires.length === channels)
    return {wires: found.wires, nodes: [...found.nodes, node as CanonicalNode]};
  return {wires: Array.from({length: channels}, (_, channel) => ({source: ref, channel})), nodes: []};
}

/** The wires that come from a source, by their place; in the order of the map. */
export function wiresBySource(
  wires: readonly Wire[],
): ReadonlyMap<string, readonly (Wire & {readonly at: number})[]> {
  const bySource = new Map<string, (Wire & {at: number})[]>();
  wires.forEach((wire, at) => {
    const key = refKey(wire.source);
    bySource.set(key, [...(bySource.get(key) ?? []), {...wire, at}]);
  });
  return bySource;
}

/** Whether the parts, one behind the other, have the channels of `x` as they come. */
export function isWholeOf(overlay: Overlay, parts: readonly Ref[], x: Ref): boolean {
  const keys = (wiring: Wiring | undefined): string =>
    (wiring?.wires ?? []).map(({source, channel}) => `${refKey(source)} ${channel}`).join();
  return keys(joined(overlay, parts)) === keys(wiringOf(overlay, x)) && wiringOf(overlay, x) !== undefined;
}

type Row = (overlay: Overlay, node: CanonicalNode, index: number) => Wiring | undefined;

function chosen(overlay: Overlay, x: Ref | undefined, channels: readonly number[]): Wiring | undefined {
  const from = x && wiringOf(overlay, x);
  const wires = channels.map((channel) => from?.wires[channel]);
  return from && wires.every((wire) => wire !== undefined) ? {wires, nodes: from.nodes} : undefined;
}

const range = (from: number, count: number, step = 1): readonly number[] =>
  Array.from({length: count}, (_, i) => from + step * i);

/** Which channel comes at each place behind a shuffle. */
export const shuffledOrder = (channels: number, groups: number): readonly number[] =>
  range(0, channels).map((i) => (i % groups) * (channels / groups) + Math.floor(i / groups));

const isChannels = (overlay: Overlay, axis: Ref | undefined): boolean => {
  const at = axis && overlay.known(axis)?.data[0];
  return at === CHANNELS || at === -1;
};

const whole = (known: readonly Element[] | undefined): readonly number[] | undefined =>
  known?.every((element) => element !== undefined) ? known : undefined;

const joined = (overlay: Overlay, maps: readonly Ref[]): Wiring | undefined => {
  const parts = maps.map((map) => wiringOf(overlay, map));
  return parts.every((part) => part !== undefined)
    ? {wires: parts.flatMap(({wires}) => wires), nodes: parts.flatMap(({nodes}) => nodes)}
    : undefined;
};

const split =
  (input: number, axis: number): Row =>
  (overlay, {name, inputs}, index) => {
    if (!isChannels(overlay, inputs[axis])) return undefined;
    const size = (i: number): number => overlay.shape({node: name, index: i})?.[CHANNELS] ?? NaN;
    const from = range(0, index).reduce((sum, i) => sum + size(i), 0);
    return Number.isNaN(from + size(index))
      ? undefined
      : chosen(overlay, inputs[input], range(from, size(index)));
  };

/** Whether but for its channels the map is cut as it is. */
const samePixels = (overlay: Overlay, {name}: CanonicalNode, x: Ref): boolean => {
  const [from, to] = [overlay.shape(x), overlay.shape({node: name, index: 0})];
  return from?.slice(0, CHANNELS).join() === to?.slice(0, CHANNELS).join();
};

const slice: Row = (overlay, node) => {
  const [x, first, sizes] = node.inputs;
  const begin = first && whole(overlay.known(first)?.data);
  const size = sizes && whole(overlay.known(sizes)?.data);
  const channels = (x && overlay.shape(x)?.[CHANNELS]) ?? -1;
  if (!x || !begin || !size || begin.length !== 4 || !samePixels(overlay, node, x)) return undefined;
  const isAll = [0, 1, 2].every(
    (axis) => begin[axis] === 0 && (size[axis] === -1 || (overlay.shape(x)?.[axis] ?? -1) > 0),
  );
  const [from = 0, count = 0] = [begin[CHANNELS], size[CHANNELS]];
  return isAll ? chosen(overlay, x, range(from, count < 0 ? channels - from : count)) : undefined;
};

const stridedSlice: Row = (overlay, node) => {
  const [x, ...limits] = node.inputs;
  const [begin, end, step] = limits.map((ref) => overlay.known(ref)?.data);
  const shape = x && overlay.shape(x);
  if (!x || shape?.length !== 4 || !begin || !end || !step) return undefined;
  const spans = spansOf(node, 4, {begin, end, step});
  const [channels] = spans.slice(CHANNELS);
  const isMap = spans.length === 4 && spans.every((span) => span !== 'new' && !span.shrinks);
  if (!isMap || channels === 'new' || channels === undefined || channels.isOpen) return undefined;
  const isAll = spans.slice(0, CHANNELS).every((span, axis) => {
    if (span === 'new' || span.step !== 1) return false;
    const size = shape[axis] ?? -1;
    if (size < 0) return (span.begin ?? 0) === 0 && span.end === undefined && !span.isOpen;
    return !span.isOpen && rangeOf(span, size).from === 0 && rangeOf(span, size).count === size;
  });
  const {from, count} = rangeOf(channels, shape[CHANNELS] ?? 0);
  return isAll ? chosen(overlay, x, range(from, count, channels.step)) : undefined;
};

const gather: Row = (overlay, {inputs}) => {
  const [x, indices, axis] = inputs;
  const channels = indices && overlay.known(indices);
  const order = channels?.shape.length === 1 ? whole(channels.data) : undefined;
  return order && isChannels(overlay, axis) ? chosen(overlay, x, order) : undefined;
};

/** Channels as a matrix `[N, H, W, rows, columns]`. */
interface Matrix extends Wiring {
  readonly columns: number;
}

const turned = ({wires, nodes, columns}: Matrix): Matrix => {
  const rows = wires.length / columns;
  const order = range(0, wires.length).map((i) => (i % rows) * columns + Math.floor(i / rows));
  return {wires: order.map((i) => wires[i] as Wire), nodes, columns: rows}; // A permutation of them.
};

function matrixOf(overlay: Overlay, ref: Ref | undefined): Matrix | undefined {
  const node = ref && overlay.node(ref);
  const shape = ref && overlay.shape(ref);
  const [x, second] = node?.inputs ?? [];
  const columns = shape?.[4] ?? -1;
  if (!node || !x || shape?.length !== 5 || columns < 1) return undefined;
  const found = matrixFrom(overlay, node, {x, second, shape});
  return found && found.wires.length === columns * (shape[CHANNELS] ?? -1)
    ? {...found, nodes: [...found.nodes, node]}
    : undefined;
}

function matrixFrom(
  overlay: Overlay,
  node: CanonicalNode,
  {x, second, shape}: {x: Ref; second: Ref | undefined; shape: readonly number[]},
): Matrix | undefined {
  const columns = shape[4] ?? -1;
  if (node.op === 'Transpose') {
    const order = second && overlay.known(second)?.data.join();
    const matrix = order === '0,1,2,4,3' ? matrixOf(overlay, x) : undefined;
    return matrix && turned(matrix);
  }
  if (node.op === 'Reshape') {
    const flat = wiringOf(overlay, x);
    return flat && hasPixelsOf(overlay, shape, x) ? {...flat, columns} : undefined;
  }
  if (node.op !== 'Pack' && node.op !== 'Stack') return undefined;
  const stack = joined(overlay, node.inputs);
  const width = overlay.shape(x)?.[CHANNELS] ?? -1;
  if (!stack || width < 1) return undefined;
  // Maps side by side are rows, or else columns.
  const matrix = {...stack, columns: width};
  if (isStacked(node, 3)) return matrix;
  return isStacked(node, 4) ? turned(matrix) : undefined;
}

const isStacked = ({attrs}: CanonicalNode, axis: number): boolean => {
  const at = Number(attrs['axis']?.i ?? 0);
  return at === axis || at === axis - 5;
};

/** One open size in the same place on both sides is the same size; two might be exchanged. */
const hasPixelsOf = (overlay: Overlay, shape: readonly number[], x: Ref): boolean => {
  const from = overlay.shape(x)?.slice(0, CHANNELS);
  return from?.join() === shape.slice(0, CHANNELS).join() && from.filter((size) => size < 0).length <= 1;
};

/** Of a shuffle: the matrix as one row again. */
const flattened: Row = (overlay, {name, inputs}) => {
  const [x] = inputs;
  const shape = overlay.shape({node: name, index: 0});
  const wide = x && overlay.shape(x);
  if (!x || !shape || wide?.length !== 5) return undefined;
  const samePlace = shape.slice(0, CHANNELS).join() === wide.slice(0, CHANNELS).join();
  return samePlace && shape.filter((size) => size < 0).length <= 1 ? matrixOf(overlay, x) : undefined;
};

const ROWS: Readonly<Record<string, Row | undefined>> = {
  Split: split(1, 0),
  SplitV: split(0, 2),
  Slice: slice,
  StridedSlice: stridedSlice,
  GatherV2: gather,
  Reshape: flattened,
  shuffle: (overlay, {form, inputs: [x]}) => {
    const channels = (x && overlay.shape(x)?.[CHANNELS]) ?? -1;
    return form?.op === 'shuffle'
      ? chosen(overlay, x, shuffledOrder(channels, form.stage.groups))
      : undefined;
  },
  concat: (overlay, {inputs}) => joined(overlay, inputs),
  ConcatV2: (overlay, {inputs}) =>
    isChannels(overlay, inputs.at(-1)) ? joined(overlay, inputs.slice(0, -1)) : undefined,
};
