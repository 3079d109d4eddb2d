/**
 * Packs a block's weights into the one buffer its kernels read, and keeps it as long as the weights belong to a model.
 * Weights still in main memory are packed there, so that only the packed copy is uploaded; weights on the GPU (a variable in
 * training) are packed by stock ops, which know no f16.
 */
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {keptIn} from '../../ops/kept.js';
import {halfBits} from '../float16.js';
import {sectionElements, type WeightLayout, type WeightSection} from '../plan.js';
import {hostValues} from './backend_access.js';
import {type NamedInfos, packByKernel} from './pack_weights.js';
import {fillTransformed, transformFilter} from './winograd_filter.js';

export type {NamedInfos} from './pack_weights.js';

/** Packed buffers by the first weight's data; an entry exists only while the weights are pinned. */
const pinned = new WeakMap<object, Map<string, tf.Tensor>>();

/** From now on the packed form of these weights is kept. Their owner calls `unpinWeights` before it disposes them. */
export function pinWeights(weights: readonly tf.TensorInfo[]): void {
  for (const {dataId} of weights) if (!pinned.has(dataId)) pinned.set(dataId, new Map());
}

export function unpinWeights(weights: readonly tf.TensorInfo[]): void {
  for (const {dataId} of weights) {
    pinned.get(dataId)?.forEach((packed) => packed.dispose());
    pinned.delete(dataId);
  }
}

const keys = new WeakMap<WeightLayout, string>();

/** Layouts are of plans, which are kept, and asked for at every call. */
const keyOf = (layout: WeightLayout): string => keptIn(keys, layout, () => JSON.stringify(layout));

/** Whether the weights can be had in that layout: f16 only from main memory. */
export function canPack(backend: WebGPUBackend, layout: WeightLayout, weights: NamedInfos): boolean {
  const [first] = weights.values();
  return (
    layout.sections.every(({dtype}) => dtype === 'f32') ||
    [...weights.values()].every((info) => hostValues(backend, info) !== undefined) ||
    (first !== undefined && pinned.get(first.dataId)?.has(keyOf(layout)) === true)
  );
}

/** @returns `[layout.size]`, and whether the caller has to dispose it. */
export function packedWeights(
  backend: WebGPUBackend,
  layout: WeightLayout,
  weights: NamedInfos,
): {packed: tf.Tensor; owned: boolean} {
  const [first] = weights.values();
  const cache = first && pinned.get(first.dataId);
  if (!cache) return {packed: pack(backend, layout, weights), owned: true};
  const key = keyOf(layout);
  let packed = cache.get(key);
  if (!packed) {
    packed = tf.keep(pack(backend, layout, weights));
    cache.set(key, packed);
  }
  return {packed, owned: false};
}

function pack(backend: WebGPUBackend, layout: WeightLayout, weights: NamedInfos): tf.Tensor {
  const values = new Map([...weights].map(([name, info]) => [name, hostValues(backend, info)] as const));
  if ([...values.values()].every((value) => value !== undefined))
    return tf.tensor1d(packOnHost(layout, values as ReadonlyMap<string, Float32Array>));
  return packByKernel(backend, layout, weights) ?? tf.tidy(() => packOnDevice(layout, weights));
}

/** The packed values of `layout`; exported for tests, which compare both ways. */
export function packOnHost(layout: WeightLayout, weights: ReadonlyMap<string, Float32Array>): Float32Array {
  const packed = new Float32Array(layout.size);
  for (const section of layout.sections) {
    const {offset, dtype} = section;
    if (dtype === 'f32') {
      fillSection(section, weights, packed.subarray(offset));
      continue;
    }
    const floats = new Float32Array(sectionElements(section));
    fillSection(section, weights, floats);
    const halves = new Uint16Array(packed.buffer, packed.byteOffset + 4 * offset, floats.length);
    floats.forEach((value, i) => (halves[i] = halfBits(value)));
  }
  return packed;
}

function fillSection(
  section: WeightSection,
  weights: ReadonlyMap<string, Float32Array>,
  into: Float32Array,
): void {
  const {taps, rows, rowStride, columns, stride, value} = section;
  const of = (name: string | undefined): Float32Array | undefined =>
    name === undefined ? undefined : weights.get(name);
  const [filter, rowScale, rowOffset, columnScale, bias] = [
    value.filter,
    value.rowScale,
    value.rowOffset,
    value.columnScale,
    value.bias,
  ].map(of);
  const scaleOf = (column: number): number => columnScale?.[column] ?? 1;
  if (value.form === 'bias') {
    for (let c = 0; c < columns; c++) {
      let sum = bias?.[c] ?? 0;
      if (rowOffset && filter)
        for (let r = 0; r < rowOffset.length; r++)
          sum += (rowOffset[r] ?? 0) * (filter[r * columns + c] ?? 0);
      into[c] = sum * scaleOf(c);
    }
    return;
  }
  if (value.form === 'winograd') {
    if (filter) fillTransformed(filter, into, section, scaleOf);
    return;
  }
  if (!filter) return;
  const isSummed = value.form === 'columnsums';
  for (let tap = 0; tap < taps; tap++) {
    for (let r = 0; r < rows; r++) {
      const from = (tap * rows + r) * columns;
      const at = isSummed ? 0 : (tap * rowStride + r) * stride;
      const row = filter.subarray(from, from + columns);
      if (!isSummed && !rowScale && !columnScale) into.set(row, at);
      else addScaled(row, into.subarray(at, at + columns), rowScale?.[r] ?? 1, columnScale);
    }
  }
}

/** Row by row and without functions in between: filters have millions of values, and the first prediction waits for them. */
function addScaled(
  row: Float32Array,
  into: Float32Array,
  rowScale: number,
  columnScale: Float32Array | undefined,
): void {
  if (columnScale)
    for (let c = 0; c < row.length; c++)
      into[c] = (into[c] ?? 0) + (row[c] ?? 0) * rowScale * (columnScale[c] ?? 1);
  else for (let c = 0; c < row.length; c++) into[c] = (into[c] ?? 0) + (row[c] ?? 0) * rowScale;
}

/** The same by stock ops, for weights that live on the GPU. @throws where the layout has f16 in it. */
export function packOnDevice(layout: WeightLayout, weights: NamedInfos): tf.Tensor {
  if (layout.sections.some(({dtype}) => dtype !== 'f32'))
    throw new Error('Weights on the GPU cannot be packed as f16; ask canPack() first.');
  const sections = layout.sections.map((section) => tf.reshape(sectionOf(section, weights), [-1]));
  const size = layout.sections.reduce((sum, section) => sum + sectionElements(section), 0);
  return tf.concat([...sections, tf.zeros([layout.size - size])].filter((part) => part.size > 0));
}

function sectionOf(
  {taps, rows, rowStride, columns, stride, value}: WeightSection,
  weights: NamedInfos,
): tf.Tensor {
  const of = (name: string | undefined): tf.Tensor | undefined =>
    weights.get(name ?? '') as tf.Tensor | undefined; // Kernels are given Tensors.
  const scaled = (by: string | undefined, shape: number[], tensor: tf.Tensor): tf.Tensor => {
    const scale = of(by);
    return scale ? tf.mul(tensor, tf.reshape(scale, shape)) : tensor;
  };
  const filter = (): tf.Tensor => {
    const given = tf.reshape(of(value.filter) as tf.Tensor, [-1, rows, columns]);
    return value.form === 'winograd' ? transformFilter(given, taps) : given;
  };
  const padColumns = (tensor: tf.Tensor2D): tf.Tensor => tf.pad(tensor, [[0, 0], [0, stride - columns]]); // prettier-ignore
  if (value.form === 'bias') {
    const bias = tf.reshape(of(value.bias) ?? tf.zeros([columns]), [1, columns]);
    const offset = of(value.rowOffset);
    const folded = offset
      ? tf.add(
          bias,
          tf.matMul(tf.reshape(offset, [1, -1]), tf.reshape(of(value.filter) as tf.Tensor, [-1, columns])),
        )
      : bias;
    return padColumns(scaled(value.columnScale, [1, columns], folded) as tf.Tensor2D);
  }
  const both = scaled(value.columnScale, [1, 1, columns], scaled(value.rowScale, [1, rows, 1], filter()));
  if (value.form === 'columnsums') return padColumns(tf.reshape(tf.sum(both, [0, 1]), [1, columns]));
  return tf.pad(both, [[0, 0], [0, rowStride - rows], [0, stride - columns]]); // prettier-ignore
}
