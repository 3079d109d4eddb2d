/** Checkpoints that timm and Keras wrote, read and run: every block gives what theirs gave. */
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {loadGraphModel} from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import {loadLayersModel, model as layersModel, type SymbolicTensor} from '@tensorflow/tfjs-layers';
import {fileURLToPath} from 'node:url';
import {type Verified, verifyCheckpoint} from '../../benchmarks/verify_checkpoint.js';
import {
  type Architecture,
  buildGraphModel,
  type Checkpoint,
  findArchitecture,
  matchCheckpoint,
  openManifest,
  readArtifacts,
  type SourceName,
} from '../../models/index.js';
import {openCheckpoint} from '../../models/node_checkpoint.js';
import {openWeights} from '../../src/node_models.js';
import {onBackend} from '../support/environment.js';
import {expectClose} from '../support/expect_close.js';
import {seededTensors} from '../support/random.js';
import {nsfwModel} from '../support/real_models.js';
import * as tiny from './tiny_architectures.js';

const folder = fileURLToPath(new URL('../../../test/fixtures/checkpoints/', import.meta.url));
const TOLERANCE = 1e-4;

interface Case {
  readonly architecture: Architecture;
  readonly file: string;
  readonly source: SourceName;
  /** Blocks and logits. */
  readonly outputs: number;
}

const CASES: readonly Case[] = [
  {architecture: tiny.TIMM_MOBILE, file: 'timm_mobile.safetensors', source: 'timm', outputs: 6},
  {architecture: tiny.TIMM_MOBILE_TF, file: 'timm_mobile_tf.safetensors', source: 'timm', outputs: 5},
  {architecture: tiny.TIMM_UNIVERSAL, file: 'timm_universal.safetensors', source: 'timm', outputs: 6},
  // float16 and bfloat16.
  {architecture: tiny.TIMM_CONV_NEXT, file: 'timm_convnext.safetensors', source: 'timm', outputs: 6},
  {architecture: tiny.TIMM_CONV_NEXT_V2, file: 'timm_convnextv2.safetensors', source: 'timm', outputs: 5},
  {architecture: tiny.TIMM_REG_NET_Y, file: 'timm_regnety.safetensors', source: 'timm', outputs: 6},
  {architecture: tiny.TIMM_RES_NET_BASIC, file: 'timm_resnet_basic.safetensors', source: 'timm', outputs: 5},
  {
    architecture: tiny.TIMM_RES_NET_BOTTLENECK,
    file: 'timm_resnet_bottleneck.safetensors',
    source: 'timm',
    outputs: 5,
  },
  ...['.weights.h5', '.keras', '.h5'].map((suffix) => ({
    architecture: tiny.KERAS_MOBILE_NET,
    file: `keras_mobile${suffix}`,
    source: 'keras' as const,
    outputs: 4,
  })),
  ...['.weights.h5', '.h5'].map((suffix) => ({
    architecture: tiny.KERAS_CONV_NEXT,
    file: `keras_convnext${suffix}`,
    source: 'keras' as const,
    outputs: 2,
  })),
];

async function run({architecture, file}: Case): Promise<Verified> {
  const checkpoint = await openCheckpoint(folder + file);
  const expected = await openCheckpoint(`${folder}${file.split('.')[0] ?? ''}.outputs.safetensors`);
  try {
    return await verifyCheckpoint(architecture, checkpoint, expected);
  } finally {
    await Promise.all([checkpoint.close(), expected.close()]);
  }
}

onBackend('cpu', 'checkpoints of other libraries', () => {
  for (const example of CASES) {
    it(`equals them block by block: ${example.file}`, async () => {
      const {source, compared, worst, at} = await run(example);
      expect(source).toBe(example.source);
      expect(compared).toBe(example.outputs);
      expect(worst).withContext(at).toBeLessThan(TOLERANCE);
    });
  }
});

/** Keras's file as a TF.js layers model has it: the same names, in shards that cut through tensors. */
async function writeShards(path: string, from: Checkpoint): Promise<void> {
  const specs: tf.io.WeightsManifestEntry[] = [];
  const parts: Buffer[] = [];
  for (const [name, {shape, dtype}] of from.entries) {
    if (!dtype.includes('f')) continue; // Keras counts what it normalised.
    specs.push({name: `nested/${name}`, shape: [...shape], dtype: 'float32'});
    parts.push(Buffer.from((await from.read(name)).slice().buffer));
  }
  const data = Buffer.concat(parts);
  const size = 10_007;
  const paths = Array.from({length: Math.ceil(data.length / size)}, (_, i) => `shard${i}.bin`);
  paths.forEach((name, i) => writeFileSync(join(path, name), data.subarray(i * size, (i + 1) * size)));
  const json = {modelTopology: {}, weightsManifest: [{paths, weights: specs}]};
  writeFileSync(join(path, 'model.json'), JSON.stringify(json));
}

onBackend('cpu', 'checkpoints of TF.js', () => {
  it('are read tensor by tensor from their shards, and equal Keras block by block', async () => {
    const path = mkdtempSync(join(tmpdir(), 'shards-'));
    const keras = await openCheckpoint(`${folder}keras_mobile.h5`);
    await writeShards(path, keras);
    const expected = await openCheckpoint(`${folder}keras_mobile.outputs.safetensors`);
    const {specs, source} = await openWeights(path);
    const found = await verifyCheckpoint(tiny.KERAS_MOBILE_NET, openManifest(specs, source), expected);
    expect(found.source).toBe('keras');
    expect(found.worst).withContext(found.at).toBeLessThan(TOLERANCE);
    await expectAsync(openWeights(join(path, 'nowhere'))).toBeRejectedWithError(/There is no file/);
    rmSync(join(path, 'shard1.bin'));
    await expectAsync(openWeights(path)).toBeRejectedWithError(/shard1.bin' is missing/);
    await Promise.all([keras.close(), expected.close()]);
    rmSync(path, {recursive: true});
  });

  it('of too few bytes are refused', () => {
    const artifacts = nsfwModel();
    const weightData = (artifacts.weightData as ArrayBuffer).slice(8);
    expect(() => readArtifacts('cut', {...artifacts, weightData})).toThrowError(
      /lists \d+ bytes of weights, but its shards have \d+/,
    );
  });
});

describe('a TF.js layers model from npm as a checkpoint', () => {
  beforeAll(() => tf.setBackend('wasm'));

  it('gives the features of its own trained MobileNetV2', async () => {
    const artifacts = nsfwModel();
    const trained = await loadLayersModel(tf.io.fromMemory(artifacts));
    const last = trained.layers[trained.layers.findIndex(({name}) => name === 'flatten_1') - 1];
    const features = layersModel({inputs: trained.inputs, outputs: last?.output as SymbolicTensor});
    const whole = readArtifacts('nsfwjs', artifacts);
    // Its classifier is one of its own, three dense layers.
    const entries = new Map([...whole.entries].filter(([name]) => !name.startsWith('dense_')));
    const {network, weights, source} = matchCheckpoint(
      findArchitecture('mobilenetv2'),
      {...whole, entries},
      {classes: 0},
    );
    expect(source.name).toBe('keras');
    const model = await loadGraphModel(tf.io.fromMemory(await buildGraphModel(network, weights)));
    const image = seededTensors(3)([1, 224, 224, 3]);
    const actual = model.predict(image) as tf.Tensor;
    const expected = tf.tidy(() => tf.mean(features.apply(image) as tf.Tensor, [1, 2]));
    await expectClose(actual, expected, {tolerance: TOLERANCE});
    tf.dispose([image, actual, expected]);
    model.dispose();
    trained.dispose();
  });
});

describe('Keras files of half precision', () => {
  for (const dtype of ['float16', 'bfloat16']) {
    it(`are read: ${dtype}`, async () => {
      const file = await openCheckpoint(`${folder}keras_${dtype}.weights.h5`);
      expect([...(await file.read('dense/0'))]).toEqual([0.5, -1.25, 3, 1024, -0.0078125, 0]);
      expect([...(await file.read('dense/1'))]).toEqual([1, 2, -3]);
      await file.close();
    });
  }
});
