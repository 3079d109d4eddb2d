/** Whose a tensor is: a model may return its own weights, which whoever called it must not dispose. */
import * as tf from '@tensorflow/tfjs-core';

/** Tensors with a greater id are made after this call: ids ascend. */
export const latestTensorId = (): number => tf.tidy(() => tf.scalar(0).id);
