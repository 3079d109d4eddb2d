/**
 * Trains a small MobileNetV2 and a small ConvFirst on the toy data set, with their blocks fused and unfused from the same weights on the
 * same batches: the loss curves must be one, and the times are compared.
 *   node dist/benchmarks/training.js [STEPS] [BATCH] [SIZE] [webgpu|cpu] [NETWORK]
 */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import {ArchitectureError, type Architecture, makeNetwork} from '../models/index.js';
import {useNodeWebGPU} from '../src/node.js';
import {registerBlockKernels} from '../src/register.js';
import {seededRandom} from '../test/support/random.js';
import {SMALL_NETWORKS} from './small_networks.js';
import {TOY_CLASSES, toyBatch} from './toy_data.js';
import {type Mode, Trainable, trainStep} from './trainable.js';

const [STEPS, BATCH, SIZE] = [200, 64, 32].map((usual, i) => Number(process.argv[2 + i] ?? usual)) as [
  number,
  number,
  number,
];
const BACKEND = process.argv[5] ?? 'webgpu';
/** Part of a network's name. */
const WANTED = process.argv[6] ?? '';
const RATE = 2e-3;
const WARM_UP = 3;
/** Between two orders of summation; each step carries the last one's difference on. */
const CURVE_TOLERANCE = 0.02;

interface Run {
  readonly losses: number[];
  readonly times: number[];
  readonly model: Trainable;
  readonly optimizer: tf.Optimizer;
}

async function start(architecture: Architecture): Promise<Run> {
  const network = makeNetwork({...architecture, size: SIZE}, {classes: TOY_CLASSES});
  const model = await Trainable.create(network, [BATCH, SIZE, SIZE, 3], 1);
  return {losses: [], times: [], model, optimizer: tf.train.adam(RATE)};
}

/** Both take turns, step by step, so that what else the machine does slows both alike. */
async function train(architecture: Architecture): Promise<Readonly<Record<Mode, Run>>> {
  const runs = {unfused: await start(architecture), fused: await start(architecture)};
  const random = seededRandom(17);
  for (let step = 0; step < STEPS; step++) {
    const batch = toyBatch(random, BATCH, SIZE);
    for (const mode of step % 2 === 0 ? (['unfused', 'fused'] as const) : (['fused', 'unfused'] as const)) {
      const {losses, times, model, optimizer} = runs[mode];
      const begin = performance.now();
      losses.push(await trainStep(model, optimizer, batch, mode));
      times.push(performance.now() - begin);
    }
    tf.dispose([batch.images, batch.labels]);
    if (step % 20 === 0)
      process.stderr.write(
        `${architecture.name}: step ${step}, loss ${runs.fused.losses.at(-1)?.toFixed(3) ?? ''}\n`,
      );
  }
  return runs;
}

/** Median of the steps behind the warm-up, in milliseconds. */
function stepMs({times}: Run): number {
  const sorted = times.slice(WARM_UP).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

/** On images not trained on. */
async function accuracyOf({model}: Run, mode: Mode): Promise<number> {
  const {images, labels} = toyBatch(seededRandom(4242), BATCH, SIZE);
  const correct = tf.tidy(() =>
    tf.mean(tf.cast(tf.equal(tf.argMax(model.logits(images, mode), 1), tf.argMax(labels, 1)), 'float32')),
  );
  const [share = NaN] = await correct.data();
  tf.dispose([images, labels, correct]);
  return share;
}

async function compare(architecture: Architecture): Promise<string> {
  const {unfused, fused} = await train(architecture);
  const apart = Math.max(...fused.losses.map((loss, i) => Math.abs(loss - (unfused.losses[i] ?? NaN))));
  const [fusedMs, unfusedMs] = [stepMs(fused), stepMs(unfused)];
  const accuracies = [await accuracyOf(fused, 'fused'), await accuracyOf(unfused, 'unfused')];
  for (const {model, optimizer} of [unfused, fused]) {
    model.dispose();
    optimizer.dispose();
  }
  return (
    `${architecture.name}: loss ${fused.losses[0]?.toFixed(3) ?? ''} → ${fused.losses.at(-1)?.toFixed(3) ?? ''}, ` +
    `accuracy ${accuracies[0]?.toFixed(3) ?? ''} (unfused ${accuracies[1]?.toFixed(3) ?? ''}), ` +
    `curves apart by ${apart.toExponential(1)}${apart < CURVE_TOLERANCE ? '' : ' TOO FAR'}; ` +
    `${fusedMs.toFixed(1)} ms a step, unfused ${unfusedMs.toFixed(1)} ms (${(unfusedMs / fusedMs).toFixed(2)}×)`
  );
}

async function main(): Promise<void> {
  if (!(STEPS > WARM_UP)) throw new ArchitectureError(`${STEPS} steps are too few to time.`);
  const webgpu = BACKEND === 'webgpu' ? await useNodeWebGPU() : undefined;
  if (!webgpu) await tf.setBackend(BACKEND);
  registerBlockKernels();
  console.log(
    `${webgpu?.description ?? BACKEND}: ${STEPS} steps, batch ${BATCH}, ${SIZE}×${SIZE} images, Adam ${RATE}`,
  );
  for (const architecture of SMALL_NETWORKS.filter(({name}) => name.includes(WANTED)))
    console.log(await compare(architecture));
  webgpu?.dispose();
}

if (process.argv[1]?.endsWith('training.js')) await main();
