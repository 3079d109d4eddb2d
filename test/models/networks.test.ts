/** Graphs of small networks with every kind of block, against the same network run layer by layer with batch norm unfolded. */
import {loadGraphModel} from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import {buildGraphModel, makeNetwork, randomWeights, runNetwork} from '../../models/index.js';
import {eachBackend} from '../support/environment.js';
import {expectClose} from '../support/expect_close.js';
import {expectNoLeak} from '../support/expect_no_leak.js';
import {seededTensors} from '../support/random.js';
import {TIMM_MOBILE, TINY_ARCHITECTURES} from './tiny_architectures.js';

/** float32 in another order, through twenty layers. */
const TOLERANCE = 1e-5;

eachBackend('networks as graphs', () => {
  for (const architecture of TINY_ARCHITECTURES) {
    it(`give what their layers give: ${architecture.name}`, async () => {
      const network = makeNetwork(architecture, {classes: 10});
      const image = seededTensors(5)([2, 32, 40, 3]) as tf.Tensor4D;
      const expected = await runNetwork(network, randomWeights(3), image);
      const model = await loadGraphModel(
        tf.io.fromMemory(await buildGraphModel(network, randomWeights(3), {size: [32, 40]})),
      );
      const actual = model.predict(image) as tf.Tensor;
      await expectClose(actual, expected, {name: architecture.name, tolerance: TOLERANCE});
      tf.dispose([image, expected, actual]);
      model.dispose();
    });
  }

  it('gives features where there are no classes', async () => {
    const network = makeNetwork(TIMM_MOBILE, {classes: 0});
    const model = await loadGraphModel(tf.io.fromMemory(await buildGraphModel(network, randomWeights(1))));
    const output = tf.tidy(() => model.predict(tf.zeros([1, 32, 32, 3])) as tf.Tensor);
    expect(output.shape).toEqual([1, 32]);
    output.dispose();
    model.dispose();
  });

  it('runs layer by layer without a leak', async () => {
    const network = makeNetwork(TIMM_MOBILE, {classes: 10});
    await expectNoLeak(async () => {
      const image = tf.zeros<tf.Rank.R4>([1, 32, 32, 3]);
      const output = await runNetwork(network, randomWeights(1), image);
      tf.dispose([image, output]);
    });
  });
});
