/**
 * Weights as the file has them: raw, possibly quantised bytes and the manifest entry that explains them. A weight that only
 * changes its shape keeps its bytes, so nothing is lost by a rewrite that did not need the values.
 */
import type * as tf from '@tensorflow/tfjs-core';
import {ModelError} from './model_error.js';

export type WeightEntry = tf.io.WeightsManifestEntry;
type Quantization = NonNullable<WeightEntry['quantization']>;

export interface Weight {
  /** Of the Const node it came from, or of the node it was made for. */
  readonly name: string;
  readonly shape: readonly number[];
  /** What it is once loaded; 'float32' also where the bytes are quantised. */
  readonly dtype: WeightEntry['dtype'];
  readonly quantization?: Quantization;
  /** As stored. Two weights with the same array are the same weight, maybe in two shapes. */
  readonly bytes: Uint8Array;
}

const DTYPE_BYTES: Readonly<Record<string, number>> = {
  float32: 4,
  int32: 4,
  bool: 1,
  complex64: 8,
  float16: 2,
  uint16: 2,
  uint8: 1,
};

export const sizeOf = (shape: readonly number[]): number =>
  shape.reduce((product, size) => product * size, 1);

/**
 * Cuts the weight data into weights, in the order of the manifest.
 * @throws {ModelError} for an unknown dtype, and for data that are shorter or longer than the manifest says.
 */
export function splitWeights(entries: readonly WeightEntry[], data: Uint8Array): ReadonlyMap<string, Weight> {
  const weights = new Map<string, Weight>();
  let at = 0;
  for (const entry of entries) {
    const length = storedBytes(entry, data, at);
    if (at + length > data.length) throw tooShort(entry, length, data.length - at);
    const {name, shape, dtype, quantization} = entry;
    const bytes = data.subarray(at, at + length);
    weights.set(name, {name, shape, dtype, ...(quantization ? {quantization} : {}), bytes});
    at += length;
  }
  if (at !== data.length) {
    throw new ModelError(
      `The weight data have ${data.length} bytes but the manifest describes ${at}; fetch the model again, its shards and its JSON do not belong together.`,
    );
  }
  return weights;
}

const tooShort = ({name}: WeightEntry, needed: number, left: number): ModelError =>
  new ModelError(
    `The weight '${name}' needs ${needed} bytes but only ${left} are left in the weight data; a shard is truncated or missing, fetch the model again.`,
  );

function storedBytes(entry: WeightEntry, data: Uint8Array, at: number): number {
  const {name, shape, dtype, quantization} = entry;
  if (!Array.isArray(shape) || !shape.every((size) => Number.isInteger(size) && size >= 0)) {
    throw new ModelError(
      `The weight '${name}' has the shape ${JSON.stringify(shape)}, which is no list of sizes; the manifest is damaged.`,
    );
  }
  const count = sizeOf(shape);
  if (dtype === 'string') return stringBytes(entry, count, data, at);
  const each = DTYPE_BYTES[quantization?.dtype ?? dtype];
  if (each === undefined || !(dtype in DTYPE_BYTES)) {
    throw new ModelError(
      `The weight '${name}' has the dtype '${quantization?.dtype ?? dtype}', which TensorFlow.js does not know; convert the model again to one of ${Object.keys(DTYPE_BYTES).join(', ')}.`,
    );
  }
  return count * each;
}

/** Each string is a little-endian 32-bit length and its bytes. */
function stringBytes(entry: WeightEntry, count: number, data: Uint8Array, start: number): number {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let at = start;
  for (let i = 0; i < count; i++) {
    if (at + 4 > data.length) throw tooShort(entry, at + 4 - start, data.length - start);
    at += 4 + view.getUint32(at, true);
    if (at > data.length) throw tooShort(entry, at - start, data.length - start);
  }
  return at - start;
}

/** The loaded values, those of the weight itself where they are floats in place: not to be written to. */
export function viewOf(weight: Weight): Float32Array | Int32Array {
  const {dtype, quantization, bytes} = weight;
  const isInPlace = dtype === 'float32' && !quantization && bytes.byteOffset % 4 === 0;
  return isInPlace ? new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4) : valuesOf(weight);
}

/** The loaded values: dequantised, and bool as 0 and 1. Computed afresh: they may be large, and are rarely wanted twice. */
export function valuesOf(weight: Weight): Float32Array | Int32Array {
  const {dtype, quantization, bytes} = weight;
  const own = bytes.slice(); // A view of more than a byte an element needs aligned bytes.
  if (quantization?.dtype === 'float16')
    return new Float32Array(new Uint16Array(own.buffer)).map(halfToFloat);
  if (quantization) {
    const {scale = 1, min = 0} = quantization;
    const stored = quantization.dtype === 'uint8' ? own : new Uint16Array(own.buffer);
    return dtype === 'int32'
      ? new Int32Array(stored).map((value) => Math.round(value * scale + min))
      : new Float32Array(stored).map((value) => value * scale + min);
  }
  if (dtype === 'int32') return new Int32Array(own.buffer);
  if (dtype === 'bool') return new Int32Array(own);
  if (dtype === 'float32') return new Float32Array(own.buffer);
  throw new Error(`The weight '${weight.name}' of dtype ${dtype} has no numbers.`);
}

export const isNumeric = ({dtype}: Weight): boolean =>
  dtype === 'float32' || dtype === 'int32' || dtype === 'bool';

/** IEEE 754 binary16. */
function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The same bytes in another shape of the same size. */
export function withShape(weight: Weight, shape: readonly number[]): Weight {
  if (sizeOf(shape) !== sizeOf(weight.shape)) {
    throw new Error(`'${weight.name}' [${weight.shape.join(', ')}] cannot be seen as [${shape.join(', ')}].`);
  }
  return {...weight, shape};
}

/** A new, unquantised weight. */
export function makeWeight(
  name: string,
  shape: readonly number[],
  values: Float32Array | Int32Array,
): Weight {
  if (sizeOf(shape) !== values.length)
    throw new Error(`'${name}': ${values.length} values do not fill [${shape.join(', ')}].`);
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return {name, shape, dtype: values instanceof Int32Array ? 'int32' : 'float32', bytes};
}

export const isSameWeight = (a: Weight, b: Weight): boolean =>
  a.bytes === b.bytes && a.dtype === b.dtype && a.shape.join() === b.shape.join();

export const entryOf = ({shape, dtype, quantization}: Weight, name: string): WeightEntry => ({
  name,
  shape: [...shape],
  dtype,
  ...(quantization ? {quantization} : {}),
});
