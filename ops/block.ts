/**
 * What a block is: an ordered list of stages, as plain data. From that list come the reference (reference.ts), the
 * gradient (run.ts), the input names and shapes (trace.ts), the cost (cost.ts), and the pattern the graph
 * rewriter looks for. This file knows no kernel and no graph.
 *
 * A stage list travels through a TF.js graph as a string attribute, and TF.js lower-cases those, so every key and
 * every name in here is a lower-case word.
 */
import {keptIn} from './kept.js';

/** Activation functions a stage may end with. `alpha` is the slope of leakyrelu or the scale of elu. */
export type Activation =
  | {readonly fn: 'linear' | 'relu' | 'relu6' | 'prelu' | 'sigmoid' | 'swish' | 'gelu' | 'gelutanh'}
  | {readonly fn: 'leakyrelu' | 'elu'; readonly alpha: number}
  /** clip(x · slope + offset, 0, 1); MobileNetV3 has slope 1/6, Keras 2 had 0.2. hardswish is x times it. */
  | {readonly fn: 'hardsigmoid' | 'hardswish'; readonly slope: number; readonly offset: number}
  | {readonly fn: 'clamp'; readonly min: number; readonly max: number};

export type ActivationName = Activation['fn'];

/** TensorFlow's SAME or VALID rule, or rows and columns of zeros to add: `[top, bottom, left, right]`. */
export type Pad = 'same' | 'valid' | readonly [number, number, number, number];
export type Pair = readonly [number, number];
/** `[N, H, W, C]`. */
export type Shape4D = readonly [number, number, number, number];

/**
 * Spatial convolution. `group` is the group WIDTH, input channels per group: 1 is depth-wise, all of them is a full
 * convolution. Filter `[kernel_h, kernel_w, group, channels]`; the channels of one group are contiguous in both input and
 * output, as in TensorFlow. A depth-wise filter `[kh, kw, C, multiplier]` has the same bytes, so it only needs a reshape.
 */
export interface SpatialStage {
  readonly op: 'spatial';
  readonly name: string;
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly dilation: Pair;
  readonly pad: Pad;
  readonly group: number;
  readonly channels: number;
  readonly bias: boolean;
  readonly activation: Activation;
}

/** 1×1 convolution of stride 1: a matrix product over channels. Filter `[channels_in, channels]`. */
export interface PointwiseStage {
  readonly op: 'pointwise';
  readonly name: string;
  readonly channels: number;
  readonly bias: boolean;
  readonly activation: Activation;
}

/** Layer normalisation over channels, per pixel. With `affine` there are a gain and an offset `[C]`. */
export interface LayerNormStage {
  readonly op: 'layernorm';
  readonly name: string;
  readonly epsilon: number;
  readonly affine: boolean;
}

/** Global response normalisation (ConvNeXt V2, eq. 1 to 3): x + gain·x·n + offset, n = ‖x‖₂ over pixels / its channel mean. */
export interface GrnStage {
  readonly op: 'grn';
  readonly name: string;
  readonly epsilon: number;
}

/** Squeeze-and-excite: x · gate(expand(activation(reduce(mean of x over pixels)))); `channels` is the squeezed width. */
export interface GateStage {
  readonly op: 'gate';
  readonly name: string;
  readonly channels: number;
  readonly bias: boolean;
  readonly activation: Activation;
  readonly gate: Activation;
}

/** Per-channel multiplication by a weight `[C]` (ConvNeXt's layer scale). */
export interface ScaleStage {
  readonly op: 'scale';
  readonly name: string;
}

/** Binomial low-pass filter of `taps` taps, then subsampling (Zhang 2019). `mode` says what lies beyond the edge. */
export interface BlurPoolStage {
  readonly op: 'blurpool';
  readonly name: string;
  readonly taps: number;
  readonly stride: number;
  readonly mode: 'reflect' | 'zero';
}

/** Appends the block's input behind the channels so far. */
export interface ConcatStage {
  readonly op: 'concat';
  readonly name: string;
}

/** The largest value of each window, or the mean. What lies beyond the edge does not count, however it is padded. */
export interface PoolStage {
  readonly op: 'pool';
  readonly name: string;
  readonly mode: 'max' | 'avg';
  readonly kernel: Pair;
  readonly stride: Pair;
  /** Edges given as numbers must be narrower than the window. */
  readonly pad: Pad;
}

/** Mean over all pixels: `[N, H, W, C]` to `[N, 1, 1, C]`. A dense layer behind it is a pointwise stage. */
export interface MeanStage {
  readonly op: 'mean';
  readonly name: string;
}

/** Always last: the block gives `[N, C]` instead of `[N, 1, 1, C]`. */
export interface FlattenStage {
  readonly op: 'flatten';
  readonly name: string;
}

/** Channels as a matrix of `groups` rows, turned: channel i of group g comes out at i · groups + g (ShuffleNet). */
export interface ShuffleStage {
  readonly op: 'shuffle';
  readonly name: string;
  readonly groups: number;
}

/** Zero channels appended until there are `channels` of them (BlazeFace's shortcut). */
export interface PadChannelsStage {
  readonly op: 'padchannels';
  readonly name: string;
  readonly channels: number;
}

/**
 * `count` channels from `from` on, each `every`-th, put at `at`, `at + step`, … of `channels`, zeros elsewhere. In a shortcut whose
 * main path is zero there, the sum joins two maps, with their channels in any of these orders (ShuffleNet V2's units).
 */
export interface SpreadStage {
  readonly op: 'spread';
  readonly name: string;
  readonly from: number;
  readonly every: number;
  readonly count: number;
  readonly at: number;
  readonly step: number;
  readonly channels: number;
}

/**
 * Adds the block's input, passed through the `shortcut` stages (none: identity), then an activation. With `given` it adds a
 * second map instead, the block's input `NAMEMap` of the shape reached there: the lateral connection of a feature pyramid.
 */
export interface ResidualStage {
  readonly op: 'residual';
  readonly name: string;
  readonly shortcut: readonly ShortcutStage[];
  readonly given?: true;
  readonly activation: Activation;
}

export type ShortcutStage = SpatialStage | PointwiseStage | PoolStage | PadChannelsStage | SpreadStage;
export type Stage =
  | SpatialStage
  | PointwiseStage
  | LayerNormStage
  | GrnStage
  | GateStage
  | ScaleStage
  | BlurPoolStage
  | ConcatStage
  | PoolStage
  | PadChannelsStage
  | SpreadStage
  | ShuffleStage
  | MeanStage
  | FlattenStage
  | ResidualStage;
export type StageOp = Stage['op'];

/** A residual block, or any chain of layers the plugin fuses. `kind` is the TF.js kernel name, `BlockMBConv` and the like. */
export interface Block {
  readonly kind: string;
  readonly stages: readonly Stage[];
}

/** Thrown for everything a caller can get wrong about a block; the message names the block, both values and the fix. */
export class BlockError extends Error {
  override readonly name = 'BlockError';
}

export const LINEAR: Activation = {fn: 'linear'};

const FLOAT32_MAX = 3.4028234663852886e38;

const encoded = new WeakMap<readonly Stage[], string>();

/**
 * The attribute a graph node carries. `decodeStages` is its inverse, also after TF.js has lower-cased the text; only an
 * infinite bound of a clamp, for which JSON has no word, comes back as the largest float32.
 */
export const encodeStages = (stages: readonly Stage[]): string =>
  keptIn(encoded, stages, () => JSON.stringify(stages, finite));

const finite = (_key: string, value: unknown): unknown =>
  value === Infinity ? FLOAT32_MAX : value === -Infinity ? -FLOAT32_MAX : value;

const decoded = new Map<string, readonly Stage[]>();

/**
 * Parses what `encodeStages` wrote. Results are shared: the same text gives the same array, so it can key caches. That each
 * stage is what its type says is checked by traceBlock.
 * @throws {BlockError} where the text is no JSON list.
 */
export const decodeStages = (text: string): readonly Stage[] =>
  keptIn(decoded, text, () => parseStages(text));

function parseStages(text: string): readonly Stage[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw new BlockError(
      `A block's 'stages' attribute is not JSON (${String(error)}); was the model file edited?`,
    );
  }
  if (!Array.isArray(parsed))
    throw new BlockError(
      `A block's 'stages' attribute is ${text.slice(0, 40)} but must be a list of stages; was the model file edited?`,
    );
  return parsed as readonly Stage[];
}
