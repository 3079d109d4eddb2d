/**
 * A model as one small immutable graph, whichever format it came in. Nodes are TensorFlow ops; weights hang on `Const`
 * nodes by name. Knows nothing of blocks.
 */
import type {AttrDef, Attrs} from './attrs.js';
import type {Weight} from './weights.js';

/** One output of a node. */
export interface Ref {
  readonly node: string;
  readonly index: number;
}

/** A node as the file has it. */
export interface NodeDef {
  readonly name: string;
  readonly op: string;
  readonly input?: readonly string[];
  readonly attr?: Readonly<Record<string, AttrDef>>;
}

export interface Node {
  readonly name: string;
  readonly op: string;
  readonly inputs: readonly Ref[];
  /** Nodes that must have run before; they give no value. */
  readonly controls: readonly string[];
  readonly attrs: Attrs;
  /** What is written for this node. */
  readonly def: NodeDef;
}

export interface Graph {
  /** In topological order, but for the edges that close a loop. */
  readonly nodes: ReadonlyMap<string, Node>;
  /** By name of the `Const` node, and those that only functions of the library read. */
  readonly weights: ReadonlyMap<string, Weight>;
  /** Names of the nodes that are fed. */
  readonly inputs: readonly string[];
  /** The values that a prediction gives, where the signature names them; else those that nothing reads. */
  readonly outputs: readonly Ref[];
  /** Bodies that nodes of control flow run, here or in each other, by name: each a graph of which the inputs are its arguments. */
  readonly functions?: ReadonlyMap<string, Graph>;
}

export const refKey = ({node, index}: Ref): string => (index === 0 ? node : `${node}:${index}`);

export const valueOf = (node: string): Ref => ({node, index: 0});

/** `name`, `name:1`, or `name:output:1` as in function bodies. */
export function parseRef(text: string): Ref {
  const [node = '', ...rest] = text.split(':');
  const last = rest.at(-1);
  return {node, index: last === undefined ? 0 : Number(last)};
}

export function makeNode(def: NodeDef): Node {
  const inputs = def.input ?? [];
  return {
    name: def.name,
    op: def.op,
    inputs: inputs.filter((input) => !input.startsWith('^')).map(parseRef),
    controls: inputs.filter((input) => input.startsWith('^')).map((input) => input.slice(1)),
    attrs: def.attr ?? {},
    def,
  };
}

/** Every node a node waits for, in order and once. */
export const sourcesOf = (node: Node): readonly string[] => [
  ...new Set([...node.inputs.map((ref) => ref.node), ...node.controls]),
];

/** Names of the nodes that read a node's outputs or wait for it. */
export function consumersOf(nodes: ReadonlyMap<string, Node>): ReadonlyMap<string, readonly string[]> {
  const consumers = new Map<string, string[]>();
  for (const name of nodes.keys()) consumers.set(name, []);
  for (const node of nodes.values()) {
    for (const source of sourcesOf(node)) consumers.get(source)?.push(node.name);
  }
  return consumers;
}

/** An edge from NextIteration into Merge closes a loop; everything else must be free of cycles. */
const closesLoop = (from: Node, to: Node): boolean => from.op === 'NextIteration' && to.op === 'Merge';

/** Nodes in an order in which each stands behind what it reads; where that leaves a choice, in the given order. */
export function sortNodes(nodes: ReadonlyMap<string, Node>): ReadonlyMap<string, Node> {
  const sorted = new Map<string, Node>();
  const entered = new Set<string>();
  for (const first of nodes.values()) {
    const stack = [{node: first, left: sourcesOf(first)}];
    while (stack.length > 0) {
      const top = stack.at(-1) as (typeof stack)[number];
      entered.add(top.node.name);
      const next = top.left
        .map((name) => nodes.get(name))
        .find((source) => source && !entered.has(source.name) && !closesLoop(source, top.node));
      if (next) {
        stack.push({node: next, left: sourcesOf(next)});
      } else {
        sorted.set(top.node.name, top.node);
        stack.pop();
      }
    }
  }
  return sorted;
}

/** The nodes and weights that the outputs, `keep` and the library need; inputs always stay. */
export function withoutDead(graph: Graph, roots: Iterable<string>): Graph {
  const alive = new Set<string>();
  const stack = [...roots, ...graph.inputs, ...graph.outputs.map((ref) => ref.node)];
  while (stack.length > 0) {
    const node = graph.nodes.get(stack.pop() as string);
    if (!node || alive.has(node.name)) continue;
    alive.add(node.name);
    stack.push(...sourcesOf(node));
  }
  const nodes = new Map([...graph.nodes].filter(([name]) => alive.has(name)));
  const weights = new Map([...graph.weights].filter(([name]) => nodes.has(name) || !graph.nodes.has(name)));
  return {...graph, nodes, weights};
}

/** What nothing reads stays: only what loses its last reader may go. */
export function childless(graph: Graph): readonly string[] {
  const read = new Set(
    [...graph.nodes.values()].flatMap(({inputs, controls}) => [
      ...inputs.map((ref) => ref.node),
      ...controls,
    ]),
  );
  return [...graph.nodes.keys()].filter((name) => !read.has(name));
}
