/** What the graph executor of TF.js 4.22 runs. */
import {textAttr, textsAttr} from './attrs.js';
import type {Node} from './graph.js';
import type {Inference} from './infer.js';

const NAMES = `
  Abs Acos Acosh Add AddN AddV2 All Any ArgMax ArgMin Asin Asinh Atan Atan2 Atanh AvgPool AvgPool3D
  BatchMatMul BatchMatMulV2 BatchToSpaceND BiasAdd Bincount BitwiseAnd BroadcastArgs BroadcastTo Cast
  Ceil ClipByValue Complex ComplexAbs Concat ConcatV2 Const Conv1D Conv2D Conv2DBackpropInput Conv3D Cos
  Cosh CropAndResize Cumprod Cumsum DenseBincount DepthToSpace DepthwiseConv2d DepthwiseConv2dNative
  Dilation2D Div DivNoNan Einsum Elu EmptyTensorList EnsureShape Enter Equal Erf EuclideanNorm Exit Exp
  ExpandDims Expm1 FFT FakeQuantWithMinMaxVars Fill Floor FloorDiv FloorMod FusedBatchNorm
  FusedBatchNormV2 FusedBatchNormV3 FusedDepthwiseConv2dNative Gather GatherNd GatherV2 Greater
  GreaterEqual HashTable HashTableV2 IFFT IRFFT Identity IdentityN If Imag ImageProjectiveTransformV3
  InitializeTable InitializeTableV2 IsFinite IsInf IsNan LRN LeakyRelu Less LessEqual LinSpace ListDiff
  Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr LookupTableFind LookupTableFindV2
  LookupTableImport LookupTableImportV2 LookupTableSize LookupTableSizeV2 LoopCond LowerBound MatMul
  MatrixBandPart Max MaxPool MaxPool3D MaxPoolWithArgmax Maximum Mean Merge Min Minimum MirrorPad Mod
  Mul Multinomial Neg NextIteration NoOp NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4
  NonMaxSuppressionV5 NotEqual OneHot Ones OnesLike Pack Pad PadV2 Placeholder PlaceholderWithDefault
  Pow Prelu Print Prod RFFT RaggedGather RaggedRange RaggedTensorToTensor RandomStandardNormal
  RandomUniform RandomUniformInt Range Rank Real RealDiv Reciprocal Relu Relu6 Reshape ResizeBilinear
  ResizeNearestNeighbor Reverse ReverseV2 Round Rsqrt ScatterNd Select SelectV2 Selu Shape ShapeN
  Sigmoid Sign SimpleMLCreateModelResource SimpleMLInferenceOpWithHandle
  SimpleMLLoadModelFromPathWithHandle Sin Sinh Size Slice Snapshot Softmax Softplus SpaceToBatchND
  SparseFillEmptyRows SparseReshape SparseSegmentMean SparseSegmentSum SparseToDense Split SplitV Sqrt
  Square SquaredDifference Squeeze StatelessIf StatelessWhile StaticRegexReplace StopGradient
  StridedSlice StringNGrams StringSplit StringToHashBucketFast Sub Sum Switch Tan Tanh
  TensorArrayCloseV3 TensorArrayConcatV3 TensorArrayGatherV3 TensorArrayReadV3 TensorArrayScatterV3
  TensorArraySizeV3 TensorArraySplitV3 TensorArrayV3 TensorArrayWriteV3 TensorListConcat
  TensorListConcatV2 TensorListFromTensor TensorListGather TensorListGetItem TensorListLength
  TensorListPopBack TensorListPushBack TensorListReserve TensorListResize TensorListScatter
  TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack TensorScatterUpdate Tile TopKV2
  Transpose TruncatedNormal Unique UniqueV2 Unpack UpperBound Where While Zeros ZerosLike _FusedConv2D
  _FusedMatMul
`;

export const TFJS_OPS: ReadonlySet<string> = new Set(NAMES.trim().split(/\s+/));

/** Behind a convolution or a product of matrices. */
const FUSED_OPS: ReadonlySet<string> = new Set([
  'BiasAdd',
  'Relu',
  'Relu6',
  'Elu',
  'Sigmoid',
  'Prelu',
  'LeakyRelu',
]);

/** Whether stock TF.js runs a node: it does not know grouped convolutions, nor all that TensorFlow fuses. */
export function runsInTfjs(node: Node, inference: Inference): boolean {
  if (!TFJS_OPS.has(node.op)) return false;
  if (node.op !== 'Conv2D' && node.op !== '_FusedConv2D' && node.op !== '_FusedMatMul') return true;
  if (!textsAttr(node.attrs, 'fused_ops').every((op) => FUSED_OPS.has(op))) return false;
  if (node.op === '_FusedMatMul') return true;
  const [x, filter] = node.inputs.map((ref) => inference.shape(ref));
  const channels = x?.[textAttr(node.attrs, 'data_format', 'NHWC') === 'NCHW' ? 1 : 3] ?? -1;
  return channels < 1 || filter?.[2] === undefined || filter[2] === channels;
}
