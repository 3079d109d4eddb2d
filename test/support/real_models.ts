/** Trained models from npm, and the one fixture, as artifacts. Node only. */
import {createRequire} from 'node:module';
import {readdirSync, readFileSync} from 'node:fs';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import type * as tf from '@tensorflow/tfjs-core';
import {readModel} from '../../src/node_models.js';
import {sizeOf, type WeightEntry} from '../../src/graph/weights.js';
import {seededRandom} from './random.js';

const require = createRequire(import.meta.url);
/** The repository; this file runs from dist/test/support. */
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const HUMAN = join(ROOT, 'node_modules/@vladmandic/human/models');

/** Names of all graph models that `@vladmandic/human` ships; models.json is their list and no model. */
export const HUMAN_MODELS = readdirSync(HUMAN)
  .filter((name) => name.endsWith('.json') && name !== 'models.json')
  .map((name) => name.slice(0, -'.json'.length));

export const humanModel = (name: string): Promise<tf.io.ModelArtifacts> =>
  readModel(join(HUMAN, `${name}.json`));

/**
 * The models of `nsfwjs`, whose files are modules: a JSON and base64 texts. MobileNetV2 and InceptionV3 are layers models, the
 * wider MobileNetV2 (`mid`) is a graph model.
 */
export function nsfwModel(
  name: 'mobilenet_v2' | 'mobilenet_v2_mid' | 'inception_v3' = 'mobilenet_v2',
): tf.io.ModelArtifacts {
  const folder = join(ROOT, 'node_modules/nsfwjs/dist/models', name);
  const {weightsManifest, ...json} = require(join(folder, 'model.min.js')) as tf.io.ModelJSON;
  const shards = weightsManifest
    .flatMap(({paths}) => paths)
    .map((path) => Buffer.from(require(join(folder, `${path}.min.js`)) as string, 'base64'));
  const weightSpecs = weightsManifest.flatMap(({weights}) => weights);
  return {...json, weightSpecs, weightData: copyOf(Buffer.concat(shards))};
}

const FIXTURE = join(ROOT, 'test/fixtures/efficientnet_b0/model.json');

/** EfficientNet-B0's graph, with random weights whose activations neither vanish nor explode. */
export function efficientNetModel(): tf.io.ModelArtifacts {
  const {weightsManifest, ...json} = JSON.parse(readFileSync(FIXTURE, 'utf8')) as tf.io.ModelJSON;
  const specs = weightsManifest.flatMap(({weights}) => weights);
  const next = seededRandom(5);
  const squeezed = squeezedChannels(json.modelTopology as Topology, specs);
  const parts = specs.map((spec) => Buffer.from(fill(spec, next, squeezed).buffer));
  return {...json, weightSpecs: specs, weightData: copyOf(Buffer.concat(parts))};
}

interface Topology {
  readonly node: readonly {readonly name: string; readonly op: string; readonly input?: readonly string[]}[];
}

/** The last size of each gate's reshape: the channels of the filter that reads it. */
function squeezedChannels({node}: Topology, specs: readonly WeightEntry[]): ReadonlyMap<string, number> {
  const shapes = new Map(specs.map(({name, shape}) => [name, shape]));
  const found = new Map<string, number>();
  for (const {name, input = []} of node.filter(({op}) => op === 'Pack')) {
    const reshape = node.find(({op, input: from}) => op === 'Reshape' && from?.[1] === name);
    const reader = node.find(({op, input: from}) => op === '_FusedConv2D' && from?.[0] === reshape?.name);
    found.set(input[3] ?? '', shapes.get(reader?.input?.[1] ?? '')?.[2] ?? 0);
  }
  return found;
}

function fill(
  {name, shape, dtype}: WeightEntry,
  next: () => number,
  squeezed: ReadonlyMap<string, number>,
): Float32Array | Int32Array {
  const size = sizeOf(shape);
  if (dtype === 'int32') {
    const channels = squeezed.get(name);
    if (channels !== undefined) return Int32Array.of(channels);
    if (name.endsWith('reduction_indices')) return Int32Array.of(1, 2);
    return Int32Array.of(name.endsWith('/stack') ? 0 : 1);
  }
  // The preprocessing's scale, mean and deviation are positive.
  if (shape.length < 1 || shape.join() === '1,1,3')
    return Float32Array.from({length: size}, () => 0.2 + 0.2 * next());
  const inputs =
    shape.length === 4 && shape[3] === 1 ? sizeOf(shape.slice(0, 2)) : sizeOf(shape.slice(0, -1));
  const bound = shape.length === 1 ? 0.2 : 2 * Math.sqrt(3 / inputs);
  return Float32Array.from({length: size}, () => bound * (2 * next() - 1));
}

const copyOf = (data: Buffer): ArrayBuffer => new Uint8Array(data).buffer;
