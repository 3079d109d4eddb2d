/** Weights of a graph model in fewer bytes, as TF.js reads them back: its loader turns them into float32. */
import type * as tf from '@tensorflow/tfjs-core';
import {toFloat16Bits} from './checkpoint/float_formats.js';
import {type GraphWeightData} from './graph/writer.js';

export type Quantization = 'float16' | 'uint8';
export const QUANTIZATIONS: readonly Quantization[] = ['float16', 'uint8'];

export interface PackedWeight {
  readonly spec: tf.io.WeightsManifestEntry;
  readonly bytes: Uint8Array;
}

/** @param quantization None leaves the float32. Integers stay, and so do vectors under uint8: they are few, and biases must be exact. */
export function packWeight(
  {spec, data}: GraphWeightData,
  quantization: Quantization | undefined,
): PackedWeight {
  if (quantization === undefined || data instanceof Int32Array || data.length < 2)
    return {spec, bytes: asBytes(data)};
  if (quantization === 'float16') {
    const halves = Uint16Array.from(data, toFloat16Bits);
    return {spec: {...spec, quantization: {dtype: 'float16'}}, bytes: asBytes(halves)};
  }
  return spec.shape.length < 2 ? {spec, bytes: asBytes(data)} : packBytes(spec, data);
}

const LEVELS = 255;

/** Affine, with zero among the levels so that zeros stay zeros. */
function packBytes(spec: tf.io.WeightsManifestEntry, data: Float32Array): PackedWeight {
  let [low, high] = [0, 0];
  for (const value of data) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const scale = (high - low) / LEVELS || 1;
  const min = Math.round(low / scale) * scale;
  const bytes = Uint8Array.from(data, (value) =>
    Math.min(LEVELS, Math.max(0, Math.round((value - min) / scale))),
  );
  return {spec: {...spec, quantization: {dtype: 'uint8', scale, min}}, bytes};
}

const asBytes = ({buffer, byteOffset, byteLength}: Float32Array | Int32Array | Uint16Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);
