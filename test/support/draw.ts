/** Random inputs for a block, as tensors and as the same numbers in float64. */
import * as tf from '@tensorflow/tfjs-core';
import {type Block, type Shape4D, traceBlock} from '../../ops/index.js';
import type {OracleMap, OracleWeights} from './oracle.js';
import {seededTensors} from './random.js';

export interface DrawnBlock {
  readonly x: tf.Tensor4D;
  /** By name, in the order in which the kernel takes them. */
  readonly weights: Readonly<Record<string, tf.Tensor>>;
}

/** Weights of such a scale that activations stay of order one. */
export function drawBlock(block: Block, input: Shape4D, seed: number): DrawnBlock {
  const make = seededTensors(seed);
  const entries = traceBlock(block, input).weights.map(({name, shape, isMap}) => {
    const fanIn = shape.length > 1 && !isMap ? shape.slice(0, -1).reduce((a, b) => a * b) : 1;
    return [name, make(shape, Math.sqrt(3 / fanIn))] as const;
  });
  return {x: make(input) as tf.Tensor4D, weights: Object.fromEntries(entries)};
}

export const disposeDrawn = ({x, weights}: DrawnBlock): void => tf.dispose([x, weights]);

/** The drawn numbers for oracleBlock. */
export async function oracleInputs({
  x,
  weights,
}: DrawnBlock): Promise<{readonly x: OracleMap; readonly weights: OracleWeights}> {
  const read = async (tensor: tf.Tensor): Promise<Float64Array> => Float64Array.from(await tensor.data());
  const entries = Object.entries(weights).map(async ([name, tensor]) => [name, await read(tensor)] as const);
  return {x: {shape: x.shape, data: await read(x)}, weights: Object.fromEntries(await Promise.all(entries))};
}
