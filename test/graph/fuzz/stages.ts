/** Convolutions, gates and norms, each in the ways TensorFlow's converters write them. */
import {ACTIVATIONS, BIASES, both, island, meanOf} from './pieces.js';
import type {MapValue, Speller} from './speller.js';

const window = (
  stride: number,
  padding: string,
  dilation = 1,
): Record<string, string | readonly number[]> => ({
  strides: [1, stride, stride, 1],
  dilations: [1, dilation, dilation, 1],
  padding,
  data_format: 'NHWC',
});

/** By `fused_ops` and further inputs where there is such an op, else by ops of their own. */
const FUSABLE: Readonly<Record<string, string | undefined>> = {
  relu: 'Relu',
  relu6: 'Relu6',
  elu: 'Elu',
  prelu: 'Prelu',
};

/** @param inputs What the convolution reads, filter included. */
function convolved(
  s: Speller,
  ops: {readonly plain: string; readonly fused: string},
  inputs: readonly string[],
  attrs: Record<string, string | readonly number[]>,
  end: {readonly channels: number; readonly activation: string},
): string {
  const {channels, activation} = end;
  const name = FUSABLE[activation];
  const isPrelu = activation === 'prelu';
  if (
    (name !== undefined || activation === 'linear') &&
    !(isPrelu && ops.plain !== 'Conv2D') &&
    s.chance(0.3)
  ) {
    const rest = [s.vector([channels], 0, 0.5), ...(isPrelu ? [s.vector([1, 1, channels], 0.2, 0.2)] : [])];
    const fused = {fused_ops: ['BiasAdd', ...(name === undefined ? [] : [name])], num_args: rest.length};
    return s.op(ops.fused, [...inputs, ...rest], {...attrs, ...fused});
  }
  return finish(s, s.op(ops.plain, inputs, attrs), end);
}

/** Bias or batch norm, then the activation. */
function finish(
  s: Speller,
  x: string,
  {channels, activation}: {channels: number; activation: string},
): string {
  if (s.chance(0.15)) return island(s, x, channels, activation);
  const biased = s.pick(BIASES)(s, x, channels);
  return s.pick(ACTIVATIONS[activation] ?? [])(s, biased, channels);
}

/** The same behind a dense layer: `[N, C]` takes no vector of more axes. */
function finishRows(s: Speller, x: string, channels: number, activation: string): string {
  const biased = s.chance(0.5) ? s.op('BiasAdd', [x, s.vector([channels], 0, 0.5)]) : x;
  const [first] = ACTIVATIONS[activation === 'prelu' ? 'relu' : activation] ?? [];
  return first ? first(s, biased, channels) : biased;
}

/** A dense layer on `[N, C]`; some filters are stored turned. */
export function denseRows(
  s: Speller,
  x: string,
  [from, to]: readonly [number, number],
  activation: string,
): string {
  const isTurned = s.chance(0.2);
  const filter = s.filter(isTurned ? [to, from] : [from, to], from);
  const product = s.op('MatMul', [x, filter], {transpose_a: false, transpose_b: isTurned});
  return finishRows(s, product, to, activation);
}

const PLAIN = {plain: 'Conv2D', fused: '_FusedConv2D'} as const;
const DEPTHWISE = {plain: 'DepthwiseConv2dNative', fused: 'FusedDepthwiseConv2dNative'} as const;

export function pointwise(s: Speller, x: MapValue, channels: number, activation: string): MapValue {
  const {c, h, w} = x;
  const filter = (shape: readonly number[]): string => s.filter(shape, c);
  if (s.chance(0.2)) {
    const rows = s.op('Reshape', [x.name, s.integers([-1, c])]);
    const product = s.op('MatMul', [rows, filter([c, channels])], {transpose_a: false, transpose_b: false});
    const name = finish(s, s.op('Reshape', [product, s.integers([-1, h, w, channels])]), {
      channels,
      activation,
    });
    return {...x, name, c: channels};
  }
  const inputs = [x.name, filter([1, 1, c, channels])];
  const attrs = window(1, s.pick(['SAME', 'VALID']));
  return {...x, name: convolved(s, PLAIN, inputs, attrs, {channels, activation}), c: channels};
}

export interface Spatial {
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  /** Group width: 1 is depth-wise, all channels full. */
  readonly group: number;
  readonly channels: number;
  readonly activation: string;
}

/** TensorFlow's SAME. */
function samePad(size: number, {kernel, stride, dilation}: Spatial): readonly [number, number] {
  const total = Math.max(0, (Math.ceil(size / stride) - 1) * stride + (kernel - 1) * dilation + 1 - size);
  return [Math.floor(total / 2), total - Math.floor(total / 2)];
}

export function spatial(s: Speller, x: MapValue, of: Spatial): MapValue {
  const {kernel, stride, dilation, group, channels} = of;
  const out = {h: Math.ceil(x.h / stride), w: Math.ceil(x.w / stride), c: channels};
  const isGrouped = group > 1 && group < x.c;
  if (isGrouped) return {...out, name: grouped(s, x, of)};
  const isDepthwise = group === 1 && x.c > 1;
  const shape = isDepthwise ? [kernel, kernel, x.c, channels / x.c] : [kernel, kernel, x.c, channels];
  const filter = s.filter(shape, kernel * kernel * group);
  const ops = isDepthwise ? DEPTHWISE : PLAIN;
  const [[top, bottom], [left, right]] = [samePad(x.h, of), samePad(x.w, of)];
  if (dilation > 1 && s.chance(0.6)) return {...out, name: byImages(s, x, of, ops.plain, filter)};
  if (s.chance(0.3)) {
    const amounts = s.integers([0, 0, top, bottom, left, right, 0, 0], [4, 2]);
    const wide = s.chance(0.5)
      ? s.op('Pad', [x.name, amounts])
      : s.op('PadV2', [x.name, amounts, s.scalar(0)]);
    return {...out, name: convolved(s, ops, [wide, filter], window(stride, 'VALID', dilation), of)};
  }
  return {...out, name: convolved(s, ops, [x.name, filter], window(stride, 'SAME', dilation), of)};
}

/** SpaceToBatchND, a VALID convolution, BatchToSpaceND. */
function byImages(s: Speller, x: MapValue, of: Spatial, op: string, filter: string): string {
  const d = of.dilation;
  const [[top, bottom], [left, right]] = [samePad(x.h, of), samePad(x.w, of)];
  const extra = (size: number): number => (d - (size % d)) % d;
  const [down, across] = [extra(x.h + top + bottom), extra(x.w + left + right)];
  const block = (): string => s.integers([d, d]);
  const images = s.op('SpaceToBatchND', [
    x.name,
    block(),
    s.integers([top, bottom + down, left, right + across], [2, 2]),
  ]);
  const conv = s.op(op, [images, filter], window(1, 'VALID'));
  const crops = s.integers([0, down, 0, across], [2, 2]);
  if (s.chance(0.5)) return s.op('BatchToSpaceND', [finish(s, conv, of), block(), crops]);
  return finish(s, s.op('BatchToSpaceND', [conv, block(), crops]), of);
}

/** Split, a convolution a group, concat: what stock TF.js can run. */
function grouped(s: Speller, x: MapValue, of: Spatial): string {
  const {kernel, stride, dilation, group, channels} = of;
  const count = x.c / group;
  const axis = s.integers([s.pick([3, -1])], []);
  const split = s.op('Split', [axis, x.name], {num_split: count});
  const parts = Array.from({length: count}, (_, i) => {
    const filter = s.filter([kernel, kernel, group, channels / count], kernel * kernel * group);
    return s.op('Conv2D', [i === 0 ? split : `${split}:${i}`, filter], window(stride, 'SAME', dilation));
  });
  return finish(s, s.op('ConcatV2', [...parts, s.integers([3], [])], {N: count}), of);
}

/** The shape's batch, then ones and the channels: what Keras leaves of `Reshape((1, 1, C))`. */
function reshapeChain(s: Speller, vector: string, channels: number): string {
  const batch = s.op(
    'StridedSlice',
    [s.op('Shape', [vector]), s.integers([0]), s.integers([1]), s.integers([1])],
    {shrink_axis_mask: 1},
  );
  const sizes = [batch, ...[1, 1, channels].map((size) => s.integers([size], []))];
  return s.op('Reshape', [vector, s.op('Pack', sizes, {N: 4, axis: 0})]);
}

const asMap = (s: Speller, vector: string, channels: number): string =>
  s.chance(0.5)
    ? reshapeChain(s, vector, channels)
    : s.op('Reshape', [vector, s.integers([-1, 1, 1, channels])]);

/** @param axes Another axis than [1, 2] makes it no gate. */
export function gate(
  s: Speller,
  x: MapValue,
  activation: string,
  axes: readonly number[] = [1, 2],
): MapValue {
  const squeezed = Math.max(1, Math.floor(x.c / 4));
  const closing = s.pick(['sigmoid', 'hardsigmoid']);
  const isWhole = axes.length === 2;
  const flat = isWhole && s.chance(0.5);
  const pooled = (): string =>
    s.op('AvgPool', [x.name], {
      ...{ksize: [1, x.h, x.w, 1], strides: [1, x.h, x.w, 1], padding: s.pick(['VALID', 'SAME'])},
      data_format: 'NHWC',
    });
  const dense = (v: string, from: number, to: number): string =>
    s.op('MatMul', [v, s.filter([from, to], from)], {transpose_a: false, transpose_b: false});
  if (flat && s.chance(0.5)) {
    const reduced = finishRows(s, dense(meanOf(s, x.name, false), x.c, squeezed), squeezed, activation);
    const gates = finishRows(s, dense(reduced, squeezed, x.c), x.c, closing);
    return {...x, name: both(s, 'Mul', x.name, asMap(s, gates, x.c))};
  }
  const mean = flat
    ? asMap(s, meanOf(s, x.name, false), x.c)
    : isWhole && s.chance(0.3)
      ? pooled()
      : meanOf(s, x.name, true, axes);
  const vector = {name: mean, h: 1, w: 1, c: x.c};
  const map = isWhole ? vector : {...vector, w: x.w};
  const gates = pointwise(s, pointwise(s, map, squeezed, activation), x.c, closing);
  return {...x, name: both(s, 'Mul', x.name, gates.name)};
}

/** @param axis Another one than the last makes it no LayerNorm. */
export function layerNorm(s: Speller, x: MapValue, axis = 3): MapValue {
  s.depth += 4 * x.c;
  const over = (value: string): string => s.op('Mean', [value, s.integers([axis])], {keep_dims: true});
  const mean = over(x.name);
  const centered = s.op('Sub', [x.name, mean]);
  const variance = over(
    s.chance(0.5) ? s.op('SquaredDifference', [x.name, mean]) : s.op('Square', [centered]),
  );
  const safe = s.op('AddV2', [variance, s.scalar(1e-3)]);
  const [gain, offset] = [s.vector([x.c], 1, 0.3), s.vector([x.c], 0, 0.3)];
  const normal = s.pick<() => string>([
    () => s.op('Mul', [s.op('Mul', [centered, s.op('Rsqrt', [safe])]), gain]),
    () => s.op('Mul', [s.op('RealDiv', [centered, s.op('Sqrt', [safe])]), gain]),
    () => s.op('Mul', [centered, s.op('Mul', [s.op('Rsqrt', [safe]), gain])]),
  ])();
  return {...x, name: s.op('AddV2', [normal, offset])};
}
