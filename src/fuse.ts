/** The one call most users need. */
import {loadGraphModel} from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import {type AnyModel, artifactsOf} from './convert/artifacts.js';
import {convert} from './convert/convert.js';
import {FusedModel} from './fused_model.js';
import {emptyReport, LayersError} from './graph/index.js';
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
    return new FusedModel(await loadGraphModel(tf.io.fromMemory(artifacts)), report);
  } catch (error) {
    if (!(error instanceof LayersError)) throw error;
    return new FusedModel(model, emptyReport(error.message), true);
  }
}
