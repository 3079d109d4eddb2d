/** What can be captured: a GraphModel, a LayersModel, or a function of tensors; each as one way to run on a list of inputs. */
import * as tf from '@tensorflow/tfjs-core';
import type {GraphModel} from '@tensorflow/tfjs-converter';
import type {LayersModel} from '@tensorflow/tfjs-layers';
import {latestTensorId} from '../own_tensors.js';
import {graphOf, type ModelGraph} from './graph_access.js';
import {cutNodes, type CutRequest} from './graph_cut.js';
import type {NamedResult} from './record.js';
import type {InputDType} from './values.js';

export type TensorResult = tf.Tensor | tf.Tensor[] | tf.NamedTensorMap;

/** May return a promise. Must compute its results from its arguments and from tensors that stay the same. */
export type TensorFunction = (...inputs: tf.Tensor[]) => TensorResult | Promise<TensorResult>;

export type CaptureSource = GraphModel | LayersModel | TensorFunction;

export interface DeclaredInput {
  readonly name: string;
  /** Negative or null where the model leaves it open. */
  readonly shape: readonly (number | null)[] | undefined;
  readonly dtype: InputDType;
}

export type Run = (inputs: readonly tf.Tensor[]) => NamedResult[] | Promise<NamedResult[]>;

export interface OpenSource {
  /** Undefined for a function, which does not tell. */
  readonly declared: readonly DeclaredInput[] | undefined;
  readonly run: Run;
  /** Runs as much as runs synchronously. Undefined for a function, which does not tell whether it does. */
  readonly sketch: ((inputs: readonly tf.Tensor[]) => void) | undefined;
  /** All tensors the model owns; of a function they are found by recording it. */
  readonly weights: readonly tf.Tensor[];
  /** For a GraphModel: what it takes to run parts of it. */
  readonly graph: GraphParts | undefined;
}

export interface GraphParts {
  readonly graph: ModelGraph;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Runs the part of the graph between `feeds` and `fetches`. */
  runPart(feeds: readonly string[], fetches: readonly string[]): Run;
}

const DTYPES: readonly string[] = ['float32', 'int32', 'bool'];

/**
 * Whatever a run of the source returns is the caller's to dispose.
 * @throws where `source` is none of the three.
 */
export function openSource(source: CaptureSource): OpenSource {
  if (typeof source === 'function') return openFunction(source);
  if ('executeAsync' in source && 'inputNodes' in source) return openGraphModel(source);
  if ('apply' in source && 'inputNames' in source) return openLayersModel(source);
  throw new Error('capture() takes a GraphModel, a LayersModel, or a function of tensors.');
}

function openFunction(run: TensorFunction): OpenSource {
  return {
    declared: undefined,
    weights: [],
    graph: undefined,
    sketch: undefined,
    run: withOwnResults((inputs) => {
      const result = run(...inputs);
      return result instanceof Promise ? result.then(namedResults) : namedResults(result);
    }),
  };
}

/**
 * A graph may return its weights and inputs (Shape folded to a constant, a Placeholder among the outputs), and so may a function.
 * Those stay their owner's: the caller gets a reference of its own, and one for each time a tensor is returned.
 */
function withOwnResults(run: Run): Run {
  return (inputs) => {
    const last = latestTensorId();
    const own = (results: NamedResult[]): NamedResult[] => {
      const seen = new Set<tf.Tensor>();
      return results.map(({name, tensor}) => {
        const isFresh = tensor.id > last && !tensor.kept && !seen.has(tensor);
        seen.add(tensor);
        return {name, tensor: isFresh ? tensor : tensor.clone()};
      });
    };
    const results = run(inputs);
    return results instanceof Promise ? results.then(own) : own(results);
  };
}

function namedResults(result: TensorResult): NamedResult[] {
  if (result instanceof tf.Tensor) return [{name: 'output', tensor: result}];
  if (Array.isArray(result)) return result.map((tensor, i) => ({name: `output${i}`, tensor}));
  return Object.entries(result).map(([name, tensor]) => ({name, tensor}));
}

function openGraphModel(model: GraphModel): OpenSource {
  const names = model.inputNodes;
  const outputs = model.outputNodes;
  const graph = graphOf(model);
  const runPart = (feeds: readonly string[], fetches: readonly string[]): Run =>
    withOwnResults(runnerOf(model, feeds, fetches));
  const declared = names.map((name, i): DeclaredInput => {
    const info = model.inputs.find((input) => input.name === name) ?? model.inputs[i];
    return {name, shape: info?.shape, dtype: inputDType(info?.dtype)};
  });
  return {
    declared,
    run: runPart(names, outputs),
    sketch: (inputs) => {
      const fetches = graph ? synchronousPart({graph, inputs: names, outputs}) : outputs;
      if (fetches.length > 0) model.execute(mapOf(names, inputs), [...fetches]);
    },
    weights: Object.values(model.weights as Record<string, tf.Tensor[]>).flat(),
    graph: graph && {graph, inputs: names, outputs, runPart},
  };
}

/** Categories of ops that TF.js runs asynchronously. */
const ASYNCHRONOUS: readonly string[] = ['control', 'dynamic'];

/** The graph's outputs; or, where it has asynchronous ops, the nodes that stand before them. */
function synchronousPart(part: Omit<CutRequest, 'host'>): readonly string[] {
  const asynchronous = Object.values(part.graph.nodes).filter(({category}) =>
    ASYNCHRONOUS.includes(category),
  );
  if (asynchronous.length === 0) return part.outputs;
  return cutNodes({...part, host: new Set(asynchronous.map(({name}) => name))});
}

const mapOf = (names: readonly string[], inputs: readonly tf.Tensor[]): tf.NamedTensorMap =>
  Object.fromEntries(names.map((name, i) => [name, inputs[i] as tf.Tensor]));

/** Synchronous where the part allows it; TF.js says so only by refusing. */
function runnerOf(model: GraphModel, feeds: readonly string[], fetches: readonly string[]): Run {
  const named = (results: tf.Tensor | tf.Tensor[]): NamedResult[] =>
    [results].flat().map((tensor, i) => ({name: fetches[i] ?? '', tensor}));
  let isAsync = false;
  return (inputs) => {
    const map = mapOf(feeds, inputs);
    if (!isAsync) {
      try {
        return named(model.execute(map, [...fetches]));
      } catch (error) {
        if (!(error instanceof Error && error.message.includes('executeAsync'))) throw error;
        isAsync = true;
      }
    }
    return model.executeAsync(map, [...fetches]).then(named);
  };
}

function openLayersModel(model: LayersModel): OpenSource {
  const apply = (inputs: readonly tf.Tensor[]): tf.Tensor | tf.Tensor[] => {
    // Not predict(): that slices the batch first, and concatenates what it has sliced.
    const one = inputs.length === 1 ? inputs[0] : undefined;
    return model.apply(one ?? [...inputs], {training: false}) as tf.Tensor | tf.Tensor[];
  };
  const declared = model.inputs.map(({shape, dtype}, i): DeclaredInput => ({
    name: model.inputNames[i] ?? `input${i}`,
    shape,
    dtype: inputDType(dtype),
  }));
  return {
    declared,
    weights: model.weights.map((weight) => weight.read()),
    graph: undefined,
    sketch: apply,
    run: withOwnResults((inputs) =>
      [apply(inputs)].flat().map((tensor, i) => ({name: model.outputNames[i] ?? `output${i}`, tensor})),
    ),
  };
}

const inputDType = (dtype: string | undefined): InputDType =>
  DTYPES.includes(dtype ?? '') ? (dtype as InputDType) : 'float32';
