/** tf.grads where a gradient is already being computed. */
import * as tf from '@tensorflow/tfjs-core';

/** Whether what happens now is itself being differentiated: a gradient of a gradient. */
export const isDifferentiated = (): boolean => tf.engine().state.gradientDepth > 0;

/**
 * tf.grads inside a gradient. On its own tape, so that what one block's forward pass saves is freed before the next block's
 * begins; but for a gradient of a gradient the outer pass must see the inner one's steps.
 */
export function nestedGrads(
  f: (...inputs: tf.Tensor[]) => tf.Tensor,
  inputs: readonly tf.Tensor[],
  dy: tf.Tensor,
): tf.Tensor[] {
  if (isDifferentiated()) return tf.grads(f)([...inputs], dy);
  const {state} = tf.engine();
  const outerTape = state.activeTape;
  try {
    return tf.grads(f)([...inputs], dy);
  } finally {
    state.activeTape = outerTape;
  }
}
