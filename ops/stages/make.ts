/** Short constructors of stages with the usual defaults: SAME padding, stride and dilation 1, a bias. */
import {activationOf, type ActivationLike} from '../activation.js';
import type {
  GateStage,
  Pad,
  Pair,
  PointwiseStage,
  ResidualStage,
  ShortcutStage,
  SpatialStage,
} from '../block.js';

const pairOf = (value: number | Pair): Pair => (typeof value === 'number' ? [value, value] : value);

export interface SpatialOptions {
  readonly kernel: number | Pair;
  readonly group: number;
  readonly channels: number;
  readonly stride?: number | undefined;
  readonly dilation?: number | Pair | undefined;
  readonly pad?: Pad | undefined;
  readonly bias?: boolean | undefined;
  readonly activation?: ActivationLike | undefined;
}

export function spatialStage(name: string, options: SpatialOptions): SpatialStage {
  const {kernel, group, channels, stride = 1, dilation = 1, pad = 'same', bias = true, activation} = options;
  const window = {kernel: pairOf(kernel), stride: pairOf(stride), dilation: pairOf(dilation), pad};
  return {op: 'spatial', name, ...window, group, channels, bias, activation: activationOf(activation)};
}

export function pointwiseStage(
  name: string,
  channels: number,
  activation?: ActivationLike,
  bias = true,
): PointwiseStage {
  return {op: 'pointwise', name, channels, bias, activation: activationOf(activation)};
}

export function gateStage(
  channels: number,
  activation: ActivationLike = 'swish',
  gate: ActivationLike = 'sigmoid',
  bias = true,
): GateStage {
  return {
    op: 'gate',
    name: 'gate',
    channels,
    bias,
    activation: activationOf(activation),
    gate: activationOf(gate),
  };
}

export function residualStage(
  shortcut: readonly ShortcutStage[] = [],
  activation?: ActivationLike,
): ResidualStage {
  return {op: 'residual', name: 'residual', shortcut, activation: activationOf(activation)};
}

/** Adds a map that the block is given as `residualMap`. */
export const givenStage = (activation?: ActivationLike): ResidualStage => ({
  ...residualStage([], activation),
  given: true,
});
