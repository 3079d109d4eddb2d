/** Writes a Graph back as artifacts that TF.js loads. What the rewrite did not touch is written as it was read. */
import type * as tf from '@tensorflow/tfjs-core';
import {shapeDef} from './attrs.js';
import {type Graph, makeNode, parseRef} from './graph.js';
import {graphDefOf, type Signature} from './import.js';
import {entryOf} from './weights.js';

/**
 * @param original The artifacts the graph was read from: signature, library, metadata and initializer are carried over.
 * @param inputShapes Of inputs that were fixed; the signature says so.
 */
export function exportGraph(
  graph: Graph,
  original: tf.io.ModelArtifacts,
  inputShapes: InputShapes,
): tf.io.ModelArtifacts {
  const {library, versions = {producer: 0}} = graphDefOf(original);
  const node = [...graph.nodes.values()].map(({def}) => def);
  const weights = [...graph.weights];
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
    modelTopology: {node, versions, ...(library ? {library} : {})},
    weightSpecs: weights.map(([name, weight]) => entryOf(weight, name)),
    weightData: concatenate(weights.map(([, {bytes}]) => bytes)),
  };
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
