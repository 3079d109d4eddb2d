/** The oracle of the rewriter: the original model, op by op. */
import {type GraphModel, loadGraphModel} from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import {fuse, type FuseOptions} from '../../src/fuse.js';
import type {FusedModel} from '../../src/fused_model.js';
import {isFetchable, type Report} from '../../src/graph/index.js';
import {expectClose} from './expect_close.js';
import {seededTensors} from './random.js';

export interface Comparison {
  readonly options?: FuseOptions;
  readonly tolerance?: number;
  /** Concrete shapes of inputs whose own are open. */
  readonly feed?: Readonly<Record<string, readonly number[]>>;
  /** Uniform in [-scale, scale). */
  readonly scale?: number;
  /** Besides every block and every default output. */
  readonly outputs?: readonly string[];
  /** Names that the original has, where blocks may have others. */
  readonly known?: ReadonlySet<string>;
  /** What the values are compared with, where that is another model. */
  readonly oracle?: tf.io.ModelArtifacts;
}

/** Fuses, and fails the spec unless every block's value and every output is the original's. */
export async function expectSame(
  artifacts: tf.io.ModelArtifacts,
  comparison: Comparison = {},
): Promise<Report> {
  const source = await loadGraphModel(tf.io.fromMemory(artifacts));
  const fused = await fuse(source, comparison.options);
  const original = await loadGraphModel(tf.io.fromMemory(comparison.oracle ?? artifacts));
  source.dispose();
  try {
    const {node} = (comparison.oracle ?? artifacts).modelTopology as {node: readonly {name: string}[]};
    const known = new Set(node.map(({name}) => name));
    await expectSameValues(original, fused, {...comparison, known});
    return fused.report;
  } finally {
    original.dispose();
    fused.dispose();
  }
}

export async function expectSameValues(
  original: GraphModel,
  fused: FusedModel,
  comparison: Comparison,
): Promise<void> {
  const {tolerance = 1e-5, feed = {}, scale = 1, outputs = [], known} = comparison;
  const make = seededTensors(7);
  const inputs = Object.fromEntries(
    original.inputs.map(({name, shape = [], dtype}) => [name, cast(make(feed[name] ?? shape, scale), dtype)]),
  );
  const own = fused.report.blocks.filter(isFetchable);
  const blocks = own.map(({at}) => at).filter((at) => known?.has(at) !== false);
  const names = [...new Set([...blocks, ...original.outputNodes, ...outputs])];
  const run = async (model: GraphModel | FusedModel): Promise<tf.Tensor[]> =>
    quietly(async () => [await model.executeAsync(inputs, names)].flat());
  const [expected, actual] = [await run(original), await run(fused)];
  for (const [i, name] of names.entries())
    await expectClose(actual[i] as tf.Tensor, expected[i] as tf.Tensor, {name, tolerance});
  tf.dispose([inputs, expected, actual]);
}

/** Integer inputs are images: bytes. */
function cast(x: tf.Tensor, dtype: string): tf.Tensor {
  if (dtype === 'float32') return x;
  const bytes = tf.tidy(() => tf.cast(tf.mul(tf.abs(x), 255), 'int32'));
  x.dispose();
  return bytes;
}

/** TF.js advises against executeAsync where execute would do, and of an `If` where it would not; here one call must serve all models. */
export async function quietly<T>(run: () => Promise<T>): Promise<T> {
  const {warn} = console;
  console.warn = () => undefined;
  try {
    return await run();
  } finally {
    console.warn = warn;
  }
}
