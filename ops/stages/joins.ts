/** Stages that bring the block's input back in: concat, and what only a residual's shortcut has. */
import * as tf from '@tensorflow/tfjs-core';
import {BlockError, type ConcatStage, type PadChannelsStage, type SpreadStage} from '../block.js';
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

export const spread: StageDefinition<SpreadStage> = {
  weights: () => ({}),
  outShape({from, every, count, at: place, step, channels}, input, _blockInput, at) {
    const [last, end] = [from + every * (count - 1), place + step * (count - 1)];
    if (last >= input[3])
      throw new BlockError(`${at}: channel ${last} is to be read of ${input[3]}; read fewer.`);
    if (end >= channels)
      throw new BlockError(`${at}: channel ${end} is to be written of ${channels}; there must be more.`);
    return [input[0], input[1], input[2], channels];
  },
  macs: () => 0,
  apply({from, every, count, at, step, channels}, x) {
    const [n, h, w, zero] = x.shape;
    const sources = Array.from({length: channels}, (_, channel) => {
      const i = (channel - at) / step;
      return Number.isInteger(i) && i >= 0 && i < count ? from + every * i : zero;
    });
    return tf.gather(tf.concat([x, tf.zeros<tf.Rank.R4>([n, h, w, 1])], 3), tf.tensor1d(sources, 'int32'), 3);
  },
};
