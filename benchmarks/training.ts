/**
 * Trains a small MobileNetV2 and a small ConvFirst on the toy data set, with their blocks fused and unfused from the same weights on the
 * same batches: the loss curves must be one, and the times are compared, of a whole step and of its forward and backward pass
 * without the optimizer, which is the same for both.
 *   node dist/benchmarks/training.js [STEPS] [BATCH] [SIZE] [webgpu|cpu] [NETWORK] [--timed=40] [--rate=0.0005]
 * The curve has STEPS steps of Adam at that rate, of which the first ones are timed.
 */
import {parseArgs} from 'node:util';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import {ArchitectureError, type Architecture, makeNetwork} from '../models/index.js';
import {useNodeWebGPU} from '../src/node.js';
import {registerBlockKernels} from '../src/register.js';
import {seededRandom} from '../test/support/random.js';
import {SMALL_NETWORKS} from './small_networks.js';
import {TOY_CLASSES, type ToyBatch, toyBatch} from './toy_data.js';
import {programsOf} from './programs.js';
import {gradientStep, type Mode, Trainable, trainStep} from './trainable.js';

const {values: OPTIONS, positionals: GIVEN} = parseArgs({
  options: {timed: {type: 'string', default: '40'}, rate: {type: 'string', default: '0.0005'}},
  allowPositionals: true,
});
const [STEPS, BATCH, SIZE] = [200, 64, 32].map((usual, i) => Number(GIVEN[i] ?? usual)) as [
  number,
  number,
  number,
];
const TIMED = Math.min(STEPS, Number(OPTIONS.timed));
const BACKEND = GIVEN[3] ?? 'webgpu';
/** Part of a network's name. */
const WANTED = GIVEN[4] ?? '';
/** So small that the loss does not jump: behind a jump two orders of summation are two curves. */
const RATE = Number(OPTIONS.rate);
const WARM_UP = 3;
/** Between two orders of summation; each step carries the last one's difference on. */
const CURVE_TOLERANCE = 0.02;

interface Run {
  readonly losses: number[];
  /** Of whole steps, in milliseconds. */
  readonly times: number[];
  /** Of forward and backward pass alone. */
  readonly gradientTimes: number[];
  /** GPU programs of a step, and of forward and backward pass alone; NaN on other backends. */
  readonly programs: {step: number; gradient: number};
  readonly model: Trainable;
  readonly optimizer: tf.Optimizer;
}

async function start(architecture: Architecture): Promise<Run> {
  const network = makeNetwork({...architecture, size: SIZE}, {classes: TOY_CLASSES});
  const model = await Trainable.create(network, [BATCH, SIZE, SIZE, 3], 1);
  return {
    losses: [],
    times: [],
    gradientTimes: [],
    programs: {step: NaN, gradient: NaN},
    model,
    optimizer: tf.train.adam(RATE),
  };
}

/** Both take turns, step by step, so that what else the machine does slows both alike. */
async function train(architecture: Architecture): Promise<Readonly<Record<Mode, Run>>> {
  const runs = {unfused: await start(architecture), fused: await start(architecture)};
  const random = seededRandom(17);
  for (let step = 0; step < STEPS; step++) {
    const batch = toyBatch(random, BATCH, SIZE);
    for (const mode of step % 2 === 0 ? (['unfused', 'fused'] as const) : (['fused', 'unfused'] as const))
      await takeStep(runs[mode], mode, batch, step);
    tf.dispose([batch.images, batch.labels]);
    if (step % 20 === 0)
      process.stderr.write(
        `${architecture.name}: step ${step}, loss ${runs.fused.losses.at(-1)?.toFixed(3) ?? ''}\n`,
      );
  }
  return runs;
}

async function takeStep(run: Run, mode: Mode, batch: ToyBatch, step: number): Promise<void> {
  const {losses, times, gradientTimes, programs, model, optimizer} = run;
  const train = async (): Promise<void> => {
    losses.push(await trainStep(model, optimizer, batch, mode));
  };
  const differentiate = async (): Promise<void> => {
    await gradientStep(model, batch, mode);
  };
  // The second step: the first one makes the optimizer's variables.
  if (step === 1) {
    programs.gradient = await programsOf(differentiate);
    programs.step = await programsOf(train);
    return;
  }
  if (step >= TIMED) return train();
  gradientTimes.push(await millisecondsOf(differentiate));
  times.push(await millisecondsOf(train));
}

async function millisecondsOf(run: () => Promise<void>): Promise<number> {
  const begin = performance.now();
  await run();
  return performance.now() - begin;
}

/** Of the steps behind the warm-up. */
function median(times: readonly number[]): number {
  const sorted = times.slice(WARM_UP).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

/** `12.3 ms a step, unfused 24.6 ms (2.00×)`. */
const compareTimes = (of: string, fused: readonly number[], unfused: readonly number[]): string =>
  `${median(fused).toFixed(1)} ms ${of}, unfused ${median(unfused).toFixed(1)} ms (${(median(unfused) / median(fused)).toFixed(2)}×)`;

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
  const accuracies = [await accuracyOf(fused, 'fused'), await accuracyOf(unfused, 'unfused')];
  for (const {model, optimizer} of [unfused, fused]) {
    model.dispose();
    optimizer.dispose();
  }
  return (
    `${architecture.name}: loss ${fused.losses[0]?.toFixed(3) ?? ''} → ${fused.losses.at(-1)?.toFixed(3) ?? ''}, ` +
    `accuracy ${accuracies[0]?.toFixed(3) ?? ''} (unfused ${accuracies[1]?.toFixed(3) ?? ''}), ` +
    `curves apart by ${apart.toExponential(1)}${apart < CURVE_TOLERANCE ? '' : ' TOO FAR'}; ` +
    `${compareTimes('a step', fused.times, unfused.times)}; ` +
    `${compareTimes('forward and backward', fused.gradientTimes, unfused.gradientTimes)}; ` +
    `programs a step ${fused.programs.step}, unfused ${unfused.programs.step}; ` +
    `forward and backward ${fused.programs.gradient}, unfused ${unfused.programs.gradient}`
  );
}

async function main(): Promise<void> {
  // One more is for counting programs.
  if (!(TIMED > WARM_UP + 1)) throw new ArchitectureError(`${TIMED} steps are too few to time.`);
  const webgpu = BACKEND === 'webgpu' ? await useNodeWebGPU() : undefined;
  if (!webgpu) await tf.setBackend(BACKEND);
  registerBlockKernels();
  console.log(
    `${webgpu?.description ?? BACKEND}: ${STEPS} steps, ${TIMED} of them timed, batch ${BATCH}, ${SIZE}×${SIZE} images, Adam ${RATE}`,
  );
  for (const architecture of SMALL_NETWORKS.filter(({name}) => name.includes(WANTED)))
    console.log(await compare(architecture));
  webgpu?.dispose();
}

if (process.argv[1]?.endsWith('training.js')) await main();
