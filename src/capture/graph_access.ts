/** The one file that touches private fields of a GraphModel (tfjs-converter 4.22.0): its nodes, and which is at work. */
import type {GraphModel} from '@tensorflow/tfjs-converter';
import type {HostOp} from './record.js';

export interface GraphNode {
  readonly name: string;
  readonly op: string;
  readonly category: string;
  /** Names of the inputs, with `:1` for a second output, `^` before a control input. */
  readonly inputNames: readonly string[];
  readonly inputs: readonly GraphNode[];
  readonly children: readonly GraphNode[];
  readonly attrParams: Readonly<Record<string, {readonly value?: unknown} | undefined>>;
  readonly rawAttrs?: Readonly<Record<string, {readonly s?: string} | undefined>>;
}

export interface ModelGraph {
  readonly nodes: Readonly<Record<string, GraphNode>>;
  readonly weights: readonly GraphNode[];
}

interface PrivateFields {
  readonly executor?: {readonly graph?: Partial<ModelGraph>};
}

/** Undefined where this is no GraphModel as version 4.22.0 makes them. */
export function graphOf(model: GraphModel): ModelGraph | undefined {
  const graph = (model as unknown as PrivateFields).executor?.graph; // private in its types
  return graph?.nodes && graph.weights ? {nodes: graph.nodes, weights: graph.weights} : undefined;
}

/**
 * Calls `run` and knows meanwhile which node is executed: the executor looks at a node's category when it starts it. Where
 * ops wait for data, it is the last one started.
 */
export async function watchingNodes<Result>(
  graph: ModelGraph,
  run: (nodeAtWork: () => HostOp | undefined) => Promise<Result>,
): Promise<Result> {
  let atWork: GraphNode | undefined;
  const nodes = Object.values(graph.nodes);
  for (const node of nodes) {
    const {category} = node;
    const get = (): string => {
      atWork = node;
      return category;
    };
    Object.defineProperty(node, 'category', {get, configurable: true, enumerable: true});
  }
  try {
    return await run(() => atWork && {op: atWork.op, node: atWork.name});
  } finally {
    for (const node of nodes) {
      const {category} = node;
      Object.defineProperty(node, 'category', {
        ...{value: category, configurable: true},
        ...{enumerable: true, writable: true},
      });
    }
  }
}
