/**
 * A block composed of stock TF.js ops: the oracle of every kernel, and the kernel itself on backends that have no faster
 * one. It runs on whichever backend is active.
 */
import * as tf from '@tensorflow/tfjs-core';
import {applyActivation} from './activation.js';
import {type Block, BlockError, type ResidualStage, type Stage} from './block.js';
import {definitionOf, type SimpleStage} from './stages/index.js';
import type {ApplyOptions, StageWeights} from './stages/stage.js';
import {traceBlock, weightName} from './trace.js';

export type BlockWeights = Readonly<Record<string, tf.Tensor>>;

/** What a stage gave, for comparisons inside a block. */
export type StageObserver = (stage: Stage, output: tf.Tensor4D) => void;

export interface ReferenceOptions extends Partial<ApplyOptions> {
  /** Called with each main-path stage's output; the tensor lives until the reference returns. */
  readonly observe?: StageObserver;
}

/**
 * @param x `[N, H, W, C]`, float32. @returns a map, or `[N, C]` where the block ends in a flatten stage.
 * @param weights by input name, as `traceBlock(block, x.shape).weights` lists them; extra ones are an error.
 * @throws {BlockError} for a wrong rank, dtype, shape, or a missing or extra weight.
 */
export function reference(
  block: Block,
  x: tf.Tensor,
  weights: BlockWeights,
  options: ReferenceOptions = {},
): tf.Tensor {
  checkTensors(block, x, weights);
  const blockInput = x as tf.Tensor4D; // checkTensors has seen the rank.
  const apply = {differentiable: options.differentiable ?? false};
  return tf.tidy(() => {
    let current = blockInput;
    for (const stage of block.stages) {
      current =
        stage.op === 'residual'
          ? addResidual(stage, current, blockInput, weights, apply)
          : applySimple(stage, current, blockInput, weights, apply);
      options.observe?.(stage, current);
    }
    if (block.stages.at(-1)?.op === 'flatten')
      return tf.reshape(current, [...traceBlock(block, x.shape).output]);
    // A block whose stages change nothing must still give a tensor of its own.
    return current === blockInput ? tf.clone(current) : current;
  });
}

function applySimple(
  stage: SimpleStage,
  x: tf.Tensor4D,
  blockInput: tf.Tensor4D,
  weights: BlockWeights,
  options: ApplyOptions,
): tf.Tensor4D {
  const own: StageWeights = new Proxy(weights, {
    get: (all, suffix) => all[weightName(stage, String(suffix))],
  });
  return definitionOf(stage).apply(stage, x, own, blockInput, options);
}

function addResidual(
  stage: ResidualStage,
  x: tf.Tensor4D,
  blockInput: tf.Tensor4D,
  weights: BlockWeights,
  options: ApplyOptions,
): tf.Tensor4D {
  // checkTensors has seen the map, and its rank.
  const start = stage.given ? (weights[weightName(stage, 'Map')] as tf.Tensor4D) : blockInput;
  const shortcut = stage.shortcut.reduce(
    (map, step) => applySimple(step, map, blockInput, weights, options),
    start,
  );
  return applyActivation(stage.activation, tf.add(x, shortcut), weights[weightName(stage, 'Alpha')]);
}

/** @throws {BlockError} unless x and weights are exactly what the block takes. */
export function checkTensors(block: Block, x: tf.Tensor, weights: BlockWeights): void {
  if (x.dtype !== 'float32')
    throw new BlockError(`${block.kind}: x is ${x.dtype} but must be float32; cast it first.`);
  const wanted = traceBlock(block, x.shape).weights;
  for (const {name, shape} of wanted) {
    const given = weights[name];
    if (!given)
      throw new BlockError(`${block.kind}: the weight '${name}' [${shape.join(', ')}] is missing; pass it.`);
    if (given.shape.join() !== shape.join()) {
      throw new BlockError(
        `${block.kind}: the weight '${name}' is [${given.shape.join(', ')}] but must be [${shape.join(', ')}] for x [${x.shape.join(', ')}].`,
      );
    }
    if (given.dtype !== 'float32')
      throw new BlockError(
        `${block.kind}: the weight '${name}' is ${given.dtype} but must be float32; cast it.`,
      );
  }
  const names = new Set(wanted.map(({name}) => name));
  const extra = Object.keys(weights).filter((name) => !names.has(name));
  if (extra.length > 0)
    throw new BlockError(
      `${block.kind}: it takes no weight ${extra.map((name) => `'${name}'`).join(', ')}; it takes ${[...names].join(', ')}.`,
    );
}
