/**
 * MACs and bytes of one stock op from its shapes, by the definitions of Lavin, "On the Efficiency of Convolutional Neural
 * Networks": a MAC is two operations; bytes are each input, weight and output moved once. Blocks have ops/cost.ts.
 */

type Shape = readonly number[];
/** MACs from the operands in the op's own order (layers: tensors, then weights) and the first output. */
type MacFormula = (operands: readonly Shape[], output: Shape) => number;

const BYTES = 4; // TF.js keeps float32, int32 and bool in four bytes each.

export const elements = (shape: Shape): number => shape.reduce((product, size) => product * size, 1);
const size = (shape: Shape | undefined, axis: number): number => shape?.at(axis) ?? 0;

/** Filter `[kh, kw, C / groups, K]`: each output element sums over the first three. */
const convolution: MacFormula = ([, filter], output) =>
  elements(output) * size(filter, 0) * size(filter, 1) * size(filter, 2);
/** Filter `[kh, kw, C, multiplier]`: each output element sums over one channel's window. */
const depthwise: MacFormula = ([, filter], output) => elements(output) * size(filter, 0) * size(filter, 1);
/** Each input element meets every tap of every output channel. Filter `[kh, kw, K, C]`. */
const transposed = (input: Shape | undefined, filter: Shape | undefined): number =>
  elements(input ?? [0]) * size(filter, 0) * size(filter, 1) * size(filter, 2);
/** [.., M, K] × [.., K, N], either transposed: elements of the left operand times N. */
const matrixProduct: MacFormula = ([left], output) => elements(left ?? [0]) * size(output, -1);

const FORMULAS: Readonly<Record<string, MacFormula>> = {
  Conv2D: convolution,
  _FusedConv2D: convolution,
  FusedConv2D: convolution,
  Conv1D: ([, filter], output) => elements(output) * size(filter, 0) * size(filter, 1),
  DepthwiseConv2D: depthwise,
  DepthwiseConv2dNative: depthwise,
  FusedDepthwiseConv2dNative: depthwise,
  Conv3D: ([, filter], output) => elements(output) * elements(filter?.slice(0, 4) ?? [0]),
  Conv2DBackpropInput: ([, filter, dy]) => transposed(dy, filter),
  Conv2DTranspose: ([input, kernel]) => transposed(input, kernel),
  MatMul: matrixProduct,
  _FusedMatMul: matrixProduct,
  BatchMatMul: matrixProduct,
  BatchMatMulV2: matrixProduct,
  Dense: matrixProduct,
  // Depth-wise filter [kh, kw, C, multiplier], then pointwise [1, 1, C · multiplier, K].
  SeparableConv2D: ([, spatial, pointwise], output) => {
    const pixels = elements(output.slice(0, -1));
    return pixels * (elements(spatial ?? [0]) + elements(pointwise ?? [0]));
  },
};

/** Ops whose result is the same buffer under another shape or name. */
const VIEWS: ReadonlySet<string> = new Set([
  'Identity',
  'IdentityN',
  'StopGradient',
  'Reshape',
  'Squeeze',
  'ExpandDims',
  'Flatten',
  'InputLayer',
  'Dropout',
  'SpatialDropout2D',
  'Shape',
  'Rank',
  'Size',
]);

export function macsOf(op: string, operands: readonly Shape[], output: Shape): number {
  return FORMULAS[op]?.(operands, output) ?? 0;
}

export function bytesOf(op: string, operands: readonly Shape[], outputs: readonly Shape[]): number {
  if (VIEWS.has(op)) return 0;
  return BYTES * [...operands, ...outputs].reduce((total, shape) => total + elements(shape), 0);
}
