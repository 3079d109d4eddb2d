/** What the typed ops share: stages sized by the weights the caller hands over. */
import type * as tf from '@tensorflow/tfjs-core';
import type {ActivationLike} from './activation.js';
import {
  BlockError,
  type GateStage,
  type Pad,
  type Pair,
  type PointwiseStage,
  type ResidualStage,
  type ShortcutStage,
  type SpatialStage,
  type Stage,
} from './block.js';
import type {BlockWeights} from './reference.js';
import {runBlock} from './run.js';
import {checkBlock, type BlockSpec} from './spec.js';
import {gateStage, givenStage, pointwiseStage, residualStage, spatialStage} from './stages/make.js';

/** Weights of a typed op; those left out or undefined are stages the block does not have. */
export type OptionalWeights = Readonly<Record<string, tf.Tensor | undefined>>;

/** How the spatial convolution of a typed op moves; its kernel, group width and channels are the filter's. */
export interface SpatialConfig {
  /** Both axes; 1 unless given. */
  readonly stride?: number;
  readonly dilation?: number | Pair;
  /** 'same' unless given. */
  readonly pad?: Pad;
}

/** Builds a block's stages from the weights at hand, by name. */
export class WeightReader {
  readonly #kind: string;
  readonly #weights: OptionalWeights;

  constructor(kind: string, weights: OptionalWeights) {
    this.#kind = kind;
    this.#weights = weights;
  }

  has(name: string): boolean {
    return this.#weights[name] !== undefined;
  }

  /** `NAMEFilter` is `[kernel_h, kernel_w, group, channels]`. */
  spatial(name: string, config: SpatialConfig, activation?: ActivationLike): SpatialStage {
    const [kh, kw, group, channels] = this.#shape(`${name}Filter`, 4);
    const bias = this.has(`${name}Bias`);
    return spatialStage(name, {
      ...config,
      kernel: [kh as number, kw as number],
      group: group as number,
      channels: channels as number,
      bias,
      activation,
    });
  }

  /** `NAMEFilter` is `[channels_in, channels]`. */
  pointwise(name: string, activation?: ActivationLike): PointwiseStage {
    return pointwiseStage(
      name,
      this.#shape(`${name}Filter`, 2)[1] as number,
      activation,
      this.has(`${name}Bias`),
    );
  }

  /** The add at the end: of `residualMap` where it is there, else of x where `wanted`. */
  residual(
    wanted: boolean,
    shortcut: readonly ShortcutStage[] = [],
    activation?: ActivationLike,
  ): ResidualStage | false {
    if (this.has('residualMap')) return givenStage(activation);
    return wanted && residualStage(shortcut, activation);
  }

  gate(activation?: ActivationLike, gate?: ActivationLike): GateStage {
    return gateStage(
      this.#shape('gateReduceFilter', 2)[1] as number,
      activation,
      gate,
      this.has('gateReduceBias'),
    );
  }

  #shape(name: string, rank: number): readonly number[] {
    const tensor = this.#weights[name];
    if (!tensor) throw new BlockError(`${this.#kind}: the weight '${name}' is missing; pass it.`);
    if (tensor.rank !== rank) {
      throw new BlockError(
        `${this.#kind}: '${name}' is of rank ${tensor.rank} ([${tensor.shape.join(', ')}]) but must be of rank ${rank}; reshape it.`,
      );
    }
    return tensor.shape;
  }
}

/** Runs a typed op: checks the stages against the spec, drops absent weights, and runs the block. */
function run(
  spec: BlockSpec,
  stages: readonly (Stage | false)[],
  x: tf.Tensor,
  weights: OptionalWeights,
): tf.Tensor {
  const block = {kind: spec.kind, stages: stages.filter((stage) => stage !== false)};
  checkBlock(spec, block, x.shape);
  const present = Object.entries(weights).filter(
    (entry): entry is [string, tf.Tensor] => entry[1] !== undefined,
  );
  const named: BlockWeights = Object.fromEntries(present);
  return runBlock(block, x, named);
}

/** A typed op that gives a map: its stages have no flatten. */
export const runTyped = (...call: Parameters<typeof run>): tf.Tensor4D => run(...call) as tf.Tensor4D;

/** A typed op that gives a vector: its stages end in flatten. */
export const runToVector = (...call: Parameters<typeof run>): tf.Tensor2D => run(...call) as tf.Tensor2D;
