/** A GraphModel, fused or not, as steps: each node is executed by itself, fed the tensors it reads. */
import type * as tf from '@tensorflow/tfjs-core';
import {decodeStages, type Stage} from '../../ops/index.js';
import type {Operand, Program, ProgramInput, Step} from './program.js';

/** What the profiler asks of a model of nodes; GraphModel and FusedModel both have it. */
export interface NodeModel {
  readonly inputs: readonly ModelTensorInfo[];
  readonly outputs: readonly ModelTensorInfo[];
  execute(inputs: tf.NamedTensorMap, outputs: string[]): tf.Tensor | tf.Tensor[];
  executeAsync(inputs: tf.NamedTensorMap, outputs: string[]): Promise<tf.Tensor | tf.Tensor[]>;
  save(handler: tf.io.IOHandler): Promise<tf.io.SaveResult>;
}

interface ModelTensorInfo {
  readonly name: string;
  readonly shape?: readonly number[];
  readonly dtype: tf.DataType;
}

/** A node of the GraphDef JSON. */
interface NodeDef {
  readonly name: string;
  readonly op: string;
  readonly input?: readonly string[];
  readonly attr?: Readonly<Record<string, {readonly s?: string} | undefined>>;
}

interface Node extends NodeDef {
  /** Tensors read, as `node` or `node:1`; control inputs left out. */
  readonly reads: readonly string[];
}

type Nodes = ReadonlyMap<string, Node>;

interface Graph {
  readonly nodes: Nodes;
  readonly weightShapes: ReadonlyMap<string, readonly number[]>;
}

/** Nodes that cannot run outside of their frame or without the executor's state. */
const CONTROL_FLOW =
  /^(Switch|Merge|Enter|Exit|NextIteration|LoopCond|(Stateless)?(If|While)|TensorList.*|HashTable.*|LookupTable.*)$/;
/** Nodes whose output size depends on values, so that TF.js runs them by executeAsync alone. */
const DYNAMIC = /^(NonMaxSuppressionV[2-5]|Where)$/;
const NO_STEP = new Set(['Placeholder', 'PlaceholderWithDefault', 'Const', 'NoOp']);

export async function graphProgram(model: NodeModel): Promise<Program> {
  const inputs = model.inputs.map(({name, shape, dtype}) => ({
    name,
    shape: (shape ?? []).map((size) => (size > 0 ? size : null)),
    dtype,
  }));
  const graph = await readGraph(model);
  const {nodes} = graph;
  // Without a signature TF.js takes every node that nobody reads for an output, unused weights too.
  const outputs = model.outputs.map(({name}) => name).filter((name) => !constantOf(nodes, name));
  const order = reachable(nodes, outputs);
  const control = order.find(({op}) => CONTROL_FLOW.test(op));
  if (control)
    return wholeProgram(model, inputs, outputs, `has control flow (${control.op} '${control.name}')`);
  if (nodes.size === 0) return wholeProgram(model, inputs, outputs, 'is not a graph of nodes');
  const read = new Set([...order.flatMap(({reads}) => reads), ...outputs]);
  const steps = order
    .filter(({op, name}) => !NO_STEP.has(op) && !constantOf(nodes, name))
    .map((node) => makeStep(model, graph, node, read))
    .filter(({outputs: given}) => given.length > 0);
  return {inputs, outputs, steps};
}

async function readGraph(model: NodeModel): Promise<Graph> {
  let saved: tf.io.ModelArtifacts | undefined;
  const modelArtifactsInfo = {dateSaved: new Date(), modelTopologyType: 'JSON'} as const;
  await model.save({
    // eslint-disable-next-line @typescript-eslint/require-await -- TF.js wants a promise; nothing is written.
    save: async (artifacts) => {
      saved = artifacts;
      return {modelArtifactsInfo};
    },
  });
  const {node = []} = (saved?.modelTopology ?? {}) as {node?: readonly NodeDef[]}; // A GraphModel's is a GraphDef.
  return {
    nodes: new Map(node.map((def) => [def.name, {...def, reads: readsOf(def)}])),
    weightShapes: new Map(saved?.weightSpecs?.map(({name, shape}) => [name, shape])),
  };
}

const readsOf = ({input = []}: NodeDef): readonly string[] =>
  input.filter((name) => !name.startsWith('^')).map((name) => name.replace(/:0$/, ''));

const nodeOf = (tensor: string): string => tensor.replace(/:\d+$/, '');

/** The nodes that `outputs` need, each after what it reads. Iterative: graphs are deeper than the stack. */
function reachable(nodes: Nodes, outputs: readonly string[]): Node[] {
  const order = new Set<Node>();
  const open = new Set<Node>();
  const pending = outputs.map(nodeOf).reverse();
  for (let name = pending.at(-1); name !== undefined; name = pending.at(-1)) {
    const node = nodes.get(name);
    const missing = node && !open.has(node) ? node.reads.map(nodeOf) : [];
    if (node) open.add(node);
    if (missing.length > 0) {
      pending.push(...[...missing].reverse());
    } else {
      pending.pop();
      if (node) order.add(node);
    }
  }
  return [...order];
}

function makeStep(model: NodeModel, graph: Graph, node: Node, read: ReadonlySet<string>): Step {
  const {nodes} = graph;
  const operands = node.reads.map((name) => operandOf(graph, name));
  const outputs = [...read].filter((name) => nodeOf(name) === node.name);
  const feeds = feedsOf(nodes, variables(nodes, node));
  const stages = stagesOf(node);
  // The walk must keep alive what is really fed, which differs from the operands where a producer is run again.
  const fed = [...feeds].map((name) => ({is: 'tensor', name}) as const);
  const isRerun = fed.some(({name}) => !node.reads.includes(name));
  const producers = isRerun ? node.reads.map((name) => nodes.get(nodeOf(name))?.op ?? '') : [];
  const isDynamic = [node.op, ...producers].some((op) => DYNAMIC.test(op));
  return {
    name: node.name,
    op: node.op,
    operands: isRerun ? [...fed, ...operands.filter(({is}) => is === 'weight')] : operands,
    outputs,
    ...(stages ? {stages} : {}),
    run: (inputs) => {
      const map = Object.fromEntries([...feeds].map((name) => [name, inputs.get(name) as tf.Tensor]));
      return asArray(isDynamic ? model.executeAsync(map, outputs) : model.execute(map, outputs));
    },
  };
}

function asArray(
  results: tf.Tensor | tf.Tensor[] | Promise<tf.Tensor | tf.Tensor[]>,
): tf.Tensor[] | Promise<tf.Tensor[]> {
  return results instanceof Promise ? results.then((tensors) => [tensors].flat()) : [results].flat();
}

function operandOf({nodes, weightShapes}: Graph, name: string): Operand {
  const constant = constantOf(nodes, name);
  return constant ? {is: 'weight', shape: weightShapes.get(constant.name) ?? []} : {is: 'tensor', name};
}

/** The constant that `name` is, directly or passed on by Identity. */
function constantOf(nodes: Nodes, name: string): Node | null {
  let node = nodes.get(nodeOf(name));
  while (node?.op === 'Identity' && node.reads[0] !== undefined) node = nodes.get(nodeOf(node.reads[0]));
  return node?.op === 'Const' ? node : null;
}

/** Ops whose result is of another dtype than their attribute T, which TF.js checks what it is fed against. */
const OTHER_DTYPE =
  /^(Equal|NotEqual|Less|LessEqual|Greater|GreaterEqual|IsNan|IsInf|IsFinite|Where|NonMaxSuppressionV4)$/;

/**
 * The tensors to feed for one node. Some cannot be fed: TF.js keeps one fed tensor per node, so not two outputs of one
 * producer, and not a dtype that it does not expect. Such a producer is run again inside the step, from its own inputs.
 */
function feedsOf(nodes: Nodes, reads: ReadonlySet<string>): ReadonlySet<string> {
  const feeds = new Set<string>();
  for (const name of reads) {
    const producer = nodes.get(nodeOf(name));
    const siblings = [...reads].filter((other) => nodeOf(other) === nodeOf(name));
    if (!producer || (siblings.length < 2 && !OTHER_DTYPE.test(producer.op))) {
      feeds.add(name);
    } else {
      feedsOf(nodes, variables(nodes, producer)).forEach((read) => feeds.add(read));
    }
  }
  return feeds;
}

/** What a node reads besides constants. */
const variables = (nodes: Nodes, {reads}: Node): ReadonlySet<string> =>
  new Set(reads.filter((name) => !constantOf(nodes, name)));

function stagesOf({attr}: NodeDef): readonly Stage[] | undefined {
  const text = attr?.['stages']?.s;
  return text === undefined ? undefined : decodeStages(atob(text));
}

function wholeProgram(
  model: NodeModel,
  inputs: readonly ProgramInput[],
  outputs: readonly string[],
  because: string,
): Program {
  const step: Step = {
    name: 'whole model',
    op: 'GraphModel',
    operands: inputs.map(({name}) => ({is: 'tensor', name})),
    outputs,
    run: (tensors) => asArray(model.executeAsync(Object.fromEntries(tensors), [...outputs])),
  };
  return {
    inputs,
    outputs,
    steps: [step],
    whole: `The model ${because}, so it runs only as a whole: one row.`,
  };
}
