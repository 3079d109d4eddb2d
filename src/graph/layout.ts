/**
 * Maps with channels first, turned. Frameworks that keep `[N, C, H, W]` come to TensorFlow with a transpose on each side of a
 * convolution, or with NCHW ops. Each value of that layout gets a twin `NAME/nhwc`, made from the twins of what it was made from; what
 * still wants the old layout reads a transpose of the twin. Where that is more transposes than before, the graph stays.
 */
import {numbersAttr, textAttr, textDef, type AttrDef} from './attrs.js';
import {childless} from './fold.js';
import {
  type Graph,
  makeNode,
  type Node,
  type NodeDef,
  type Ref,
  refKey,
  sortNodes,
  valueOf,
  withoutDead,
} from './graph.js';
import type {Inference} from './infer.js';
import {makeWeight, sizeOf, type Weight, withShape} from './weights.js';

const TO_NCHW = [0, 3, 1, 2] as const;
const TO_NHWC = [0, 2, 3, 1] as const;

/** What a twin is made of, or undefined where the op cannot be turned. */
type Turn = (node: Node, turning: Turning) => Pick<NodeDef, 'input' | 'attr'> | undefined;

const rows = (ops: string, turn: Turn): [string, Turn][] => ops.split(' ').map((op) => [op, turn]);

/** Each element by itself: operands are maps of that layout, or constants. */
const elementwise: Turn = (node, turning) => {
  const inputs = node.inputs.map((ref) => turning.twin(ref) ?? turning.turnedConstant(ref));
  const isTurned = node.inputs.some((ref) => turning.twin(ref));
  return isTurned && inputs.every((ref) => ref !== undefined)
    ? {input: inputs.map(refKey), ...attrsOf(node)}
    : undefined;
};

/** Attributes and constants beside the map say which axis is which. */
const alongAxes =
  (turnConstant: (values: readonly number[]) => readonly number[] | undefined): Turn =>
  (node, turning) => {
    const [x, amounts, ...rest] = node.inputs;
    const [turned, values] = [x && turning.twin(x), amounts && turning.integers(amounts)];
    const constant = values && turnConstant(values);
    if (!turned || !constant || !amounts) return undefined;
    const shape = turning.inference.shape(amounts) ?? [constant.length];
    return {
      input: [refKey(turned), turning.constant(node, constant, shape), ...rest.map(refKey)],
      ...attrsOf(node),
    };
  };

const turnPairs = (values: readonly number[]): readonly number[] | undefined =>
  values.length === 8 ? TO_NHWC.flatMap((axis) => values.slice(2 * axis, 2 * axis + 2)) : undefined;

const turnAxes = (values: readonly number[]): readonly number[] =>
  values.map((axis) => (TO_NHWC as readonly number[]).indexOf((axis + 4) % 4));

const joined: Turn = (node, turning) => {
  const [maps, axis] = [node.inputs.slice(0, -1).map((ref) => turning.twin(ref)), node.inputs.at(-1)];
  const values = axis && turning.integers(axis);
  return values && maps.every((ref) => ref !== undefined)
    ? {input: [...maps.map(refKey), turning.constant(node, turnAxes(values), [])], ...attrsOf(node)}
    : undefined;
};

const isNchw = ({attrs}: Node): boolean => textAttr(attrs, 'data_format') === 'NCHW';

/** An op that was told its layout. */
const told: Turn = (node, turning) => {
  const [x, ...rest] = node.inputs;
  const turned = x && turning.twin(x);
  if (!turned || !isNchw(node)) return undefined;
  const attr: Record<string, AttrDef> = {...attrsOf(node).attr, data_format: textDef('NHWC')};
  for (const name of ['strides', 'dilations', 'ksize']) {
    const values = numbersAttr(node.attrs, name);
    if (values.length === 4) attr[name] = {list: {i: TO_NHWC.map((axis) => String(values[axis]))}};
  }
  const pads = numbersAttr(node.attrs, 'explicit_paddings');
  if (pads.length === 8) attr['explicit_paddings'] = {list: {i: (turnPairs(pads) ?? []).map(String)}};
  return {input: [refKey(turned), ...rest.map(refKey)], attr};
};

/** The same; its map is transposed where it has no twin. */
const windowed: Turn = (node, turning) => {
  const [x] = node.inputs;
  if (x && isNchw(node)) turning.needTwin(x);
  return told(node, turning);
};

const WINDOWED = 'Conv2D _FusedConv2D DepthwiseConv2dNative FusedDepthwiseConv2dNative MaxPool AvgPool';

const attrsOf = ({def}: Node): {attr: Record<string, AttrDef>} => ({attr: {...def.attr}});

const TURNS: Readonly<Record<string, Turn | undefined>> = Object.fromEntries([
  ...rows(
    'Relu Relu6 Sigmoid Tanh Elu LeakyRelu Erf Neg Square Sqrt Rsqrt Exp Softplus Abs Identity',
    elementwise,
  ),
  ...rows(
    'Add AddV2 AddN Sub Mul RealDiv Div Maximum Minimum SquaredDifference Pow ClipByValue Prelu',
    elementwise,
  ),
  ...rows('Pad PadV2 MirrorPad', alongAxes(turnPairs)),
  ...rows('Mean Sum Max', alongAxes(turnAxes)),
  ...rows('ConcatV2', joined),
  ...rows(WINDOWED, windowed),
  ...rows('BiasAdd FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3', told),
]);

/** Reductions that drop the axes give `[N, C]`, which has no layout. */
const dropsAxes = ({op, attrs}: Node): boolean =>
  ['Mean', 'Sum', 'Max'].includes(op) && attrs['keep_dims']?.b !== true;

class Turning {
  readonly nodes = new Map<string, Node>();
  readonly weights = new Map<string, Weight>();
  readonly inference: Inference;
  readonly #graph: Graph;
  readonly #twins = new Map<string, Ref>();
  /** Values that are a twin under another name. */
  readonly #aliases = new Map<string, Ref>();

  constructor(graph: Graph, inference: Inference) {
    this.#graph = graph;
    this.inference = inference;
    for (const node of graph.nodes.values()) this.#add(this.#withAliases(node));
  }

  twin(ref: Ref): Ref | undefined {
    return this.#twins.get(refKey(ref));
  }

  integers(ref: Ref): readonly number[] | undefined {
    const known = this.inference.known(ref);
    return known?.data.every((value) => value !== undefined) ? known.data : undefined;
  }

  /** One number for all, or one a channel: `[1, C, 1, 1]` and `[C, 1, 1]`. */
  turnedConstant(ref: Ref): Ref | undefined {
    const weight =
      this.#graph.nodes.get(ref.node)?.op === 'Const' ? this.#graph.weights.get(ref.node) : undefined;
    if (!weight) return undefined;
    const size = sizeOf(weight.shape);
    if (size === 1 && weight.shape.length <= 4) return ref;
    const [channels, ...around] =
      weight.shape.length === 4 && weight.shape[0] === 1 ? weight.shape.slice(1) : weight.shape;
    if (channels !== size || around.join() !== '1,1') return undefined;
    return valueOf(this.#place(`${ref.node}/nhwc`, withShape(weight, [channels])));
  }

  constant({name}: Node, values: readonly number[], shape: readonly number[], suffix = 'axes'): string {
    const full = `${name}/nhwc/${suffix}`;
    return this.#place(full, makeWeight(full, shape, Int32Array.from(values)));
  }

  /** For a map that comes in the other layout from outside. */
  needTwin(ref: Ref): void {
    if (this.twin(ref)) return;
    const name = `${refKey(ref)}/to_nhwc`;
    const perm = this.constant(makeNode({name, op: 'Transpose'}), TO_NHWC, [4]);
    this.nodes.set(name, makeNode({name, op: 'Transpose', input: [refKey(ref), perm], attr: TRANSPOSE}));
    this.#twins.set(refKey(ref), valueOf(name));
  }

  #place(name: string, weight: Weight): string {
    this.nodes.set(
      name,
      makeNode({
        name,
        op: 'Const',
        attr: {dtype: {type: weight.dtype === 'int32' ? 'DT_INT32' : 'DT_FLOAT'}},
      }),
    );
    this.weights.set(name, weight);
    return name;
  }

  #withAliases(node: Node): Node {
    if (!node.inputs.some((ref) => this.#aliases.has(refKey(ref)))) return node;
    const input = node.inputs.map((ref) => refKey(this.#aliases.get(refKey(ref)) ?? ref));
    return makeNode({...node.def, input: [...input, ...node.controls.map((name) => `^${name}`)]});
  }

  #add(node: Node): void {
    this.nodes.set(node.name, node);
    if (node.controls.length > 0) return;
    if (node.op === 'Transpose') return this.#addTranspose(node);
    const turned = TURNS[node.op]?.(node, this);
    if (!turned) return;
    if (dropsAxes(node)) {
      this.nodes.set(node.name, makeNode({...node.def, ...turned}));
      return;
    }
    const isMap = this.inference.shape(valueOf(node.name))?.length === 4;
    if (!isMap) return;
    const name = `${node.name}/nhwc`;
    this.nodes.set(name, makeNode({name, op: node.op, ...turned}));
    this.#twins.set(node.name, valueOf(name));
    const perm = this.constant(node, TO_NCHW, [4], 'perm');
    this.nodes.set(
      node.name,
      makeNode({name: node.name, op: 'Transpose', input: [name, perm], attr: TRANSPOSE}),
    );
  }

  #addTranspose(node: Node): void {
    const [x, axes] = node.inputs;
    const perm = axes && this.integers(axes)?.join();
    if (!x || perm === undefined) return;
    const twin = this.twin(x);
    if (perm === TO_NCHW.join()) this.#twins.set(node.name, x);
    if (perm === TO_NHWC.join() && twin) this.#aliases.set(node.name, twin);
  }
}

const TRANSPOSE: NonNullable<NodeDef['attr']> = {T: {type: 'DT_FLOAT'}, Tperm: {type: 'DT_INT32'}};

const transposes = (graph: Graph): number =>
  [...graph.nodes.values()].filter(({op}) => op === 'Transpose').length;

/** @param keep Nodes that must stay fetchable under their names, in their layout. */
export function channelsLast(graph: Graph, inference: Inference, keep: ReadonlySet<string>): Graph {
  const turning = new Turning(graph, inference);
  if (turning.nodes.size === graph.nodes.size) return graph;
  const nodes = sortNodes(turning.nodes);
  const weights = new Map([...graph.weights, ...turning.weights]);
  const turned = withoutDead({...graph, nodes, weights}, [...childless(graph), ...keep]);
  const windows = new Set(WINDOWED.split(' '));
  const isTold = [...graph.nodes.values()].some((node) => windows.has(node.op) && isNchw(node));
  return isTold || transposes(turned) <= transposes(graph) ? turned : graph;
}
