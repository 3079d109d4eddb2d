/** The report's numbers of dispatches against those that reach the GPU. */
import {type GraphModel, loadGraphModel} from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import {fuse} from '../../src/fuse.js';
import type {FusedModel} from '../../src/fused_model.js';
import {onBackend, useBackend} from '../support/environment.js';
import {expectClose} from '../support/expect_close.js';
import {seededTensors} from '../support/random.js';
import {efficientNetModel, humanModel} from '../support/real_models.js';

/** Runs once and counts; the pass encoder's method is put back afterwards. */
async function dispatchesOf(
  model: GraphModel | FusedModel,
  inputs: tf.NamedTensorMap,
  outputs: string[],
): Promise<number> {
  const pass = GPUComputePassEncoder.prototype;
  const original = Object.getOwnPropertyDescriptor(pass, 'dispatchWorkgroups') as PropertyDescriptor;
  let count = 0;
  const counted = function (this: GPUComputePassEncoder, ...groups: [number, number?, number?]): undefined {
    count++;
    (original.value as (...args: unknown[]) => void).apply(this, groups);
  };
  Object.defineProperty(pass, 'dispatchWorkgroups', {...original, value: counted});
  try {
    const results = [model.execute(inputs, outputs)].flat();
    await results[0]?.data();
    tf.dispose(results);
  } finally {
    Object.defineProperty(pass, 'dispatchWorkgroups', original);
  }
  return count;
}

onBackend('webgpu', 'dispatches', () => {
  // As the backend is by default; without it the original's shape arithmetic needs dataSync.
  beforeAll(() => tf.env().set('WEBGPU_CPU_FORWARD', true));
  afterAll(() => tf.env().set('WEBGPU_CPU_FORWARD', false));

  const MODELS: readonly (readonly [
    string,
    () => tf.io.ModelArtifacts | Promise<tf.io.ModelArtifacts>,
    Readonly<Record<string, readonly number[]>>,
  ])[] = [
    ['EfficientNet-B0', efficientNetModel, {image_input: [1, 64, 64, 3]}],
    ['human iris', () => humanModel('iris'), {input_1: [1, 64, 64, 3]}],
  ];
  for (const [name, make, inputShapes] of MODELS) {
    it(name, async () => {
      const original = await loadGraphModel(tf.io.fromMemory(await make()));
      const fused = await fuse(original, {inputShapes});
      const draw = seededTensors(3);
      const inputs = Object.fromEntries(
        Object.entries(inputShapes).map(([key, shape]) => [key, draw(shape)]),
      );
      const counted = {
        before: await dispatchesOf(original, inputs, original.outputNodes),
        after: await dispatchesOf(fused, inputs, original.outputNodes),
      };
      expect(counted).toEqual(fused.report.dispatches);
      tf.dispose(inputs);
      original.dispose();
      fused.dispose();
    });
  }
});

onBackend('webgpu', 'shape arithmetic', () => {
  it('keeps EfficientNet-B0 from this backend in Node, until its shapes are known', async () => {
    const artifacts = efficientNetModel();
    const inputShapes = {image_input: [1, 64, 64, 3]};
    const original = await loadGraphModel(tf.io.fromMemory(artifacts));
    const fused = await fuse(original, {inputShapes});
    const values = seededTensors(3)(inputShapes.image_input, 255);
    const pixels = await values.data();
    values.dispose();
    const image = (): tf.Tensor => tf.tensor(pixels, inputShapes.image_input);
    // On values that are on the GPU, which a backend without CPU forwarding has them all on.
    expect(() => tf.tidy(() => void original.predict(image()))).toThrowError(/OffscreenCanvas/);
    const x = image();
    const actual = fused.predict(x) as tf.Tensor;
    const found = await actual.data();
    tf.dispose([x, actual]);
    original.dispose();
    fused.dispose();
    await useBackend('cpu');
    const oracle = await loadGraphModel(tf.io.fromMemory(artifacts));
    const again = image();
    const expected = oracle.predict(again) as tf.Tensor;
    await expectClose(found, await expected.data(), {tolerance: 1e-4});
    tf.dispose([again, expected]);
    oracle.dispose();
    await useBackend('webgpu');
  });
});
