/** A described network with variables for weights: its blocks as one op each, or layer by layer, with gradients either way. */
import '@tensorflow/tfjs'; // Registers the gradients of stock ops.
import * as tf from '@tensorflow/tfjs-core';
import {type Network, randomWeights} from '../models/index.js';
import {blocksOf} from '../models/describe.js';
import {graphWeights} from '../models/tensors.js';
import {type TracedUnit, traceNetwork} from '../models/trace.js';
import {type Block, reference, runBlock, type Shape4D, type Stage} from '../ops/index.js';
import {definitionOf, type SimpleStage} from '../ops/stages/index.js';

/** `fused`: a block is one op forward, whose gradient recomputes it. `unfused`: stock ops, differentiated by TF.js. */
export type Mode = 'fused' | 'unfused';

interface TrainableUnit {
  readonly traced: TracedUnit;
  /** Undefined for stem, head and other plain layers. */
  readonly kind: string | undefined;
  /** By the input name of the block's kernel. */
  readonly variables: Readonly<Record<string, tf.Variable>>;
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
    const kinds = new Map(blocksOf(network).map(({name, kind}) => [name, kind]));
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
      units.push({traced, kind: kinds.get(traced.unit.name), variables});
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

function runUnit({traced, kind, variables}: TrainableUnit, input: tf.Tensor4D, mode: Mode): tf.Tensor4D {
  if (kind !== undefined && kind !== 'other') {
    const stages = traced.unit.layers.map(({stage}) => stage as Stage); // A unit that fits a spec has no other ones.
    const block: Block = {kind, stages};
    const output =
      mode === 'fused'
        ? runBlock(block, input, variables)
        : reference(block, input, variables, {differentiable: true});
    return output as tf.Tensor4D; // No unit ends in a flatten stage.
  }
  return traced.layers.reduce((x, {layer: {stage}, weights}) => {
    const own = Object.fromEntries(weights.map(({suffix}) => [suffix, variables[stage.name + suffix]]));
    const simple = stage as SimpleStage; // Plain units have convolutions, norms, pools and means.
    return definitionOf(simple).apply(simple, x, own, input, {differentiable: true});
  }, input);
}

/** One step of gradient descent with momentum or the like. @returns The loss before the step. */
export async function trainStep(
  model: Trainable,
  optimizer: tf.Optimizer,
  {images, labels}: {readonly images: tf.Tensor4D; readonly labels: tf.Tensor2D},
  mode: Mode,
): Promise<number> {
  const loss = optimizer.minimize(
    () => tf.losses.softmaxCrossEntropy(labels, model.logits(images, mode)),
    true,
    [...model.variables],
  );
  if (!loss) throw new Error('The optimizer gave no loss.');
  const [value = NaN] = await loss.data();
  loss.dispose();
  return value;
}
