/** Collects the nodes of a graph while layers are translated one after another. */
import type {AttrDef} from '../attrs.js';
import {type Graph, makeNode, type NodeDef, valueOf} from '../graph.js';
import {infer, type Shape} from '../infer.js';
import {makeWeight, type Weight} from '../weights.js';

export class GraphBuilder {
  readonly defs: NodeDef[] = [];
  readonly weights = new Map<string, Weight>();
  readonly #names = new Set<string>();

  unique(name: string): string {
    let free = name;
    for (let i = 1; this.#names.has(free); i++) free = `${name}_${i}`;
    this.#names.add(free);
    return free;
  }

  /** @returns the node's name. */
  add(
    name: string,
    op: string,
    input: readonly string[],
    attr: Readonly<Record<string, AttrDef>> = {},
  ): string {
    const own = this.unique(name);
    this.defs.push({name: own, op, input, attr});
    return own;
  }

  weight(weight: Weight, name = weight.name): string {
    const there = this.weights.get(name);
    if (there?.bytes === weight.bytes) return name;
    const type = weight.dtype === 'int32' ? 'DT_INT32' : 'DT_FLOAT';
    const own = this.add(name, 'Const', [], {dtype: {type}});
    this.weights.set(own, weight);
    return own;
  }

  integers(name: string, values: readonly number[], shape: readonly number[] = [values.length]): string {
    return this.weight(makeWeight(name, shape, Int32Array.from(values)));
  }

  number(name: string, value: number): string {
    return this.weight(makeWeight(name, [], Float32Array.of(value)));
  }

  /** Of the node added last; nothing may read it yet. */
  renameLast(name: string): string {
    const last = this.defs.pop();
    if (!last) throw new Error('No node was added.');
    this.#names.delete(last.name);
    return this.add(name, last.op, last.input ?? [], last.attr);
  }

  get graph(): Graph {
    const nodes = new Map(this.defs.map((def) => [def.name, makeNode(def)]));
    const inputs = this.defs.filter(({op}) => op === 'Placeholder').map(({name}) => name);
    return {nodes, weights: this.weights, inputs, outputs: []};
  }

  shape(name: string): Shape | undefined {
    return infer(this.graph).shape(valueOf(name));
  }
}
