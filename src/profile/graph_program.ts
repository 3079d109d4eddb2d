/** A GraphModel, fused or not, as steps: each node is executed by itself, fed the tensors it reads. */
import type * as tf from '@tensorflow/tfjs-core';
import type {GraphModel} from '@tensorflow/tfjs-converter';
import {decodeStages, type Stage} from '../../ops/index.js';
import type {Operand, Program, ProgramInput, Step} from './program.js';

/** What the profiler asks of a model of nodes; GraphModel and FusedModel both have it. */
export type NodeModel = Pick<GraphModel, 'execute' | 'executeAsync' | 'inputs' | 'outputs' | 'weights' | 'save'>;

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

/** Nodes that cannot run outside of their frame or without the executor's state. */
const CONTROL_FLOW = /^(Switch|Merge|Enter|Exit|NextIteration|LoopCond|(Stateless)?(If|While)|TensorList.*|HashTable.*|LookupTable.*)$/;
/** Nodes whose output size depends on values, so that TF.js runs them by executeAsync alone. */
const DYNAMIC = /^(NonMaxSuppressionV[2-5]|Where)$/;
const NO_STEP = new Set(['Placeholder', 'PlaceholderWithDefault', 'Const', 'NoOp']);

export async function graphProgram(model: NodeModel): Promise<Program> {
  const inputs = model.inputs.map(({name, shape, dtype}) => ({
    name,
    shape: (shape ?? []).map((size) => (size > 0 ? size : null)),
    dtype: dtype as tf.DataType, // TF.js's own TensorInfo spells the same names as a string
  }));
  const outputs = model.outputs.map(({name}) => name);
  const nodes = await readNodes(model);
  const order = reachable(nodes, outputs);
  const control = order.find(({op}) => CONTROL_FLOW.test(op));
  if (control) return wholeProgram(model, inputs, outputs, control);
  const read = new Set([...order.flatMap(({reads}) => reads), ...outputs]);
  const steps = order
    .filter(({op}) => !NO_STEP.has(op))
    .map((node) => makeStep(model, nodes, node, read))
    .filter((step) => step !== null);
  return {inputs, outputs, steps};
}

async function readNodes(model: NodeModel): Promise<Nodes> {
  let topology: unknown;
  const saved = {modelArtifactsInfo: {dateSaved: new Date(), modelTopologyType: 'JSON'}} as const;
  await model.save({
    // eslint-disable-next-line @typescript-eslint/require-await -- TF.js wants a promise; nothing is written.
    save: async (artifacts) => {
      topology = artifacts.modelTopology;
      return saved;
    },
  });
  const {node = []} = topology as {node?: readonly NodeDef[]}; // A loaded GraphModel's topology is a GraphDef.
  return new Map(node.map((def) => [def.name, {...def, reads: readsOf(def)}]));
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

/** `null` for a node that only passes a weight on. */
function makeStep(model: NodeModel, nodes: Nodes, node: Node, read: ReadonlySet<string>): Step | null {
  const operands = node.reads.map((name) => operandOf(model, nodes, name));
  const isConstant = operands.length > 0 && operands.every(({is}) => is === 'weight');
  const outputs = [...read].filter((name) => nodeOf(name) === node.name);
  if (isConstant || outputs.length === 0) return null;
  const feeds = feedsOf(nodes, new Set(operands.flatMap((operand) => (operand.is === 'tensor' ? [operand.name] : []))));
  const stages = stagesOf(node);
  // The walk must keep alive what is really fed, which differs from the operands where a producer is run again.
  const fed = [...feeds].map((name) => ({is: 'tensor', name}) as const);
  const isRerun = fed.some(({name}) => !node.reads.includes(name));
  return {
    name: node.name,
    op: node.op,
    operands: isRerun ? [...fed, ...operands.filter(({is}) => is === 'weight')] : operands,
    outputs,
    ...(stages ? {stages} : {}),
    run: (inputs) => {
      const map = Object.fromEntries([...feeds].map((name) => [name, inputs.get(name) as tf.Tensor]));
      return asArray(DYNAMIC.test(node.op) ? model.executeAsync(map, outputs) : model.execute(map, outputs));
    },
  };
}

function asArray(results: tf.Tensor | tf.Tensor[] | Promise<tf.Tensor | tf.Tensor[]>): tf.Tensor[] | Promise<tf.Tensor[]> {
  return results instanceof Promise ? results.then((tensors) => [tensors].flat()) : [results].flat();
}

/** A weight is a constant, or what a chain of constants gives. */
function operandOf(model: NodeModel, nodes: Nodes, name: string): Operand {
  let node = nodes.get(nodeOf(name));
  while (node?.op === 'Identity' && node.reads[0] !== undefined) node = nodes.get(nodeOf(node.reads[0]));
  if (node?.op !== 'Const') return {is: 'tensor', name};
  return {is: 'weight', shape: model.weights[node.name]?.[0]?.shape ?? []};
}

/**
 * The tensors to feed for one node. TF.js keeps one fed tensor per node, so where a step reads two outputs of one producer, that
 * producer is run again inside the step, from its own inputs.
 */
function feedsOf(nodes: Nodes, reads: ReadonlySet<string>): ReadonlySet<string> {
  const feeds = new Set<string>();
  for (const name of reads) {
    const producer = nodes.get(nodeOf(name));
    const siblings = [...reads].filter((other) => nodeOf(other) === nodeOf(name));
    if (siblings.length < 2 || !producer) {
      feeds.add(name);
    } else {
      const dynamic = producer.reads.filter((read) => nodes.get(nodeOf(read))?.op !== 'Const');
      feedsOf(nodes, new Set(dynamic)).forEach((read) => feeds.add(read));
    }
  }
  return feeds;
}

function stagesOf({attr}: NodeDef): readonly Stage[] | undefined {
  const text = attr?.['stages']?.s;
  return text === undefined ? undefined : decodeStages(atob(text));
}

function wholeProgram(model: NodeModel, inputs: readonly ProgramInput[], outputs: readonly string[], control: Node): Program {
  const step: Step = {
    name: 'whole model',
    op: 'GraphModel',
    operands: inputs.map(({name}) => ({is: 'tensor', name})),
    outputs,
    run: (tensors) => asArray(model.executeAsync(Object.fromEntries(tensors), [...outputs])),
  };
  const whole = `The graph has control flow (${control.op} '${control.name}'), which runs only as a whole: there is one row for the model.`;
  return {inputs, outputs, steps: [step], whole};
}
