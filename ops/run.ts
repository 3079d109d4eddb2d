/** Runs a block as one TF.js op, and gives that op its gradient. */
import * as tf from '@tensorflow/tfjs-core';
import {type Block, BlockError, decodeStages, encodeStages, type Stage} from './block.js';
import {type BlockWeights, checkTensors, reference} from './reference.js';
import {traceBlock} from './trace.js';

/**
 * Runs `block` by the kernel registered for the active backend, or by the reference where none is.
 * @param x `[N, H, W, C]`, float32. @throws {BlockError} as reference().
 */
export function runBlock(block: Block, x: tf.Tensor, weights: BlockWeights): tf.Tensor {
  if (!hasKernel(block.kind, tf.getBackend())) return reference(block, x, weights, {differentiable: true});
  checkTensors(block, x, weights);
  const ordered = traceBlock(block, x.shape).weights.map(({name}) => weights[name] as tf.Tensor);
  return runKernel(block.kind, encodeStages(block.stages), [x, ...ordered]);
}

/**
 * The same from the inputs in graph order: x, then the weights as traceBlock lists them. A model file can have been edited,
 * so they are checked here, before a kernel reads buffers by the shapes it expects.
 * @throws {BlockError} as reference().
 */
export function runOrdered(kind: string, stages: string, inputs: readonly tf.Tensor[]): tf.Tensor {
  const {block, x, weights} = readCall(kind, inputs, {stages});
  const source = x as tf.Tensor; // readCall hands back the tensors it was given.
  const named = namedWeights({block, x, weights}, weights as tf.Tensor[]);
  if (!hasKernel(kind, tf.getBackend())) return reference(block, source, named, {differentiable: true});
  checkTensors(block, source, named);
  return runKernel(kind, stages, inputs);
}

/** TF.js saves inputs of a varying number for a gradient only when they come as an array, as its own Concat does. */
const runKernel = (kind: string, stages: string, inputs: readonly tf.Tensor[]): tf.Tensor =>
  tf.engine().runKernel(kind, inputs as unknown as tf.NamedTensorMap, {stages});

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
}

/** What a kernel function was called with, on any backend. */
export function readCall(
  kind: string,
  inputs: tf.NamedTensorInfoMap | readonly tf.TensorInfo[],
  attrs: tf.NamedAttrMap | undefined,
): BlockCall {
  const [x, ...weights] = Object.values(inputs) as tf.TensorInfo[];
  if (!x) throw new BlockError(`${kind} was called without inputs; pass x, then the weights.`);
  return {block: {kind, stages: stagesOf(kind, attrs)}, x, weights};
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

/**
 * The gradient of `kind`, from its reference: the forward pass is recomputed by stock ops and differentiated, so only x
 * and the weights are kept between the passes (gradient checkpointing by block).
 */
export function blockGradient(kind: string): tf.GradConfig {
  return {
    kernelName: kind,
    saveAllInputs: true,
    gradFunc: (dy, saved, attrs) => {
      const [x, ...rest] = saved;
      if (!x) throw new Error(`${kind} saved no input for its gradient.`);
      const call: BlockCall = {
        block: {kind, stages: stagesOf(kind, attrs)},
        x,
        weights: rest,
      };
      const forward = (input: tf.Tensor, ...weights: tf.Tensor[]): tf.Tensor =>
        reference(call.block, input, namedWeights(call, weights), {differentiable: true});
      // All at once, here: TF.js asks for each gradient in a tidy of its own, which would dispose the others.
      const gradients = nestedGrads(forward, saved, dy as tf.Tensor);
      return Object.fromEntries(gradients.map((gradient, index) => [String(index), () => gradient]));
    },
  };
}

/**
 * tf.grads inside a gradient. On its own tape, so that what one block's forward pass saves is freed before the next block's
 * begins; but for a gradient of a gradient (depth above 0) the outer pass must see the inner one's steps.
 */
function nestedGrads(
  f: (...inputs: tf.Tensor[]) => tf.Tensor,
  inputs: readonly tf.Tensor[],
  dy: tf.Tensor,
): tf.Tensor[] {
  const {state} = tf.engine();
  if (state.gradientDepth > 0) return tf.grads(f)([...inputs], dy);
  const outerTape = state.activeTape;
  try {
    return tf.grads(f)([...inputs], dy);
  } finally {
    state.activeTape = outerTape;
  }
}
