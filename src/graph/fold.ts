/** Replaces shape arithmetic, and whatever else is constant and small, by constants. */
import {framedNodes} from './frames.js';
import {childless, type Graph, makeNode, type Node, valueOf, withoutDead} from './graph.js';
import type {Inference} from './infer.js';
import {isComplete, type Known} from './known.js';
import {makeWeight, type Weight} from './weights.js';

export interface Folded {
  readonly graph: Graph;
  /** Names of the nodes that became constants. */
  readonly folded: readonly string[];
}

/** @param keep Nodes that must stay as they are, besides inputs and outputs. */
export function foldConstants(graph: Graph, inference: Inference, keep: ReadonlySet<string>): Folded {
  const nodes = new Map<string, Node>();
  const weights = new Map<string, Weight>(graph.weights);
  const folded: string[] = [];
  const outputs = new Set(graph.outputs.map((ref) => ref.node));
  const roots = childless(graph);
  const framed = framedNodes(graph);
  for (const node of graph.nodes.values()) {
    const known = inference.known(valueOf(node.name));
    const fixed =
      node.op === 'Const' ||
      graph.inputs.includes(node.name) ||
      outputs.has(node.name) ||
      keep.has(node.name) ||
      framed.has(node.name);
    if (fixed || !known || !isComplete(known) || node.controls.length > 0) {
      nodes.set(node.name, node);
      continue;
    }
    nodes.set(node.name, makeNode({name: node.name, op: 'Const', attr: constantAttrs(known)}));
    weights.set(node.name, constant(node.name, known));
    folded.push(node.name);
  }
  return {graph: withoutDead({...graph, nodes, weights}, roots), folded};
}

const constantAttrs = ({dtype}: Known): NonNullable<Node['def']['attr']> => ({
  dtype: {type: dtype === 'float32' ? 'DT_FLOAT' : dtype === 'int32' ? 'DT_INT32' : 'DT_BOOL'},
});

function constant(name: string, {shape, dtype, data}: Known): Weight {
  const values = data.map((element) => element ?? 0);
  if (dtype === 'bool') return {name, shape, dtype, bytes: Uint8Array.from(values)};
  return makeWeight(name, shape, dtype === 'int32' ? Int32Array.from(values) : Float32Array.from(values));
}
