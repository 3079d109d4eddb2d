/**
 * Packs weights that are on the GPU: in training they change each step. One dispatch instead of a concat and half a dozen reshapes and
 * pads, which together were a third of a step's JavaScript.
 */
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {
  type BufferName,
  type Constants,
  type Dispatch,
  sectionElements,
  type WeightLayout,
  type WeightSection,
} from '../plan.js';
import {recordAll} from './execute.js';
import {FLOAT_BYTES, gridOf} from './lowering.js';
import {PACKED_SECTIONS} from './wgsl/pack.js';

/** Weights by name. */
export type NamedInfos = ReadonlyMap<string, tf.TensorInfo>;

interface Packing {
  readonly dispatches: readonly Dispatch[];
  /** Names of the weights that `weight:0` and so on stand for. */
  readonly names: readonly string[];
}

/** Undefined where the kernel cannot pack that layout. */
const packings = new WeakMap<WeightLayout, Packing | undefined>();

/** @returns `[layout.size]`; undefined where the layout has f16 or folds one weight into another. */
export function packByKernel(
  backend: WebGPUBackend,
  layout: WeightLayout,
  weights: NamedInfos,
): tf.Tensor | undefined {
  if (!packings.has(layout)) packings.set(layout, lowerPacking(layout));
  const packing = packings.get(layout);
  if (!packing) return undefined;
  const out = backend.makeTensorInfo([layout.size], 'float32');
  const given = packing.names.map((name, i) => [`weight:${i}`, weights.get(name)] as const);
  recordAll(backend, {
    kind: 'BlockWeights',
    dispatches: packing.dispatches,
    tensors: {out, ...Object.fromEntries(given)},
  });
  return tf.engine().makeTensorFromTensorInfo(out, backend);
}

/** The weight that a section is a padded copy of. */
function copyOf({dtype, value}: WeightSection): string | undefined {
  if (dtype !== 'f32' || value.rowScale || value.rowOffset || value.columnScale) return undefined;
  return value.form === 'filter' ? value.filter : value.form === 'bias' ? value.bias : undefined;
}

function lowerPacking({sections}: WeightLayout): Packing | undefined {
  const names = sections.map(copyOf);
  if (sections.length === 0 || !names.every((name) => name !== undefined)) return undefined;
  const dispatches: Dispatch[] = [];
  for (let first = 0; first < sections.length; first += PACKED_SECTIONS)
    dispatches.push(lowerSections(sections.slice(first, first + PACKED_SECTIONS), first));
  return {dispatches, names};
}

function lowerSections(sections: readonly WeightSection[], first: number): Dispatch {
  const elements = sections.reduce((sum, section) => sum + sectionElements(section), 0);
  const constants: Record<string, number> = {WORKGROUP: 64};
  const buffers: Record<string, BufferName> = {out: 'out'};
  for (let i = 0; i < PACKED_SECTIONS; i++) {
    const section = sections[i];
    Object.assign(constants, section ? constantsOf(section, i) : unusedConstants(i));
    if (section) buffers[`w${i}`] = `weight:${first + i}`;
  }
  return {
    kernel: 'pack',
    constants,
    buffers,
    workgroups: gridOf(elements, 64),
    cost: {macs: 0, bytes: 2 * FLOAT_BYTES * elements},
  };
}

function constantsOf(section: WeightSection, i: number): Constants {
  const {offset, rows, rowStride, columns, stride} = section;
  return {
    [`START_${i}`]: offset,
    [`END_${i}`]: offset + sectionElements(section),
    [`ROWS_${i}`]: rows,
    [`ROW_STRIDE_${i}`]: rowStride,
    [`COLUMNS_${i}`]: columns,
    [`STRIDE_${i}`]: stride,
  };
}

/** No element is in it; nothing is divided by zero. */
const unusedConstants = (i: number): Constants => ({
  [`START_${i}`]: 0,
  [`END_${i}`]: 0,
  [`ROWS_${i}`]: 1,
  [`ROW_STRIDE_${i}`]: 1,
  [`COLUMNS_${i}`]: 1,
  [`STRIDE_${i}`]: 1,
});
