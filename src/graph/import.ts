/** Reads a graph model's artifacts into a Graph, checking everything that could make a later step fail obscurely. */
import * as tf from '@tensorflow/tfjs-core';
import {type FunctionDef, inlineCalls} from './calls.js';
import {bindConstants, readFunctions} from './functions.js';
import {
  type Graph,
  makeNode,
  type Node,
  type NodeDef,
  parseRef,
  type Ref,
  sortNodes,
  sourcesOf,
} from './graph.js';
import {ModelError} from './model_error.js';
import {isNumeric, splitWeights, viewOf, type Weight} from './weights.js';

export interface TensorEntry {
  readonly name: string;
  readonly dtype?: string;
  readonly tensorShape?: {
    readonly dim?: readonly {readonly size?: string | number}[];
    readonly unknownRank?: boolean;
  };
}

export interface Signature {
  readonly inputs?: Readonly<Record<string, TensorEntry>>;
  readonly outputs?: Readonly<Record<string, TensorEntry>>;
}

export interface GraphDef {
  readonly node: readonly NodeDef[];
  readonly library?: {readonly function?: readonly FunctionDef[]};
  readonly versions?: unknown;
}

/** @throws {ModelError} where the artifacts are no graph model, or contradict themselves. */
export function importGraph(artifacts: tf.io.ModelArtifacts): Graph {
  const definition = graphDefOf(artifacts);
  const inlined = inlineCalls(definition.node, definition.library?.function ?? []);
  const nodes = readNodes(inlined.nodes);
  const weights = new Map(readWeights(artifacts));
  for (const [name, from] of inlined.constants) {
    const weight = weights.get(from);
    if (weight) weights.set(name, {...weight, name});
  }
  checkNodes(nodes, weights);
  checkSignature(nodes, signatureOf(artifacts));
  const inputs = [...nodes.values()].filter(({op}) => op.startsWith('Placeholder')).map(({name}) => name);
  const outputs = outputsOf(nodes, signatureOf(artifacts));
  const bodies = readFunctions(nodes, definition.library?.function ?? [], weights);
  const graph: Graph = {nodes: sortNodes(nodes), weights, inputs, outputs};
  if (bodies.size === 0) return graph;
  for (const body of bodies.values()) checkNodes(body.nodes, weights);
  return withFunctions(graph, bindConstants(graph, bodies));
}

/** Each body may run the others. */
function withFunctions(main: Graph, bodies: ReadonlyMap<string, Graph>): Graph {
  const functions = new Map<string, Graph>();
  for (const [name, body] of bodies) functions.set(name, {...body, functions});
  return {...main, functions};
}

export function graphDefOf(artifacts: tf.io.ModelArtifacts): GraphDef {
  const topology: unknown = artifacts.modelTopology;
  const nodes =
    typeof topology === 'object' && topology !== null && 'node' in topology ? topology.node : undefined;
  if (!Array.isArray(nodes)) {
    throw new ModelError(
      'The model has no modelTopology.node list, so it is no graph model; convert it with tensorflowjs_converter.',
    );
  }
  if (nodes.length === 0)
    throw new ModelError('The graph is empty: modelTopology.node has no nodes; convert the model again.');
  return topology as GraphDef; // Each node is checked as it is read.
}

/** As TF.js looks for it: the user's metadata win. */
export function signatureOf(artifacts: tf.io.ModelArtifacts): Signature {
  const metadata = artifacts.userDefinedMetadata as {signature?: Signature} | undefined;
  return metadata?.signature ?? (artifacts.signature as Signature | undefined) ?? {};
}

function readNodes(definitions: readonly NodeDef[]): Map<string, Node> {
  const nodes = new Map<string, Node>();
  for (const [i, def] of definitions.entries()) {
    if (typeof def.name !== 'string' || typeof def.op !== 'string') {
      throw new ModelError(`Node ${i} of the graph has no name or no op; the model file is damaged.`);
    }
    if (nodes.has(def.name))
      throw new ModelError(`Two nodes are named '${def.name}'; the model file is damaged.`);
    nodes.set(def.name, makeNode(def));
  }
  return nodes;
}

function readWeights(artifacts: tf.io.ModelArtifacts): ReadonlyMap<string, Weight> {
  const {weightData, weightSpecs = []} = artifacts;
  if (weightData === undefined && weightSpecs.length > 0) {
    throw new ModelError(
      `The manifest lists ${weightSpecs.length} weights but there are no weight data; load the model without streaming.`,
    );
  }
  const data = weightData === undefined ? new ArrayBuffer(0) : tf.io.CompositeArrayBuffer.join(weightData);
  const weights = splitWeights(weightSpecs, new Uint8Array(data));
  for (const weight of weights.values()) checkFinite(weight);
  return weights;
}

/** A number differs from itself only where it is none; millions of calls of a function would take ten times as long. */
function firstNaN(values: Float32Array | Int32Array): number {
  for (let i = 0; i < values.length; i++) if (values[i] !== values[i]) return i;
  return -1;
}

/** An infinity may be meant (a mask); a NaN poisons every output. */
function checkFinite(weight: Weight): void {
  if (!isNumeric(weight) || weight.dtype !== 'float32') return;
  const at = firstNaN(viewOf(weight));
  if (at >= 0) {
    throw new ModelError(
      `The weight '${weight.name}' [${weight.shape.join(', ')}] has a NaN at element ${at}; train or convert the model again.`,
    );
  }
}

function checkNodes(nodes: ReadonlyMap<string, Node>, weights: ReadonlyMap<string, Weight>): void {
  for (const node of nodes.values()) {
    for (const source of sourcesOf(node)) {
      if (!nodes.has(source))
        throw new ModelError(
          `The node '${node.name}' (${node.op}) reads '${source}', which is not in the graph; the model file is damaged.`,
        );
    }
    if (node.op === 'Const' && !weights.has(node.name)) {
      throw new ModelError(
        `The constant '${node.name}' has no entry in the weights manifest; the manifest is damaged or incomplete.`,
      );
    }
  }
}

function checkSignature(nodes: ReadonlyMap<string, Node>, {inputs = {}, outputs = {}}: Signature): void {
  for (const {name} of [...Object.values(inputs), ...Object.values(outputs)]) {
    if (!nodes.has(parseRef(name).node))
      throw new ModelError(
        `The signature names '${name}', which is not in the graph; the model file is damaged.`,
      );
  }
}

function outputsOf(nodes: ReadonlyMap<string, Node>, {outputs = {}}: Signature): readonly Ref[] {
  const named = Object.values(outputs).map(({name}) => parseRef(name));
  if (named.length > 0) return named;
  const read = new Set([...nodes.values()].flatMap(sourcesOf));
  return [...nodes.keys()].filter((name) => !read.has(name)).map((node) => ({node, index: 0}));
}
