/**
 * What lowering a block to dispatches shares: the rows that pass from stage to stage, the packed weights, the scratch buffers
 * and the dispatches so far. Knows no kind of stage.
 */
import type {
  LayerNormStage,
  PointwiseStage,
  ResidualStage,
  Shape4D,
  SpreadStage,
  Stage,
} from '../../ops/index.js';
import {elements} from '../../ops/shapes.js';
import {
  type BufferName,
  type Constants,
  type Dispatch,
  divideUp,
  roundUp,
  WeightPacker,
  type WeightValue,
} from '../plan.js';
import {activationConstants} from './activation_codes.js';
import {rowTypes} from './compile.js';
import type {GateProblem, GateTile} from './gate_tiling.js';
import type {Vectors} from './lower_head.js';
import {MOST_WORKGROUPS, type Tiling} from './tiling.js';
import {type MatrixKernel, readsScalars, type RowKernel} from './wgsl/index.js';

/** A map between dispatches, with what the next one has to apply as it reads it. */
export interface Rows {
  readonly buffer: BufferName;
  readonly shape: Shape4D;
  /** Channels the buffer really has; a channel-padded shortcut is narrower than its shape. */
  readonly channels: number;
  /** Whether the buffer holds f16; else f32. */
  readonly isHalf?: boolean;
  /** Per-image, per-channel factors, from a gate or GRN. */
  readonly scales?: BufferName;
  readonly gate?: PendingGate;
  /** GRN's offset, which the next filter multiplies. */
  readonly rowOffset?: string;
  readonly norm?: {readonly moments: BufferName; readonly blocks: number; readonly stage: LayerNormStage};
  /** Sums over pixels the depth-wise kernel already took. */
  readonly sums?: PartialSums;
  readonly moments?: {readonly buffer: BufferName; readonly blocks: number};
  /** Not a map but vectors, as partial sums over pixels. */
  readonly vectors?: Vectors;
  /** A depth-wise convolution reads the channels of so many groups by turns. */
  readonly shuffle?: number;
  /** As a shortcut they are read by this. */
  readonly spread?: SpreadStage;
  /** The block's input is to be read behind these channels. */
  readonly joined?: boolean;
}

/** Of all channels; where the gate's tile says so, of squeezed ones. */
export interface PartialSums {
  readonly buffer: BufferName;
  readonly parts: number;
  readonly gate?: GateTile | undefined;
  readonly problem?: GateProblem | undefined;
}

/** A gate that the matrix product behind it makes: its parts' sums of squeezed channels, and what wgsl/squeeze.ts wants to know. */
export interface PendingGate {
  readonly sums: BufferName;
  readonly constants: Constants;
  /** Elements of the second layer's filter. */
  readonly weights: number;
}

/** What stands behind a convolution and is finished by it. */
export interface Ending {
  readonly scale?: Stage | undefined;
  readonly residual?: ResidualStage | undefined;
  readonly shortcut?: Rows | undefined;
  /** The stage that follows, which may want statistics, and the one behind it. */
  readonly next?: Stage | undefined;
  readonly afterNext?: Stage | undefined;
}

export const FLOAT_BYTES = 4;
const bytesOf = (rows: {readonly isHalf?: boolean}): number => (rows.isHalf ? 2 : FLOAT_BYTES);

const isMatrix = (kernel: RowKernel | MatrixKernel): kernel is MatrixKernel => kernel.startsWith('matrix');

type Buffers = Readonly<Record<string, BufferName>>;
type Workgroups = readonly [number, number, number];

interface Emitted {
  readonly constants: Constants;
  readonly buffers: Buffers;
  readonly workgroups: Workgroups;
  readonly macs: number;
  /** Elements of weights it reads. */
  readonly weights: number;
  readonly ending: Ending;
  readonly into: BufferName | undefined;
}

/** Workgroups for `threads` threads, folded into rows where one axis cannot hold them. */
export function gridOf(threads: number, workgroup: number): Workgroups {
  const groups = divideUp(threads, workgroup);
  return groups <= MOST_WORKGROUPS ? [groups, 1, 1] : [MOST_WORKGROUPS, divideUp(groups, MOST_WORKGROUPS), 1];
}

/** Which channel of the residual an output channel adds, as wgsl/access.ts reads it. */
const spreadConstants = (spread: SpreadStage | undefined): Constants => ({
  IS_SPREAD: spread !== undefined,
  SPREAD_FROM: spread?.from ?? 0,
  SPREAD_EVERY: spread?.every ?? 1,
  SPREAD_COUNT: spread?.count ?? 0,
  SPREAD_AT: spread?.at ?? 0,
  SPREAD_STEP: spread?.step ?? 1,
});

/** Rows that are read as they lie. */
export const PLAIN_ROWS: Constants = {X_GROUPS: 1, ...spreadConstants(undefined)};

export class Lowering {
  readonly dispatches: Dispatch[] = [];
  readonly scratch: Record<`scratch:${string}`, number> = {};
  readonly packer = new WeightPacker();
  readonly input: Rows;
  /** What a residual is given. */
  readonly map: Rows;
  readonly tiling: Tiling;
  #names = 0;

  constructor(input: Shape4D, tiling: Tiling, map: Shape4D = input) {
    this.input = {buffer: 'x', shape: input, channels: input[3]};
    this.map = {buffer: 'map', shape: map, channels: map[3]};
    this.tiling = tiling;
  }

  /** A dispatch from rows to rows, into a new buffer or the block's output. */
  emit(kernel: RowKernel | MatrixKernel, rows: Rows, shape: Shape4D, given: Emitted): Rows {
    // The block's output is f32 whatever its rows within are.
    const isHalf = this.tiling.half !== undefined && given.into === undefined;
    const buffer = given.into ?? this.#scratchRows(elements(shape), isHalf);
    const out: Rows = {buffer, shape, channels: shape[3], isHalf};
    const shortcut = given.ending.shortcut;
    const cost = {
      macs: given.macs,
      bytes:
        bytesOf(rows) * elements(rows.shape) +
        (isMatrix(kernel) ? 2 : FLOAT_BYTES) * given.weights +
        (shortcut ? bytesOf(shortcut) * elements(shape) : 0) +
        bytesOf(out) * elements(shape),
    };
    this.#push(kernel, rows, {...given, cost, shortcut, out});
    return out;
  }

  #scratchRows(size: number, isHalf: boolean): BufferName {
    return this.scratchFor('rows', isHalf ? roundUp(divideUp(size, 2), 4) : size);
  }

  /** A dispatch that only reads rows. */
  sweep(kernel: RowKernel, rows: Rows, given: Pick<Emitted, 'constants' | 'buffers' | 'workgroups'>): void {
    const cost = {macs: 0, bytes: bytesOf(rows) * elements(rows.shape)};
    const out: Rows = {buffer: 'unused', shape: rows.shape, channels: rows.channels};
    this.#push(kernel, rows, {...given, cost, shortcut: undefined, out});
  }

  /** A dispatch of one thread per four channels of a pixel. */
  perPixel(
    kernel: RowKernel,
    rows: Rows,
    shape: Shape4D,
    constants: Constants,
    into?: BufferName,
    residual?: Rows,
    extra: Readonly<Record<string, BufferName>> = {},
  ): Rows {
    const m = shape[0] * shape[1] * shape[2];
    const threads = m * divideUp(shape[3], 4);
    return this.emit(kernel, rows, shape, {
      constants: {...constants, M: m, WORKGROUP: 64},
      buffers: extra,
      workgroups: gridOf(threads, 64),
      macs: 0,
      weights: 0,
      ending: {shortcut: residual},
      into,
    });
  }

  /** Bias, activation, slopes and residual, as the constants of wgsl/epilogue.ts. */
  ending(
    stage: Pick<PointwiseStage, 'name' | 'bias' | 'channels' | 'activation'>,
    ending: Ending,
    fold: Pick<WeightValue, 'rowOffset' | 'columnScale'>,
  ): Constants {
    const {residual} = ending;
    const hasBias = stage.bias || fold.rowOffset !== undefined;
    const bias: WeightValue = {
      form: 'bias',
      filter: `${stage.name}Filter`,
      bias: stage.bias ? `${stage.name}Bias` : undefined,
      ...fold,
    };
    return {
      HAS_BIAS: hasBias,
      BIAS: hasBias ? this.packer.add({rows: 1, columns: stage.channels}, bias) : 0,
      ...this.slope(
        'SLOPE',
        stage.activation.fn === 'prelu' ? `${stage.name}Alpha` : undefined,
        stage.channels,
      ),
      ...activationConstants('ACTIVATION', stage.activation),
      HAS_RESIDUAL: residual !== undefined,
      ...this.slope(
        'RESIDUAL_SLOPE',
        residual?.activation.fn === 'prelu' ? `${residual.name}Alpha` : undefined,
        stage.channels,
      ),
      ...activationConstants('RESIDUAL_ACTIVATION', residual?.activation ?? {fn: 'linear'}),
    };
  }

  /** prelu's slopes, where `name` says there are any. */
  slope(constant: string, name: string | undefined, channels: number): Constants {
    return {
      [`HAS_${constant}`]: name !== undefined,
      [constant]: name === undefined ? 0 : this.packer.vector(name, channels),
    };
  }

  #push(
    kernel: RowKernel | MatrixKernel,
    rows: Rows,
    given: Pick<Dispatch, 'constants' | 'workgroups' | 'cost' | 'buffers'> & {
      shortcut: Rows | undefined;
      out: Rows;
    },
  ): void {
    const {constants, buffers, workgroups, cost, shortcut, out} = given;
    const residualChannels = shortcut?.channels ?? out.channels;
    const byVectors = [out.channels, residualChannels];
    if (isMatrix(kernel) || !readsScalars(kernel)) byVectors.push(rows.channels);
    const isVector = byVectors.every((channels) => channels % 4 === 0);
    this.dispatches.push({
      kernel: isMatrix(kernel)
        ? `${kernel}.${rows.isHalf ? 'half' : 'float'}`
        : `${kernel}.${isVector ? 'vector' : 'scalar'}`,
      constants: {
        X_CHANNELS: rows.channels,
        X_GROUPS: rows.shuffle ?? 1,
        OUT_CHANNELS: out.channels,
        RESIDUAL_CHANNELS: residualChannels,
        ...spreadConstants(shortcut?.spread),
        ...rowTypes({
          x: rows.isHalf ?? false,
          residual: shortcut?.isHalf ?? false,
          out: out.isHalf ?? false,
        }),
        ...constants,
      },
      buffers: {
        x: rows.buffer,
        residual: shortcut?.buffer ?? 'unused',
        out: out.buffer,
        weights: 'weights',
        ...buffers,
      },
      workgroups,
      cost,
    });
  }

  scratchFor(name: string, size: number): BufferName {
    const buffer = `scratch:${name}${this.#names++}` as const;
    this.scratch[buffer] = size;
    return buffer;
  }
}

/** The constants of a dispatch that ends in bare sums. */
export const bareEnding = (lowering: Lowering, channels: number): Constants =>
  lowering.ending({name: 'sums', bias: false, channels, activation: {fn: 'linear'}}, {}, {});
