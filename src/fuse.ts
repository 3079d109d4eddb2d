/** The one call most users need. */
import {type GraphModel, loadGraphModel} from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import {type AnyModel, artifactsOf} from './convert/artifacts.js';
import {convert} from './convert/convert.js';
import {FusedModel} from './fused_model.js';
import {BLOCK_KINDS, emptyReport, LayersError} from './graph/index.js';
import {registerBlockKernels} from './register.js';

export interface FuseOptions {
  /** Shapes that will be fed, by input name: what the graph computes from them becomes constant, and they become fixed. */
  readonly inputShapes?: Readonly<Record<string, readonly number[]>>;
  /** Names of nodes whose values `execute` must still be able to fetch; inputs and outputs always can be. */
  readonly keep?: readonly string[];
}

/**
 * Rewrites the residual blocks of a model into one op each. The original stays usable and is not referred to; dispose it if
 * it is not needed. A model in which nothing matches comes back working, with a report that says so.
 * @throws {ModelError} where the model is damaged, or an option names something it does not have.
 */
export async function fuse(model: AnyModel, options: FuseOptions = {}): Promise<FusedModel> {
  registerBlockKernels();
  try {
    const {artifacts, report} = convert(await artifactsOf(model), options);
    const fused = await loadGraphModel(tf.io.fromMemory(artifacts));
    return new FusedModel(fused, report, {blockWeights: blockWeightsOf(fused, artifacts)});
  } catch (error) {
    if (!(error instanceof LayersError)) throw error;
    return new FusedModel(model, emptyReport(`Left as it is: ${error.message}.`), {isBorrowed: true});
  }
}

/** Every input of a block but the first is a weight. */
function blockWeightsOf(model: GraphModel, {modelTopology}: tf.io.ModelArtifacts): readonly tf.Tensor[] {
  const {node} = modelTopology as {node: readonly {op: string; input?: readonly string[]}[]}; // The rewriter wrote it.
  const names = node.filter(({op}) => BLOCK_KINDS.has(op)).flatMap(({input = []}) => input.slice(1));
  return [...new Set(names)].flatMap((name) => model.weights[name] ?? []);
}
