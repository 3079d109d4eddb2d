/**
 * Trains a small MobileNetV2 and a small ConvFirst on the toy data set, with their blocks fused and unfused from the same weights on the
 * same batches: the loss curves must be one, and the times are compared.
 *   node dist/benchmarks/training.js [STEPS] [BATCH] [SIZE]
 */
import * as tf from '@tensorflow/tfjs-core';
import {ArchitectureError, type Architecture, findArchitecture, makeNetwork} from '../models/index.js';
import {convFirst} from '../models/families/conv_first.js';
import {invertedResidualNet} from '../models/families/inverted_residual.js';
import {useNodeWebGPU} from '../src/node.js';
import {registerBlockKernels} from '../src/register.js';
import {seededRandom} from '../test/support/random.js';
import {TOY_CLASSES, toyBatch} from './toy_data.js';
import {type Mode, Trainable, trainStep} from './trainable.js';

const [STEPS, BATCH, SIZE] = [200, 64, 32].map((usual, i) => Number(process.argv[2 + i] ?? usual)) as [
  number,
  number,
  number,
];
const RATE = 2e-3;
const WARM_UP = 3;
/** Between two orders of summation; each step carries the last one's difference on. */
const CURVE_TOLERANCE = 0.02;

export const SMALL_NETWORKS: readonly Architecture[] = [
  {
    ...findArchitecture('mobilenetv2'),
    name: 'small MobileNetV2',
    units: (conventions, classes) =>
      invertedResidualNet(
        {
          stem: 16,
          act: 'relu6',
          stages: [
            [{block: 'mb', k: 3, s: 1, t: 1, c: 16, n: 1}],
            [{block: 'mb', k: 3, s: 2, t: 4, c: 24, n: 2}],
            [{block: 'mb', k: 3, s: 2, t: 4, c: 48, n: 3}],
          ],
        },
        conventions,
        classes,
      ),
  },
  {
    ...findArchitecture('convfirst_pico'),
    name: 'small ConvFirst',
    units: (conventions, classes) => convFirst({width: 32, depths: [2, 2], size: SIZE}, conventions, classes),
  },
];

interface Run {
  readonly losses: readonly number[];
  /** Median of the steps behind the warm-up, in milliseconds. */
  readonly stepMs: number;
  /** On images not trained on. */
  readonly accuracy: number;
}

async function train(architecture: Architecture, mode: Mode): Promise<Run> {
  const network = makeNetwork({...architecture, size: SIZE}, {classes: TOY_CLASSES});
  const model = await Trainable.create(network, [BATCH, SIZE, SIZE, 3], 1);
  const optimizer = tf.train.adam(RATE);
  const random = seededRandom(17);
  const losses: number[] = [];
  const times: number[] = [];
  for (let step = 0; step < STEPS; step++) {
    const batch = toyBatch(random, BATCH, SIZE);
    const start = performance.now();
    losses.push(await trainStep(model, optimizer, batch, mode));
    times.push(performance.now() - start);
    tf.dispose([batch.images, batch.labels]);
    if (step % 20 === 0)
      process.stderr.write(
        `${architecture.name}, ${mode}: step ${step}, loss ${losses.at(-1)?.toFixed(3) ?? ''}\n`,
      );
  }
  const accuracy = await accuracyOf(model, mode);
  model.dispose();
  optimizer.dispose();
  const sorted = times.slice(WARM_UP).sort((a, b) => a - b);
  return {losses, accuracy, stepMs: sorted[Math.floor(sorted.length / 2)] ?? NaN};
}

async function accuracyOf(model: Trainable, mode: Mode): Promise<number> {
  const {images, labels} = toyBatch(seededRandom(4242), BATCH, SIZE);
  const correct = tf.tidy(() =>
    tf.mean(tf.cast(tf.equal(tf.argMax(model.logits(images, mode), 1), tf.argMax(labels, 1)), 'float32')),
  );
  const [share = NaN] = await correct.data();
  tf.dispose([images, labels, correct]);
  return share;
}

async function main(): Promise<void> {
  const webgpu = await useNodeWebGPU();
  registerBlockKernels();
  if (!(STEPS > WARM_UP)) throw new ArchitectureError(`${STEPS} steps are too few to time.`);
  console.log(`${STEPS} steps, batch ${BATCH}, ${SIZE}×${SIZE} images, Adam ${RATE}`);
  for (const architecture of SMALL_NETWORKS) {
    const [unfused, fused] = [await train(architecture, 'unfused'), await train(architecture, 'fused')];
    const apart = Math.max(...fused.losses.map((loss, i) => Math.abs(loss - (unfused.losses[i] ?? NaN))));
    console.log(
      `${architecture.name}: loss ${fused.losses[0]?.toFixed(3) ?? ''} → ${fused.losses.at(-1)?.toFixed(3) ?? ''}, accuracy ${fused.accuracy} ` +
        `(unfused ${unfused.accuracy}), curves apart by ${apart.toExponential(1)}${apart < CURVE_TOLERANCE ? '' : ' TOO FAR'}; ` +
        `${fused.stepMs.toFixed(1)} ms a step, unfused ${unfused.stepMs.toFixed(1)} ms`,
    );
  }
  webgpu.dispose();
}

if (process.argv[1]?.endsWith('training.js')) await main();
