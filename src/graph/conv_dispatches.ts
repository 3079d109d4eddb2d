/**
 * What the stock WebGPU backend at 4.22 dispatches for a convolution beyond one: where a 32×32 tiling of the output has few
 * workgroups it lays out the windows in memory first, and cuts long sums into parts that need a cleared output.
 */
import {numbersAttr, textAttr, textsAttr} from './attrs.js';
import {type Node, valueOf} from './graph.js';
import type {Inference} from './infer.js';

const FEW_WORKGROUPS = 8;
const TINY_OUTPUT = 128;
const LONG_SUM = 2000;

interface Product {
  readonly batch: number;
  readonly rows: number;
  readonly columns: number;
  readonly inner: number;
}

const workgroups = ({batch, rows, columns}: Product): number =>
  batch * Math.ceil(rows / 32) * Math.ceil(columns / 32);

/** Clearing the output, and the epilogue behind the sum of the parts. */
function splitDispatches(product: Product, hasEpilogue: boolean): number {
  const {batch, rows, columns, inner} = product;
  const few = workgroups(product);
  const isFew = few <= FEW_WORKGROUPS || (rows <= 8 && few <= 2 * FEW_WORKGROUPS);
  const isSplit = isFew && batch * rows * columns > TINY_OUTPUT && batch === 1 && inner >= LONG_SUM;
  return isSplit ? 1 + Number(hasEpilogue) : 0;
}

/** 0 for every op but a convolution or a product of a matrix and weights. */
export function extraDispatches(node: Node, inference: Inference): number {
  const [x, filter] = node.inputs.map((ref) => inference.shape(ref)?.map((size) => Math.max(size, 1)));
  const out = inference.shape(valueOf(node.name))?.map((size) => Math.max(size, 1));
  if (!x || !filter || !out) return 0;
  const hasEpilogue = textsAttr(node.attrs, 'fused_ops').length > 0;
  if (node.op === 'MatMul' || node.op === '_FusedMatMul') {
    const product = {batch: 1, rows: x[0] ?? 1, columns: out.at(-1) ?? 1, inner: x[1] ?? 1};
    return splitDispatches(product, hasEpilogue);
  }
  if (node.op !== 'Conv2D' && node.op !== '_FusedConv2D') return 0;
  const [kh = 1, kw = 1, cin = 1, columns = 1] = filter;
  const [n = 1, h = 1, w = 1] = out;
  const product: Product = {batch: n, rows: h * w, columns, inner: kh * kw * cin};
  const isWhole = kh === x[1] && kw === x[2] && textAttr(node.attrs, 'padding') === 'VALID';
  if (isWhole) return splitDispatches({...product, batch: 1, rows: n}, hasEpilogue);
  const isPlain = [...numbersAttr(node.attrs, 'strides'), ...numbersAttr(node.attrs, 'dilations')].every(
    (step) => step === 1,
  );
  if (kh === 1 && kw === 1 && isPlain) return splitDispatches(product, hasEpilogue);
  return workgroups(product) <= FEW_WORKGROUPS ? 1 + splitDispatches(product, hasEpilogue) : 0;
}
