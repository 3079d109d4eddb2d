/** Values of shape arithmetic, a row an op; elements that depend on an unknown size stay unknown. */
import {numberAttr, typeAttr} from './attrs.js';
import type {OpContext} from './infer.js';
import {type Element, isComplete, type Known, mapKnown, scalar, vector, zipKnown} from './known.js';
import {SHAPE_RULES} from './shape_rules.js';

type Values = readonly (Known | undefined)[];
type ValueRule = (op: OpContext) => Values;

const unary =
  (f: (x: number) => number): ValueRule =>
  (op) => {
    const x = op.known(0);
    return [x && mapKnown(x, f)];
  };

const binary =
  (f: (x: number, y: number) => number): ValueRule =>
  (op) => {
    const [x, y] = [op.known(0), op.known(1)];
    return [x && y && zipKnown(x, y, x.dtype === 'float32' ? (a, b) => Math.fround(f(a, b)) : f)];
  };

const compare =
  (f: (x: number, y: number) => boolean): ValueRule =>
  (op) => {
    const [x, y] = [op.known(0), op.known(1)];
    return [x && y && zipKnown(x, y, (a, b) => Number(f(a, b)), 'bool')];
  };

/** int32 division of TF.js truncates in RealDiv and floors in FloorDiv; floats divide. */
const divide: ValueRule = (op) => {
  const [x, y] = [op.known(0), op.known(1)];
  if (x?.dtype === 'int32') return [y && zipKnown(x, y, (a, b) => Math.trunc(a / b))];
  return binary((a, b) => a / b)(op);
};

const cast: ValueRule = (op) => {
  const x = op.known(0);
  const to = typeAttr(op.node.attrs, 'DstT');
  if (!x) return [undefined];
  if (to === 'DT_FLOAT') return [mapKnown(x, Math.fround, 'float32')];
  if (to === 'DT_INT32' || to === 'DT_INT64') return [mapKnown(x, Math.trunc, 'int32')];
  return [undefined];
};

const concat: ValueRule = (op) => {
  const parts = Array.from({length: op.count - 1}, (_, i) => op.known(i));
  if (!parts.every((part): part is Known => part?.shape.length === 1)) return [undefined];
  return [
    vector(
      parts.flatMap(({data}) => data),
      parts[0]?.dtype,
    ),
  ];
};

const pack: ValueRule = (op) => {
  const parts = Array.from({length: op.count}, (_, i) => op.known(i) ?? openScalar(op, i));
  if (!parts.every((part): part is Known => part?.shape.length === 0)) return [undefined];
  return [
    vector(
      parts.map(({data}) => data[0]),
      parts[0]?.dtype,
    ),
  ];
};

/** A size nobody knows is still one element of the shape it goes into. */
const openScalar = (op: OpContext, input: number): Known | undefined =>
  op.shape(input)?.length === 0 ? scalar(undefined) : undefined;

const stridedSlice: ValueRule = (op) => {
  const [x, begin, end, step] = [0, 1, 2, 3].map((i) => op.known(i));
  const mask = (name: string): number => numberAttr(op.node.attrs, `${name}_mask`, 0);
  if (x?.shape.length !== 1 || mask('new_axis') !== 0 || mask('ellipsis') !== 0) return [undefined];
  const [from, to, by] = [begin?.data[0], end?.data[0], step?.data[0]];
  if (from === undefined || to === undefined || by === undefined || by === 0) return [undefined];
  const length = x.data.length;
  const wrap = (at: number): number => (at < 0 ? at + length : at);
  if (mask('shrink_axis') & 1) return [scalar(x.data[wrap(from)], x.dtype)];
  const start = mask('begin') & 1 ? (by > 0 ? 0 : length - 1) : wrap(from);
  const stop = mask('end') & 1 ? (by > 0 ? length : -1) : wrap(to);
  const picked: Element[] = [];
  for (let at = start; by > 0 ? at < Math.min(stop, length) : at > stop; at += by) picked.push(x.data[at]);
  return [vector(picked, x.dtype)];
};

const slice: ValueRule = (op) => {
  const [x, begin, size] = [op.known(0), op.known(1)?.data[0], op.known(2)?.data[0]];
  if (x?.shape.length !== 1 || begin === undefined || size === undefined) return [undefined];
  return [vector(x.data.slice(begin, size < 0 ? undefined : begin + size), x.dtype)];
};

const gather: ValueRule = (op) => {
  const [x, indices] = [op.known(0), op.known(1)];
  if (x?.shape.length !== 1 || !indices || !isComplete(indices)) return [undefined];
  return [
    {
      shape: indices.shape,
      dtype: x.dtype,
      data: indices.data.map((at) => x.data[((at ?? 0) + x.data.length) % x.data.length]),
    },
  ];
};

const range: ValueRule = (op) => {
  const [start, limit, delta] = [0, 1, 2].map((i) => op.known(i)?.data[0]);
  if (start === undefined || limit === undefined || !delta) return [undefined];
  const data = Array.from(
    {length: Math.max(0, Math.ceil((limit - start) / delta))},
    (_, i) => start + i * delta,
  );
  return [vector(data, op.known(0)?.dtype)];
};

const fill: ValueRule = (op) => {
  const [shape, value] = [op.known(0), op.known(1)];
  if (!shape || !value || !isComplete(shape)) return [undefined];
  const sizes = shape.data.map((size) => size ?? 0);
  return [
    {
      shape: sizes,
      dtype: value.dtype,
      data: Array<Element>(sizes.reduce((a, b) => a * b, 1)).fill(value.data[0]),
    },
  ];
};

const reduceWith =
  (start: number, f: (a: number, b: number) => number): ValueRule =>
  (op) => {
    const x = op.known(0);
    if (x?.shape.length !== 1 || !isComplete(x)) return [undefined];
    return [
      scalar(
        x.data.reduce<number>((total, element) => f(total, element ?? 0), start),
        x.dtype,
      ),
    ];
  };

/** The same elements in the shape that was inferred. */
const reshaped: ValueRule = (op) => {
  const x = op.known(0);
  if (!x) return [undefined];
  const shape = op.node.op === 'Reshape' ? op.known(1)?.data : SHAPE_RULES[op.node.op]?.(op)[0];
  if (!shape || shape.includes(undefined)) return [undefined];
  const rest = shape.reduce<number>((product, size) => (size === -1 ? product : product * (size ?? 1)), 1);
  return [{...x, shape: shape.map((size) => (size === -1 ? x.data.length / rest : (size ?? 1)))}];
};

export const VALUE_RULES: Readonly<Record<string, ValueRule | undefined>> = {
  Shape: (op) => [op.shape(0) && vector((op.shape(0) ?? []).map((size) => (size < 0 ? undefined : size)))],
  Rank: (op) => [op.shape(0) && scalar(op.shape(0)?.length)],
  Size: (op) => {
    const shape = op.shape(0);
    return [shape && !shape.includes(-1) ? scalar(shape.reduce((a, b) => a * b, 1)) : undefined];
  },
  Identity: (op) => [op.known(0)],
  StopGradient: (op) => [op.known(0)],
  Cast: cast,
  Add: binary((a, b) => a + b),
  AddV2: binary((a, b) => a + b),
  Sub: binary((a, b) => a - b),
  Mul: binary((a, b) => a * b),
  RealDiv: divide,
  Div: divide,
  FloorDiv: binary((a, b) => Math.floor(a / b)),
  FloorMod: binary((a, b) => a - b * Math.floor(a / b)),
  Maximum: binary(Math.max),
  Minimum: binary(Math.min),
  Pow: binary(Math.pow),
  Greater: compare((a, b) => a > b),
  GreaterEqual: compare((a, b) => a >= b),
  Less: compare((a, b) => a < b),
  LessEqual: compare((a, b) => a <= b),
  Equal: compare((a, b) => a === b),
  Neg: unary((x) => -x),
  Sqrt: unary((x) => Math.fround(Math.sqrt(x))),
  Rsqrt: unary((x) => Math.fround(1 / Math.sqrt(x))),
  Reciprocal: unary((x) => Math.fround(1 / x)),
  Floor: unary(Math.floor),
  Ceil: unary(Math.ceil),
  Square: unary((x) => Math.fround(x * x)),
  Exp: unary((x) => Math.fround(Math.exp(x))),
  ConcatV2: concat,
  Pack: pack,
  StridedSlice: stridedSlice,
  Slice: slice,
  GatherV2: gather,
  Range: range,
  Fill: fill,
  Prod: reduceWith(1, (a, b) => a * b),
  Sum: reduceWith(0, (a, b) => a + b),
  Reshape: reshaped,
  ExpandDims: reshaped,
  Squeeze: reshaped,
};
