/** Channels exchanged between groups. */
import * as tf from '@tensorflow/tfjs-core';
import {BlockError, type ShuffleStage} from '../block.js';
import type {StageDefinition} from './stage.js';

export const shuffle: StageDefinition<ShuffleStage> = {
  weights: () => ({}),
  outShape({groups}, input, _blockInput, at) {
    if (input[3] % groups !== 0)
      throw new BlockError(
        `${at}: ${input[3]} channels do not divide into ${groups} groups; shuffle as many as there are.`,
      );
    return input;
  },
  macs: () => 0,
  apply({groups}, x) {
    const [n, h, w, channels] = x.shape;
    const matrix = tf.reshape(x, [n * h * w, groups, channels / groups]);
    return tf.reshape(tf.transpose(matrix, [0, 2, 1]), x.shape);
  },
};
