/** Models to capture: those of npm packages by name, any other by the path of its model.json. */
import {existsSync} from 'node:fs';
import {readdir, readFile} from 'node:fs/promises';
import {createRequire} from 'node:module';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import {
  ARCHITECTURES,
  buildGraphModel,
  findArchitecture,
  makeNetwork,
  randomWeights as randomTensors,
} from '../models/index.js';
import {type BenchmarkModel, openModel, seeded} from './benchmark_model.js';

export {type BenchmarkModel, randomInput} from './benchmark_model.js';

const PACKAGES = fileURLToPath(new URL('../../node_modules/', import.meta.url)); // From dist/benchmarks.
const HUMAN = join(PACKAGES, '@vladmandic/human/models');
const require = createRequire(import.meta.url);

/** Names of all models of npm `@vladmandic/human`. */
export async function humanModels(): Promise<string[]> {
  const files = await readdir(HUMAN);
  return files.filter((file) => file.endsWith('.bin')).map((file) => file.replace('.bin', ''));
}

/**
 * `nsfwjs`, a name of `humanModels`, an architecture of models/ with random weights, or the path of a model.json; weights that
 * are not beside it are random.
 * @param size of the image, in pixels, where the model leaves it open; an architecture's own unless given.
 */
export const loadModel = async (name: string, size?: number): Promise<BenchmarkModel> =>
  openModel(name, await loadArtifacts(name, size), size);

/** Of what `loadModel` takes. */
export function loadArtifacts(name: string, size?: number): Promise<tf.io.ModelArtifacts> {
  if (name === 'nsfwjs') return Promise.resolve(nsfwArtifacts());
  return isArchitecture(name)
    ? buildGraphModel(makeNetwork(findArchitecture(name)), randomTensors(1), size ? {size} : {})
    : graphArtifacts(name);
}

const isArchitecture = (name: string): boolean =>
  ARCHITECTURES.some((architecture) => architecture.name === name);

function nsfwArtifacts(): tf.io.ModelArtifacts {
  const folder = join(PACKAGES, 'nsfwjs/dist/models/mobilenet_v2');
  const json = require(join(folder, 'model.min.js')) as tf.io.ModelJSON;
  const weights = Buffer.from(require(join(folder, 'group1-shard1of1.min.js')) as string, 'base64');
  return joined(json, new Uint8Array(weights).buffer);
}

async function graphArtifacts(name: string): Promise<tf.io.ModelArtifacts> {
  const path = name.endsWith('.json') ? name : join(HUMAN, `${name}.json`);
  const json = JSON.parse(await readFile(path, 'utf8')) as tf.io.ModelJSON;
  const files = json.weightsManifest.flatMap(({paths}) => paths).map((file) => join(dirname(path), file));
  const specs = json.weightsManifest.flatMap(({weights}) => weights);
  const data = files.every((file) => existsSync(file))
    ? new Uint8Array(Buffer.concat(await Promise.all(files.map((file) => readFile(file))))).buffer
    : randomWeights(specs);
  return joined(json, data);
}

function joined(json: tf.io.ModelJSON, weightData: ArrayBuffer): tf.io.ModelArtifacts {
  const {weightsManifest, ...rest} = json;
  return {...rest, weightSpecs: weightsManifest.flatMap(({weights}) => weights), weightData};
}

/** The integers of EfficientNet-B0, whose converted graph is published without weights: axes, slices, channel counts. */
const INTEGERS: Readonly<Record<string, readonly number[]>> = {
  'stack_5/block_3/se_reshape/strided_slice/stack': [0],
  'stack_5/block_3/se_reshape/strided_slice/stack_1': [1],
  'stack_5/block_3/se_reshape/Reshape/shape/1': [1],
  'stack_5/block_3/se_squeeze/Mean/reduction_indices': [1, 2],
  'stack_0/block_0/se_reshape/Reshape/shape/3': [32],
  'stack_1/block_0/se_reshape/Reshape/shape/3': [96],
  'stack_1/block_1/se_reshape/Reshape/shape/3': [144],
  'stack_2/block_1/se_reshape/Reshape/shape/3': [240],
  'stack_3/block_2/se_reshape/Reshape/shape/3': [480],
  'stack_4/block_2/se_reshape/Reshape/shape/3': [672],
  'stack_5/block_3/se_reshape/Reshape/shape/3': [1152],
};

function integers(name: string): Int32Array<ArrayBuffer> {
  const known = Object.entries(INTEGERS).find(([end]) => name.endsWith(end));
  if (!known)
    throw new Error(`The weights file is missing, and nothing is known about the integers '${name}'.`);
  return Int32Array.from(known[1]);
}

/** Of a scale that keeps activations of order one. */
function randomWeights(specs: readonly tf.io.WeightsManifestEntry[]): ArrayBuffer {
  const random = seeded(1);
  const arrays = specs.map(({name, shape, dtype}) => {
    const length = tf.util.sizeFromShape(shape);
    if (dtype === 'int32') return integers(name);
    const fanIn = shape.length > 1 ? shape.slice(0, -1).reduce((a, b) => a * b, 1) : 1;
    const isDepthwise = shape.length === 4 && shape[3] === 1;
    const scale = Math.sqrt(3 / (isDepthwise ? (shape[0] ?? 1) * (shape[1] ?? 1) : fanIn));
    return Float32Array.from({length}, () => scale * (2 * random() - 1));
  });
  return new Uint8Array(Buffer.concat(arrays.map(({buffer}) => new Uint8Array(buffer)))).buffer;
}
