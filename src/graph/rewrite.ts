/** Puts blocks in the place of the nodes they stand for: one node each, under the name of the last one it replaces. */
import {encodeStages} from '../../ops/index.js';
import {textDef} from './attrs.js';
import type {Candidate} from './candidates.js';
import {childless, type Graph, makeNode, type Node, refKey, sortNodes, withoutDead} from './graph.js';
import {isSameWeight, type Weight} from './weights.js';

export function rewrite(graph: Graph, blocks: readonly Candidate[], keep: ReadonlySet<string>): Graph {
  const roots = [...childless(graph), ...keep];
  // First without the blocks' weights, to see which constants the other nodes still need.
  const bare = new Map<string, Node>(graph.nodes);
  for (const block of blocks) {
    const {name} = lastOf(block);
    const maps = block.weights.flatMap((given) => ('map' in given ? [refKey(given.map)] : []));
    bare.set(name, makeNode({name, op: block.block.kind, input: [refKey(block.input), ...maps]}));
  }
  const rest = withoutDead({...graph, nodes: bare}, roots);
  const store = new ConstantStore(graph, rest);
  const nodes = new Map(rest.nodes);
  for (const block of blocks) {
    const {name} = lastOf(block);
    const inputs = block.weights.map((given) =>
      'map' in given ? refKey(given.map) : store.place(given.weight, `${name}/${given.name}`),
    );
    const attr = {stages: textDef(encodeStages(block.block.stages))};
    nodes.set(name, makeNode({name, op: block.block.kind, input: [refKey(block.input), ...inputs], attr}));
  }
  return {
    ...rest,
    nodes: sortNodes(new Map([...store.nodes, ...nodes])),
    weights: new Map([...rest.weights, ...store.weights]),
  };
}

function lastOf(block: Candidate): {readonly name: string} {
  const last = block.nodes.at(-1);
  if (!last) throw new Error('A block replaces no node.');
  return last;
}

/** Gives each weight of a block a Const node, the one it came from where that is free or the same. */
class ConstantStore {
  readonly nodes = new Map<string, Node>();
  readonly weights = new Map<string, Weight>();
  readonly #taken: Map<string, Weight | undefined>;

  constructor(original: Graph, rest: Graph) {
    // A name of the original graph is free only if it named a constant that nothing reads any more.
    this.#taken = new Map([...rest.nodes.keys()].map((name) => [name, rest.weights.get(name)]));
    for (const {name, op} of original.nodes.values()) {
      if (op !== 'Const' && !this.#taken.has(name)) this.#taken.set(name, undefined);
    }
  }

  place(weight: Weight, fallback: string): string {
    const placed = [...this.weights].find(([, there]) => isSameWeight(there, weight));
    if (placed) return placed[0];
    for (let attempt = 0; ; attempt++) {
      const name = attempt === 0 ? weight.name : attempt === 1 ? fallback : `${fallback}_${attempt}`;
      const there = this.#taken.get(name);
      if (there && isSameWeight(there, weight)) return name;
      if (this.#taken.has(name)) continue;
      this.#taken.set(name, weight);
      this.weights.set(name, weight);
      this.nodes.set(name, makeNode({name, op: 'Const', attr: {dtype: {type: 'DT_FLOAT'}}}));
      return name;
    }
  }
}
