/** The first prediction of a model, ahead of time: all pipelines compile side by side instead of one after the other. */
import * as tf from '@tensorflow/tfjs-core';
import type {Plan} from '../kernels/plan.js';
import {BackendAccess, missingFields} from '../kernels/webgpu/backend_access.js';
import {isSoftware} from '../kernels/webgpu/compile.js';
import {plansOf} from '../kernels/webgpu/index.js';
import {compileAhead} from './compile_ahead.js';
import {latestTensorId} from './own_tensors.js';

export interface WarmupOptions {
  /** Told as each of the blocks' pipelines is there, on WebGPU. */
  readonly onProgress?: (done: number, total: number) => void;
}

export type Values = tf.Tensor | tf.Tensor[] | tf.NamedTensorMap;

/** What of a model it takes. */
export interface Warmable {
  readonly inputs: readonly tf.ModelTensorInfo[];
  predict(inputs: Values): Values;
  predictAsync(inputs: Values): Promise<Values>;
}

/**
 * Milliseconds of predictions at most, and how many must be steady before. A GPU that a heavy load comes upon may slow down first: an H200's clock
 * fell from 1980 to 345 MHz for 0.6 to 0.95 s, in which predictions took up to 5.7 times as long as later (benchmarks/NOTES.md).
 */
const LONGEST_MS = 1500;
const STEADY = 5;
/**
 * How many predictions JavaScript must encode behind one another neither faster than before nor with a halt: while V8 compiles what is hot, on two CPU
 * cores every tenth or so of the first hundred took three to six times as long. Behind 30 quiet ones a fifth of the next ten still took more than three times
 * the median, behind 150 the thirtieth that a scavenge holds up: so the last one is one of those, if any of CYCLE more is (benchmarks/NOTES.md).
 */
const QUIET = 150;
const CYCLE = 50;
const HELD_UP = 1.6;
const FASTER = 0.9;
const HALT = 3;

export async function warmUp(
  model: Warmable,
  inputs: Values | undefined,
  {onProgress}: WarmupOptions,
): Promise<void> {
  const feeds = inputs ?? zerosFor(model.inputs);
  try {
    const backend = tf.backend();
    const access =
      tf.getBackend() === 'webgpu' && missingFields(backend).length === 0
        ? new BackendAccess(backend)
        : undefined;
    if (access) await compileAhead(access, () => void model.predict(feeds), onProgress);
    await predictOnce(model, feeds); // uploads weights
    if (access && !isSoftware(access.device)) await untilSteady(() => predictOnce(model, feeds));
  } finally {
    if (inputs === undefined) tf.dispose(feeds);
  }
}

interface Timing {
  /** Milliseconds of JavaScript, and from its end to the results. */
  readonly encoding: number;
  readonly waiting: number;
}

/**
 * Predicts until JavaScript, where it takes longer than what it waits for, runs as fast as it will and the garbage was just collected, or the GPU has
 * slowed down and sped up again; or for LONGEST_MS.
 */
export async function untilSteady(predict: () => Promise<Timing>): Promise<void> {
  const end = performance.now() + LONGEST_MS;
  let [slowest, before, steady] = [0, 0, 0];
  let [fastest, quiet, total] = [Infinity, 0, Infinity];
  while (performance.now() < end) {
    const {encoding, waiting} = await predict();
    const isHeldUp = encoding + waiting > HELD_UP * total;
    if (isHeldUp && steady >= STEADY && quiet >= QUIET) return;
    total = encoding + waiting;
    slowest = Math.max(slowest, Math.min(before, waiting)); // One alone waited for something else.
    before = waiting;
    steady = waiting < encoding || 2 * waiting < slowest ? steady + 1 : 0;
    quiet = encoding < FASTER * fastest || encoding > HALT * fastest ? 0 : quiet + 1;
    fastest = Math.min(fastest, encoding);
    if (steady >= STEADY && (waiting >= encoding || quiet >= QUIET + CYCLE)) return;
  }
}

async function predictOnce(model: Warmable, feeds: Values): Promise<Timing> {
  const last = latestTensorId();
  const start = performance.now();
  const results = tensorsOf(await predictEither(model, feeds));
  const encoded = performance.now();
  await Promise.all(results.map((tensor) => tensor.data()));
  const end = performance.now();
  tf.dispose(results.filter(({id}) => id > last)); // constants among the outputs are the model's own
  return {encoding: encoded - start, waiting: end - encoded};
}

/** The plans of all blocks, in the order they run. @throws as predict. */
export const plansOfModel = (model: Warmable, feeds: Values): readonly Plan[] =>
  plansOf(() => tf.tidy(() => void model.predict(feeds)));

/** Models with control flow only run asynchronously; of the others TF.js would have us not do that. */
async function predictEither(model: Warmable, feeds: Values): Promise<Values> {
  try {
    return model.predict(feeds);
  } catch {
    return model.predictAsync(feeds);
  }
}

const tensorsOf = (values: Values): tf.Tensor[] =>
  values instanceof tf.Tensor ? [values] : Object.values(values as tf.NamedTensorMap);

/** @throws where a size other than the batch is open; `caller` is named in the message. */
export function zerosFor(inputs: readonly tf.ModelTensorInfo[], caller = 'warmup'): tf.Tensor[] {
  const shapes = inputs.map(({name, shape = []}) =>
    shape.map((size, axis) => {
      if ((size as number | null) !== null && size >= 0) return size;
      if (axis === 0) return 1;
      throw new Error(
        `${caller}: the input '${name}' is [${shape.join(', ')}]; pass inputs of the size you will feed.`,
      );
    }),
  );
  return inputs.map(({dtype}, i) => tf.zeros(shapes[i] ?? [], dtype));
}
