/**
 * Control edges say what must have run before. Between ops without side effects they say nothing, but an op that has some cannot be
 * taken apart, so they are dropped where the whole graph has no op that they could be about.
 */
import {type Graph, makeNode} from './graph.js';

/** Ops that hold state, draw numbers, print, or choose which other ops run. */
const ORDERED =
  /^(Assert|Print|Random|TruncatedNormal|Multinomial|Variable|Assign|HashTable|Lookup|Initialize|TensorArray|TensorList|EmptyTensorList|Enter|Exit|Merge|Switch|NextIteration|LoopCond|While|If|Stateless(While|If)|SimpleML)/;

const isFreeOfOrder = (graph: Graph): boolean => [...graph.nodes.values()].every(({op}) => !ORDERED.test(op));

/** A NoOp gives no value: without control edges it is for nothing. */
export function withoutIdleControls(graph: Graph, keep: ReadonlySet<string>): Graph {
  const hasControls = [...graph.nodes.values()].some(({controls}) => controls.length > 0);
  if (!hasControls || !isFreeOfOrder(graph)) return graph;
  const fixed = new Set([...keep, ...graph.outputs.map((ref) => ref.node)]);
  const nodes = [...graph.nodes.values()]
    .filter(({name, op}) => op !== 'NoOp' || fixed.has(name))
    .map((node) => {
      const input = node.def.input?.filter((text) => !text.startsWith('^')) ?? [];
      return [node.name, node.controls.length > 0 ? makeNode({...node.def, input}) : node] as const;
    });
  return {...graph, nodes: new Map(nodes)};
}
