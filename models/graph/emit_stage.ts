/** The stock TF.js ops of each kind of layer: what the converter writes for a network with its batch norm folded. */
import type {
  BlurPoolStage,
  GateStage,
  GrnStage,
  LayerNormStage,
  PointwiseStage,
  PoolStage,
  SpatialStage,
} from '../../ops/index.js';
import {binomial} from '../../ops/stages/resample.js';
import {emitActivation, FUSABLE} from './emit_activation.js';
import {type Attrs, flag, type GraphWriter, number, numbers, text, texts} from './writer.js';

/** Where a layer stands: its input, whether that is a map or a vector, and the graph's names of its weights. */
export interface Place {
  readonly graph: GraphWriter;
  /** Prefix of the names of the layer's nodes. */
  readonly at: string;
  readonly x: string;
  readonly channels: number;
  readonly isVector: boolean;
  /** Writes a weight of the layer as a constant and gives its name; undefined where the layer has none such. */
  readonly weight: (suffix: string, shape?: readonly number[]) => string | undefined;
  readonly values: (suffix: string) => Float32Array;
}

const MAP_AXES = [1, 2] as const;

const window = (kernelOrStride: readonly number[]): ReturnType<typeof numbers> =>
  numbers([1, ...kernelOrStride, 1]);

function need(place: Place, suffix: string, shape?: readonly number[]): string {
  const name = place.weight(suffix, shape);
  if (name === undefined) throw new Error(`${place.at} has no weight '${suffix}'.`);
  return name;
}

interface Fusion {
  readonly inputs: readonly string[];
  readonly attrs: Attrs;
}

/** The bias, and the activation where the op has it. */
function fusionOf(place: Place, fn: string): Fusion {
  const bias = place.weight('Bias');
  const fused = FUSABLE[fn as keyof typeof FUSABLE];
  const ops = [...(bias === undefined ? [] : ['BiasAdd']), ...(fused ? [fused] : [])];
  return {
    inputs: bias === undefined ? [] : [bias],
    attrs: {fused_ops: texts(ops), num_args: number(bias === undefined ? 0 : 1), epsilon: {f: 0}},
  };
}

const CONV: Attrs = {data_format: text('NHWC'), dilations: numbers([1, 1, 1, 1])};

export function emitPointwise(place: Place, {channels, activation}: PointwiseStage): string {
  const {graph, at, x, isVector} = place;
  const {inputs, attrs} = fusionOf(place, activation.fn);
  const filter = need(place, 'Filter', isVector ? undefined : [1, 1, place.channels, channels]);
  const name = isVector
    ? graph.op(at, '_FusedMatMul', [x, filter, ...inputs], {
        ...attrs,
        transpose_a: flag(false),
        transpose_b: flag(false),
      })
    : graph.op(at, '_FusedConv2D', [x, filter, ...inputs], {
        ...attrs,
        ...CONV,
        strides: window([1, 1]),
        padding: text('SAME'),
      });
  return activation.fn in FUSABLE ? name : emitActivation(graph, at, name, activation);
}

export function emitSpatial(place: Place, stage: SpatialStage): string {
  const {graph, at, channels} = place;
  const {kernel, stride, pad, group, activation} = stage;
  if (typeof pad !== 'string' && pad.every((zeros) => zeros === 0))
    throw new Error(`${at}: write no padding as 'valid'.`);
  const isPadded = typeof pad !== 'string';
  const padded = isPadded ? {...place, x: emitZeros(place, `${at}/pad`, pad)} : place;
  const attrs = {...CONV, strides: window(stride), padding: text(pad === 'same' ? 'SAME' : 'VALID')};
  if (group > 1 && group < channels) return emitGrouped(padded, stage, attrs);
  const fusion = fusionOf(place, activation.fn);
  const isDepthwise = group === 1 && channels > 1;
  const filter = need(
    place,
    'Filter',
    isDepthwise ? [...kernel, channels, stage.channels / channels] : undefined,
  );
  const op = isDepthwise ? 'FusedDepthwiseConv2dNative' : '_FusedConv2D';
  const name = graph.op(at, op, [padded.x, filter, ...fusion.inputs], {...attrs, ...fusion.attrs});
  return activation.fn in FUSABLE ? name : emitActivation(graph, at, name, activation);
}

/** Stock TF.js has no grouped convolution, so each group is one of its own. */
function emitGrouped(place: Place, stage: SpatialStage, attrs: Attrs): string {
  const {graph, at, x, channels, values} = place;
  const groups = channels / stage.group;
  const out = stage.channels / groups;
  const axis = graph.integers([3], []);
  const parts = graph.op(`${at}/split`, 'Split', [axis, x], {num_split: number(groups)});
  const filter = values('Filter');
  const convolved = Array.from({length: groups}, (_, g) => {
    const shape = [...stage.kernel, stage.group, out];
    const own = graph.weight(`${at}/filter_${g}`, shape, columns(filter, stage.channels, g * out, out));
    return graph.op(`${at}/group_${g}`, 'Conv2D', [g === 0 ? parts : `${parts}:${g}`, own], attrs);
  });
  const joined = graph.op(`${at}/concat`, 'ConcatV2', [...convolved, axis], {N: number(groups)});
  const bias = place.weight('Bias');
  const biased =
    bias === undefined ? joined : graph.op(at, 'BiasAdd', [joined, bias], {data_format: text('NHWC')});
  return emitActivation(graph, at, biased, stage.activation);
}

/** `count` columns from `first` of a matrix of `width` columns. */
function columns(matrix: Float32Array, width: number, first: number, count: number): Float32Array {
  const rows = matrix.length / width;
  const out = new Float32Array(rows * count);
  for (let row = 0; row < rows; row++)
    out.set(matrix.subarray(row * width + first, row * width + first + count), row * count);
  return out;
}

/** @param pad `[top, bottom, left, right]`. */
export function emitZeros(
  {graph, x}: Place,
  name: string,
  [top, bottom, left, right]: readonly [number, number, number, number],
): string {
  const amounts = graph.integers([0, 0, top, bottom, left, right, 0, 0], [4, 2]);
  return graph.op(name, 'Pad', [x, amounts], {Tpaddings: {type: 'DT_INT32'}});
}

const keep = {keep_dims: flag(true), Tidx: {type: 'DT_INT32'}} as const;

/** As tf.nn.batch_normalization spells it, which Keras calls for a layer norm. */
export function emitLayerNorm(place: Place, {epsilon}: LayerNormStage): string {
  const {graph, at, x} = place;
  const axis = graph.integers([place.isVector ? 1 : 3]);
  const mean = graph.op(`${at}/mean`, 'Mean', [x, axis], keep);
  const squares = graph.op(`${at}/squares`, 'SquaredDifference', [x, mean]);
  const variance = graph.op(`${at}/variance`, 'Mean', [squares, axis], keep);
  const safe = graph.op(`${at}/safe`, 'AddV2', [variance, graph.scalar(epsilon)]);
  const inverse = graph.op(`${at}/rsqrt`, 'Rsqrt', [safe]);
  const scale = graph.op(`${at}/scale`, 'Mul', [inverse, need(place, 'Gain')]);
  const scaled = graph.op(`${at}/scaled`, 'Mul', [x, scale]);
  const shift = graph.op(`${at}/shift`, 'Mul', [mean, scale]);
  const offset = graph.op(`${at}/offset`, 'Sub', [need(place, 'Offset'), shift]);
  return graph.op(at, 'AddV2', [scaled, offset]);
}

export function emitGrn(place: Place, {epsilon}: GrnStage): string {
  const {graph, at, x} = place;
  const squares = graph.op(`${at}/squares`, 'Square', [x]);
  const sum = graph.op(`${at}/sum`, 'Sum', [squares, graph.integers(MAP_AXES)], keep);
  const norm = graph.op(`${at}/norm`, 'Sqrt', [sum]);
  const mean = graph.op(`${at}/mean`, 'Mean', [norm, graph.integers([3])], keep);
  const safe = graph.op(`${at}/safe`, 'AddV2', [mean, graph.scalar(epsilon)]);
  const relative = graph.op(`${at}/relative`, 'RealDiv', [norm, safe]);
  const response = graph.op(`${at}/response`, 'Mul', [x, relative]);
  const scaled = graph.op(`${at}/scaled`, 'Mul', [response, need(place, 'Gain')]);
  const shifted = graph.op(`${at}/shifted`, 'AddV2', [scaled, need(place, 'Offset')]);
  return graph.op(at, 'AddV2', [x, shifted]);
}

export function emitGate(place: Place, stage: GateStage): string {
  const {graph, at, x, channels} = place;
  const mean = graph.op(`${at}/mean`, 'Mean', [x, graph.integers(MAP_AXES)], keep);
  const side = (suffix: 'Reduce' | 'Expand', from: string, ins: number, outs: number): string => {
    const own: Place = {
      ...place,
      at: `${at}/${suffix.toLowerCase()}`,
      x: from,
      channels: ins,
      weight: (name, shape) => place.weight(suffix + name, shape),
    };
    const activation = suffix === 'Reduce' ? stage.activation : stage.gate;
    return emitPointwise(own, {op: 'pointwise', name: suffix, channels: outs, bias: stage.bias, activation});
  };
  const reduced = side('Reduce', mean, channels, stage.channels);
  return graph.op(at, 'Mul', [x, side('Expand', reduced, stage.channels, channels)]);
}

export function emitBlurPool(place: Place, {taps, stride, mode}: BlurPoolStage): string {
  const {graph, at, x, channels} = place;
  const radius = (taps - 1) / 2;
  const amounts = graph.integers([0, 0, radius, radius, radius, radius, 0, 0], [4, 2]);
  const wide =
    mode === 'reflect'
      ? graph.op(`${at}/pad`, 'MirrorPad', [x, amounts], {
          mode: text('REFLECT'),
          Tpaddings: {type: 'DT_INT32'},
        })
      : graph.op(`${at}/pad`, 'Pad', [x, amounts], {Tpaddings: {type: 'DT_INT32'}});
  const row = binomial(taps);
  const square = row.flatMap((a) => row.map((b) => a * b));
  const filter = Float32Array.from(
    {length: taps * taps * channels},
    (_, i) => square[Math.floor(i / channels)] ?? 0,
  );
  const weight = graph.weight(`${at}/filter`, [taps, taps, channels, 1], filter);
  const attrs = {...CONV, strides: window([stride, stride]), padding: text('VALID')};
  return graph.op(at, 'DepthwiseConv2dNative', [wide, weight], attrs);
}

export const emitPool = ({graph, at, x}: Place, {mode, kernel, stride, pad}: PoolStage): string =>
  graph.op(at, mode === 'max' ? 'MaxPool' : 'AvgPool', [x], {
    ksize: window(kernel),
    strides: window(stride),
    padding: text(pad === 'same' ? 'SAME' : 'VALID'),
    data_format: text('NHWC'),
  });

/** Global: gives a vector. */
export const emitMean = ({graph, at, x}: Place): string =>
  graph.op(at, 'Mean', [x, graph.integers(MAP_AXES)], {keep_dims: flag(false), Tidx: {type: 'DT_INT32'}});
