/** Stages of a network's head: the mean over all pixels, and the vector that the block gives. */
import * as tf from '@tensorflow/tfjs-core';
import {BlockError, type FlattenStage, type MeanStage} from '../block.js';
import type {StageDefinition} from './stage.js';

export const mean: StageDefinition<MeanStage> = {
  weights: () => ({}),
  outShape: (_stage, input) => [input[0], 1, 1, input[3]],
  macs: () => 0,
  apply: (_stage, x) => tf.mean(x, [1, 2], true),
};

/** The map stays as it is: that the block's output is of rank 2 is seen to at its end (trace.ts, reference.ts). */
export const flatten: StageDefinition<FlattenStage> = {
  weights: () => ({}),
  outShape(_stage, input, _blockInput, at) {
    if (input[1] !== 1 || input[2] !== 1)
      throw new BlockError(
        `${at}: a ${input[1]}×${input[2]} map is no vector; take the mean over its pixels first.`,
      );
    return input;
  },
  macs: () => 0,
  apply: (_stage, x) => x,
};
