/** Stages that bring the block's input back in: concat, and the residual add with its shortcut. */
import * as tf from '@tensorflow/tfjs-core';
import {BlockError, type ConcatStage, type PadChannelsStage} from '../block.js';
import type {StageDefinition} from './stage.js';

export const concat: StageDefinition<ConcatStage> = {
  weights: () => ({}),
  outShape(_stage, input, blockInput, at) {
    if (input[1] !== blockInput[1] || input[2] !== blockInput[2]) {
      throw new BlockError(
        `${at}: a ${input[1]}×${input[2]} map cannot be joined to the block's input of ${blockInput[1]}×${blockInput[2]}; ` +
          'subsample after the concat, not before.',
      );
    }
    return [input[0], input[1], input[2], input[3] + blockInput[3]];
  },
  macs: () => 0,
  apply: (_stage, x, _weights, blockInput) => tf.concat([x, blockInput], 3),
};

export const padChannels: StageDefinition<PadChannelsStage> = {
  weights: () => ({}),
  outShape({channels}, input, _blockInput, at) {
    if (channels < input[3]) {
      throw new BlockError(
        `${at}: ${input[3]} channels cannot be padded to ${channels}; the shortcut must not be wider.`,
      );
    }
    return [input[0], input[1], input[2], channels];
  },
  macs: () => 0,
  apply: ({channels}, x) =>
    tf.pad(x, [
      [0, 0],
      [0, 0],
      [0, 0],
      [0, channels - x.shape[3]],
    ]),
};
