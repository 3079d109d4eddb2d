/** Writes a Graph back as artifacts that TF.js loads. What the rewrite did not touch is written as it was read. */
import type * as tf from '@tensorflow/tfjs-core';
import type {Graph} from './graph.js';
import {graphDefOf} from './import.js';
import {entryOf} from './weights.js';

/**
 * @param original The artifacts the graph was read from: signature, library, metadata and initializer are carried over.
 */
export function exportGraph(graph: Graph, original: tf.io.ModelArtifacts): tf.io.ModelArtifacts {
  const {library, versions = {producer: 0}} = graphDefOf(original);
  const node = [...graph.nodes.values()].map(({def}) => def);
  const weights = [...graph.weights];
  const {
    weightData: _data,
    weightSpecs: _specs,
    modelTopology: _topology,
    getWeightStream: _stream,
    ...carried
  } = original;
  return {
    ...carried,
    format: 'graph-model',
    modelTopology: {node, versions, ...(library ? {library} : {})},
    weightSpecs: weights.map(([name, weight]) => entryOf(weight, name)),
    weightData: concatenate(weights.map(([, {bytes}]) => bytes)),
  };
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
