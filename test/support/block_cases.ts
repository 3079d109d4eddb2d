/** A block's case as data: its inputs, drawn from a seed, and how far from the reference its output may lie. */
import type * as tf from '@tensorflow/tfjs-core';
import {type Block, type BlockCase, type Precision, traceBlock} from '../../ops/index.js';
import {seededTensors} from './random.js';

/**
 * float32 rounds by 2^-24 a step, and a sum's errors grow with the square root of its depth; stages add theirs. In f16 each operand
 * of a sum is rounded once, by 2^-11, and the sum itself is f32: then errors grow as the sum does, whatever its depth, and
 * come to less than 2^-11 of the largest output a stage.
 */
export function toleranceOf(block: Block, {input}: BlockCase, precision: Precision = 'f32'): number {
  const {stages} = traceBlock(block, input);
  if (precision === 'f16') return 2 * 2 ** -11 * stages.length;
  const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b);
  const depths = stages.map(({macs, output}) => macs / Math.max(1, product(output)));
  return 8 * 2 ** -24 * depths.reduce((sum, depth) => sum + Math.sqrt(depth + 16), 0);
}

export interface Drawn {
  readonly x: tf.Tensor4D;
  readonly weights: Record<string, tf.Tensor>;
}

/** Weights of such a scale that activations stay of order one. */
export function draw(block: Block, {input}: BlockCase, seed: number): Drawn {
  const make = seededTensors(seed);
  const entries = traceBlock(block, input).weights.map(({name, shape}) => {
    const fanIn = shape.length > 1 ? shape.slice(0, -1).reduce((a, b) => a * b) : 1;
    return [name, make(shape, Math.sqrt(3 / fanIn))] as const;
  });
  return {x: make(input) as tf.Tensor4D, weights: Object.fromEntries(entries)};
}
