/**
 * Control flow as TensorFlow 1 wrote it, and as the converter writes that of 2 unless told otherwise: loops between Enter and Exit,
 * branches between Switch and Merge. What stands in there runs once a turn, or not at all; a constant always does.
 */
import {flagAttr} from './attrs.js';
import {
  childless,
  consumersOf,
  type Graph,
  makeNode,
  type Node,
  parseRef,
  refKey,
  withoutDead,
} from './graph.js';

const OPENS: ReadonlySet<string> = new Set(['Enter', 'Switch']);
const FRAME_OPS: ReadonlySet<string> = new Set([
  'Enter',
  'Exit',
  'Switch',
  'Merge',
  'NextIteration',
  'LoopCond',
]);

/** Nodes that run as a loop or a branch has it: a constant in the place of one would not. */
export function framedNodes({nodes}: Graph): ReadonlySet<string> {
  const openers = [...nodes.values()].filter(({op}) => OPENS.has(op)).map(({name}) => name);
  if (openers.length === 0) return new Set();
  const consumers = consumersOf(nodes);
  const framed = new Set<string>();
  for (const stack = openers; stack.length > 0;) {
    const name = stack.pop() as string; // It is not empty.
    if (framed.has(name)) continue;
    framed.add(name);
    if (nodes.get(name)?.op !== 'Exit') stack.push(...(consumers.get(name) ?? []));
  }
  return framed;
}

/** What a turn of a loop starts with is what came in, or what the last turn gave. */
export const isLoopMerge = (nodes: ReadonlyMap<string, Node>, node: Node): boolean =>
  node.op === 'Merge' && node.inputs.some((ref) => nodes.get(ref.node)?.op === 'NextIteration');

/** Lets ops in a loop read constants as they are, not by way of an Enter, which hides that they are known. */
export function withEnteredConstants(graph: Graph, keep: ReadonlySet<string>): Graph {
  const entered = new Map<string, string>();
  for (const {name, op, inputs, attrs} of graph.nodes.values()) {
    const [source] = inputs;
    const isConstant = source && graph.nodes.get(source.node)?.op === 'Const';
    if (op === 'Enter' && isConstant && flagAttr(attrs, 'is_constant')) entered.set(name, source.node);
  }
  if (entered.size === 0) return graph;
  const framed = framedNodes(graph);
  const nodes = [...graph.nodes].map(([name, node]) => {
    // It must still wait for something of its turn.
    const isBound = node.inputs.some((ref) => framed.has(ref.node) && !entered.has(ref.node));
    if (FRAME_OPS.has(node.op) || !isBound || !node.inputs.some((ref) => entered.has(refKey(ref))))
      return [name, node] as const;
    const input = node.def.input?.map((text) => entered.get(refKey(parseRef(text))) ?? text) ?? [];
    return [name, makeNode({...node.def, input})] as const;
  });
  return withoutDead({...graph, nodes: new Map(nodes)}, [...childless(graph), ...keep]);
}
