/**
 * Holds a checkpoint that timm, torchvision, Hugging Face or Keras wrote to what they compute: builds the graph model from it, runs it
 * on their input, and compares every block with their outputs. Used by scripts/verify_models.py over all architectures, and by
 * the tests over the small fixtures.
 *   node dist/benchmarks/verify_checkpoint.js ARCH CHECKPOINT OUTPUTS.safetensors [SOURCE]
 */
import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs-backend-wasm';
import {loadGraphModel} from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import {
  type Architecture,
  buildGraphModel,
  countParameters,
  findArchitecture,
  INPUT_NAME,
  type SourceName,
  tensorsOf,
} from '../models/index.js';
import type {Checkpoint} from '../models/checkpoint/checkpoint.js';
import {matchCheckpoint} from '../models/checkpoint/match.js';
import {openCheckpoint} from '../models/node_checkpoint.js';

export interface Verified {
  readonly source: SourceName;
  readonly parameters: number;
  /** Nodes compared, and the largest error of any, relative to the node's largest value. */
  readonly compared: number;
  readonly worst: number;
  readonly at: string;
}

/** @param expected Holds `image` `[1, H, W, 3]` and outputs by the name of our node, all channels last. */
export async function verifyCheckpoint(
  architecture: Architecture,
  checkpoint: Checkpoint,
  expected: Checkpoint,
  from?: SourceName,
): Promise<Verified> {
  const {network, source, weights} = matchCheckpoint(architecture, checkpoint, {from});
  const [, height = 0, width = 0] = expected.entries.get(INPUT_NAME)?.shape ?? [];
  const artifacts = await buildGraphModel(network, weights, {size: [height, width]});
  const model = await loadGraphModel(tf.io.fromMemory(artifacts));
  const image = tf.tensor4d(await expected.read(INPUT_NAME), [1, height, width, 3]);
  const names = [...expected.entries.keys()].filter((name) => name !== INPUT_NAME);
  const outputs = [model.execute(image, names)].flat();
  let [worst, at] = [0, ''];
  for (const [i, name] of names.entries()) {
    const error = relativeError(await (outputs[i] as tf.Tensor).data(), await expected.read(name));
    if (!(error <= worst)) [worst, at] = [error, name];
  }
  tf.dispose([image, outputs]);
  model.dispose();
  const parameters = countParameters(tensorsOf(network));
  return {source: source.name, parameters, compared: names.length, worst, at};
}

function relativeError(got: ArrayLike<number>, want: Float32Array): number {
  if (got.length !== want.length) return Infinity;
  let [scale, error] = [0, 0];
  want.forEach((value, i) => {
    scale = Math.max(scale, Math.abs(value));
    error = Math.max(error, Math.abs(value - (got[i] as number)));
    if (Number.isNaN(got[i]) || Number.isNaN(value)) error = Infinity;
  });
  return error / scale;
}

/** WebAssembly has 2 GB of memory, for weights and activations. */
const WASM_BYTES = 5e8;

const weightBytes = ({entries}: Checkpoint): number =>
  4 * [...entries.values()].reduce((sum, {shape}) => sum + shape.reduce((a, b) => a * b, 1), 0);

async function main([arch, checkpointPath, outputsPath, from]: readonly string[]): Promise<void> {
  if (arch === undefined || checkpointPath === undefined || outputsPath === undefined)
    throw new Error('Usage: verify_checkpoint ARCH CHECKPOINT OUTPUTS.safetensors [SOURCE]');
  const [checkpoint, expected] = [await openCheckpoint(checkpointPath), await openCheckpoint(outputsPath)];
  await tf.setBackend(weightBytes(checkpoint) < WASM_BYTES ? 'wasm' : 'cpu');
  const result = await verifyCheckpoint(
    findArchitecture(arch),
    checkpoint,
    expected,
    from as SourceName | undefined,
  );
  await Promise.all([checkpoint.close(), expected.close()]);
  console.log(JSON.stringify(result));
}

if (process.argv[1]?.endsWith('verify_checkpoint.js')) await main(process.argv.slice(2));
