/** The weights of a TF.js layers model as a checkpoint: they carry Keras's names, `block1a_dwconv/depthwise_kernel`. */
import * as tf from '@tensorflow/tfjs-core';
import {type Checkpoint, type CheckpointEntry, CheckpointError} from './checkpoint.js';

/** @throws {CheckpointError} where the artifacts have no weights, or their data do not fit the manifest. */
export async function readArtifacts(path: string, artifacts: tf.io.ModelArtifacts): Promise<Checkpoint> {
  const {weightSpecs = [], weightData} = artifacts;
  if (weightSpecs.length === 0 || weightData === undefined)
    throw new CheckpointError(`'${path}' has no weights; give a model.json with its shards.`);
  const tensors = tf.io.decodeWeights(tf.io.CompositeArrayBuffer.join(weightData), [...weightSpecs]);
  const values = new Map<string, Float32Array>();
  const entries = new Map<string, CheckpointEntry>();
  try {
    for (const [full, tensor] of Object.entries(tensors)) {
      const name = full.split('/').slice(-2).join('/');
      entries.set(name, {shape: tensor.shape, dtype: tensor.dtype});
      if (tensor.dtype === 'float32') values.set(name, (await tensor.data()) as Float32Array); // By its dtype.
    }
  } finally {
    tf.dispose(tensors);
  }
  return {
    path,
    format: 'tfjs',
    entries,
    read(name) {
      const found = values.get(name);
      if (!found) throw new CheckpointError(`'${path}' has no float32 weight '${name}'.`);
      return Promise.resolve(found);
    },
    close: () => Promise.resolve(),
  };
}
