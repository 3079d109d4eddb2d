/**
 * Turns islands of channels-first maps channels-last: what stands between a `Transpose` to `[N, C, H, W]` and one back, and every
 * convolution and pool in that format, which most backends of TF.js do not run. Transposes that meet cancel; one stays where a
 * channels-first value is read by an op that has no row here.
 */
import type {AttrDef} from './attrs.js';
import {
  childless,
  type Graph,
  makeNode,
  type Node,
  type NodeDef,
  type Ref,
  refKey,
  sortNodes,
  withoutDead,
} from './graph.js';
import type {Inference} from './infer.js';
import {type Twin, TWINS} from './nchw_channels.js';
import {isNchw, ROWS, TO_NCHW, TO_NHWC} from './nchw_rows.js';
import {makeWeight, type Weight} from './weights.js';

/** @param keep Nodes that must stay, besides inputs and outputs. @returns The same graph where nothing would be saved. */
export function channelsLast(graph: Graph, inference: Inference, keep: ReadonlySet<string>): Graph {
  const turning = new Turning(graph, inference);
  for (const node of graph.nodes.values()) turning.add(node);
  const turned = withoutDead(turning.graph(), [...childless(graph), ...keep]);
  return burden(turned) < burden(graph) ? turned : graph;
}

/** Transposes, and ops that only some backends run. */
const burden = ({nodes}: Graph): number =>
  [...nodes.values()].filter((node) => node.op === 'Transpose' || isNchw(node)).length;

/** What a row of the table is given. */
export class Turning {
  readonly inference: Inference;
  readonly #graph: Graph;
  readonly #nodes = new Map<string, Node>();
  readonly #weights: Map<string, Weight>;
  /** Channels-last values by the key of the channels-first value. */
  readonly #last = new Map<string, Ref>();
  /** Matrices of channels `[N, H, W, rows, columns]` by the key of `[N, rows, columns, H, W]`. */
  readonly #wide = new Map<string, Ref>();
  /** A new node takes the name of the `Transpose` back that it makes needless. */
  readonly #renamed = new Map<string, string>();
  readonly #made = new Set<string>();
  /** Nodes of which more than the first output is read. */
  readonly #several: ReadonlySet<string>;

  constructor(graph: Graph, inference: Inference) {
    this.#graph = graph;
    this.inference = inference;
    this.#weights = new Map(graph.weights);
    const refs = [...graph.outputs, ...[...graph.nodes.values()].flatMap(({inputs}) => inputs)];
    this.#several = new Set(refs.filter(({index}) => index > 0).map(({node}) => node));
  }

  add(node: Node): void {
    const order =
      node.op === 'Transpose' && node.inputs[1] && this.inference.known(node.inputs[1])?.data.join();
    const [x] = node.inputs;
    const isFree = node.controls.length === 0 && !this.#several.has(node.name);
    if (x && isFree && order === TO_NCHW.join() && !this.#last.has(refKey(x))) {
      this.#nodes.set(node.name, node);
      this.#last.set(node.name, x);
      return;
    }
    const back = x && isFree && order === TO_NHWC.join() ? this.#last.get(refKey(x)) : undefined;
    if (back) {
      this.#cancel(node, back);
      return;
    }
    if (x && isFree && order === TO_NHWC.join()) this.#last.set(refKey(x), {node: node.name, index: 0});
    const beside = node.controls.length === 0 ? TWINS[node.op]?.(node, this) : undefined;
    if (beside) {
      this.#nodes.set(node.name, node);
      this.#addTwin(node, beside);
      return;
    }
    const def = isFree ? ROWS[node.op]?.(node, this) : undefined;
    if (!def) this.#nodes.set(node.name, node);
    else if (def.name === node.name) this.#nodes.set(node.name, makeNode(def));
    else this.#replace(node, def);
  }

  /** The map channels-last, if it is known so. */
  last(ref: Ref | undefined): string | undefined {
    const found = ref && this.#last.get(refKey(ref));
    return found && refKey(found);
  }

  /** The matrix of channels with pixels in front, if there is one. */
  wide(ref: Ref | undefined): string | undefined {
    const found = ref && this.#wide.get(refKey(ref));
    return found && refKey(found);
  }

  /** The map channels-last, if need be by a `Transpose`. */
  madeLast(ref: Ref): string | undefined {
    const known = this.last(ref);
    if (known !== undefined || this.inference.shape(ref)?.length !== 4) return known;
    const name = this.#fresh(`${ref.node}/channels_last`);
    this.#nodes.set(name, this.#transpose(name, refKey(ref), TO_NHWC));
    this.#last.set(refKey(ref), {node: name, index: 0});
    return name;
  }

  /** A constant operand, if it is one. */
  constant(ref: Ref | undefined): Weight | undefined {
    return ref && this.#graph.nodes.get(ref.node)?.op === 'Const' ? this.#weights.get(ref.node) : undefined;
  }

  /** Adds a constant and returns its name. */
  place(weight: Weight): string {
    const name = this.#fresh(`${weight.name}/channels_last`);
    const type = weight.dtype === 'int32' ? 'DT_INT32' : 'DT_FLOAT';
    this.#weights.set(name, {...weight, name});
    this.#nodes.set(name, makeNode({name, op: 'Const', attr: {dtype: {type}}}));
    return name;
  }

  integers(name: string, values: readonly number[], shape: readonly number[] = [values.length]): string {
    return this.place(makeWeight(name, shape, Int32Array.from(values)));
  }

  graph(): Graph {
    const named = (text: string): string => {
      const [node = '', ...rest] = text.split(':');
      return [this.#renamed.get(node) ?? node, ...rest].join(':');
    };
    const nodes = new Map<string, Node>();
    for (const {def} of this.#nodes.values()) {
      const name = named(def.name);
      nodes.set(name, makeNode({...def, name, ...(def.input ? {input: def.input.map(named)} : {})}));
    }
    return {...this.#graph, nodes: sortNodes(nodes), weights: this.#weights};
  }

  #cancel(node: Node, back: Ref): void {
    if (this.#made.has(back.node) && !this.#renamed.has(back.node)) this.#renamed.set(back.node, node.name);
    else
      this.#nodes.set(
        node.name,
        makeNode({name: node.name, op: 'Identity', input: [refKey(back)], attr: node.def.attr ?? {}}),
      );
  }

  /** The new op, and under the old name its value channels-first, for whoever still wants that. */
  #replace(node: Node, def: NodeDef): void {
    const name = this.#fresh(def.name);
    this.#made.add(name);
    this.#nodes.set(name, makeNode({...def, name}));
    this.#nodes.set(node.name, this.#transpose(node.name, name, TO_NCHW));
    this.#last.set(node.name, {node: name, index: 0});
  }

  #addTwin(node: Node, {def, outputs, isWide}: Twin): void {
    const name = this.#fresh(def.name);
    this.#nodes.set(name, makeNode({...def, name}));
    if (isWide) this.#wide.set(node.name, {node: name, index: 0});
    for (let index = 0; index < outputs; index++)
      this.#last.set(refKey({node: node.name, index}), {node: name, index});
  }

  #transpose(name: string, input: string, order: readonly number[]): Node {
    const attr: Record<string, AttrDef> = {T: {type: 'DT_FLOAT'}, Tperm: {type: 'DT_INT32'}};
    return makeNode({name, op: 'Transpose', input: [input, this.integers(`${name}/order`, order)], attr});
  }

  #fresh(wanted: string): string {
    let name = wanted;
    for (let i = 1; this.#graph.nodes.has(name) || this.#nodes.has(name); i++) name = `${wanted}_${i}`;
    return name;
  }
}
