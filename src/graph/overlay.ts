/**
 * The canonical form laid over a graph. The graph below stays as it is: what no block takes in the end is exported from
 * there, verbatim. Knows who reads what, and which values must survive.
 */
import type {CanonicalNode, Form} from './forms.js';
import {consumersOf, type Graph, type Node, type Ref, refKey} from './graph.js';
import type {Inference, Shape} from './infer.js';
import type {Known} from './known.js';
import type {Weight} from './weights.js';

/** A node's new meaning, and other nodes of the match that stay: those that are no longer the same count as altered. */
export interface Replacement {
  readonly form: Form;
  readonly inputs: readonly Ref[];
  readonly also?: readonly CanonicalNode[];
  /** Nodes in another spelling, which still give what they gave. */
  readonly same?: readonly CanonicalNode[];
  /** Nodes beyond the pattern that it stands for as well. */
  readonly beyond?: readonly CanonicalNode[];
}

/** Ops that hand their input on. */
const PASSES_ON: ReadonlySet<string> = new Set([
  'Identity',
  'StopGradient',
  'Snapshot',
  'PreventGradient',
  'CheckNumerics',
  'Dropout',
]);
/** Ops that do too where their output has the shape of their input. */
const MAY_PASS_ON: ReadonlySet<string> = new Set(['Reshape', 'Squeeze', 'ExpandDims', 'BroadcastTo']);

export class Overlay {
  readonly graph: Graph;
  readonly #inference: Inference;
  readonly #kept: ReadonlySet<string>;
  readonly #nodes = new Map<string, CanonicalNode>();
  readonly #consumers = new Map<string, Set<string>>();

  /** @param keep Nodes whose values must stay fetchable, besides inputs and outputs. */
  constructor(graph: Graph, inference: Inference, keep: ReadonlySet<string>) {
    this.graph = graph;
    this.#inference = inference;
    this.#kept = new Set([
      ...keep,
      ...graph.inputs,
      ...graph.outputs.map((ref) => ref.node),
      ...controlled(graph),
      ...unread(graph),
    ]);
    const passed = new Map<string, Ref>();
    for (const node of graph.nodes.values()) {
      const inputs = node.inputs.map((ref) => passed.get(refKey(ref)) ?? ref);
      const [first] = inputs;
      if (node.op === 'IdentityN' && node.controls.length === 0)
        inputs.forEach((ref, index) => passed.set(refKey({node: node.name, index}), ref));
      const same = first && this.#passesOn(node) ? first : this.#timesOne(node, inputs);
      if (same) passed.set(node.name, same);
      this.#set({name: node.name, op: node.op, inputs, attrs: node.attrs, covers: [node.name]});
    }
    for (const name of [...passed.keys()].reverse()) this.#dropIfUnread(name);
  }

  get nodes(): ReadonlyMap<string, CanonicalNode> {
    return this.#nodes;
  }

  node(ref: Ref): CanonicalNode | undefined {
    return ref.index === 0 ? this.#nodes.get(ref.node) : undefined;
  }

  consumers(name: string): ReadonlySet<string> {
    return this.#consumers.get(name) ?? new Set();
  }

  /** Fetched, fed, given out or waited for: it must not disappear into a block. */
  isKept(name: string): boolean {
    return this.#kept.has(name);
  }

  shape(ref: Ref): Shape | undefined {
    return this.#inference.shape(ref);
  }

  known(ref: Ref): Known | undefined {
    return this.#inference.known(ref);
  }

  constant(ref: Ref): Weight | undefined {
    return this.graph.nodes.get(ref.node)?.op === 'Const' ? this.graph.weights.get(ref.node) : undefined;
  }

  /** Gives `root` its new meaning and drops what nothing reads any more. */
  replace(
    root: CanonicalNode,
    {form, inputs, also = [], same = [], beyond = []}: Replacement,
    matched: readonly CanonicalNode[],
  ): void {
    for (const node of also)
      this.#set(node === this.#nodes.get(node.name) ? node : {...node, isAltered: true});
    for (const node of same) this.#set(node);
    const renewed = {...root, op: form.op, form, inputs};
    this.#set(renewed);
    const gone = [...matched, ...beyond].filter(({name}) => !this.#nodes.has(name));
    const covers = [...new Set([root, ...gone].flatMap((node) => node.covers))];
    this.#nodes.set(root.name, {...renewed, covers});
  }

  #passesOn(node: Node): boolean {
    if (node.controls.length > 0) return false;
    if (PASSES_ON.has(node.op)) return true;
    if (node.op === 'Transpose')
      return (node.inputs[1] && this.known(node.inputs[1])?.data.every((axis, i) => axis === i)) === true;
    if (!MAY_PASS_ON.has(node.op)) return false;
    const [from, to] = [this.shape(node.inputs[0] as Ref), this.shape({node: node.name, index: 0})];
    // One open size in the same place on both sides is the same size; two might be exchanged.
    return from !== undefined && from.join() === to?.join() && from.filter((size) => size < 0).length <= 1;
  }

  /** The other operand of a product with one, as in a swish whose beta is 1. */
  #timesOne(node: Node, inputs: readonly Ref[]): Ref | undefined {
    if (node.op !== 'Mul' || node.controls.length > 0) return undefined;
    const isOne = (ref: Ref): boolean => {
      const known = this.known(ref);
      return known?.data.length === 1 && known.data[0] === 1;
    };
    const at = inputs.findIndex(isOne);
    const other = inputs[1 - at];
    return at >= 0 && other && this.shape(other)?.join() === this.shape({node: node.name, index: 0})?.join()
      ? other
      : undefined;
  }

  #set(node: CanonicalNode): void {
    const before = this.#nodes.get(node.name)?.inputs ?? [];
    this.#nodes.set(node.name, node);
    for (const {node: source} of node.inputs) {
      const readers = this.#consumers.get(source) ?? new Set();
      this.#consumers.set(source, readers.add(node.name));
    }
    for (const {node: source} of before) this.#forget(source, node);
  }

  #forget(source: string, reader: CanonicalNode): void {
    if (reader.inputs.some((ref) => ref.node === source) && this.#nodes.has(reader.name)) return;
    this.#consumers.get(source)?.delete(reader.name);
    this.#dropIfUnread(source);
  }

  #dropIfUnread(name: string): void {
    const node = this.#nodes.get(name);
    if (!node || this.isKept(name) || this.consumers(name).size > 0) return;
    this.#nodes.delete(name);
    for (const {node: source} of node.inputs) this.#forget(source, node);
  }
}

/** Nodes at either end of a control edge: their order is part of what the graph means. */
const controlled = (graph: Graph): readonly string[] =>
  [...graph.nodes.values()]
    .filter(({controls}) => controls.length > 0)
    .flatMap(({name, controls}) => [name, ...controls]);

const unread = (graph: Graph): readonly string[] =>
  [...consumersOf(graph.nodes)].filter(([, readers]) => readers.length === 0).map(([name]) => name);
