/**
 * What a network is: units in a row, each a list of layers, each a stage of `ops` and where its numbers come from. It is
 * plain data; shapes, parameters, MACs, the graph and the names in a checkpoint are all read off it (trace.ts, graph/,
 * naming/). Knows no checkpoint format and no graph.
 */
import {
  LINEAR,
  type ActivationLike,
  activationOf,
  type Pad,
  type PoolStage,
  type ShortcutStage,
  type Stage,
} from '../ops/index.js';
import {gateStage, pointwiseStage, residualStage, spatialStage} from '../ops/stages/make.js';

/** Zeros around a map: `[top, bottom, left, right]`. Only in front of a pool; convolutions have their own padding. */
export interface ZeroPadStage {
  readonly op: 'zeropad';
  readonly name: string;
  readonly pad: readonly [number, number, number, number];
}

export type NetworkStage = Stage | ZeroPadStage;

/** A convolution's batch norm in the checkpoint; the graph has it folded into filter and bias. */
export interface BatchNorm {
  readonly epsilon: number;
  /** The checkpoint's convolution has a bias besides. */
  readonly convBias: boolean;
}

export interface Layer {
  readonly stage: NetworkStage;
  readonly norm?: BatchNorm;
  /** Of a residual: the layers of its shortcut. */
  readonly shortcut?: readonly Layer[];
}

/** Stem, residual block, down-sampling layer or head. */
export interface Unit {
  /** Also the name of the graph node that gives its value: `stages.1.0`. */
  readonly name: string;
  /** Which rows of a name map apply: `ir`, `ds`, `head`. */
  readonly form: string;
  /** Numbers for the templates of a name map: stage `s` and block `b` from 0, and what else a family counts. */
  readonly at: Readonly<Record<string, number>>;
  readonly layers: readonly Layer[];
}

/** What differs between those who publish weights of one architecture. */
export interface Conventions {
  /** TensorFlow's SAME, or the same number of zeros on both sides. They differ where a stride meets an even map. */
  readonly padding: 'same' | 'symmetric';
  /** Of batch norm. */
  readonly epsilon: number;
  /** Convolutions with batch norm have a bias too (Keras's ResNet). */
  readonly convBias?: boolean;
  /** A bottleneck's stride is its first 1×1's, as in the ResNet paper, not its 3×3's. */
  readonly strideFirst?: boolean;
}

export interface Network {
  readonly name: string;
  readonly classes: number;
  /** Height and width it was published with. */
  readonly size: number;
  readonly units: readonly Unit[];
}

export interface ConvOptions {
  readonly kernel?: number;
  readonly stride?: number;
  /** Group width; a full convolution where absent. */
  readonly group?: number;
  readonly channels: number;
  readonly activation?: ActivationLike;
  /** A bias and no batch norm. */
  readonly bias?: boolean;
  /** Instead of what the conventions say. */
  readonly pad?: Pad;
}

/** Makes layers by a set of conventions. */
export class LayerMaker {
  readonly #conventions: Conventions;

  constructor(conventions: Conventions) {
    this.#conventions = conventions;
  }

  /** A convolution of any kind: 1×1 ones of stride 1 become pointwise. `from` is the number of input channels. */
  conv(name: string, from: number, options: ConvOptions): Layer {
    const {kernel = 1, stride = 1, group = from, channels, activation, bias = false, pad} = options;
    const stage =
      kernel === 1 && stride === 1 && group === from
        ? pointwiseStage(name, channels, activation)
        : spatialStage(name, {
            kernel,
            stride,
            group,
            channels,
            activation,
            pad: pad ?? padding(kernel, stride, this.#conventions.padding),
          });
    const {epsilon, convBias = false} = this.#conventions;
    return bias ? {stage} : {stage, norm: {epsilon, convBias}};
  }
}

/** At stride 1 the two rules give the same for the odd kernels in use here. */
function padding(kernel: number, stride: number, rule: Conventions['padding']): Pad {
  const edge = (kernel - 1) / 2;
  if (rule === 'same' || stride === 1) return 'same';
  return edge === 0 ? 'valid' : [edge, edge, edge, edge];
}

export const layerNorm = (name: string, epsilon: number): Layer => ({
  stage: {op: 'layernorm', name, epsilon, affine: true},
});

export const gate = (channels: number, activation: ActivationLike, curve: ActivationLike): Layer => ({
  stage: gateStage(channels, activation, curve),
});

export function residual(shortcut: readonly Layer[] = [], activation?: ActivationLike): Layer {
  const stages = shortcut.map(({stage}) => stage as ShortcutStage); // Only convolutions and pools are put there.
  return {stage: residualStage(stages, activation), ...(shortcut.length > 0 ? {shortcut} : {})};
}

export const maxPool = (name: string, size: number, stride: number, pad: PoolStage['pad']): Layer => ({
  stage: {op: 'pool', name, mode: 'max', kernel: [size, size], stride: [stride, stride], pad},
});

/** What follows works on vectors. */
export const mean = (): Layer => ({stage: {op: 'mean', name: 'mean'}});

/** A dense layer on a vector, with a bias. */
export const dense = (name: string, channels: number, activation?: ActivationLike): Layer => ({
  stage: pointwiseStage(name, channels, activationOf(activation ?? LINEAR)),
});

/** To a multiple of `divisor`, but never more than a tenth below `value` unless `limit` says so (the MobileNet rule). */
export function roundChannels(value: number, divisor = 8, limit = 0.9): number {
  const rounded = Math.max(divisor, Math.floor((value + divisor / 2) / divisor) * divisor);
  return rounded < limit * value ? rounded + divisor : rounded;
}
