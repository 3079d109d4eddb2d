/**
 * Every family of model that is known to be captured, over a few predictions, each bit by bit against the uncaptured model.
 * benchmarks/capture_equality.ts does the same over as many predictions as wanted, at full size, for models too large here.
 */
import {type GraphModel, loadGraphModel} from '@tensorflow/tfjs-converter';
import {type LayersModel, model as layersModel} from '@tensorflow/tfjs-layers';
import * as tf from '@tensorflow/tfjs-core';
import {
  type BenchmarkModel,
  disposeModel,
  fusedModel,
  randomInput,
} from '../../benchmarks/benchmark_model.js';
import {type Architecture, buildGraphModel, makeNetwork, randomWeights} from '../../models/index.js';
import {registerBlockKernels} from '../../src/register.js';
import {TINY_ARCHITECTURES} from '../models/tiny_architectures.js';
import {checkEquality, withoutSplitK} from '../support/capture_equality.js';
import {onBackend} from '../support/environment.js';
import {loadEfficientNet, loadHumanModel, loadNSFWModel} from '../support/model_files.js';

interface Family {
  readonly name: string;
  readonly load: () => Promise<GraphModel | LayersModel>;
  /** Pixels on a side, where the model leaves it open or can do with less. */
  readonly size?: number;
  /** Whether to check the model with its blocks fused too. */
  readonly fused?: boolean;
}

const human = (name: string): Family => ({name, load: () => loadHumanModel(name)});

const tiny = (architecture: Architecture): Family => ({
  name: architecture.name,
  load: async () => {
    const artifacts = await buildGraphModel(makeNetwork(architecture), randomWeights(1));
    return loadGraphModel(tf.io.fromMemory(artifacts));
  },
  fused: true,
});

/** Up to its pool, which takes 224×224 pixels only: that takes SwiftShader a minute. */
async function nsfwBody(): Promise<LayersModel> {
  const whole = await loadNSFWModel();
  const pool = whole.layers.findIndex((layer) => layer.getClassName().includes('Pooling'));
  const last = whole.layers[pool - 1];
  if (!last) throw new Error('nsfwjs has no layer before a pool.');
  return layersModel({inputs: whole.inputs, outputs: last.output});
}

/** Of the human models those that SwiftShader runs in seconds. */
const FAMILIES: readonly Family[] = [
  ...['liveness', 'emotion', 'iris', 'facemesh'].map(human),
  {name: 'nsfwjs', load: nsfwBody, size: 64},
  {name: 'EfficientNet-B0', load: loadEfficientNet, size: 32},
  ...TINY_ARCHITECTURES.map(tiny),
];
/** The first of each kind of input and one more, so that growth would show. */
const PREDICTIONS = 4;

onBackend('webgpu', 'capture of model families', () => {
  beforeAll(() => {
    registerBlockKernels();
    tf.env().set('WEBGPU_CPU_FORWARD', true); // as TF.js comes
  });
  afterAll(() => tf.env().set('WEBGPU_CPU_FORWARD', false));

  for (const {name, load, size, fused = false} of FAMILIES) {
    it(`answers as ${name} does`, async () => {
      const loaded = open(name, await load(), size);
      await expectEquality(loaded);
      if (fused) {
        const rewritten = await fusedModel(loaded);
        await expectEquality(rewritten);
        disposeModel(rewritten);
      }
      disposeModel(loaded);
    });
  }
});

function open(name: string, model: GraphModel | LayersModel, size?: number): BenchmarkModel {
  const input = model.inputs[0];
  const shape = (input?.shape ?? []).map((extent, axis) =>
    axis === 0 ? 1 : axis < 3 && size !== undefined ? size : Number(extent),
  );
  return {name, model, shape, dtype: input?.dtype === 'int32' ? 'int32' : 'float32'};
}

async function expectEquality(loaded: BenchmarkModel): Promise<void> {
  const {model, shape, dtype} = loaded;
  const request = {model, shape, dtype, predictions: PREDICTIONS};
  const equality = await withoutSplitK(() =>
    checkEquality({...request, inputAt: (n) => randomInput(loaded, n + 1)}),
  );
  expect(equality.mode)
    .withContext(equality.reason ?? '')
    .toBe('replay');
  expect(equality.differing).withContext('predictions that differ').toBe(0);
  expect(equality.unrepeatable).withContext('predictions that TF.js does not repeat').toBe(0);
  expect(equality.unchanged).withContext('predictions equal to the one before').toBe(0);
  expect(equality.growth).toEqual({tensors: 0, bytes: 0, buffers: 0, bufferBytes: 0});
}
