/** Networks learn through block ops as they do through stock ops: the same loss, step by step. */
import * as tf from '@tensorflow/tfjs-core';
import {TOY_CLASSES, toyBatch} from '../../benchmarks/toy_data.js';
import {type Mode, Trainable, trainStep} from '../../benchmarks/trainable.js';
import {type Architecture, makeNetwork} from '../../models/index.js';
import {registerBlockKernels} from '../../src/register.js';
import {eachBackend} from '../support/environment.js';
import {seededRandom} from '../support/random.js';
import {CONV_FIRST, TIMM_MOBILE} from './tiny_architectures.js';

const [BATCH, SIZE] = [8, 16];
const RATE = 5e-3;
/** Roundings differ between the two, and each step carries them on. */
const TOLERANCE = 1e-4;

/** Losses of some steps over the same few images, which the network is to learn by heart. */
async function learn(architecture: Architecture, mode: Mode, steps: number): Promise<number[]> {
  const network = makeNetwork({...architecture, size: SIZE}, {classes: TOY_CLASSES});
  const model = await Trainable.create(network, [BATCH, SIZE, SIZE, 3], 1);
  const optimizer = tf.train.adam(RATE);
  const batch = toyBatch(seededRandom(9), BATCH, SIZE);
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) losses.push(await trainStep(model, optimizer, batch, mode));
  model.dispose();
  optimizer.dispose();
  tf.dispose([batch.images, batch.labels]);
  return losses;
}

eachBackend('training', (backend) => {
  beforeAll(() => registerBlockKernels());
  // Every step is a hundred shaders, which SwiftShader runs on the CPU.
  const steps = backend === 'cpu' ? 6 : 3;

  for (const architecture of [TIMM_MOBILE, CONV_FIRST]) {
    it(`takes the same course fused and unfused: ${architecture.name}`, async () => {
      const before = tf.memory().numTensors;
      const [unfused, fused] = [
        await learn(architecture, 'unfused', steps),
        await learn(architecture, 'fused', steps),
      ];
      fused.forEach((loss, step) =>
        expect(Math.abs(loss - (unfused[step] ?? NaN)))
          .withContext(`step ${step}`)
          .toBeLessThan(TOLERANCE),
      );
      expect(fused.at(-1) ?? NaN).toBeLessThan(0.98 * (fused[0] ?? NaN));
      expect(tf.memory().numTensors).toBe(before);
    });
  }
});
