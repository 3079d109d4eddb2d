/** What a channels-first op is channels-last, a row an op. A row gives undefined where it cannot say. */
import {type AttrDef, numbersAttr, textAttr, textDef, textsAttr} from './attrs.js';
import type {Node, NodeDef} from './graph.js';
import type {Turning} from './nchw.js';
import {flattened, gather, slice, stridedSlice} from './nchw_channels.js';
import {isNumeric, makeWeight, sizeOf, valuesOf, type Weight, withShape} from './weights.js';

export const TO_NCHW = [0, 3, 1, 2] as const;
export const TO_NHWC = [0, 2, 3, 1] as const;

/** Of the new op; under the old name where its value has no channels axis to move. */
type Row = (node: Node, turning: Turning) => NodeDef | undefined;

export const isNchw = ({attrs}: Node): boolean => textAttr(attrs, 'data_format') === 'NCHW';

const renamed = (node: Node, input: readonly string[], attr: Record<string, AttrDef> = {}): NodeDef => ({
  name: `${node.name}/channels_last`,
  op: node.op,
  input,
  attr: {...node.def.attr, ...attr},
});

const texts = (node: Node): readonly string[] => node.def.input ?? [];
const moved = <T>(list: readonly T[]): readonly T[] => TO_NHWC.map((axis) => list[axis] as T); // Lists of four.

/** The same numbers channels-last; undefined where they lie along one side of the map. */
function turned(weight: Weight): Weight | undefined {
  const {shape} = weight;
  if (!isNumeric(weight) || shape.length > 4) return undefined;
  if (sizeOf(shape) === 1) return shape.length <= 1 ? weight : withShape(weight, []);
  if (shape.length < 3) return undefined;
  const full = shape.length === 3 ? [1, ...shape] : shape;
  const [n = 1, c = 1, h = 1, w = 1] = full;
  const target = moved(full);
  const fewer = shape.length === 3 ? target.slice(1) : target;
  // With one axis longer than one the order of the bytes stays.
  if (full.filter((size) => size > 1).length === 1) return withShape(weight, fewer);
  const from = valuesOf(weight);
  const to = from.slice();
  let at = 0;
  for (let i = 0; i < n; i++)
    for (let y = 0; y < h; y++)
      for (let x = 0; x < w; x++)
        for (let k = 0; k < c; k++) to[at++] = from[((i * c + k) * h + y) * w + x] ?? 0;
  return makeWeight(weight.name, fewer, to);
}

/** Maps channels-last and constants turned; undefined where an operand is neither, or none is a map. */
const elementwise: Row = (node, turning) => {
  let maps = 0;
  const inputs: string[] = [];
  for (const ref of node.inputs) {
    const constant = turning.constant(ref);
    const map = turning.last(ref);
    const other = constant && turned(constant);
    if (map !== undefined) maps++;
    else if (!other) return undefined;
    inputs.push(map ?? turning.place(other as Weight)); // One of the two is there.
  }
  return maps > 0 ? renamed(node, inputs) : undefined;
};

/** Further inputs are no maps: limits of a clip. */
const unary: Row = (node, turning) => {
  const x = turning.last(node.inputs[0]);
  return x === undefined ? undefined : renamed(node, [x, ...texts(node).slice(1)]);
};

/** Ops that say which format they take: a convolution, a pool, a bias, a batch norm. */
const formatted: Row = (node, turning) => {
  const [ref] = node.inputs;
  if (!ref || !isNchw(node) || textsAttr(node.attrs, 'fused_ops').includes('Prelu')) return undefined;
  const x = turning.madeLast(ref);
  if (x === undefined) return undefined;
  const attr: Record<string, AttrDef> = {data_format: textDef('NHWC')};
  for (const name of ['strides', 'dilations', 'ksize']) {
    const list = numbersAttr(node.attrs, name);
    if (list.length === 4) attr[name] = {list: {i: moved(list).map(String)}};
  }
  const pads = numbersAttr(node.attrs, 'explicit_paddings');
  if (pads.length === 8) {
    const order = TO_NHWC.flatMap((axis) => [pads[2 * axis] ?? 0, pads[2 * axis + 1] ?? 0]);
    attr['explicit_paddings'] = {list: {i: order.map(String)}};
  }
  return renamed(node, [x, ...texts(node).slice(1)], attr);
};

const padding: Row = (node, turning) => {
  const [x, amounts] = [turning.last(node.inputs[0]), turning.constant(node.inputs[1])];
  if (x === undefined || amounts?.shape.join() !== '4,2') return undefined;
  const old = [...valuesOf(amounts)];
  const rows = TO_NHWC.flatMap((axis) => [old[2 * axis] ?? 0, old[2 * axis + 1] ?? 0]);
  const input = [x, turning.integers(`${node.name}/amounts`, rows, [4, 2]), ...texts(node).slice(2)];
  return renamed(node, input);
};

/** Where each axis of channels-first lies channels-last. */
const axisOf = (axis: number): number => TO_NHWC.indexOf(((axis + 4) % 4) as 0 | 1 | 2 | 3);

const reduction: Row = (node, turning) => {
  const [x, axes] = [turning.last(node.inputs[0]), turning.constant(node.inputs[1])];
  if (x === undefined || !axes) return undefined;
  const list = [...valuesOf(axes)].map(axisOf).sort();
  const keeps = node.attrs['keep_dims']?.b ?? node.attrs['keepdims']?.b ?? false;
  const input = [x, turning.integers(`${node.name}/axes`, list)];
  if (keeps) return renamed(node, input);
  // Without its pixels a map is `[N, C]` either way.
  return list.join() === '1,2' ? {...renamed(node, input), name: node.name} : undefined;
};

const concat: Row = (node, turning) => {
  const maps = node.inputs.slice(0, -1).map((ref) => turning.last(ref));
  const axis = turning.constant(node.inputs.at(-1));
  if (!axis || maps.some((map) => map === undefined)) return undefined;
  const at = turning.integers(`${node.name}/axis`, [axisOf(valuesOf(axis)[0] ?? 0)], []);
  return renamed(node, [...(maps as readonly string[]), at]); // None is undefined.
};

/** `[N, C]` and `[N, C, 1, 1]`: the same bytes as `[N, 1, 1, C]`. */
const reshape: Row = (node, turning) => {
  const [ref, target] = [node.inputs[0], turning.constant(node.inputs[1])];
  if (!ref || !target) return undefined;
  const isPixel = (shape: readonly number[] | undefined): boolean =>
    shape?.length === 4 && shape[2] === 1 && shape[3] === 1;
  const x = turning.last(ref);
  const sizes = [...valuesOf(target)];
  if (x !== undefined && isPixel(turning.inference.shape(ref)) && sizes.length === 2)
    return {...node.def, input: [x, ...texts(node).slice(1)]};
  // One channel is as much channels-last: nothing to turn.
  const isVector = turning.inference.shape(ref)?.length === 2;
  if (!isVector || !isPixel(sizes) || (sizes[1] ?? 0) <= 1) return undefined;
  return renamed(node, [texts(node)[0] ?? '', turning.integers(`${node.name}/sizes`, moved(sizes))]);
};

const rows = (ops: string, row: Row): [string, Row][] => ops.split(' ').map((op) => [op, row]);

export const ROWS: Readonly<Record<string, Row | undefined>> = Object.fromEntries([
  ...rows('Add AddV2 AddN Sub Mul RealDiv Div Maximum Minimum Pow SquaredDifference Prelu', elementwise),
  ...rows(
    'Identity StopGradient Cast Relu Relu6 Sigmoid Tanh Elu LeakyRelu Neg Abs Exp Sqrt Rsqrt Square Erf Softplus ClipByValue',
    unary,
  ),
  ...rows('Conv2D _FusedConv2D DepthwiseConv2dNative FusedDepthwiseConv2dNative MaxPool AvgPool', formatted),
  ...rows('BiasAdd FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3', formatted),
  ...rows('Pad PadV2 MirrorPad', padding),
  ...rows('Mean Sum Max Min', reduction),
  ...rows('ConcatV2', concat),
  ...rows('Reshape', (node, turning) => flattened(node, turning) ?? reshape(node, turning)),
  ...rows('Slice', slice),
  ...rows('StridedSlice', stridedSlice),
  ...rows('GatherV2', gather),
]);
