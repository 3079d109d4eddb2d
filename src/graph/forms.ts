/**
 * The canonical form: what a node means, whatever it was spelled as. Rules (rules/) turn TensorFlow ops into these, and small
 * ones into larger ones, until a convnet is a graph of stages. TensorFlow ops are capitalised, canonical ones are not.
 */
import type {Activation, Pad, PointwiseStage, SpatialStage, SpreadStage, Stage} from '../../ops/index.js';
import type {Attrs} from './attrs.js';
import type {Graph, Ref} from './graph.js';
import type {Weight} from './weights.js';

/**
 * A function of one number. Besides the activations there are the pieces that gelu is spelled with: `erf` is erf(x/√2), `tanh`
 * is tanh(√(2/π)·(x + 0.044715·x³)), `cdf` and `cdftanh` are (1 + them) / 2. `band` clips to [min, max], either of them infinite.
 */
export type Curve =
  | Exclude<Activation, {fn: 'clamp' | 'relu' | 'relu6'}>
  | {readonly fn: 'band'; readonly min: number; readonly max: number}
  | {readonly fn: 'erf' | 'tanh' | 'cdf' | 'cdftanh'};

export type StageWeights = Readonly<Record<string, Weight>>;

/** One number for all channels, or a weight `[C]`. */
export type PerChannel = number | Weight;

export interface SpatialForm {
  readonly op: 'spatial';
  readonly stage: SpatialStage;
  readonly weights: StageWeights;
}

/** Also a dense layer on `[N, C]`. */
export interface PointwiseForm {
  readonly op: 'pointwise';
  readonly stage: PointwiseStage;
  readonly weights: StageWeights;
}

export type ConvForm = SpatialForm | PointwiseForm;

interface StageForm<Op extends Stage['op']> {
  readonly op: Op;
  readonly stage: Extract<Stage, {op: Op}>;
  readonly weights: StageWeights;
}

export type OtherStageForm =
  | StageForm<'gate'>
  | StageForm<'layernorm'>
  | StageForm<'grn'>
  | StageForm<'pool'>
  | StageForm<'padchannels'>
  | StageForm<'shuffle'>
  | StageForm<'blurpool'>;

/** x · gain + offset. */
export interface AffineForm {
  readonly op: 'affine';
  readonly gain: PerChannel;
  readonly offset: PerChannel;
}

/** factor · curve(x). */
export interface ActivationForm {
  readonly op: 'activation';
  readonly curve: Curve;
  readonly factor: number;
  /** prelu's slopes `[C]`. */
  readonly alpha?: Weight;
}

export interface PaddingForm {
  readonly op: 'padding';
  /** Zeros around the map. */
  readonly pad: Exclude<Pad, string>;
}

/**
 * `mean` is over all pixels; `view` gives the same bytes another shape; `square` is x² and `cube` x³; `add` and `concat` join two
 * maps. Pieces of norms: `channelmean` and `variance` are over the channels of a pixel, `centered` is x less its channel mean,
 * `pixelnorm` is the root of the sum of squares over all pixels.
 */
export interface PlainForm {
  readonly op:
    | 'mean'
    | 'view'
    | 'square'
    | 'cube'
    | 'add'
    | 'concat'
    | 'channelmean'
    | 'centered'
    | 'variance'
    | 'pixelnorm';
}

/** The first map and the second spread over its channels, where the first is zero. */
export interface JoinForm {
  readonly op: 'join';
  readonly spread: SpreadStage;
}

/** √(variance + epsilon), and one over it. */
export interface DeviationForm {
  readonly op: 'deviation' | 'inversedeviation';
  readonly epsilon: number;
}

/** n = pixelnorm / (its channel mean + epsilon), one number a channel. */
export interface RelativeNormForm {
  readonly op: 'relativenorm';
  readonly epsilon: number;
}

/** gain·x·n + offset, with n as above: GRN without its sum. */
export interface ResponseForm {
  readonly op: 'response';
  readonly epsilon: number;
  readonly gain: PerChannel;
  readonly offset: PerChannel;
}

export type Form =
  | ConvForm
  | OtherStageForm
  | AffineForm
  | ActivationForm
  | PaddingForm
  | PlainForm
  | JoinForm
  | DeviationForm
  | RelativeNormForm
  | ResponseForm;

/** A node while its meaning is worked out. It keeps the name of the op whose value it gives. */
export interface CanonicalNode {
  readonly name: string;
  /** Of the form, or the TensorFlow op where no rule has recognised it. */
  readonly op: string;
  readonly inputs: readonly Ref[];
  readonly attrs: Attrs;
  readonly form?: Form;
  /** A rule moved part of it into its reader: its value is no longer the original's, so the two must go together. */
  readonly isAltered?: true;
  /** Names of the original nodes it stands for, its own included. */
  readonly covers: readonly string[];
}

export const isConv = (form: Form | undefined): form is ConvForm =>
  form?.op === 'spatial' || form?.op === 'pointwise';

/** TensorFlow's convolutions. */
export const CONVOLUTIONS: ReadonlySet<string> = new Set([
  'Conv2D',
  '_FusedConv2D',
  'DepthwiseConv2dNative',
  'DepthwiseConv2d',
  'FusedDepthwiseConv2dNative',
]);

const PRODUCTS: ReadonlySet<string> = new Set([
  ...CONVOLUTIONS,
  ...['MatMul', '_FusedMatMul', 'BatchMatMul', 'BatchMatMulV2'],
]);

/** Whether the model has a convolution or a dense layer there; arithmetic that became a 1×1 of ours is none to a person. */
export const isProduct = ({nodes}: Graph, {covers}: CanonicalNode): boolean =>
  covers.some((name) => PRODUCTS.has(nodes.get(name)?.op ?? ''));
