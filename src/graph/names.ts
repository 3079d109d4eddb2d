/**
 * One name, one value: TF.js looks a node of any function up among the weights of the whole model first. So a constant that the
 * rewriter made gets a name that no other node has, unless that is the same constant.
 */
import type {FunctionDef} from './calls.js';
import {withNames} from './functions.js';
import {type Graph, makeNode} from './graph.js';
import {isSameWeight, type Weight} from './weights.js';

export interface Named {
  /** By name of the function; the model's own graph is ''. */
  readonly graphs: ReadonlyMap<string, Graph>;
  readonly weights: ReadonlyMap<string, Weight>;
}

/**
 * @param graphs The model's own graph under '', and the bodies that were rewritten.
 * @param original All weights as they were read.
 * @param library Functions that are written as they were read.
 */
export function withOwnNames(
  graphs: ReadonlyMap<string, Graph>,
  original: ReadonlyMap<string, Weight>,
  library: readonly FunctionDef[],
): Named {
  const taken = new Map<string, Weight | undefined>();
  const others = library.flatMap(({nodeDef = [], signature = {}}) => [
    ...nodeDef,
    ...(signature.inputArg ?? []),
  ]);
  const nodes = [...graphs.values()].flatMap((graph) => [...graph.nodes.values()]);
  for (const {name} of [...nodes.filter(({op}) => op !== 'Const'), ...others]) taken.set(name, undefined);
  const isOriginal = (name: string, weight: Weight | undefined): boolean => {
    const before = original.get(name);
    return weight !== undefined && before !== undefined && isSameWeight(weight, before);
  };
  const constants = [...graphs.values()].flatMap((graph) =>
    [...graph.nodes.values()]
      .filter(({op}) => op === 'Const')
      .map(({name}) => [name, graph.weights.get(name)] as const),
  );
  const kept = new Map(constants.filter(([name, weight]) => isOriginal(name, weight)));
  for (const def of others) if ('op' in def && def.op === 'Const') kept.set(def.name, original.get(def.name));
  for (const [name, weight] of kept) taken.set(name, weight);
  const placed = new Map<string, Weight>();
  const renamed = [...graphs].map(([of, graph]) => {
    const names = new Map<string, string>();
    for (const node of graph.nodes.values()) {
      const weight = node.op === 'Const' ? graph.weights.get(node.name) : undefined;
      if (!weight) continue;
      const name = isOriginal(node.name, weight) ? node.name : freeName(taken, of, node.name, weight);
      taken.set(name, weight);
      placed.set(name, weight);
      if (name !== node.name) names.set(node.name, name);
    }
    return [of, underNames(graph, names)] as const;
  });
  for (const [name, weight] of kept) if (weight) placed.set(name, weight);
  return {graphs: new Map(renamed), weights: placed};
}

function freeName(
  taken: ReadonlyMap<string, Weight | undefined>,
  of: string,
  wanted: string,
  weight: Weight,
): string {
  for (let attempt = 0; ; attempt++) {
    const name = attempt === 0 ? wanted : `${of || 'main'}/${wanted}${attempt === 1 ? '' : `_${attempt}`}`;
    const there = taken.get(name);
    if (!taken.has(name) || (there && isSameWeight(there, weight))) return name;
  }
}

function underNames(graph: Graph, names: ReadonlyMap<string, string>): Graph {
  if (names.size === 0) return graph;
  const defs = withNames(
    [...graph.nodes.values()].map(({def}) => def),
    names,
  );
  return {
    ...graph,
    nodes: new Map(defs.map((def) => [def.name, makeNode(def)])),
    outputs: graph.outputs.map(({node, index}) => ({node: names.get(node) ?? node, index})),
  };
}
