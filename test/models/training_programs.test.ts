/**
 * How many programs a training step gives the GPU. In Node on an H200 each takes 0.14 ms of JavaScript, whatever it computes: more of them
 * is a slower step. A change that makes them fewer lowers the numbers here.
 */
import * as tf from '@tensorflow/tfjs-core';
import {programsOf} from '../../benchmarks/programs.js';
import {SMALL_NETWORKS} from '../../benchmarks/small_networks.js';
import {TOY_CLASSES, toyBatch} from '../../benchmarks/toy_data.js';
import {gradientStep, type Mode, Trainable} from '../../benchmarks/trainable.js';
import {makeNetwork} from '../../models/index.js';
import {registerBlockKernels} from '../../src/register.js';
import {onBackend} from '../support/environment.js';
import {seededRandom} from '../support/random.js';

const SIZE = 32;
/** Forward and backward pass, the loss included, at a batch of two. */
const PROGRAMS: Readonly<Record<string, Readonly<Record<Mode, number>>>> = {
  'small MobileNetV2': {fused: 129, unfused: 211},
  'small ConvFirst': {fused: 167, unfused: 385},
};

onBackend('webgpu', 'programs of a training step', () => {
  beforeAll(() => registerBlockKernels());

  for (const architecture of SMALL_NETWORKS) {
    it(architecture.name, async () => {
      const network = makeNetwork({...architecture, size: SIZE}, {classes: TOY_CLASSES});
      const batch = toyBatch(seededRandom(9), 2, SIZE);
      const model = await Trainable.create(network, [2, SIZE, SIZE, 3], 1);
      const counted = async (mode: Mode): Promise<number> => {
        const run = async (): Promise<void> => {
          await gradientStep(model, batch, mode);
        };
        await run();
        return programsOf(run);
      };
      expect({fused: await counted('fused'), unfused: await counted('unfused')}).toEqual(
        PROGRAMS[architecture.name] ?? {fused: NaN, unfused: NaN},
      );
      model.dispose();
      tf.dispose([batch.images, batch.labels]);
    });
  }
});
