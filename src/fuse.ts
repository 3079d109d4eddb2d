/** The one call most users need. */
import {type GraphModel, loadGraphModel} from '@tensorflow/tfjs-converter';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import * as tf from '@tensorflow/tfjs-core';
import {missingFields, planFor} from '../kernels/webgpu/index.js';
import {type AnyModel, artifactsOf} from './convert/artifacts.js';
import {convert, type ConvertOptions} from './convert/convert.js';
import {FusedModel} from './fused_model.js';
import type {Precision} from '../ops/index.js';
import {textDef} from './graph/attrs.js';
import {BLOCK_KINDS, emptyReport, LayersError} from './graph/index.js';
import {registerBlockKernels} from './register.js';

export interface FuseOptions {
  /** Shapes that will be fed, by input name: what the graph computes from them becomes constant, and they become fixed. */
  readonly inputShapes?: Readonly<Record<string, readonly number[]>>;
  /** Names of nodes whose values `execute` must still be able to fetch; inputs and outputs always can be. */
  readonly keep?: readonly string[];
  /**
   * 'f32' unless given. With 'f16' the blocks' filters and the maps within them are binary16 on WebGPU, sums, biases and
   * statistics stay binary32, and so do the model's tensors; matrix products run on subgroup matrices where the device has
   * them. Where it has no f16 at all (a device of `setupWebGPU()` has it if the adapter does), and on other backends, blocks
   * run in f32; on WebGPU a warning says so once.
   */
  readonly precision?: Precision;
}

/**
 * Rewrites the residual blocks of a model into one op each. The original stays usable and is not referred to; dispose it if
 * it is not needed. A model in which nothing matches comes back working, with a report that says so.
 * @throws {ModelError} where the model is damaged, or an option names something it does not have.
 */
export async function fuse(model: AnyModel, options: FuseOptions = {}): Promise<FusedModel> {
  registerBlockKernels();
  try {
    const {precision = 'f32'} = options;
    const {artifacts, report} = convert(await artifactsOf(model), {...options, ...countingBy(precision)});
    const precise = withPrecision(artifacts, precision);
    const fused = await loadGraphModel(tf.io.fromMemory(precise));
    return new FusedModel(fused, report, {blockWeights: blockWeightsOf(fused, precise)});
  } catch (error) {
    if (!(error instanceof LayersError)) throw error;
    return new FusedModel(model, emptyReport(`Left as it is: ${error.message}.`), {isBorrowed: true});
  }
}

/** Dispatches of this device's plans for the report; convert counts those of a stock device. */
function countingBy(precision: Precision): Pick<ConvertOptions, 'dispatches'> {
  const backend = tf.getBackend() === 'webgpu' ? tf.findBackend('webgpu') : null;
  if (!backend || missingFields(backend).length > 0) return {};
  const webgpu = backend as WebGPUBackend;
  return {dispatches: (block, input) => planFor(webgpu, block, input, precision).dispatches.length};
}

interface NodeDef {
  readonly op: string;
  readonly input?: readonly string[];
  readonly attr?: object;
}

interface Topology {
  readonly node: readonly NodeDef[];
  readonly library?: {readonly function?: readonly {readonly nodeDef?: readonly NodeDef[]}[]};
}

/** Precision is no property of a block but of how it is run; its node carries it to the kernel. */
function withPrecision(artifacts: tf.io.ModelArtifacts, precision: Precision): tf.io.ModelArtifacts {
  const topology = artifacts.modelTopology as Topology; // The rewriter wrote it.
  const precise = (nodes: readonly NodeDef[]): readonly NodeDef[] =>
    nodes.map((def) =>
      BLOCK_KINDS.has(def.op) ? {...def, attr: {...def.attr, precision: textDef(precision)}} : def,
    );
  const bodies = topology.library?.function?.map((def) => ({...def, nodeDef: precise(def.nodeDef ?? [])}));
  const library = {...topology.library, ...(bodies ? {function: bodies} : {})};
  const written = {...topology, node: precise(topology.node), ...(topology.library ? {library} : {})};
  return {...artifacts, modelTopology: written};
}

/** Every input of a block but the first is a weight. */
function blockWeightsOf(model: GraphModel, {modelTopology}: tf.io.ModelArtifacts): readonly tf.Tensor[] {
  const {node, library} = modelTopology as Topology;
  const nodes = [...node, ...(library?.function ?? []).flatMap(({nodeDef = []}) => nodeDef)];
  const names = nodes.filter(({op}) => BLOCK_KINDS.has(op)).flatMap(({input = []}) => input.slice(1));
  return [...new Set(names)].flatMap((name) => model.weights[name] ?? []);
}
