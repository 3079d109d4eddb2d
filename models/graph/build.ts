/** A network as a standard TF.js graph model: what its converter would have made, so that anybody can run it. */
import type * as tf from '@tensorflow/tfjs-core';
import type {Shape4D} from '../../ops/index.js';
import type {Network} from '../network.js';
import {graphWeights, type TensorSource} from '../tensors.js';
import {type TracedLayer, type TracedUnit, traceNetwork} from '../trace.js';
import {emitActivation} from './emit_activation.js';
import {
  emitBlurPool,
  emitGate,
  emitGrn,
  emitLayerNorm,
  emitMean,
  emitPointwise,
  emitPool,
  emitSpatial,
  emitZeros,
  type Place,
} from './emit_stage.js';
import {GraphWriter, type GraphWeightData, shapeAttr} from './writer.js';

export const INPUT_NAME = 'image';
/** The last node: logits `[N, classes]`, or features `[N, C]` where there are no classes. */
export const OUTPUT_NAME = 'head';

export interface BuildOptions {
  /** Height and width of the input; the network's own unless given. */
  readonly size?: number | readonly [number, number];
  /** Called before each unit is written. */
  readonly onUnit?: (done: number, total: number, name: string) => void;
  /**
   * Takes the weights of each unit as they are made, in the order of the manifest; the artifacts then carry none. Without it they
   * are all held in memory.
   */
  readonly onWeights?: (weights: readonly GraphWeightData[]) => Promise<void>;
}

/**
 * Nodes are named after units, so that `execute(x, 'stages.1.0')` gives a block's output. The input is `[N, H, W, 3]`.
 * @param source Gives the tensors of a checkpoint; batch norm is folded here.
 * @throws {BlockError} where the input is too small for the network, and whatever `source` throws.
 */
export async function buildGraphModel(
  network: Network,
  source: TensorSource,
  {size = network.size, onUnit, onWeights}: BuildOptions = {},
): Promise<tf.io.ModelArtifacts> {
  const [height, width] = typeof size === 'number' ? [size, size] : size;
  const input: Shape4D = [1, height, width, 3];
  const units = traceNetwork(network, input);
  const graph = new GraphWriter();
  const shape = [-1, height, width, 3];
  let x = graph.placeholder(INPUT_NAME, shape);
  let isVector = false;
  const all: GraphWeightData[] = [];
  for (const [i, unit] of units.entries()) {
    onUnit?.(i, units.length, unit.unit.name);
    const end = await emitUnit(graph, unit, x, isVector, source);
    x = graph.renameLast(end, unit.unit.name);
    isVector ||= unit.unit.layers.some(({stage}) => stage.op === 'mean');
    const weights = graph.takeWeights();
    if (onWeights) await onWeights(weights);
    else all.push(...weights);
  }
  const artifacts = artifactsOf(graph, shape, units.at(-1)?.output[3] ?? 0);
  return onWeights
    ? artifacts
    : {
        ...artifacts,
        weightSpecs: all.map(({spec}) => spec),
        // One buffer a weight: together they may exceed what one buffer can hold.
        weightData: all.map(({data}) => bytesOf(data)),
      };
}

async function emitUnit(
  graph: GraphWriter,
  {unit, layers}: TracedUnit,
  input: string,
  isVectorAtStart: boolean,
  source: TensorSource,
): Promise<string> {
  let [main, shortcut, isVector] = [input, input, isVectorAtStart];
  for (const traced of layers) {
    const values = await graphWeights(traced, source);
    const {stage} = traced.layer;
    const at = `${unit.name}/${stage.name}`;
    const x = traced.inShortcut ? shortcut : main;
    const place = placeOf(graph, traced, {at, x, isVector, values});
    if (stage.op === 'residual') {
      main = emitActivation(graph, at, graph.op(at, 'AddV2', [main, shortcut]), stage.activation);
    } else if (stage.op === 'concat') {
      main = graph.op(at, 'ConcatV2', [main, input, graph.integers([3], [])], {N: {i: '2'}});
    } else if (traced.inShortcut) {
      shortcut = emitLayer(place, traced);
    } else {
      main = emitLayer(place, traced);
      isVector ||= stage.op === 'mean';
    }
  }
  return main;
}

interface Standing {
  readonly at: string;
  readonly x: string;
  readonly isVector: boolean;
  readonly values: ReadonlyMap<string, Float32Array>;
}

function placeOf(graph: GraphWriter, traced: TracedLayer, {values, ...standing}: Standing): Place {
  const shapes = new Map(traced.weights.map(({suffix, shape}) => [suffix, shape]));
  return {
    graph,
    ...standing,
    channels: traced.input[3],
    values: (suffix) => values.get(suffix) ?? new Float32Array(0),
    weight(suffix, shape = shapes.get(suffix)) {
      const data = values.get(suffix);
      return data && shape ? graph.weight(`${standing.at}/${suffix}`, shape, data) : undefined;
    },
  };
}

function emitLayer(place: Place, {layer: {stage}}: TracedLayer): string {
  switch (stage.op) {
    case 'pointwise':
      return emitPointwise(place, stage);
    case 'spatial':
      return emitSpatial(place, stage);
    case 'layernorm':
      return emitLayerNorm(place, stage);
    case 'grn':
      return emitGrn(place, stage);
    case 'gate':
      return emitGate(place, stage);
    case 'scale':
      return place.graph.op(place.at, 'Mul', [place.x, place.weight('Gain') ?? '']);
    case 'blurpool':
      return emitBlurPool(place, stage);
    case 'pool':
      return emitPool(place, stage);
    case 'zeropad':
      return emitZeros(place, place.at, stage.pad);
    case 'mean':
      return emitMean(place);
    default:
      throw new Error(`No network of this package has a stage '${stage.op}' here.`);
  }
}

function artifactsOf(graph: GraphWriter, shape: readonly number[], outputs: number): tf.io.ModelArtifacts {
  const tensor = (name: string, sizes: readonly number[]): object => ({
    name: `${name}:0`,
    dtype: 'DT_FLOAT',
    tensorShape: (shapeAttr(sizes) as {readonly shape: object}).shape,
  });
  return {
    format: 'graph-model',
    generatedBy: 'tfjs-block-fusion',
    modelTopology: {node: graph.nodes, library: {}, versions: {producer: 1395}},
    signature: {
      inputs: {[INPUT_NAME]: tensor(INPUT_NAME, shape)},
      outputs: {[OUTPUT_NAME]: tensor(OUTPUT_NAME, [-1, outputs])},
    },
  };
}

export const bytesOf = (data: Float32Array | Int32Array): ArrayBuffer =>
  data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength) as ArrayBuffer;
