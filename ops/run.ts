/** Runs a block as one TF.js op, and gives that op its gradient. */
import * as tf from '@tensorflow/tfjs-core';
import {type Block, BlockError, decodeStages, encodeStages, type Stage} from './block.js';
import {gradientsOf} from './gradient.js';
import {type BlockWeights, checkTensors, reference} from './reference.js';
import {traceBlock} from './trace.js';

/**
 * What a block's kernels compute in. `f16`: filters and the maps within a block are binary16, sums, biases and statistics
 * binary32; x, weights and output stay float32 tensors. A kernel that has no f16 runs in f32.
 */
export type Precision = 'f32' | 'f16';

export interface RunOptions {
  /** 'f32' unless given. */
  readonly precision?: Precision;
}

/**
 * Runs `block` by the kernel registered for the active backend, or by the reference where none is.
 * @param x `[N, H, W, C]`, float32. @throws {BlockError} as reference().
 */
export function runBlock(
  block: Block,
  x: tf.Tensor,
  weights: BlockWeights,
  {precision = 'f32'}: RunOptions = {},
): tf.Tensor {
  if (!hasKernel(block.kind, tf.getBackend())) return reference(block, x, weights, {differentiable: true});
  checkTensors(block, x, weights);
  const ordered = traceBlock(block, x.shape).weights.map(({name}) => weights[name] as tf.Tensor);
  return runKernel(block.kind, {stages: encodeStages(block.stages), precision}, [x, ...ordered]);
}

/**
 * The same from the inputs in graph order: x, then the weights as traceBlock lists them. A model file can have been edited,
 * so they are checked here, before a kernel reads buffers by the shapes it expects.
 * @throws {BlockError} as reference().
 */
export function runOrdered(
  kind: string,
  stages: string,
  inputs: readonly tf.Tensor[],
  {precision = 'f32'}: RunOptions = {},
): tf.Tensor {
  const call = readCall(kind, inputs, {stages});
  const {block} = call;
  const source = call.x as tf.Tensor; // readCall hands back the tensors it was given.
  const named = namedWeights(call, call.weights as tf.Tensor[]);
  if (!hasKernel(kind, tf.getBackend())) return reference(block, source, named, {differentiable: true});
  checkTensors(block, source, named);
  return runKernel(kind, {stages, precision}, inputs);
}

/** TF.js saves inputs of a varying number for a gradient only when they come as an array, as its own Concat does. */
const runKernel = (
  kind: string,
  attrs: {stages: string; precision: Precision},
  inputs: readonly tf.Tensor[],
): tf.Tensor => tf.engine().runKernel(kind, inputs as unknown as tf.NamedTensorMap, attrs);

/** Whether a kernel of that name is registered for the backend; TF.js's own type says there always is one. */
export const hasKernel = (kind: string, backend: string): boolean =>
  (tf.getKernel(kind, backend) as tf.KernelConfig | undefined) !== undefined;

function stagesOf(kind: string, attrs: tf.NamedAttrMap | undefined): readonly Stage[] {
  const text = attrs?.['stages'];
  if (typeof text !== 'string')
    throw new BlockError(`${kind} was called without its 'stages' attribute; run it by runBlock.`);
  return decodeStages(text);
}

export interface BlockCall {
  readonly block: Block;
  readonly x: tf.TensorInfo;
  /** In the order of traceBlock's `weights`. */
  readonly weights: readonly tf.TensorInfo[];
  readonly precision: Precision;
}

/** What a kernel function was called with, on any backend. */
export function readCall(
  kind: string,
  inputs: tf.NamedTensorInfoMap | readonly tf.TensorInfo[],
  attrs: tf.NamedAttrMap | undefined,
): BlockCall {
  const [x, ...weights] = Object.values(inputs) as tf.TensorInfo[];
  if (!x) throw new BlockError(`${kind} was called without inputs; pass x, then the weights.`);
  const precision = attrs?.['precision'] === 'f16' ? 'f16' : 'f32';
  return {block: {kind, stages: stagesOf(kind, attrs)}, x, weights, precision};
}

/** The weights of a call by name. */
export function namedWeights({block, x}: BlockCall, ordered: readonly tf.Tensor[]): BlockWeights {
  const names = traceBlock(block, x.shape).weights.map(({name}) => name);
  if (names.length !== ordered.length) {
    throw new BlockError(
      `${block.kind}: it takes ${names.length} weights (${names.join(', ')}) but was given ${ordered.length}.`,
    );
  }
  return Object.fromEntries(names.map((name, i) => [name, ordered[i] as tf.Tensor]));
}

/** The gradient of `kind`: only x and the weights are kept for it between the passes. */
export function blockGradient(kind: string): tf.GradConfig {
  return {
    kernelName: kind,
    saveAllInputs: true,
    gradFunc: (dy, saved, attrs) => {
      const [x, ...weights] = saved;
      if (!x) throw new Error(`${kind} saved no input for its gradient.`);
      const block: Block = {kind, stages: stagesOf(kind, attrs)};
      const named = namedWeights({block, x, weights, precision: 'f32'}, weights);
      // Those of the weights at once, here: TF.js asks for each gradient in a tidy of its own, which would dispose the others.
      const gradients = gradientsOf(block, x as tf.Tensor4D, named, dy as tf.Tensor); // runBlock has seen the rank.
      return Object.fromEntries([
        ['0', gradients.x],
        ...gradients.weights.map((gradient, i) => [String(i + 1), () => gradient] as const),
      ]);
    },
  };
}
