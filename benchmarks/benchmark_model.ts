/** A model to measure, opened from its artifacts, with random inputs. Runs in Node and in a browser. */
import * as tf from '@tensorflow/tfjs-core';
import {type GraphModel, loadGraphModel} from '@tensorflow/tfjs-converter';
import {type LayersModel, loadLayersModel} from '@tensorflow/tfjs-layers';
import {pinWeights, unpinWeights} from '../kernels/webgpu/index.js';
import {artifactsOf} from '../src/convert/artifacts.js';
import {convert, isGraphModel} from '../src/convert/convert.js';

export interface BenchmarkModel {
  readonly name: string;
  readonly model: GraphModel | LayersModel;
  readonly shape: readonly number[];
  readonly dtype: 'float32' | 'int32';
}

/** Where a model leaves its image size open. */
const OPEN_SIZE = 224;
const SIZES: Readonly<Record<string, number>> = {handtrack: 320};

/** @param size of the image, in pixels, where the model leaves it open. */
export async function openModel(
  name: string,
  artifacts: tf.io.ModelArtifacts,
  size = SIZES[name] ?? OPEN_SIZE,
): Promise<BenchmarkModel> {
  const handler = tf.io.fromMemory(artifacts);
  const model = await (isGraphModel(artifacts) ? loadGraphModel(handler) : loadLayersModel(handler));
  const input = model.inputs[0];
  const shape = (input?.shape ?? []).map((extent, axis) =>
    (extent ?? -1) >= 0 ? (extent as number) : axis === 0 ? 1 : size,
  );
  return {name, model, shape, dtype: input?.dtype === 'int32' ? 'int32' : 'float32'};
}

/** The same model with its blocks fused, as the graph that `fuse` runs, for the shapes it is fed here. */
export async function fusedModel(loaded: BenchmarkModel): Promise<BenchmarkModel> {
  const {model: original} = loaded;
  // TF.js gives the tensor of a layers model that is loaded again another name, but not the layer.
  const name = 'inputNames' in original ? original.inputNames[0] : original.inputs[0]?.name;
  const inputShapes = {[name ?? '']: [...loaded.shape]};
  const {artifacts} = convert(await artifactsOf(loaded.model), {inputShapes});
  const model = await loadGraphModel(tf.io.fromMemory(artifacts));
  pinWeights(weightsOf(model));
  return {...loaded, model};
}

export function disposeModel({model}: BenchmarkModel): void {
  if ('modelUrl' in model) unpinWeights(weightsOf(model));
  model.dispose();
}

const weightsOf = (model: GraphModel): tf.Tensor[] =>
  Object.values(model.weights as Record<string, tf.Tensor[]>).flat();

/** Mulberry32: uniform in [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Pixel values 0..255 for int32, 0..1 for float32. */
export function randomInput(
  {shape, dtype}: Pick<BenchmarkModel, 'shape' | 'dtype'>,
  seed: number,
): Float32Array | Int32Array {
  const random = seeded(seed);
  const length = tf.util.sizeFromShape([...shape]);
  if (dtype === 'float32') return Float32Array.from({length}, random);
  return Int32Array.from({length}, () => Math.floor(256 * random()));
}
