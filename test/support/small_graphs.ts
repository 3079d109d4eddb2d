/** Graph models of a few nodes, written out, for tests. */
import * as tf from '@tensorflow/tfjs-core';
import {type GraphModel, loadGraphModel} from '@tensorflow/tfjs-converter';

export interface SmallNode {
  readonly name: string;
  readonly op: string;
  readonly input?: readonly string[];
  readonly attr?: Readonly<Record<string, unknown>>;
}

const FLOAT = {type: 'DT_FLOAT'};

export const shapeAttr = (shape: readonly number[]): unknown => ({
  shape: {dim: shape.map((size) => ({size: String(size)}))},
});

export const placeholder = (name: string, shape: readonly number[]): SmallNode => ({
  ...{name, op: 'Placeholder'},
  attr: {dtype: FLOAT, shape: shapeAttr(shape)},
});

export interface SmallGraph {
  readonly nodes: readonly SmallNode[];
  readonly weights: tf.NamedTensorMap;
  readonly outputs: readonly string[];
}

/** Disposes the weights: the model has its own. */
export async function loadSmallGraph({nodes, weights, outputs}: SmallGraph): Promise<GraphModel> {
  const {data, specs} = await tf.io.encodeWeights(weights);
  const constants = Object.entries(weights).map(([name, {dtype, shape}]) => ({
    ...{name, op: 'Const'},
    attr: {dtype: {type: dtype === 'int32' ? 'DT_INT32' : 'DT_FLOAT'}, value: {tensor: shapeAttr(shape)}},
  }));
  tf.dispose(weights);
  const node = [...nodes, ...constants].map(({attr = {}, input = [], ...rest}: SmallNode) => ({
    ...rest,
    ...{input, attr},
  }));
  const inputs = nodes.filter(({op}) => op === 'Placeholder').map(({name}) => name);
  const named = (names: readonly string[]): object => Object.fromEntries(names.map((name) => [name, {name}]));
  const artifacts = {
    modelTopology: {node, library: {}, versions: {producer: 1}},
    ...{format: 'graph-model', weightSpecs: specs, weightData: data},
    signature: {inputs: named(inputs), outputs: named(outputs)},
  };
  return loadGraphModel({load: () => Promise.resolve(artifacts as unknown as tf.io.ModelArtifacts)});
}
