/** Values known while the graph is read: constants, and shape arithmetic of which some elements may be unknown. */
import {isNumeric, sizeOf, valuesOf, type Weight} from './weights.js';

export type Element = number | undefined;

export interface Known {
  readonly shape: readonly number[];
  readonly dtype: 'float32' | 'int32' | 'bool';
  /** Row-major; an unknown element is undefined. */
  readonly data: readonly Element[];
}

/** Above this many elements a value is a weight, not shape arithmetic, and is not carried around. */
export const LARGEST_KNOWN = 4096;

export function knownWeight(weight: Weight): Known | undefined {
  if (!isNumeric(weight) || sizeOf(weight.shape) > LARGEST_KNOWN) return undefined;
  return {shape: weight.shape, dtype: weight.dtype as Known['dtype'], data: [...valuesOf(weight)]};
}

export const scalar = (value: Element, dtype: Known['dtype'] = 'int32'): Known => ({
  shape: [],
  dtype,
  data: [value],
});

export const vector = (data: readonly Element[], dtype: Known['dtype'] = 'int32'): Known => ({
  shape: [data.length],
  dtype,
  data,
});

export const isComplete = ({data}: Known): boolean => data.every((element) => element !== undefined);

/** A shape, from a vector that holds one: unknown elements are -1. */
export const asSizes = (known: Known): readonly number[] => known.data.map((size) => size ?? -1);

/** Shape of an elementwise op by NumPy's rule; -1 where a size is unknown, undefined where the shapes do not go together. */
export function broadcast(a: readonly number[], b: readonly number[]): readonly number[] | undefined {
  const rank = Math.max(a.length, b.length);
  const at = (shape: readonly number[], axis: number): number => shape[axis - rank + shape.length] ?? 1;
  const out: number[] = [];
  for (let axis = 0; axis < rank; axis++) {
    const [p, q] = [at(a, axis), at(b, axis)];
    if (p === q || q === 1) out.push(p);
    else if (p === 1) out.push(q);
    else if (p === -1 || q === -1) out.push(Math.max(p, q));
    else return undefined;
  }
  return out;
}

export function mapKnown(a: Known, f: (x: number) => number, dtype = a.dtype): Known {
  return {shape: a.shape, dtype, data: a.data.map((x) => (x === undefined ? undefined : f(x)))};
}

/** Elementwise with broadcasting. */
export function zipKnown(
  a: Known,
  b: Known,
  f: (x: number, y: number) => number,
  dtype = a.dtype,
): Known | undefined {
  const shape = broadcast(a.shape, b.shape);
  if (!shape || shape.includes(-1)) return undefined;
  const pick = indexer(shape);
  const [fromA, fromB] = [pick(a.shape), pick(b.shape)];
  const data = Array.from({length: sizeOf(shape)}, (_, i) => {
    const [x, y] = [a.data[fromA(i)], b.data[fromB(i)]];
    return x === undefined || y === undefined ? undefined : f(x, y);
  });
  return {shape, dtype, data};
}

/** For an output of `shape`: where element i comes from in an operand that is broadcast to it. */
const indexer =
  (shape: readonly number[]) =>
  (operand: readonly number[]): ((i: number) => number) => {
    const offset = shape.length - operand.length;
    return (i) => {
      let [rest, at, stride] = [i, 0, 1];
      for (let axis = shape.length - 1; axis >= 0; axis--) {
        const size = shape[axis] ?? 1;
        const own = operand[axis - offset] ?? 1;
        if (axis >= offset && own > 1) {
          at += (rest % size) * stride;
        }
        if (axis >= offset) stride *= own;
        rest = Math.floor(rest / size);
      }
      return at;
    };
  };
