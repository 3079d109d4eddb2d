/** Stages without a filter: blur-pool (with the concat before it) and pooling. */
import {resolvePad} from '../../ops/shapes.js';
import type {Shape4D, Stage} from '../../ops/index.js';
import type {BufferName, Constants} from '../plan.js';
import type {Lowering, Rows} from './lowering.js';

export function blur(
  lowering: Lowering,
  stage: {taps: number; stride: number; mode: 'reflect' | 'zero'},
  rows: Rows,
  into: BufferName | undefined,
): Rows {
  const {taps, stride, mode} = stage;
  const channels = rows.joined ? rows.channels + lowering.input.channels : rows.channels;
  const size = (length: number): number => Math.floor((length - 1) / stride) + 1;
  const shape: Shape4D = [rows.shape[0], size(rows.shape[1]), size(rows.shape[2]), channels];
  const constants = {
    ...mapConstants(rows.shape, shape),
    TAPS: taps,
    STRIDE: stride,
    REFLECT: mode === 'reflect',
  };
  return lowering.perPixel(
    'blur',
    {...rows, joined: false},
    shape,
    constants,
    into,
    rows.joined ? lowering.input : undefined,
  );
}

export function pool(
  lowering: Lowering,
  stage: Extract<Stage, {op: 'pool'}>,
  rows: Rows,
  into: BufferName | undefined,
): Rows {
  const [top, bottom, left, right] = resolvePad(stage, rows.shape);
  const height = Math.floor((rows.shape[1] + top + bottom - stage.kernel[0]) / stage.stride[0]) + 1;
  const width = Math.floor((rows.shape[2] + left + right - stage.kernel[1]) / stage.stride[1]) + 1;
  const shape: Shape4D = [rows.shape[0], height, width, rows.channels];
  const constants = {
    ...windowConstants(stage.kernel, stage.stride, [top, left]),
    ...mapConstants(rows.shape, shape),
    IS_MAX: stage.mode === 'max',
  };
  return lowering.perPixel('pool', rows, shape, constants, into);
}

export function windowConstants(
  kernel: readonly [number, number],
  stride: readonly [number, number],
  [top, left]: readonly [number, number],
): Constants {
  const [KERNEL_H, KERNEL_W] = kernel;
  const [STRIDE_H, STRIDE_W] = stride;
  return {KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W, 'PAD_TOP:i32': top, 'PAD_LEFT:i32': left};
}

export const mapConstants = (input: Shape4D, output: Shape4D): Constants => ({
  IN_HEIGHT: input[1],
  IN_WIDTH: input[2],
  OUT_HEIGHT: output[1],
  OUT_WIDTH: output[2],
});
