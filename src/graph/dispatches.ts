/**
 * How many GPU dispatches a graph is on the stock WebGPU backend: a row an op, read from the backend's kernels at 4.22 (one
 * program run is one dispatch; a reshape is none). Sums over an axis that is not the last are a transpose and a reduction.
 */
import type {Activation, Block, Shape4D, Stage} from '../../ops/index.js';
import {numberAttr} from './attrs.js';
import {extraDispatches} from './conv_dispatches.js';
import type {Graph, Node} from './graph.js';
import type {Inference, Shape} from './infer.js';
import {valueOf} from './graph.js';

/** Dispatches of a block at an input shape. */
export type BlockDispatches = (block: Block, input: Shape4D) => number;

type Count = number | ((node: Node, inference: Inference) => number);

const rows = (ops: string, count: Count): [string, Count][] => ops.split(' ').map((op) => [op, count]);

/** Over the last axes alone it is one reduction; else the map is transposed first. */
const reduction: Count = (node, inference) => {
  const rank = inference.shape(node.inputs[0] ?? valueOf(''))?.length ?? 0;
  const axes = node.inputs[1]
    ? inference.known(node.inputs[1])?.data.map((axis) => ((axis ?? 0) + rank) % rank)
    : [];
  const last = [...(axes ?? [])].sort((a, b) => b - a).every((axis, i) => axis === rank - 1 - i);
  return last ? 1 : 2;
};

const COUNTS: Readonly<Record<string, Count | undefined>> = Object.fromEntries([
  ...rows(
    'Const Placeholder PlaceholderWithDefault NoOp Identity StopGradient Snapshot Dropout Reshape Squeeze ExpandDims Shape Rank Size',
    0,
  ),
  ...rows(
    'Enter Exit Merge Switch NextIteration LoopCond TensorListReserve TensorListFromTensor TensorListGetItem TensorListSetItem',
    0,
  ),
  ...rows('If StatelessIf While StatelessWhile', 0), // Their functions are counted by themselves.
  ...rows('Mean Sum Max Min Prod All Any', reduction),
  ...rows('AddN', (node) => node.inputs.length - 1),
  ...rows('LogSoftmax', 6),
  ...rows('Unpack', (node) => numberAttr(node.attrs, 'num', 1)),
  ...rows('Split SplitV', (node) => numberAttr(node.attrs, 'num_split', 1)),
]);

/** Of one op of TF.js, whatever its size. Shape arithmetic stays on the CPU, as the backend does with small values that are there already. */
export function stockDispatches(node: Node, inference: Inference): number {
  const isKnown = inference.known(valueOf(node.name)) !== undefined;
  if (isKnown || (node.inputs.length > 0 && node.inputs.every((ref) => inference.known(ref)))) return 0;
  const count = COUNTS[node.op] ?? 1;
  return typeof count === 'number' ? count : count(node, inference);
}

/** With what a convolution takes beyond one at this shape. */
export const allDispatches = (node: Node, inference: Inference): number =>
  stockDispatches(node, inference) + extraDispatches(node, inference);

export function countDispatches(
  graph: Graph,
  inference: Inference,
  blocks: BlockDispatches,
  decode: (node: Node) => Block | undefined,
): number {
  let total = 0;
  for (const node of graph.nodes.values()) {
    const block = decode(node);
    const input = block && inference.shape(node.inputs[0] ?? valueOf(''));
    total += block ? blocks(block, positive(input)) : allDispatches(node, inference);
  }
  return total;
}

/** Sizes that stay open count as in the search for blocks. */
const positive = (shape: Shape | undefined): Shape4D => {
  const [n = 1, h = 1, w = 1, c = 1] = shape ?? [];
  return [n > 0 ? n : 1, h > 0 ? h : OPEN_SIZE, w > 0 ? w : OPEN_SIZE, c];
};

/** Height and width of a map of unknown size, where a cost or a check needs a number. */
export const OPEN_SIZE = 32;

const ACTIVATION_DISPATCHES: Readonly<Record<Activation['fn'], number>> = {
  linear: 0,
  relu: 1,
  relu6: 1,
  prelu: 1,
  sigmoid: 1,
  leakyrelu: 1,
  clamp: 1,
  swish: 2,
  hardsigmoid: 3,
  hardswish: 4,
  gelu: 5,
  gelutanh: 9,
  elu: 1,
};

/** Of the reference, which is what runs where no faster kernel is registered. */
export const referenceDispatches: BlockDispatches = ({stages}) =>
  stages.reduce((total, stage) => total + stageDispatches(stage), 0);

function stageDispatches(stage: Stage): number {
  switch (stage.op) {
    case 'spatial':
      return (
        (typeof stage.pad === 'string' ? 0 : 1) +
        1 +
        Number(stage.bias) +
        ACTIVATION_DISPATCHES[stage.activation.fn]
      );
    case 'pointwise':
      return 1 + Number(stage.bias) + ACTIVATION_DISPATCHES[stage.activation.fn];
    case 'gate':
      return (
        5 +
        2 * Number(stage.bias) +
        ACTIVATION_DISPATCHES[stage.activation.fn] +
        ACTIVATION_DISPATCHES[stage.gate.fn]
      );
    case 'layernorm':
      return stage.affine ? 9 : 7;
    case 'grn':
      return 9;
    case 'residual':
      return (
        1 +
        ACTIVATION_DISPATCHES[stage.activation.fn] +
        stage.shortcut.reduce((total, step) => total + stageDispatches(step), 0)
      );
    case 'pool':
      return typeof stage.pad === 'string' ? 1 : 2;
    case 'blurpool':
      return 6;
    case 'mean':
      return 2;
    case 'flatten':
      return 0;
    default:
      return 1;
  }
}
