/**
 * A product of a matrix and weights with its bias and activation as one `_FusedMatMul`, as TensorFlow's own optimiser writes it:
 * dense layers on vectors are in no block, but a layers model and some converters leave them in three ops.
 */
import type {AttrDef} from './attrs.js';
import {childless, consumersOf, type Graph, makeNode, type Node, refKey, withoutDead} from './graph.js';
import type {Inference} from './infer.js';

const BIAS: ReadonlySet<string> = new Set(['BiasAdd', 'Add', 'AddV2']);
const ACTIVATIONS: ReadonlySet<string> = new Set(['Relu', 'Relu6', 'Elu']);

/** @param keep Nodes that must stay, besides inputs and outputs. */
export function fuseDense(graph: Graph, inference: Inference, keep: ReadonlySet<string>): Graph {
  const consumers = consumersOf(graph.nodes);
  const kept = new Set([...keep, ...graph.outputs.map(({node}) => node)]);
  const nodes = new Map(graph.nodes);
  /** The one node that reads a value that nobody else needs. */
  const onlyReader = ({name}: Node): Node | undefined => {
    const readers = consumers.get(name) ?? [];
    const reader = readers.length === 1 && !kept.has(name) ? graph.nodes.get(readers[0] ?? '') : undefined;
    return reader && reader.controls.length === 0 ? reader : undefined;
  };
  for (const product of graph.nodes.values()) {
    const channels = product.inputs[1] && inference.shape({node: product.name, index: 0})?.[1];
    const biased = product.op === 'MatMul' && product.controls.length === 0 ? onlyReader(product) : undefined;
    const bias = biased?.inputs.find(({node}) => node !== product.name);
    const vector =
      bias && graph.nodes.get(bias.node)?.op === 'Const' ? graph.weights.get(bias.node) : undefined;
    const fits = vector?.dtype === 'float32' && vector.shape.length === 1 && vector.shape[0] === channels;
    if (!biased || !bias || !fits || !BIAS.has(biased.op)) continue;
    const active = onlyReader(biased);
    const end = active && ACTIVATIONS.has(active.op) ? active : biased;
    nodes.set(end.name, fusedNode(product, end, refKey(bias), end === biased ? [] : [end.op]));
  }
  return withoutDead({...graph, nodes}, [...childless(graph), ...keep]);
}

function fusedNode(product: Node, end: Node, bias: string, activation: readonly string[]): Node {
  const attr: Record<string, AttrDef> = {
    ...product.def.attr,
    fused_ops: {list: {s: ['BiasAdd', ...activation].map((name) => btoa(name))}},
    num_args: {i: '1'},
  };
  return makeNode({name: end.name, op: '_FusedMatMul', input: [...(product.def.input ?? []), bias], attr});
}
