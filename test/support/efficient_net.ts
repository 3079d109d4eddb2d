/** EfficientNet-B0's published graph, with random weights whose activations neither vanish nor explode. */
import type * as tf from '@tensorflow/tfjs-core';
import {sizeOf, type WeightEntry} from '../../src/graph/weights.js';
import {seededRandom} from './random.js';

export function efficientNetArtifacts({weightsManifest, ...json}: tf.io.ModelJSON): tf.io.ModelArtifacts {
  const specs = weightsManifest.flatMap(({weights}) => weights);
  const next = seededRandom(5);
  const squeezed = squeezedChannels(json.modelTopology as Topology, specs);
  const parts = specs.map((spec) => fill(spec, next, squeezed));
  const data = new Uint8Array(parts.reduce((total, {byteLength}) => total + byteLength, 0));
  let at = 0;
  for (const {buffer, byteLength} of parts) {
    data.set(new Uint8Array(buffer), at);
    at += byteLength;
  }
  return {...json, weightSpecs: specs, weightData: data.buffer};
}

interface Topology {
  readonly node: readonly {readonly name: string; readonly op: string; readonly input?: readonly string[]}[];
}

/** The last size of each gate's reshape: the channels of the filter that reads it. */
function squeezedChannels({node}: Topology, specs: readonly WeightEntry[]): ReadonlyMap<string, number> {
  const shapes = new Map(specs.map(({name, shape}) => [name, shape]));
  const found = new Map<string, number>();
  for (const {name, input = []} of node.filter(({op}) => op === 'Pack')) {
    const reshape = node.find(({op, input: from}) => op === 'Reshape' && from?.[1] === name);
    const reader = node.find(({op, input: from}) => op === '_FusedConv2D' && from?.[0] === reshape?.name);
    found.set(input[3] ?? '', shapes.get(reader?.input?.[1] ?? '')?.[2] ?? 0);
  }
  return found;
}

function fill(
  {name, shape, dtype}: WeightEntry,
  next: () => number,
  squeezed: ReadonlyMap<string, number>,
): Float32Array | Int32Array {
  const size = sizeOf(shape);
  if (dtype === 'int32') {
    const channels = squeezed.get(name);
    if (channels !== undefined) return Int32Array.of(channels);
    if (name.endsWith('reduction_indices')) return Int32Array.of(1, 2);
    return Int32Array.of(name.endsWith('/stack') ? 0 : 1);
  }
  // The preprocessing's scale, mean and deviation are positive.
  if (shape.length < 1 || shape.join() === '1,1,3')
    return Float32Array.from({length: size}, () => 0.2 + 0.2 * next());
  const inputs =
    shape.length === 4 && shape[3] === 1 ? sizeOf(shape.slice(0, 2)) : sizeOf(shape.slice(0, -1));
  const bound = shape.length === 1 ? 0.2 : 2 * Math.sqrt(3 / inputs);
  return Float32Array.from({length: size}, () => bound * (2 * next() - 1));
}
