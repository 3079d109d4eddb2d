/** The row of full convolutions in the table of candidates.ts. */
import type {TileRow} from './candidates.js';
import {
  besidesMicroseconds,
  convolutionCandidates,
  type ConvolutionProblem,
  type ConvolutionTile,
  productMicroseconds,
} from './convolution_tiling.js';
import {type DeviceModel, H200} from './device_model.js';

const perProcessor = ({operationsPerSecond, limits}: DeviceModel): number =>
  operationsPerSecond / limits.processors;

export const convolution: TileRow<ConvolutionProblem, ConvolutionTile> = {
  candidates: convolutionCandidates,
  estimate: (tile, problem, {device}) =>
    (productMicroseconds(tile, problem, device.limits) * perProcessor(H200)) / perProcessor(device),
  formOf: ({WINOGRAD}) => `${WINOGRAD}`,
  // Transforms and merges wait for memory.
  besides: (tile, problem, {device}) =>
    (besidesMicroseconds(tile, problem) * H200.bytesPerSecond) / device.bytesPerSecond,
};
