/**
 * Walks the graph once and finds the shape of every value as far as it can be known, and the values of constants and of shape
 * arithmetic. -1 is an unknown size; an undefined shape has an unknown rank. An op without a row in the tables gives an unknown.
 */
import {shapeAttr} from './attrs.js';
import {isLoopMerge} from './frames.js';
import {callsOf} from './functions.js';
import {type Graph, type Node, type Ref, refKey} from './graph.js';
import {Arguments, inferCall} from './infer_calls.js';
import {joined} from './joined_shapes.js';
import {type Known, knownWeight, LARGEST_KNOWN} from './known.js';
import {ModelError} from './model_error.js';
import {SHAPE_RULES} from './shape_rules.js';
import {VALUE_RULES} from './value_rules.js';
import {sizeOf} from './weights.js';

export type Shape = readonly number[];

export interface Inference {
  shape(ref: Ref): Shape | undefined;
  known(ref: Ref): Known | undefined;
  /** Shapes that a function is given by the calls in the graph and in what these run. */
  given(name: string): readonly (Shape | undefined)[];
}

/** What a rule sees of the node it is asked about. */
export interface OpContext {
  readonly node: Node;
  readonly count: number;
  shape(input: number): Shape | undefined;
  known(input: number): Known | undefined;
}

export interface InferOptions {
  /** Taken for sizes that the graph leaves open, so that costs can be estimated; unknown where absent. */
  readonly assume?: {readonly batch: number; readonly size: number};
  /** Of the inputs of a body, in their order. */
  readonly args?: readonly (Shape | undefined)[];
}

/** @throws {ModelError} where an op cannot take the shapes it is given. */
export const infer = (graph: Graph, options: InferOptions = {}): Inference =>
  inferLoops(graph, options, new Arguments());

type Turns = Map<string, Shape | undefined>;

/** A loop is walked until what a turn gives has the shape of what it was taken to be given. */
function inferLoops(graph: Graph, options: InferOptions, given: Arguments): Inference {
  const loops = [...graph.nodes.values()].filter((node) => isLoopMerge(graph.nodes, node));
  const turns: Turns = new Map();
  for (;;) {
    const found = walk(graph, options, given, turns);
    const changed = loops.filter(({name, inputs}) => {
      const taken = found.shape({node: name, index: 0});
      const next = inputs.reduce<Shape | undefined>((shape, ref) => joined(shape, found.shape(ref)), taken);
      turns.set(name, next);
      return next?.join() !== taken?.join();
    });
    if (changed.length === 0) return found;
  }
}

function walk(graph: Graph, options: InferOptions, given: Arguments, turns: Turns): Inference {
  const shapes = new Map<string, Shape | undefined>();
  const values = new Map<string, Known | undefined>();
  const run = (
    name: string,
    args: readonly (Shape | undefined)[],
  ): readonly (Shape | undefined)[] | undefined => {
    const body = graph.functions?.get(name);
    const within = body && inferLoops(body, {...options, args}, given);
    return within && body.outputs.map((ref) => within.shape(ref));
  };
  for (const node of graph.nodes.values()) {
    const weight = graph.weights.get(node.name);
    if (node.op === 'Const' && weight) {
      shapes.set(node.name, weight.shape);
      values.set(node.name, knownWeight(weight));
    } else if (graph.inputs.includes(node.name)) {
      shapes.set(node.name, inputShape(graph, node, options));
    } else if (callsOf(node).length > 0) {
      const outputs = inferCall(node, (at) => atKey(shapes, node.inputs[at]), given, run);
      outputs.forEach((shape, index) => shapes.set(refKey({node: node.name, index}), shape));
    } else if (isLoopMerge(graph.nodes, node)) {
      const [first] = node.inputs.filter((ref) => graph.nodes.get(ref.node)?.op !== 'NextIteration');
      shapes.set(node.name, turns.has(node.name) ? turns.get(node.name) : atKey(shapes, first));
    } else {
      inferNode(node, shapes, values);
    }
  }
  return {
    shape: (ref) => shapes.get(refKey(ref)),
    known: (ref) => values.get(refKey(ref)),
    given: (name) => given.of(name),
  };
}

function inputShape(graph: Graph, node: Node, {assume, args}: InferOptions): Shape | undefined {
  if (args) return args[graph.inputs.indexOf(node.name)];
  const shape = shapeAttr(node.attrs, 'shape');
  if (!shape || !assume) return shape;
  return shape.map((size, axis) => (size >= 0 ? size : axis === 0 ? assume.batch : assume.size));
}

function inferNode(
  node: Node,
  shapes: Map<string, Shape | undefined>,
  values: Map<string, Known | undefined>,
): void {
  const context: OpContext = {
    node,
    count: node.inputs.length,
    shape: (input) => atKey(shapes, node.inputs[input]),
    known: (input) => atKey(values, node.inputs[input]),
  };
  const outputs = SHAPE_RULES[node.op]?.(context) ?? [];
  outputs.forEach((shape, index) => shapes.set(refKey({node: node.name, index}), shape));
  const results = VALUE_RULES[node.op]?.(context) ?? [];
  results.forEach((known, index) => {
    if (!known || sizeOf(known.shape) > LARGEST_KNOWN) return;
    const key = refKey({node: node.name, index});
    values.set(key, known);
    if (!shapes.get(key)) shapes.set(key, known.shape);
  });
}

const atKey = <T>(map: ReadonlyMap<string, T>, ref: Ref | undefined): T | undefined =>
  ref ? map.get(refKey(ref)) : undefined;

/** @throws {ModelError} unless `shape` is of the rank; an unknown shape passes. */
export function needRank({node}: OpContext, input: number, shape: Shape | undefined, rank: number): void {
  if (!shape || shape.length === rank) return;
  const source = node.inputs[input];
  throw new ModelError(
    `${node.op} '${node.name}' needs an input of rank ${rank} but '${source ? refKey(source) : ''}' is of rank ${shape.length} ([${shape.join(', ')}]); feed [N, H, W, C].`,
  );
}
