/** Trained models from npm, and the one fixture, as artifacts. Node only. */
import {createRequire} from 'node:module';
import {readdirSync, readFileSync} from 'node:fs';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import type * as tf from '@tensorflow/tfjs-core';
import {readModel} from '../../src/node_models.js';
import {efficientNetArtifacts} from './efficient_net.js';

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

/** See efficient_net.ts. */
export const efficientNetModel = (): tf.io.ModelArtifacts =>
  efficientNetArtifacts(JSON.parse(readFileSync(FIXTURE, 'utf8')) as tf.io.ModelJSON);

const copyOf = (data: Buffer): ArrayBuffer => new Uint8Array(data).buffer;
