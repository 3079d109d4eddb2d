/**
 * The tensors of a Keras HDF5 file as `layer/variable`: `.h5` names variables, and a `.weights.h5` numbers them and names its layers
 * in an attribute. Nested models leave their own names out, so layers are told apart by theirs alone. Knows no HDF5 library:
 * the caller opens the file.
 */
import type {Dataset, Entity, Group} from 'h5wasm';
import {type Checkpoint, type CheckpointEntry, CheckpointError} from './checkpoint.js';
import {FLOAT_FORMATS, type FloatFormat} from './float_formats.js';

/** @param close Called once, when the checkpoint is closed. @throws {CheckpointError} for a file that Keras has not written. */
export function readKerasFile(path: string, root: Group, close: () => Promise<void>): Checkpoint {
  const datasets = new Map<string, Dataset>();
  const legacy = childOf(root, 'model_weights') ?? (root.keys().includes('layers') ? undefined : root);
  if (legacy) collectNamed(legacy, [], datasets);
  else collectNumbered(path, root, datasets);
  if (datasets.size === 0)
    throw new CheckpointError(
      `'${path}' is an HDF5 file without Keras weights; save it with model.save or save_weights.`,
    );
  const entries = new Map<string, CheckpointEntry>();
  for (const [name, dataset] of datasets)
    entries.set(name, {shape: dataset.shape ?? [], dtype: JSON.stringify(dataset.dtype)});
  return {
    path,
    format: 'keras',
    entries,
    read: (name) => Promise.resolve(valuesOf(path, name, datasets.get(name))),
    close,
  };
}

const isGroup = (entity: Entity | null): entity is Group => entity !== null && 'keys' in entity;
const isDataset = (entity: Entity | null): entity is Dataset => entity !== null && 'shape' in entity;

function childOf(group: Group, name: string): Group | undefined {
  if (!group.keys().includes(name)) return undefined;
  const child = group.get(name);
  return isGroup(child) ? child : undefined;
}

/** Keras numbers variables that a layer left without a name through the whole model. */
const variableName = (key: string): string => key.replace(/:\d+$/, '').replace(/^variable_\d+$/, 'variable');

/** `conv/conv/kernel` and `conv/conv/kernel:0`: the layer is what stands before the variable. */
function collectNamed(group: Group, path: readonly string[], into: Map<string, Dataset>): void {
  for (const key of group.keys()) {
    const child = group.get(key);
    if (isGroup(child)) collectNamed(child, [...path, key], into);
    else if (isDataset(child) && path.length > 0)
      into.set(`${path.at(-1) ?? ''}/${variableName(key)}`, child);
  }
}

/** `layers/conv2d_3/vars/0`, where `vars` has the layer's own name. */
function collectNumbered(path: string, group: Group, into: Map<string, Dataset>): void {
  const variables = childOf(group, 'vars');
  if (variables && variables.keys().length > 0) {
    const name: unknown = variables.attrs['name']?.value;
    if (typeof name !== 'string') {
      throw new CheckpointError(
        `'${path}' does not say which layer '${variables.path}' is, as files of early Keras 3 do not; load it in a newer Keras and save it again.`,
      );
    }
    for (const key of variables.keys()) {
      const child = variables.get(key);
      if (isDataset(child)) into.set(`${name}/${key}`, child);
    }
  }
  for (const key of group.keys()) {
    const child = key === 'vars' ? null : group.get(key);
    if (isGroup(child)) collectNumbered(path, child, into);
  }
}

/** As HDF5 numbers its classes of types. */
const TYPES = {integer: 0, float: 1, opaque: 5} as const;
const HALF_BYTES = 2;

function valuesOf(path: string, name: string, dataset: Dataset | undefined): Float32Array {
  if (!dataset) throw new CheckpointError(`'${path}' has no tensor '${name}'.`);
  const {type, size} = dataset.metadata;
  if (type === TYPES.float && size === HALF_BYTES) return decode('F16', bitsOf(dataset));
  // h5py has no bfloat16: Keras writes its bytes.
  if (type === TYPES.opaque && size === HALF_BYTES) return decode('BF16', dataset.value);
  const {value} = dataset;
  if (value instanceof Float32Array) return value;
  if (value instanceof Float64Array) return Float32Array.from(value);
  if (typeof value === 'number') return Float32Array.of(value);
  throw new CheckpointError(
    `'${path}': the tensor '${name}' is of type ${JSON.stringify(dataset.dtype)}, which is not read as a weight; save the model as float32.`,
  );
}

/** h5wasm knows no float16, but it gives the same bytes as integers. */
function bitsOf(dataset: Dataset): Dataset['value'] {
  const metadata = {...dataset.metadata, type: TYPES.integer, signed: false};
  const asIntegers = Object.create(dataset, {metadata: {value: metadata}}) as Dataset;
  return asIntegers.value;
}

function decode(format: 'F16' | 'BF16', bits: Dataset['value']): Float32Array {
  // A scalar comes as a number.
  const own = typeof bits === 'number' ? Uint16Array.of(bits) : (bits as Uint8Array | Uint16Array).slice();
  return (FLOAT_FORMATS[format] as FloatFormat).decode(new Uint8Array(own.buffer));
}
