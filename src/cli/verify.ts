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
  /** Names of values that can be fetched. */
  readonly nodes: ReadonlySet<string>;
  dispose(): void;
  /** The outputs, then the values of `names`. */
  run(inputs: readonly tf.Tensor[], names: readonly string[]): Promise<tf.Tensor[]>;
};

export interface VerifyOptions {
  /** Shapes to feed, by input name. */
  readonly shapes?: Shapes;
  /** Nodes whose values are compared besides the outputs: those of them that both models have. */
  readonly fetch?: readonly string[];
}

/**
 * Compares every output and the fetched values on the same seeded inputs.
 * @returns the largest difference of any element, as a fraction of that value's largest element.
 * @throws {ModelError} where it is above the tolerance, and where TF.js cannot run the original.
 */
export async function verify(
  original: tf.io.ModelArtifacts,
  rewritten: tf.io.ModelArtifacts,
  {shapes = {}, fetch = []}: VerifyOptions = {},
): Promise<number> {
  await startBackend();
  registerBlockKernels();
  const [before, after] = [await load(original), await load(rewritten)];
  const inputs = before.inputs.map((info) => seededInput(info, shapes));
  const names = fetch.filter((name) => before.nodes.has(name) && after.nodes.has(name));
  try {
    const expected = await runOnAny(before, inputs, names);
    const actual = await after.run(inputs, names);
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

/** What one backend refuses another may run: wasm has fewer fused convolutions than cpu. */
async function runOnAny(
  model: Runnable,
  inputs: readonly tf.Tensor[],
  names: readonly string[],
): Promise<tf.Tensor[]> {
  try {
    return await model.run(inputs, names);
  } catch (error) {
    const isCpu =
      tf.getBackend() === 'cpu' || !(await import('@tensorflow/tfjs-backend-cpu').catch(() => undefined));
    if (isCpu || !(await tf.setBackend('cpu'))) throw cannotRun(error);
  }
  try {
    return await model.run(inputs, names);
  } catch (error) {
    throw cannotRun(error);
  }
}

const cannotRun = (error: unknown): ModelError =>
  new ModelError(
    `TensorFlow.js cannot run the original (${error instanceof Error ? error.message : String(error)}), so there is nothing to compare with; leave --verify out.`,
  );

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

const load = (artifacts: tf.io.ModelArtifacts): Promise<Runnable> =>
  isGraphModel(artifacts) ? loadGraph(artifacts) : loadLayers(artifacts);

async function loadGraph(artifacts: tf.io.ModelArtifacts): Promise<Runnable> {
  const model = await loadGraphModel(tf.io.fromMemory(artifacts));
  const outputs = model.outputNodes;
  const {node} = artifacts.modelTopology as {node: readonly {name: string}[]}; // It was loaded.
  return {
    inputs: model.inputs,
    nodes: new Set(node.map(({name}) => name)),
    dispose: () => model.dispose(),
    run: async (inputs, names) => [await model.executeAsync([...inputs], [...outputs, ...names])].flat(),
  };
}

async function loadLayers(artifacts: tf.io.ModelArtifacts): Promise<Runnable> {
  const {loadLayersModel} = await import('@tensorflow/tfjs-layers');
  const model = await loadLayersModel(tf.io.fromMemory(artifacts));
  return {
    inputs: model.inputs as unknown as tf.ModelTensorInfo[], // Symbolic tensors have name, shape and dtype too.
    nodes: new Set(),
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
