/** A described network with variables for weights: its blocks as one op each, or layer by layer, with gradients either way. */
import '@tensorflow/tfjs'; // Registers the gradients of stock ops.
import * as tf from '@tensorflow/tfjs-core';
import {type Network, randomWeights} from '../models/index.js';
import type {NetworkStage} from '../models/network.js';
import {graphWeights} from '../models/tensors.js';
import {isStage, type TracedLayer, type TracedUnit, traceNetwork} from '../models/trace.js';
import {
  type Block,
  BLOCK_SPECS,
  type BlockSpec,
  fitSpec,
  reference,
  runBlock,
  type Shape4D,
  type Stage,
} from '../ops/index.js';
import {definitionOf, type SimpleStage} from '../ops/stages/index.js';

/** `fused`: a block is one op forward, whose gradient recomputes it. `unfused`: stock ops, differentiated by TF.js. */
export type Mode = 'fused' | 'unfused';

/** Layers in a row that are one block, or one layer that is in none. */
interface Part {
  readonly block: Block | undefined;
  readonly layers: readonly TracedLayer[];
}

interface TrainableUnit {
  readonly parts: readonly Part[];
  /** By the input name of the block's kernel. */
  readonly variables: Readonly<Record<string, tf.Variable>>;
}

/** The largest blocks from a unit's start on, as `fuse` finds them: a stem or a head is one, as a residual block is. */
function partsOf({unit, layers}: TracedUnit): readonly Part[] {
  const into = new Map(layers.map(({layer, input}) => [layer.stage, input[3]]));
  const blockOf = (stages: readonly NetworkStage[]): Block | undefined => {
    const known: Stage[] = stages.filter(isStage);
    const fits = (spec: BlockSpec): boolean =>
      'slots' in fitSpec(spec, known, (stage) => into.get(stage) ?? 0);
    const spec = known.length === stages.length ? BLOCK_SPECS.find(fits) : undefined;
    return spec && {kind: spec.kind, stages: known};
  };
  const stages = unit.layers.map(({stage}) => stage);
  const whole = blockOf(stages);
  if (whole) return [{block: whole, layers}];
  // A residual adds what went into its unit, so parts of such a unit are no blocks by themselves.
  const canSplit = stages.every(({op}) => op !== 'residual' && op !== 'concat');
  const parts: Part[] = [];
  for (let at = 0; at < layers.length;) {
    const lengths = Array.from({length: canSplit ? layers.length - at : 0}, (_, i) => layers.length - at - i);
    const length = lengths.find((count) => blockOf(stages.slice(at, at + count))) ?? 1;
    parts.push({block: canSplit ? blockOf(stages.slice(at, at + length)) : undefined, layers: layers.slice(at, at + length)}); // prettier-ignore
    at += length;
  }
  return parts;
}

export class Trainable {
  readonly variables: readonly tf.Variable[];
  readonly #units: readonly TrainableUnit[];

  private constructor(units: readonly TrainableUnit[]) {
    this.#units = units;
    this.variables = units.flatMap(({variables}) => Object.values(variables));
  }

  /** @param input `[N, H, W, 3]`. Batch norm is folded into seeded weights, so it is not trained. */
  static async create(network: Network, input: Shape4D, seed: number): Promise<Trainable> {
    const source = randomWeights(seed);
    const units: TrainableUnit[] = [];
    for (const traced of traceNetwork(network, input)) {
      const variables: Record<string, tf.Variable> = {};
      for (const layer of traced.layers) {
        const values = await graphWeights(layer, source);
        for (const {suffix, shape} of layer.weights) {
          const start = tf.tensor(values.get(suffix) ?? new Float32Array(0), [...shape]);
          variables[layer.layer.stage.name + suffix] = tf.variable(start);
          start.dispose();
        }
      }
      units.push({parts: partsOf(traced), variables});
    }
    return new Trainable(units);
  }

  /** Call inside a tidy. @returns Logits `[N, classes]`. */
  logits(images: tf.Tensor4D, mode: Mode): tf.Tensor2D {
    const map = this.#units.reduce((x, unit) => runUnit(unit, x, mode), images);
    return tf.reshape(map, [map.shape[0], map.shape[3]]);
  }

  dispose(): void {
    tf.dispose([...this.variables]);
  }
}

function runUnit({parts, variables}: TrainableUnit, input: tf.Tensor4D, mode: Mode): tf.Tensor4D {
  return parts.reduce((x, {block, layers}) => {
    if (block && mode === 'fused') return runBlock(block, x, variables) as tf.Tensor4D; // No unit ends in a flatten stage.
    if (block) return reference(block, x, variables, {differentiable: true}) as tf.Tensor4D;
    return layers.reduce((map, {layer: {stage}, weights}) => {
      const own = Object.fromEntries(weights.map(({suffix}) => [suffix, variables[stage.name + suffix]]));
      const simple = stage as SimpleStage; // What is in no block are norms, pools and means.
      return definitionOf(simple).apply(simple, map, own, input, {differentiable: true});
    }, x);
  }, input);
}

const lossOf = (model: Trainable, {images, labels}: Batch, mode: Mode): tf.Scalar =>
  tf.losses.softmaxCrossEntropy(labels, model.logits(images, mode));

interface Batch {
  readonly images: tf.Tensor4D;
  readonly labels: tf.Tensor2D;
}

/** Forward and backward pass alone. @returns The loss, when the gradients are there. */
export async function gradientStep(model: Trainable, batch: Batch, mode: Mode): Promise<number> {
  const {value, grads} = tf.variableGrads(() => lossOf(model, batch, mode), [...model.variables]);
  // The last of the commands before it is the last gradient.
  const [loss = NaN] = await value.data();
  tf.dispose([value, grads]);
  return loss;
}

/** One step of gradient descent with momentum or the like. @returns The loss before the step. */
export async function trainStep(
  model: Trainable,
  optimizer: tf.Optimizer,
  batch: Batch,
  mode: Mode,
): Promise<number> {
  const loss = optimizer.minimize(() => lossOf(model, batch, mode), true, [...model.variables]);
  if (!loss) throw new Error('The optimizer gave no loss.');
  const [value = NaN] = await loss.data();
  loss.dispose();
  return value;
}
