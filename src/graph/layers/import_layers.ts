/** Turns the artifacts of a layers model into those of a graph model. Each layer's output keeps the layer's name. */
import type * as tf from '@tensorflow/tfjs-core';
import {shapeDef} from '../attrs.js';
import {ModelError} from '../model_error.js';
import {entryOf, splitWeights, type Weight} from '../weights.js';
import {GraphBuilder} from './builder.js';
import {type Config, type LayerConfig, sizesOf, textOf} from './config.js';
import {LAYER_RULES} from './layer_rules.js';
import {LayersError} from './layers_error.js';

const MODELS: ReadonlySet<string> = new Set(['Model', 'Functional', 'Sequential']);

/** @throws {LayersError} for a layer that is not in the table, {ModelError} for damaged artifacts. */
export function importLayers(artifacts: tf.io.ModelArtifacts): tf.io.ModelArtifacts {
  const topology = artifacts.modelTopology as {model_config?: LayerConfig} & LayerConfig;
  const model = topology.model_config ?? topology;
  const data = artifacts.weightData;
  const buffer = data === undefined ? new ArrayBuffer(0) : Array.isArray(data) ? joined(data) : data;
  const weights = splitWeights(artifacts.weightSpecs ?? [], new Uint8Array(buffer));
  const graph = new GraphBuilder();
  const reader = new LayersReader(graph, weights);
  const {inputs, outputs} = reader.read(model, '', undefined);
  const data2 = [...graph.weights.values()].map(({bytes}) => bytes);
  return {
    format: 'graph-model',
    ...(artifacts.generatedBy === undefined ? {} : {generatedBy: artifacts.generatedBy}),
    ...(artifacts.convertedBy === undefined ? {} : {convertedBy: artifacts.convertedBy}),
    ...(artifacts.userDefinedMetadata ? {userDefinedMetadata: artifacts.userDefinedMetadata} : {}),
    modelTopology: {node: graph.defs, versions: {producer: 0}},
    signature: {inputs: signatureOf(graph, inputs), outputs: signatureOf(graph, outputs)},
    weightSpecs: [...graph.weights].map(([name, weight]) => entryOf(weight, name)),
    weightData: joined(data2),
  };
}

function joined(parts: readonly (ArrayBuffer | Uint8Array)[]): ArrayBuffer {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part instanceof Uint8Array ? part : new Uint8Array(part), at);
    at += part.byteLength;
  }
  return whole.buffer;
}

/** Keyed by node, in order: TF.js feeds an array of tensors in this order. */
function signatureOf(graph: GraphBuilder, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    names.map((name) => [name, {name: `${name}:0`, dtype: 'DT_FLOAT', ...tensorShape(graph.shape(name))}]),
  );
}

const tensorShape = (shape: readonly number[] | undefined): Record<string, unknown> =>
  shape ? {tensorShape: shapeDef(shape).shape} : {};

interface Ports {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/** A value in a functional model's configuration: `[layer, call, output, keywords]`. */
type Port = readonly [string, number, number, ...unknown[]];

class LayersReader {
  readonly #graph: GraphBuilder;
  readonly #weights: ReadonlyMap<string, Weight>;

  constructor(graph: GraphBuilder, weights: ReadonlyMap<string, Weight>) {
    this.#graph = graph;
    this.#weights = weights;
  }

  /** @param fed Values for the model's inputs where it is a layer of another; it makes placeholders otherwise. */
  read(model: LayerConfig, prefix: string, fed: readonly string[] | undefined): Ports {
    if (!MODELS.has(model.class_name))
      throw new ModelError(
        `The model is of the class '${model.class_name}'; it must be one of ${[...MODELS].join(', ')}.`,
      );
    return model.class_name === 'Sequential'
      ? this.#readSequential(model.config, prefix, fed)
      : this.#readFunctional(model.config, prefix, fed);
  }

  #readSequential(config: Config, prefix: string, fed: readonly string[] | undefined): Ports {
    const layers = (Array.isArray(config) ? config : config['layers']) as readonly LayerConfig[];
    const [first] = layers;
    if (!first) throw new ModelError('The sequential model has no layers; the model file is damaged.');
    const inputs = fed ?? [
      this.#placeholder(
        first.class_name === 'InputLayer' ? nameOf(first) : `${nameOf(first)}_input`,
        first.config,
      ),
    ];
    let value = inputs;
    for (const layer of layers)
      if (layer.class_name !== 'InputLayer') value = this.#call(layer, prefix, value);
    return {inputs, outputs: value};
  }

  #readFunctional(config: Config, prefix: string, fed: readonly string[] | undefined): Ports {
    const values = new Map<string, readonly string[]>();
    const at = ([layer, call, output]: Port): string | undefined => values.get(`${layer}:${call}`)?.[output];
    const inputPorts = portsOf(config['input_layers']);
    const layers = config['layers'] as readonly LayerConfig[];
    inputPorts.forEach(([name], i) => {
      const layer = layers.find((candidate) => nameOf(candidate) === name);
      values.set(`${name}:0`, [fed?.[i] ?? this.#placeholder(name, layer?.config ?? {})]);
    });
    const calls = layers.flatMap((layer) => (layer.class_name === 'InputLayer' ? [] : callsOf(layer)));
    const ports = [...calls.flatMap(({inputs}) => inputs), ...portsOf(config['output_layers'])];
    let waiting = calls.map((call) => ({...call, index: call.index + firstCall(call.layer, ports)}));
    while (waiting.length > 0) {
      const later = waiting.filter((call) => {
        const inputs = call.inputs.map(at);
        if (!inputs.every((input): input is string => input !== undefined)) return true;
        values.set(`${nameOf(call.layer)}:${call.index}`, this.#call(call.layer, prefix, inputs));
        return false;
      });
      if (later.length === waiting.length)
        throw new ModelError(
          `The layer '${nameOf((later[0] as Call).layer)}' reads a value that no layer gives; the model file is damaged.`,
        );
      waiting = later;
    }
    const outputs = portsOf(config['output_layers']).map((port) => {
      const value = at(port);
      if (value === undefined)
        throw new ModelError(`The output '${port[0]}' is given by no layer; the model file is damaged.`);
      return value;
    });
    return {inputs: inputPorts.map(([name]) => at([name, 0, 0]) ?? name), outputs};
  }

  #placeholder(name: string, config: Config): string {
    const shape = (sizesOf(config, 'batch_input_shape') ?? sizesOf(config, 'batch_shape'))?.map(
      (size) => size ?? -1,
    );
    if (!shape) throw new LayersError(`the input '${name}' has no batch_input_shape`);
    const type = textOf(config, 'dtype', 'float32') === 'int32' ? 'DT_INT32' : 'DT_FLOAT';
    return this.#graph.add(name, 'Placeholder', [], {shape: shapeDef(shape), dtype: {type}});
  }

  #call(layer: LayerConfig, prefix: string, inputs: readonly string[]): readonly string[] {
    const name = nameOf(layer);
    if (MODELS.has(layer.class_name)) return this.read(layer, `${prefix}${name}/`, inputs).outputs;
    const rule = LAYER_RULES[layer.class_name];
    if (!rule)
      throw new LayersError(
        `the layer '${name}' is of the class '${layer.class_name}', which is not read as a graph`,
      );
    const own = `${prefix}${name}`;
    const value = rule({
      name: own,
      config: layer.config,
      inputs,
      graph: this.#graph,
      weight: (suffix) => this.#weight(name, suffix),
    });
    const isOwn = this.#graph.defs.at(-1)?.name === value && !inputs.includes(value);
    if (isOwn) return [this.#graph.renameLast(own)];
    return [this.#graph.add(own, 'Identity', [value])];
  }

  /** By name; Keras sometimes puts the model's or a cell's name in between. */
  #weight(layer: string, suffix: string): Weight {
    const exact = this.#weights.get(`${layer}/${suffix}`);
    if (exact) return exact;
    const close = [...this.#weights.values()].filter(({name}) => {
      const parts = name.replace(/:0$/, '').split('/');
      return parts.at(-1) === suffix && parts.includes(layer);
    });
    if (close.length !== 1)
      throw new ModelError(
        `The weight '${layer}/${suffix}' is not in the manifest; the manifest is damaged or belongs to another model.`,
      );
    return close[0] as Weight;
  }
}

interface Call {
  readonly layer: LayerConfig;
  readonly index: number;
  readonly inputs: readonly Port[];
}

/**
 * The index of a layer's first call. A model inside a model counts its own making as call 0, unless the version that wrote the
 * file left it out: then no port names a call beyond the last.
 */
function firstCall(layer: LayerConfig, ports: readonly Port[]): number {
  const named = ports.filter(([name]) => name === nameOf(layer)).map(([, call]) => call);
  return MODELS.has(layer.class_name) && Math.max(0, ...named) >= (layer.inbound_nodes?.length ?? 0) ? 1 : 0;
}

const nameOf = ({name, config}: LayerConfig): string => name ?? textOf(config, 'name', 'layer');

function callsOf(layer: LayerConfig): readonly Call[] {
  return (layer.inbound_nodes ?? []).map((inbound, index) => {
    if (!Array.isArray(inbound))
      throw new LayersError(
        `the layer '${nameOf(layer)}' is written in Keras 3's format; save the model with tf_keras`,
      );
    return {layer, index, inputs: inbound as readonly Port[]};
  });
}

/** One port may stand alone, without the list around it. */
function portsOf(ports: unknown): readonly Port[] {
  const list = ports as readonly Port[] | Port;
  return typeof list[0] === 'string' ? [list as Port] : (list as readonly Port[]);
}
