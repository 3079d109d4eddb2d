/** What every kind of stage must say about itself. One file a kind; the table of all is in index.ts. */
import type * as tf from '@tensorflow/tfjs-core';
import type {Shape4D, Stage} from '../block.js';

/** Weights of one stage by suffix: the stage `expand` has an input `expandFilter` for the suffix `Filter`. */
export type WeightShapes = Readonly<Record<string, readonly number[]>>;
export type StageWeights = Readonly<Record<string, tf.Tensor | undefined>>;

export interface ApplyOptions {
  /** Use only ops that TF.js can differentiate, even where they are slower. */
  readonly differentiable: boolean;
}

export interface StageDefinition<S extends Stage> {
  /** Shapes of the weights the stage needs for an input of `[N, H, W, C]`. */
  weights(stage: S, input: Shape4D): WeightShapes;
  /** Shape after the stage. @throws {BlockError} where the stage cannot take `input`; `at` names block and stage. */
  outShape(stage: S, input: Shape4D, blockInput: Shape4D, at: string): Shape4D;
  /** Multiply-accumulates for the whole batch. Norms, activations and pooling count as none, as in the paper's tables. */
  macs(stage: S, input: Shape4D, output: Shape4D): number;
  /** The stage by stock TF.js ops, on whichever backend is active. Call inside a tidy. */
  apply(
    stage: S,
    x: tf.Tensor4D,
    weights: StageWeights,
    blockInput: tf.Tensor4D,
    options: ApplyOptions,
  ): tf.Tensor4D;
}

/** The weight a stage cannot do without; shapes were checked before, so absence is a fault of the caller's own making. */
export function need(weights: StageWeights, suffix: string): tf.Tensor {
  const found = weights[suffix];
  if (!found) throw new Error(`The stage's weight '${suffix}' was not given.`);
  return found;
}
