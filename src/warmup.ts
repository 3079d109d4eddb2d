/** The first prediction of a model, ahead of time: all pipelines compile side by side instead of one after the other. */
import * as tf from '@tensorflow/tfjs-core';
import type {Plan} from '../kernels/plan.js';
import {BackendAccess, missingFields} from '../kernels/webgpu/backend_access.js';
import {isSoftware} from '../kernels/webgpu/compile.js';
import {plansOf} from '../kernels/webgpu/index.js';
import {compileAhead} from './compile_ahead.js';
import {keepBusy} from './keep_busy.js';
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
 * Milliseconds of predictions behind compiling, and of work in all. The clock of a GPU that has idled falls to a sixth on an H200 and takes
 * up to a second of work to rise, in which predictions took up to 5.7 times as long as later (benchmarks/NOTES.md).
 */
const PREDICTING_MS = 400;
const WORKING_MS = 1200;

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
    const isGPU = access !== undefined && !isSoftware(access.device);
    const start = performance.now();
    const rest = isGPU ? keepBusy(access.device) : undefined;
    try {
      if (access) await compileAhead(access, () => void model.predict(feeds), onProgress);
    } finally {
      await rest?.();
    }
    const end = isGPU ? Math.max(start + WORKING_MS, performance.now() + PREDICTING_MS) : 0;
    do await predictOnce(model, feeds);
    while (performance.now() < end);
  } finally {
    if (inputs === undefined) tf.dispose(feeds);
  }
}

async function predictOnce(model: Warmable, feeds: Values): Promise<void> {
  const last = latestTensorId();
  const results = tensorsOf(await predictEither(model, feeds));
  await Promise.all(results.map((tensor) => tensor.data()));
  tf.dispose(results.filter(({id}) => id > last)); // constants among the outputs are the model's own
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
