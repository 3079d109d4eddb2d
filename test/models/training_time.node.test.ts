/** Training through block ops is the faster way. In Node alone, where the two are furthest apart: elsewhere noise could decide. */
import * as tf from '@tensorflow/tfjs-core';
import {SMALL_NETWORKS} from '../../benchmarks/small_networks.js';
import {TOY_CLASSES, toyBatch} from '../../benchmarks/toy_data.js';
import {Trainable, trainStep} from '../../benchmarks/trainable.js';
import {makeNetwork} from '../../models/index.js';
import {registerBlockKernels} from '../../src/register.js';
import {onBackend} from '../support/environment.js';
import {seededRandom} from '../support/random.js';

const SIZE = 16;
const RATE = 5e-3;

onBackend('cpu', 'the time of training', () => {
  beforeAll(() => registerBlockKernels());

  for (const architecture of SMALL_NETWORKS) {
    it(`is as fast fused as unfused: ${architecture.name}`, async () => {
      const network = makeNetwork({...architecture, size: SIZE}, {classes: TOY_CLASSES});
      const batch = toyBatch(seededRandom(9), 2, SIZE);
      const best = {fused: Infinity, unfused: Infinity};
      for (const mode of ['unfused', 'fused'] as const) {
        const model = await Trainable.create(network, [2, SIZE, SIZE, 3], 1);
        const optimizer = tf.train.adam(RATE);
        for (let step = 0; step < 4; step++) {
          const start = performance.now();
          await trainStep(model, optimizer, batch, mode);
          best[mode] = Math.min(best[mode], performance.now() - start);
        }
        model.dispose();
        optimizer.dispose();
      }
      tf.dispose([batch.images, batch.labels]);
      // Several times as fast in Node; the best of a few steps stays below on a busy machine, too.
      expect(best.fused).toBeLessThan(best.unfused);
    });
  }
});
