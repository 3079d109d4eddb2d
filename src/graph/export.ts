/** Writes a Graph back as artifacts that TF.js loads. What the rewrite did not touch is written as it was read. */
import type * as tf from '@tensorflow/tfjs-core';
import {shapeDef} from './attrs.js';
import type {FunctionDef} from './calls.js';
import {type Graph, makeNode, type NodeDef, parseRef, refKey} from './graph.js';
import {graphDefOf, type Signature} from './import.js';
import {withOwnNames} from './names.js';
import {entryOf, type Weight} from './weights.js';

/** What a model was read from, and what of it was set since. */
export interface Origin {
  /** Signature, library, metadata and initializer are carried over. */
  readonly artifacts: tf.io.ModelArtifacts;
  /** All weights as they were read. */
  readonly weights: ReadonlyMap<string, Weight>;
  /** Of inputs that were fixed; the signature says so. */
  readonly inputShapes: InputShapes;
}

/** @param bodies Functions of the library that were rewritten. */
export function exportGraph(
  main: Graph,
  bodies: ReadonlyMap<string, Graph>,
  {artifacts: original, weights: read, inputShapes}: Origin,
): tf.io.ModelArtifacts {
  const {library, versions = {producer: 0}, node: before} = graphDefOf(original);
  const functions = library?.function ?? [];
  const written = withBodies(main, bodies, functions, read);
  const node = [...written.main.nodes.values()].map(({def}) => def);
  const weights = [
    ...written.weights,
    ...(bodies.size > 0 ? unnamed(original, before, functions, read) : []),
  ];
  const carried = {...original};
  delete carried.getWeightStream;
  const metadata = carried.userDefinedMetadata as {signature?: Signature} | undefined;
  const {signature} = carried as {signature?: Signature};
  return {
    ...carried,
    ...(signature ? {signature: withShapes(signature, inputShapes)} : {}),
    ...(metadata?.signature
      ? {userDefinedMetadata: {...metadata, signature: withShapes(metadata.signature, inputShapes)}}
      : {}),
    format: 'graph-model',
    modelTopology: {node, versions, ...(library ? {library: {...library, ...written.library}} : {})},
    weightSpecs: weights.map(([name, weight]) => entryOf(weight, name)),
    weightData: concatenate(weights.map(([, {bytes}]) => bytes)),
  };
}

/** Weights that no node of the graph or the library is named after: those of an initializer. */
function unnamed(
  {weightSpecs = []}: tf.io.ModelArtifacts,
  nodes: readonly NodeDef[],
  library: readonly FunctionDef[],
  read: ReadonlyMap<string, Weight>,
): readonly (readonly [string, Weight])[] {
  const named = new Set([...nodes, ...library.flatMap(({nodeDef = []}) => nodeDef)].map(({name}) => name));
  return weightSpecs.flatMap(({name}) => {
    const weight = named.has(name) ? undefined : read.get(name);
    return weight ? [[name, weight] as const] : [];
  });
}

interface Written {
  readonly main: Graph;
  readonly weights: ReadonlyMap<string, Weight>;
  readonly library: {readonly function?: readonly FunctionDef[]};
}

function withBodies(
  main: Graph,
  bodies: ReadonlyMap<string, Graph>,
  library: readonly FunctionDef[],
  read: ReadonlyMap<string, Weight>,
): Written {
  if (bodies.size === 0) return {main, weights: main.weights, library: {}};
  const nameOf = ({signature}: FunctionDef): string => signature?.name ?? '';
  const others = library.filter((def) => !bodies.has(nameOf(def)));
  const {graphs, weights} = withOwnNames(new Map([['', main], ...bodies]), read, others);
  return {
    main: graphs.get('') ?? main,
    weights,
    library: {
      function: library.map((def) => {
        const body = graphs.get(nameOf(def));
        return body && bodies.has(nameOf(def)) ? withBody(def, body) : def;
      }),
    },
  };
}

/** The nodes of a body without its arguments, and where its values come from if that has another name now. */
function withBody(def: FunctionDef, body: Graph): FunctionDef {
  const {ret = {}, signature = {}} = def;
  const values = (signature.outputArg ?? []).map(({name}, i) => {
    const [before = '', now] = [ret[name], body.outputs[i]];
    return [name, now && parseRef(before).node !== now.node ? refKey(now) : before] as const;
  });
  const nodeDef = [...body.nodes.values()].filter(({name}) => !body.inputs.includes(name));
  return {...def, nodeDef: nodeDef.map((node) => node.def), ret: Object.fromEntries(values)};
}

export type InputShapes = Readonly<Record<string, readonly number[]>>;

function withShapes(signature: Signature, shapes: InputShapes): Signature {
  const {inputs = {}} = signature;
  if (Object.keys(shapes).length === 0) return signature;
  const fixed = Object.entries(inputs).map(([key, entry]) => {
    const shape = shapes[parseRef(entry.name).node];
    return [key, shape ? {...entry, tensorShape: shapeDef(shape).shape} : entry] as const;
  });
  return {...signature, inputs: Object.fromEntries(fixed) as NonNullable<Signature['inputs']>};
}

/** The graph with the shapes of its inputs as they will be fed, so that TF.js refuses any other. */
export function withInputShapes(graph: Graph, shapes: InputShapes): Graph {
  const nodes = [...graph.nodes].map(([name, node]) => {
    const shape = shapes[name];
    return [
      name,
      shape ? makeNode({...node.def, attr: {...node.def.attr, shape: shapeDef(shape)}}) : node,
    ] as const;
  });
  return {...graph, nodes: new Map(nodes)};
}

function concatenate(parts: readonly Uint8Array[]): ArrayBuffer {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole.buffer;
}
