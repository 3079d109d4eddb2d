/** Output shapes, a row an op. An op that is not here gives values of unknown shape, which only means less is fused around it. */
import {flagAttr, numberAttr, numbersAttr, shapeAttr, textAttr} from './attrs.js';
import {BLOCK_KINDS, blockOf, blockShape} from './block_node.js';
import type {OpContext} from './infer.js';
import {joined} from './joined_shapes.js';
import {asSizes, broadcast} from './known.js';
import type {ShapeRule} from './shape_rule.js';
import {countOf, spansOf} from './strided_slice.js';
import {conv, depthwise, pool} from './window_shapes.js';

const same: ShapeRule = (op) => [op.shape(0)];

const elementwise: ShapeRule = (op) => {
  let shape = op.shape(0);
  for (let i = 1; i < op.count; i++) {
    const other = op.shape(i);
    shape = shape && other && broadcast(shape, other);
  }
  return [shape];
};

const matMul: ShapeRule = (op) => {
  const [a, b] = [op.shape(0), op.shape(1)];
  if (!a || !b || a.length < 2 || b.length < 2) return [undefined];
  const turned = (i: 'a' | 'b'): boolean =>
    flagAttr(op.node.attrs, `transpose_${i}`) || flagAttr(op.node.attrs, `adj_${i === 'a' ? 'x' : 'y'}`);
  const rows = (turned('a') ? a.at(-1) : a.at(-2)) ?? -1;
  const columns = (turned('b') ? b.at(-2) : b.at(-1)) ?? -1;
  const batch = broadcast(a.slice(0, -2), b.slice(0, -2));
  return [batch && [...batch, rows, columns]];
};

const axesOf = (op: OpContext, input: number, rank: number): readonly number[] | undefined =>
  op.known(input)?.data.map((axis) => ((axis ?? 0) + rank) % rank);

const reduce: ShapeRule = (op) => {
  const input = op.shape(0);
  const axes = input && axesOf(op, 1, input.length);
  if (!axes) return [undefined];
  const keep = flagAttr(op.node.attrs, 'keep_dims') || flagAttr(op.node.attrs, 'keepdims');
  return [input.flatMap((size, axis) => (!axes.includes(axis) ? [size] : keep ? [1] : []))];
};

const reshape: ShapeRule = (op) => {
  const target = op.known(1);
  if (!target)
    return [
      op.shape(1)?.length === 1 && op.shape(1)?.[0] !== -1
        ? Array<number>(op.shape(1)?.[0] ?? 0).fill(-1)
        : undefined,
    ];
  const input = op.shape(0);
  const asked = target.data;
  const total = input && !input.includes(-1) ? input.reduce((a, b) => a * b, 1) : undefined;
  const rest = asked.reduce<number | undefined>(
    (product, size) =>
      product === undefined || size === undefined ? undefined : size === -1 ? product : product * size,
    1,
  );
  return [asked.map((size) => (size === -1 && total !== undefined && rest ? total / rest : (size ?? -1)))];
};

const squeeze: ShapeRule = (op) => {
  const input = op.shape(0);
  if (!input) return [undefined];
  const named = numbersAttr(op.node.attrs, 'squeeze_dims').concat(numbersAttr(op.node.attrs, 'axis'));
  const axes = named.map((axis) => (axis + input.length) % input.length);
  if (axes.length === 0 && input.includes(-1)) return [undefined];
  return [input.filter((size, axis) => (axes.length > 0 ? !axes.includes(axis) : size !== 1))];
};

const expandDims: ShapeRule = (op) => {
  const input = op.shape(0);
  const axis = op.known(1)?.data[0];
  if (!input || axis === undefined) return [undefined];
  const at = axis < 0 ? axis + input.length + 1 : axis;
  return [[...input.slice(0, at), 1, ...input.slice(at)]];
};

const transpose: ShapeRule = (op) => {
  const input = op.shape(0);
  const order = op.known(1)?.data;
  return [input && (order ? order.map((axis) => input[axis ?? 0] ?? -1) : input.map(() => -1))];
};

const concat =
  (axisInput: 'first' | 'last'): ShapeRule =>
  (op) => {
    const last = axisInput === 'last' ? op.count - 1 : 0;
    const parts = Array.from({length: op.count}, (_, i) => i)
      .filter((i) => i !== last)
      .map((i) => op.shape(i));
    const [first] = parts;
    const axis = op.known(last)?.data[0];
    if (!first || axis === undefined) return [undefined];
    const at = (axis + first.length) % first.length;
    const sizes = parts.map((part) => part?.[at] ?? -1);
    const sum = sizes.includes(-1) ? -1 : sizes.reduce((a, b) => a + b, 0);
    return [
      first.map((size, i) => (i === at ? sum : Math.max(...parts.map((part) => part?.[i] ?? -1), size))),
    ];
  };

const pad: ShapeRule = (op) => {
  const input = op.shape(0);
  const amounts = op.known(1)?.data;
  return [
    input?.map((size, axis) =>
      size < 0 || !amounts ? -1 : size + (amounts[2 * axis] ?? 0) + (amounts[2 * axis + 1] ?? 0),
    ),
  ];
};

const pack: ShapeRule = (op) => {
  const input = op.shape(0);
  if (!input) return [undefined];
  const axis = numberAttr(op.node.attrs, 'axis', 0);
  const at = axis < 0 ? axis + input.length + 1 : axis;
  return [[...input.slice(0, at), op.count, ...input.slice(at)]];
};

const unpack: ShapeRule = (op) => {
  const input = op.shape(0);
  if (!input) return [];
  const axis = numberAttr(op.node.attrs, 'axis', 0);
  const at = axis < 0 ? axis + input.length : axis;
  const part = input.filter((_, i) => i !== at);
  return Array.from({length: numberAttr(op.node.attrs, 'num', input[at] ?? 0)}, () => part);
};

const split =
  (axisInput: number, sizes?: number): ShapeRule =>
  (op) => {
    const input = op.shape(sizes === undefined ? 1 : 0);
    const axis = op.known(axisInput)?.data[0];
    if (!input || axis === undefined) return [];
    const at = (axis + input.length) % input.length;
    const count = numberAttr(op.node.attrs, 'num_split', 1);
    const parts =
      sizes === undefined
        ? Array<number>(count).fill((input[at] ?? -1) < 0 ? -1 : (input[at] ?? 0) / count)
        : (op.known(sizes)?.data ?? []);
    return parts.map((size) => input.map((whole, i) => (i === at ? (size ?? -1) : whole)));
  };

const slice: ShapeRule = (op) => {
  const [input, begin, size] = [op.shape(0), op.known(1)?.data, op.known(2)?.data];
  return [
    input?.map((whole, i) => {
      const wanted = size?.[i];
      if (wanted === undefined) return -1;
      if (wanted !== -1) return wanted;
      return whole < 0 || begin?.[i] === undefined ? -1 : whole - begin[i];
    }),
  ];
};

const stridedSlice: ShapeRule = (op) => {
  const input = op.shape(0);
  const [begin, end, step] = [1, 2, 3].map((i) => op.known(i)?.data);
  if (!input || !begin || !end || !step) return [undefined];
  return [
    spansOf(op.node, input.length, {begin, end, step}).reduce<{out: number[]; axis: number}>(
      ({out, axis}, span) => {
        if (span === 'new') return {out: [...out, 1], axis};
        return {out: span.shrinks ? out : [...out, countOf(span, input[axis] ?? -1)], axis: axis + 1};
      },
      {out: [], axis: 0},
    ).out,
  ];
};

const resize: ShapeRule = (op) => {
  const input = op.shape(0);
  const size = op.known(1) && asSizes(op.known(1) as NonNullable<ReturnType<OpContext['known']>>);
  return [input && [input[0] ?? -1, size?.[0] ?? -1, size?.[1] ?? -1, input[3] ?? -1]];
};

const fromShapeInput =
  (input: number): ShapeRule =>
  (op) => {
    const shape = op.known(input);
    return [shape && asSizes(shape)];
  };

const gather: ShapeRule = (op) => {
  const [params, indices] = [op.shape(0), op.shape(1)];
  const axis = op.count > 2 ? op.known(2)?.data[0] : 0;
  if (!params || !indices || axis === undefined || numberAttr(op.node.attrs, 'batch_dims', 0) !== 0)
    return [undefined];
  const at = (axis + params.length) % params.length;
  return [[...params.slice(0, at), ...indices, ...params.slice(at + 1)]];
};

/** Of `[…, n]` indices each n say which part of params. */
const gatherNd: ShapeRule = (op) => {
  const [params, indices] = [op.shape(0), op.shape(1)];
  const named = indices?.at(-1);
  if (!params || !indices || named === undefined || named < 0) return [undefined];
  return [[...indices.slice(0, -1), ...params.slice(named)]];
};

/** Channels to pixels, NHWC. */
const depthToSpace: ShapeRule = (op) => {
  const input = op.shape(0);
  const block = numberAttr(op.node.attrs, 'block_size', 0);
  if (input?.length !== 4 || block < 1 || textAttr(op.node.attrs, 'data_format', 'NHWC') !== 'NHWC')
    return [undefined];
  const [n = -1, h = -1, w = -1, c = -1] = input;
  return [[n, h < 0 ? -1 : h * block, w < 0 ? -1 : w * block, c < 0 ? -1 : c / block ** 2]];
};

/** `grow` is 1 for SpaceToBatchND, which pads and then deals pixels out to images, and -1 for its inverse. */
const dealt =
  (grow: 1 | -1): ShapeRule =>
  (op) => {
    const [input, block, amounts] = [op.shape(0), op.known(1)?.data, op.known(2)?.data];
    if (!input || !block || !amounts) return [input?.map(() => -1)];
    const images = block.reduce<number>((product, size) => product * (size ?? 1), 1);
    return [
      input.map((size, axis) => {
        if (size < 0) return -1;
        if (axis === 0) return grow > 0 ? size * images : size / images;
        const [step, before, after] = [block[axis - 1], amounts[2 * axis - 2], amounts[2 * axis - 1]];
        if (step === undefined) return size;
        const edges = (before ?? 0) + (after ?? 0);
        return grow > 0 ? (size + edges) / step : size * step - edges;
      }),
    ];
  };

const rows = (ops: readonly string[], rule: ShapeRule): [string, ShapeRule][] => ops.map((op) => [op, rule]);

export const SHAPE_RULES: Readonly<Record<string, ShapeRule | undefined>> = Object.fromEntries([
  ...rows(['Conv2D', '_FusedConv2D'], conv),
  ...rows(['DepthwiseConv2d', 'DepthwiseConv2dNative', 'FusedDepthwiseConv2dNative'], depthwise),
  ...rows(['MaxPool', 'AvgPool'], pool),
  ...rows(['MatMul', '_FusedMatMul', 'BatchMatMul', 'BatchMatMulV2'], matMul),
  ...rows(
    [
      'Add',
      'AddV2',
      'AddN',
      'Sub',
      'Mul',
      'Div',
      'RealDiv',
      'FloorDiv',
      'DivNoNan',
      'Maximum',
      'Minimum',
      'Pow',
      'Mod',
      'FloorMod',
      'SquaredDifference',
      'Atan2',
    ],
    elementwise,
  ),
  ...rows(
    ['Equal', 'NotEqual', 'Greater', 'GreaterEqual', 'Less', 'LessEqual', 'LogicalAnd', 'LogicalOr'],
    elementwise,
  ),
  ...rows(
    [
      'Relu',
      'Relu6',
      'Elu',
      'Selu',
      'LeakyRelu',
      'Prelu',
      'Sigmoid',
      'Tanh',
      'Softplus',
      'Softmax',
      'LogSoftmax',
      'Erf',
      'Erfc',
      'Erfc',
      'Exp',
      'Log',
      'Log1p',
      'Expm1',
      'ClipByValue',
    ],
    same,
  ),
  ...rows(
    [
      'Abs',
      'Neg',
      'Sqrt',
      'Rsqrt',
      'Square',
      'Sign',
      'Floor',
      'Ceil',
      'Round',
      'Rint',
      'Reciprocal',
      'Inv',
      'Sin',
      'Cos',
      'Tan',
      'LogicalNot',
      'IsNan',
    ],
    same,
  ),
  ...rows(
    [
      'Identity',
      'IdentityN',
      'Cast',
      'StopGradient',
      'Snapshot',
      'PreventGradient',
      'Dropout',
      'BiasAdd',
      'BiasAddV1',
      'LRN',
      'ReverseV2',
      'Cumsum',
      'FakeQuantWithMinMaxVars',
      'ZerosLike',
      'OnesLike',
      'CheckNumerics',
      'Enter',
      'Exit',
      'NextIteration',
      'LoopCond',
    ],
    same,
  ),
  ...rows(['Switch'], (op) => [op.shape(0), op.shape(0)]),
  ...rows(['Merge'], (op) => [
    Array.from({length: op.count}, (_, i) => op.shape(i)).reduce((a, b) => joined(a, b)),
  ]),
  ...rows(['FusedBatchNorm', 'FusedBatchNormV2', 'FusedBatchNormV3'], (op) => [
    op.shape(0),
    op.shape(1),
    op.shape(2),
    op.shape(1),
    op.shape(2),
  ]),
  ...rows(['EuclideanNorm', 'Mean', 'Sum', 'Max', 'Min', 'Prod', 'All', 'Any'], reduce),
  ...rows(['Pad', 'PadV2', 'MirrorPad'], pad),
  ...rows(['SpaceToBatchND'], dealt(1)),
  ...rows(['BatchToSpaceND'], dealt(-1)),
  ...rows(['ConcatV2'], concat('last')),
  ...rows(['Concat'], concat('first')),
  ...rows(['ResizeBilinear', 'ResizeNearestNeighbor'], resize),
  ...rows(['Fill'], fromShapeInput(0)),
  ...rows(['BroadcastTo'], fromShapeInput(1)),
  ...rows(['GatherV2', 'Gather'], gather),
  ...rows(['GatherNd'], gatherNd),
  ...rows(['DepthToSpace'], depthToSpace),
  ...rows(['Shape'], (op) => [op.shape(0) && [op.shape(0)?.length ?? 0]]),
  ...rows(['Rank', 'Size'], () => [[]]),
  ...rows(['Reshape'], reshape),
  ...rows(['Squeeze'], squeeze),
  ...rows(['ExpandDims'], expandDims),
  ...rows(['Transpose'], transpose),
  ...rows(['Pack', 'Stack'], pack),
  ...rows(['Unpack'], unpack),
  ...rows(['Split'], split(0)),
  ...rows(['SplitV'], split(2, 1)),
  ...rows(['Slice'], slice),
  ...rows(['StridedSlice'], stridedSlice),
  ...rows(['Placeholder', 'PlaceholderWithDefault'], (op) => [shapeAttr(op.node.attrs, 'shape')]),
  ...rows([...BLOCK_KINDS], (op) => {
    const block = blockOf(op.node);
    return [block && blockShape(block, op.shape(0))];
  }),
  ...rows(['TensorListStack'], (op) => {
    const element = op.known(1);
    return [element && [numberAttr(op.node.attrs, 'num_elements', -1), ...asSizes(element)]];
  }),
]);
