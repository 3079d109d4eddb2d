/**
 * From a block's stages to dispatches. Each convolution is one dispatch that takes in what stands before it (LayerNorm, gate)
 * and finishes what stands behind it (bias, activation, layer scale, residual); a gate's sums and a LayerNorm's moments are
 * taken by the dispatch that made the map, where it can.
 */
import {
  type Block,
  type GateStage,
  type GrnStage,
  type LayerNormStage,
  type PointwiseStage,
  type ResidualStage,
  type Shape4D,
  type ShortcutStage,
  type SpatialStage,
  type Stage,
  traceBlock,
} from '../../ops/index.js';
import {elements, resolvePad} from '../../ops/shapes.js';
import {activationConstants} from './activation_codes.js';
import {
  type BufferName,
  type Constants,
  type Dispatch,
  divideUp,
  type Plan,
  WeightPacker,
  type WeightValue,
} from '../plan.js';
import type {RowKernel} from './wgsl/index.js';
import type {Tiling} from './tiling.js';

/** A map between dispatches, with what the next one has to apply as it reads it. */
interface Rows {
  readonly buffer: BufferName;
  readonly shape: Shape4D;
  /** Channels the buffer really has; a channel-padded shortcut is narrower than its shape. */
  readonly channels: number;
  /** Per-image, per-channel factors, from a gate or GRN. */
  readonly scales?: BufferName;
  /** GRN's offset, which the next filter multiplies. */
  readonly rowOffset?: string;
  readonly norm?: {readonly moments: BufferName; readonly blocks: number; readonly stage: LayerNormStage};
  /** Sums over pixels the depth-wise kernel already took. */
  readonly sums?: {readonly buffer: BufferName; readonly parts: number};
  readonly moments?: {readonly buffer: BufferName; readonly blocks: number};
  /** The block's input is to be read behind these channels. */
  readonly joined?: boolean;
}

/** What stands behind a convolution and is finished by it. */
interface Ending {
  readonly scale?: Stage | undefined;
  readonly residual?: ResidualStage | undefined;
  readonly shortcut?: Rows | undefined;
  /** The stage that follows, which may want statistics. */
  readonly next?: Stage | undefined;
}

const FLOAT_BYTES = 4;

/** @throws {BlockError} as traceBlock. */
export function lowerBlock(block: Block, input: readonly number[], tiling: Tiling): Plan {
  const trace = traceBlock(block, input);
  const lowering = new Lowering(trace.input, tiling);
  lowering.lower(block.stages);
  return {
    block,
    input: trace.input,
    output: trace.output,
    name: lowering.dispatches.map(({kernel}) => kernel.replace('.vector', '')).join(' | '),
    dispatches: lowering.dispatches,
    scratch: lowering.scratch,
    weights: lowering.packer.layout(),
  };
}

class Lowering {
  readonly dispatches: Dispatch[] = [];
  readonly scratch: Record<`scratch:${string}`, number> = {};
  readonly packer = new WeightPacker();
  readonly #input: Rows;
  readonly #tiling: Tiling;
  #names = 0;

  constructor(input: Shape4D, tiling: Tiling) {
    this.#input = {buffer: 'x', shape: input, channels: input[3]};
    this.#tiling = tiling;
  }

  lower(stages: readonly Stage[]): void {
    let rows = this.#input;
    for (let at = 0; at < stages.length; at++) {
      const stage = stages[at] as Stage;
      const rest = stages.slice(at + 1);
      const scale = rest[0]?.op === 'scale' ? rest[0] : undefined;
      const after = scale ? rest.slice(1) : rest;
      const residual = after[0]?.op === 'residual' ? after[0] : undefined;
      const last = after.length === (residual ? 1 : 0);
      const isConvolution = stage.op === 'pointwise' || stage.op === 'spatial';
      const shortcut = isConvolution && residual ? this.#shortcut(residual) : undefined;
      const ending: Ending = {scale, residual: isConvolution ? residual : undefined, shortcut, next: rest[0]};
      rows = this.#stage(
        stage,
        rows,
        ending,
        last && isConvolution ? 'out' : last && after.length === 0 ? 'out' : undefined,
      );
      if (isConvolution) at += (scale ? 1 : 0) + (residual ? 1 : 0);
    }
  }

  #stage(stage: Stage, rows: Rows, ending: Ending, into: BufferName | undefined): Rows {
    switch (stage.op) {
      case 'pointwise':
        return this.#pointwise(stage, rows, ending, into);
      case 'spatial':
        return this.#spatial(stage, rows, ending, into);
      case 'layernorm':
        return {...rows, norm: {...this.#momentsOf(rows), stage}};
      case 'gate':
        return this.#closeGate({...rows, scales: this.#gate(stage, rows)}, into);
      case 'grn':
        return {...rows, scales: this.#grn(stage, rows), rowOffset: `${stage.name}Offset`};
      case 'concat':
        return {
          ...rows,
          joined: true,
          shape: [rows.shape[0], rows.shape[1], rows.shape[2], rows.channels + this.#input.channels],
        };
      case 'blurpool':
        return this.#blur(stage, rows, into);
      case 'residual':
        return this.#join(rows, stage, into);
      case 'pool':
        return this.#pool(stage, rows, into);
      case 'scale':
      case 'padchannels':
        throw new Error(`A '${stage.op}' stage has no kernel in this place.`); // The specs allow none there.
    }
  }

  #shortcut(residual: ResidualStage): Rows {
    const step = (rows: Rows, stage: ShortcutStage): Rows =>
      stage.op === 'padchannels'
        ? {...rows, shape: [rows.shape[0], rows.shape[1], rows.shape[2], stage.channels]}
        : this.#stage(stage, rows, {}, undefined);
    return residual.shortcut.reduce(step, this.#input);
  }

  #pointwise(stage: PointwiseStage, given: Rows, ending: Ending, into: BufferName | undefined): Rows {
    const rows = given.joined ? this.#blur({taps: 1, stride: 1, mode: 'zero'}, given, undefined) : given;
    const shape: Shape4D = [rows.shape[0], rows.shape[1], rows.shape[2], stage.channels];
    return this.#matmul('pointwise', stage, rows, shape, {taps: 1, constants: {}}, ending, into);
  }

  #spatial(stage: SpatialStage, rows: Rows, ending: Ending, into: BufferName | undefined): Rows {
    const [n, h, w] = rows.shape;
    const [top, bottom, left, right] = resolvePad(stage, rows.shape);
    const reach = (axis: 0 | 1): number => (stage.kernel[axis] - 1) * stage.dilation[axis] + 1;
    const height = Math.floor((h + top + bottom - reach(0)) / stage.stride[0]) + 1;
    const width = Math.floor((w + left + right - reach(1)) / stage.stride[1]) + 1;
    const shape: Shape4D = [n, height, width, stage.channels];
    const constants = {
      ...windowConstants(stage.kernel, stage.stride, [top, left]),
      DILATION_H: stage.dilation[0],
      DILATION_W: stage.dilation[1],
      ...mapConstants(rows.shape, shape),
    };
    if (stage.group === rows.channels && !(stage.group === 1 && stage.channels > 1)) {
      const taps = stage.kernel[0] * stage.kernel[1];
      return this.#matmul('convolution', stage, rows, shape, {taps, constants}, ending, into);
    }
    if (stage.group === 1 && stage.channels === rows.channels)
      return this.#depthwise(stage, rows, shape, constants, ending, into);
    return this.#grouped(stage, rows, shape, constants, ending, into);
  }

  #matmul(
    kernel: 'pointwise' | 'convolution',
    stage: PointwiseStage | SpatialStage,
    rows: Rows,
    shape: Shape4D,
    source: {taps: number; constants: Constants},
    ending: Ending,
    into: BufferName | undefined,
  ): Rows {
    const filter: WeightValue = {
      form: 'filter',
      filter: `${stage.name}Filter`,
      rowScale: rows.norm?.stage.affine ? `${rows.norm.stage.name}Gain` : undefined,
      columnScale: ending.scale ? `${ending.scale.name}Gain` : undefined,
    };
    const rowOffset = rows.norm?.stage.affine ? `${rows.norm.stage.name}Offset` : rows.rowOffset;
    const channels4 = divideUp(rows.channels, 4);
    const k = source.taps * channels4 * 4;
    const m = shape[0] * shape[1] * shape[2];
    const n = stage.channels;
    const tile = this.#tiling.matmul({m, n, k});
    const constants: Constants = {
      ...source.constants,
      M: m,
      N: n,
      K: k,
      ...tile,
      FILTER: this.packer.add({taps: source.taps, rows: rows.channels, columns: n, padRows: true}, filter),
      ...this.#ending(stage, ending, {rowOffset, columnScale: filter.columnScale}),
      HAS_SCALES: rows.scales !== undefined,
      PIXELS: rows.shape[1] * rows.shape[2],
      HAS_NORM: rows.norm !== undefined,
      NORM_BLOCKS: rows.norm?.blocks ?? 1,
      'NORM_EPSILON:f32': rows.norm?.stage.epsilon ?? 0,
      COLUMN_SUMS: rows.norm
        ? this.packer.add({rows: rows.channels, columns: n}, {...filter, form: 'columnsums'})
        : 0,
      ...(kernel === 'convolution' ? {X_CHANNELS4: channels4} : {}),
    };
    const buffers = {scales: rows.scales ?? 'unused', norms: rows.norm?.moments ?? 'unused'} as const;
    const workgroups = [divideUp(m, tile.TILE_M), divideUp(n, tile.TILE_N), 1] as const;
    return this.#emit(kernel, rows, shape, {
      constants,
      buffers,
      workgroups,
      macs: m * n * k,
      weights: k * n,
      ending,
      into,
    });
  }

  #depthwise(
    stage: SpatialStage,
    rows: Rows,
    shape: Shape4D,
    window: Constants,
    ending: Ending,
    into: BufferName | undefined,
  ): Rows {
    const hasSums = ending.next?.op === 'gate';
    const hasMoments = ending.next?.op === 'layernorm';
    const tile = this.#tiling.depthwise({shape, stage, hasMoments});
    const strips = divideUp(shape[1], tile.STRIP_H) * divideUp(shape[2], tile.STRIP_W);
    const parts = divideUp(strips, tile.STRIPS);
    const blocks = divideUp(divideUp(stage.channels, 4), tile.LANES);
    const m = shape[0] * shape[1] * shape[2];
    const statistics = hasSums
      ? this.#new('sums', shape[0] * parts * divideUp(stage.channels, 4) * 4)
      : hasMoments
        ? this.#new('moments', m * blocks * 4)
        : 'unused';
    const taps = stage.kernel[0] * stage.kernel[1];
    const constants: Constants = {
      ...window,
      ...tile,
      FILTER: this.packer.add(
        {rows: taps, columns: stage.channels},
        {form: 'filter', filter: `${stage.name}Filter`},
      ),
      ...this.#ending(stage, ending, {}),
      HAS_SUMS: hasSums,
      SUM_PARTS: parts,
      HAS_MOMENTS: hasMoments,
    };
    const emitted = this.#emit('depthwise', rows, shape, {
      constants,
      buffers: {statistics},
      workgroups: [parts, blocks, shape[0]],
      macs: elements(shape) * taps,
      weights: taps * stage.channels,
      ending,
      into,
    });
    if (hasSums) return {...emitted, sums: {buffer: statistics, parts}};
    return hasMoments ? {...emitted, moments: {buffer: statistics, blocks}} : emitted;
  }

  #grouped(
    stage: SpatialStage,
    rows: Rows,
    shape: Shape4D,
    window: Constants,
    ending: Ending,
    into: BufferName | undefined,
  ): Rows {
    const tile = this.#tiling.grouped({shape});
    const groups = rows.channels / stage.group;
    const byFour = stage.group % 4 === 0 && (stage.channels / groups) % 4 === 0;
    const taps = stage.kernel[0] * stage.kernel[1] * stage.group;
    const constants: Constants = {
      ...window,
      ...tile,
      GROUPS: groups,
      GROUP: stage.group,
      CHANNEL_STEP: byFour ? 4 : 1,
      FILTER: this.packer.add(
        {rows: taps, columns: stage.channels},
        {form: 'filter', filter: `${stage.name}Filter`},
      ),
      ...this.#ending(stage, ending, {}),
    };
    const strips = shape[1] * divideUp(shape[2], tile.STRIP);
    const workgroups = [
      divideUp(strips, tile.STRIPS),
      divideUp(divideUp(stage.channels, 4), tile.LANES),
      shape[0],
    ] as const;
    return this.#emit('grouped', rows, shape, {
      constants,
      buffers: {},
      workgroups,
      macs: elements(shape) * taps,
      weights: taps * stage.channels,
      ending,
      into,
    });
  }

  #gate(stage: GateStage, rows: Rows): BufferName {
    const c = rows.channels;
    const sums = rows.sums ?? this.#sums(rows, false);
    const bias = (side: 'Reduce' | 'Expand', columns: number): number =>
      stage.bias ? this.packer.vector(`gate${side}Bias`, columns) : 0;
    const workgroup = this.#tiling.gate({channels: c, reduced: stage.channels});
    return this.#emitGate(rows, sums, {
      CHANNELS: c,
      REDUCED: stage.channels,
      WORKGROUP: workgroup,
      IS_GRN: false,
      GAIN: 0,
      'EPSILON:f32': 0,
      REDUCE_FILTER: this.packer.add(
        {rows: c, columns: stage.channels},
        {form: 'filter', filter: 'gateReduceFilter'},
      ),
      EXPAND_FILTER: this.packer.add(
        {rows: stage.channels, columns: c},
        {form: 'filter', filter: 'gateExpandFilter'},
      ),
      HAS_BIAS: stage.bias,
      REDUCE_BIAS: bias('Reduce', stage.channels),
      EXPAND_BIAS: bias('Expand', c),
      ...this.#slope('SLOPE', stage.activation.fn === 'prelu' ? 'gateAlpha' : undefined, stage.channels),
      ...activationConstants('ACTIVATION', stage.activation),
      ...activationConstants('GATE', stage.gate),
    });
  }

  #grn(stage: GrnStage, rows: Rows): BufferName {
    const gain = this.packer.vector(`${stage.name}Gain`, rows.channels);
    return this.#emitGate(rows, this.#sums(rows, true), {
      CHANNELS: rows.channels,
      REDUCED: 4,
      WORKGROUP: this.#tiling.gate({channels: rows.channels, reduced: 4}),
      IS_GRN: true,
      GAIN: gain,
      'EPSILON:f32': stage.epsilon,
      ...Object.fromEntries(
        ['REDUCE_FILTER', 'EXPAND_FILTER', 'REDUCE_BIAS', 'EXPAND_BIAS'].map((name) => [name, 0]),
      ),
      HAS_BIAS: false,
      HAS_SLOPE: false,
      SLOPE: 0,
      ...activationConstants('ACTIVATION', {fn: 'linear'}),
      ...activationConstants('GATE', {fn: 'linear'}),
    });
  }

  #emitGate(rows: Rows, sums: {buffer: BufferName; parts: number}, constants: Constants): BufferName {
    const [n, h, w] = rows.shape;
    const scales = this.#new('scales', n * divideUp(rows.channels, 4) * 4);
    const weights = rows.channels * 2 * Number(constants['REDUCED']);
    this.dispatches.push({
      kernel: 'gate',
      constants: {...constants, PIXELS: h * w, SUM_PARTS: sums.parts},
      buffers: {sums: sums.buffer, weights: 'weights', scales},
      workgroups: [n, 1, 1],
      cost: {macs: n * weights, bytes: FLOAT_BYTES * (n * rows.channels * (sums.parts + 1) + weights)},
    });
    return scales;
  }

  #sums(rows: Rows, squared: boolean): {buffer: BufferName; parts: number} {
    const [n, h, w] = rows.shape;
    const {LANES, ROWS, SUM_PARTS} = this.#tiling.sum({pixels: h * w, channels: rows.channels});
    const buffer = this.#new('sums', n * SUM_PARTS * divideUp(rows.channels, 4) * 4);
    this.#sweep('sum', rows, {
      constants: {LANES, ROWS, SUM_PARTS, PIXELS: h * w, SQUARED: squared},
      buffers: {sums: buffer},
      workgroups: [SUM_PARTS, divideUp(divideUp(rows.channels, 4), LANES), n],
    });
    return {buffer, parts: SUM_PARTS};
  }

  #momentsOf(rows: Rows): {moments: BufferName; blocks: number} {
    if (rows.moments) return {moments: rows.moments.buffer, blocks: rows.moments.blocks};
    const m = rows.shape[0] * rows.shape[1] * rows.shape[2];
    const moments = this.#new('moments', m * 4);
    this.#sweep('moments', rows, {
      constants: {M: m, WORKGROUP: 64},
      buffers: {moments},
      workgroups: [divideUp(m, 64), 1, 1],
    });
    return {moments, blocks: 1};
  }

  #blur(
    stage: {taps: number; stride: number; mode: 'reflect' | 'zero'},
    rows: Rows,
    into: BufferName | undefined,
  ): Rows {
    const {taps, stride, mode} = stage;
    const channels = rows.joined ? rows.channels + this.#input.channels : rows.channels;
    const size = (length: number): number => Math.floor((length - 1) / stride) + 1;
    const shape: Shape4D = [rows.shape[0], size(rows.shape[1]), size(rows.shape[2]), channels];
    const constants = {
      ...mapConstants(rows.shape, shape),
      TAPS: taps,
      STRIDE: stride,
      REFLECT: mode === 'reflect',
    };
    return this.#perPixel(
      'blur',
      {...rows, joined: false},
      shape,
      constants,
      into,
      rows.joined ? this.#input : undefined,
    );
  }

  #pool(stage: Extract<Stage, {op: 'pool'}>, rows: Rows, into: BufferName | undefined): Rows {
    const [top, bottom, left, right] = resolvePad(stage, rows.shape);
    const height = Math.floor((rows.shape[1] + top + bottom - stage.kernel[0]) / stage.stride[0]) + 1;
    const width = Math.floor((rows.shape[2] + left + right - stage.kernel[1]) / stage.stride[1]) + 1;
    const shape: Shape4D = [rows.shape[0], height, width, rows.channels];
    const constants = {
      ...windowConstants(stage.kernel, stage.stride, [top, left]),
      ...mapConstants(rows.shape, shape),
      IS_MAX: stage.mode === 'max',
    };
    return this.#perPixel('pool', rows, shape, constants, into);
  }

  #closeGate(rows: Rows, into: BufferName | undefined): Rows {
    return into === undefined ? rows : this.#join(rows, undefined, into);
  }

  #join(rows: Rows, residual: ResidualStage | undefined, into: BufferName | undefined): Rows {
    const ending: Ending = {residual, shortcut: residual && this.#shortcut(residual)};
    const constants = {
      ...this.#ending(
        {name: 'join', bias: false, channels: rows.channels, activation: {fn: 'linear'}},
        ending,
        {},
      ),
      HAS_SCALES: rows.scales !== undefined,
      PIXELS: rows.shape[1] * rows.shape[2],
    };
    return this.#perPixel('join', rows, rows.shape, constants, into, ending.shortcut, {
      scales: rows.scales ?? 'unused',
    });
  }

  /** A dispatch of one thread per four channels of a pixel. */
  #perPixel(
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
    return this.#emit(kernel, rows, shape, {
      constants: {...constants, M: m, WORKGROUP: 64},
      buffers: extra,
      workgroups: [divideUp(threads, 64), 1, 1],
      macs: 0,
      weights: 0,
      ending: {shortcut: residual},
      into,
    });
  }

  /** Bias, activation, slopes and residual, as the constants of wgsl/epilogue.ts. */
  #ending(
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
      ...this.#slope(
        'SLOPE',
        stage.activation.fn === 'prelu' ? `${stage.name}Alpha` : undefined,
        stage.channels,
      ),
      ...activationConstants('ACTIVATION', stage.activation),
      HAS_RESIDUAL: residual !== undefined,
      ...this.#slope(
        'RESIDUAL_SLOPE',
        residual?.activation.fn === 'prelu' ? `${residual.name}Alpha` : undefined,
        stage.channels,
      ),
      ...activationConstants('RESIDUAL_ACTIVATION', residual?.activation ?? {fn: 'linear'}),
    };
  }

  #slope(constant: string, name: string | undefined, channels: number): Constants {
    return {
      [`HAS_${constant}`]: name !== undefined,
      [constant]: name === undefined ? 0 : this.packer.vector(name, channels),
    };
  }

  #emit(
    kernel: RowKernel,
    rows: Rows,
    shape: Shape4D,
    given: {
      constants: Constants;
      buffers: Readonly<Record<string, BufferName>>;
      workgroups: readonly [number, number, number];
      macs: number;
      weights: number;
      ending: Ending;
      into: BufferName | undefined;
    },
  ): Rows {
    const out = given.into ?? this.#new('rows', elements(shape));
    const shortcut = given.ending.shortcut;
    const residual = shortcut ? elements(shape) : 0;
    const cost = {
      macs: given.macs,
      bytes: FLOAT_BYTES * (elements(rows.shape) + given.weights + residual + elements(shape)),
    };
    this.#push(kernel, rows, {...given, cost, shortcut, out, outChannels: shape[3]});
    return {buffer: out, shape, channels: shape[3]};
  }

  #sweep(
    kernel: RowKernel,
    rows: Rows,
    given: {
      constants: Constants;
      buffers: Readonly<Record<string, BufferName>>;
      workgroups: readonly [number, number, number];
    },
  ): void {
    const cost = {macs: 0, bytes: FLOAT_BYTES * elements(rows.shape)};
    this.#push(kernel, rows, {
      ...given,
      cost,
      shortcut: undefined,
      out: 'unused',
      outChannels: rows.channels,
    });
  }

  #push(
    kernel: RowKernel,
    rows: Rows,
    given: Pick<Dispatch, 'constants' | 'workgroups' | 'cost' | 'buffers'> & {
      shortcut: Rows | undefined;
      out: BufferName;
      outChannels: number;
    },
  ): void {
    const {constants, buffers, workgroups, cost, shortcut, out, outChannels} = given;
    const residualChannels = shortcut?.channels ?? outChannels;
    const access = [rows.channels, outChannels, residualChannels].every((channels) => channels % 4 === 0)
      ? 'vector'
      : 'scalar';
    this.dispatches.push({
      kernel: `${kernel}.${access}`,
      constants: {
        X_CHANNELS: rows.channels,
        OUT_CHANNELS: outChannels,
        RESIDUAL_CHANNELS: residualChannels,
        ...constants,
      },
      buffers: {x: rows.buffer, residual: shortcut?.buffer ?? 'unused', out, weights: 'weights', ...buffers},
      workgroups,
      cost,
    });
  }

  #new(name: string, size: number): BufferName {
    const buffer = `scratch:${name}${this.#names++}` as const;
    this.scratch[buffer] = size;
    return buffer;
  }
}

function windowConstants(
  kernel: readonly [number, number],
  stride: readonly [number, number],
  [top, left]: readonly [number, number],
): Constants {
  const [KERNEL_H, KERNEL_W] = kernel;
  const [STRIDE_H, STRIDE_W] = stride;
  return {KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W, 'PAD_TOP:i32': top, 'PAD_LEFT:i32': left};
}

const mapConstants = (input: Shape4D, output: Shape4D): Constants => ({
  IN_HEIGHT: input[1],
  IN_WIDTH: input[2],
  OUT_HEIGHT: output[1],
  OUT_WIDTH: output[2],
});
