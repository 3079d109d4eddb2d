/** Runs a model and its rewritten form on the same seeded inputs. */
import {loadGraphModel} from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import {isGraphModel} from '../convert/convert.js';
import {ModelError} from '../graph/index.js';
import {registerBlockKernels} from '../register.js';

/** Of the scale of an output. Sums of thousands of float32 products in another order differ by this much. */
const TOLERANCE = 1e-3;
const SEED = 20240229;
/** For sizes the model leaves open, the batch apart. */
const OPEN_SIZE = 64;

type Shapes = Readonly<Record<string, readonly number[]>>;
type Runnable = Pick<tf.InferenceModel, 'inputs'> & {
  dispose(): void;
  run(inputs: readonly tf.Tensor[]): Promise<tf.Tensor[]>;
};

/**
 * @returns the largest difference of any output element, as a fraction of that output's largest element.
 * @throws {ModelError} where it is above the tolerance.
 */
export async function verify(
  original: tf.io.ModelArtifacts,
  rewritten: tf.io.ModelArtifacts,
  shapes: Shapes,
): Promise<number> {
  await startBackend();
  registerBlockKernels();
  const before = isGraphModel(original) ? await loadGraph(original) : await loadLayers(original);
  const after = await loadGraph(rewritten);
  const inputs = before.inputs.map((info) => seededInput(info, shapes));
  try {
    const [expected, actual] = [await before.run(inputs), await after.run(inputs)];
    const errors = await Promise.all(expected.map((tensor, i) => relativeError(tensor, actual[i])));
    tf.dispose([...expected, ...actual]);
    const worst = Math.max(...errors);
    if (!(worst <= TOLERANCE)) {
      throw new ModelError(
        `The rewritten model differs by ${worst.toExponential(1)} of the output's scale, more than ${TOLERANCE}; nothing was written, please report the model.`,
      );
    }
    return worst;
  } finally {
    tf.dispose(inputs);
    before.dispose();
    after.dispose();
  }
}

/** WebAssembly where it is installed: plain JavaScript takes minutes for a large network. */
export async function startBackend(): Promise<void> {
  for (const load of [
    () => import('@tensorflow/tfjs-backend-wasm'),
    () => import('@tensorflow/tfjs-backend-cpu'),
  ]) {
    const isLoaded = await load().then(
      () => true,
      () => false,
    );
    if (
      isLoaded &&
      (await tf.ready().then(
        () => true,
        () => false,
      ))
    )
      return;
  }
  throw new ModelError(
    '--verify needs a backend: npm install @tensorflow/tfjs-backend-wasm, or @tensorflow/tfjs-backend-cpu.',
  );
}

async function loadGraph(artifacts: tf.io.ModelArtifacts): Promise<Runnable> {
  const model = await loadGraphModel(tf.io.fromMemory(artifacts));
  const outputs = model.outputNodes;
  return {
    inputs: model.inputs,
    dispose: () => model.dispose(),
    run: async (inputs) => [await model.executeAsync([...inputs], outputs)].flat(),
  };
}

async function loadLayers(artifacts: tf.io.ModelArtifacts): Promise<Runnable> {
  const {loadLayersModel} = await import('@tensorflow/tfjs-layers');
  const model = await loadLayersModel(tf.io.fromMemory(artifacts));
  return {
    inputs: model.inputs as unknown as tf.ModelTensorInfo[], // Symbolic tensors have name, shape and dtype too.
    dispose: () => void model.dispose(),
    run: (inputs) => Promise.resolve([model.predict([...inputs])].flat()),
  };
}

/** Integers of a byte for integer inputs, which are images; else uniform in [0, 1). */
function seededInput({name, shape = [], dtype}: tf.ModelTensorInfo, shapes: Shapes): tf.Tensor {
  const sizes =
    shapes[name] ??
    shape.map((size, axis) => (((size as number | null) ?? -1) > 0 ? size : axis === 0 ? 1 : OPEN_SIZE));
  const unit = tf.randomUniform([...sizes], 0, 1, 'float32', SEED);
  if (dtype === 'float32') return unit;
  const bytes = tf.tidy(() => tf.cast(tf.floor(tf.mul(unit, 256)), 'int32'));
  unit.dispose();
  return bytes;
}

/** Largest difference as a fraction of the largest expected value; infinite where shapes differ. */
export async function relativeError(expected: tf.Tensor, actual: tf.Tensor | undefined): Promise<number> {
  if (actual?.shape.join() !== expected.shape.join()) return Infinity;
  const [want, got] = [await expected.data(), await actual.data()];
  let [scale, error] = [0, 0];
  want.forEach((value, i) => {
    scale = Math.max(scale, Math.abs(value));
    error = Math.max(error, Math.abs(value - (got[i] ?? NaN)));
  });
  return error === 0 ? 0 : error / (scale || 1);
}
