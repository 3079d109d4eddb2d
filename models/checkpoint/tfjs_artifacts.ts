/** The weights of a TF.js layers model as a checkpoint: they carry Keras's names, `block1a_dwconv/depthwise_kernel`. */
import * as tf from '@tensorflow/tfjs-core';
import {
  type ByteSource,
  type Checkpoint,
  type CheckpointEntry,
  CheckpointError,
  sizeOf,
} from './checkpoint.js';

/** @throws {CheckpointError} where the artifacts have no weights, or their data do not fit the manifest. */
export function readArtifacts(path: string, artifacts: tf.io.ModelArtifacts): Checkpoint {
  const {weightSpecs = [], weightData} = artifacts;
  const data = new tf.io.CompositeArrayBuffer(weightData ?? []);
  return openManifest(weightSpecs, {
    path,
    size: data.byteLength,
    read: (start, end) => Promise.resolve(new Uint8Array(data.slice(start, end))),
    close: () => Promise.resolve(),
  });
}

interface Located {
  readonly spec: tf.io.WeightsManifestEntry;
  readonly start: number;
  readonly end: number;
}

const BYTES: Readonly<Record<string, number>> = {
  float32: 4,
  int32: 4,
  bool: 1,
  complex64: 8,
  float16: 2,
  uint16: 2,
  uint8: 1,
};

/**
 * @param specs Of the weights, in the order of their bytes. @param source The shards, one behind the other; read tensor by tensor.
 * @throws {CheckpointError} where there are no weights, or the bytes are not as many as the specs say.
 */
export function openManifest(specs: readonly tf.io.WeightsManifestEntry[], source: ByteSource): Checkpoint {
  const {path} = source;
  if (specs.length === 0)
    throw new CheckpointError(`'${path}' has no weights; give a model.json with its shards.`);
  const located = locate(specs, source);
  const entries = new Map<string, CheckpointEntry>();
  for (const [name, {spec}] of located) entries.set(name, {shape: spec.shape, dtype: spec.dtype});
  return {
    path,
    format: 'tfjs',
    entries,
    async read(name) {
      const found = located.get(name);
      if (found?.spec.dtype !== 'float32')
        throw new CheckpointError(`'${path}' has no float32 weight '${name}'.`);
      const {spec, start, end} = found;
      const tensors = tf.io.decodeWeights((await source.read(start, end)).buffer, [spec]);
      const tensor = tensors[spec.name] as tf.Tensor; // The one that was asked for.
      return (tensor.data() as Promise<Float32Array>).finally(() => tensor.dispose());
    },
    close: () => source.close(),
  };
}

/** By layer and variable: what stands before them are the names of nested models. */
function locate(
  specs: readonly tf.io.WeightsManifestEntry[],
  {path, size}: ByteSource,
): ReadonlyMap<string, Located> {
  const located = new Map<string, Located>();
  let start = 0;
  for (const spec of specs) {
    const each = BYTES[spec.quantization?.dtype ?? spec.dtype];
    if (each === undefined)
      throw new CheckpointError(
        `'${path}': the weight '${spec.name}' is ${spec.dtype}, which no network has.`,
      );
    const end = start + each * sizeOf(spec.shape);
    located.set(spec.name.split('/').slice(-2).join('/'), {spec, start, end});
    start = end;
  }
  if (start !== size)
    throw new CheckpointError(
      `'${path}' lists ${start} bytes of weights, but its shards have ${size}; fetch the model again with all its files.`,
    );
  return located;
}
