/** What the tables of typed ops share. */
import type * as tf from '@tensorflow/tfjs-core';
import type {Shape4D, Stage} from '../ops/index.js';
import {pointwiseStage} from '../ops/stages/make.js';

type TypedOp = (x: tf.Tensor4D, weights: never, options?: never) => tf.Tensor;

/** A typed op with the stages it stands for. */
export interface Row {
  readonly name: string;
  readonly kind: string;
  readonly op: TypedOp;
  readonly options?: Readonly<Record<string, unknown>>;
  readonly input: Shape4D;
  readonly stages: readonly Stage[];
}

export const dense = (
  name: string,
  channels: number,
  activation?: 'relu' | 'relu6' | 'swish' | 'gelu' | 'prelu',
): Stage => pointwiseStage(name, channels, activation);
export const norm = (epsilon: number, affine: boolean): Stage => ({
  op: 'layernorm',
  name: 'norm',
  epsilon,
  affine,
});
