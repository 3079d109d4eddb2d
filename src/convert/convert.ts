/** Artifacts of either format in, artifacts of a graph model with blocks out: what `fuse` and the command line share. */
import type * as tf from '@tensorflow/tfjs-core';
import {lowerBlock} from '../../kernels/webgpu/lower.js';
import {usualLimits, tilingFor} from '../../kernels/webgpu/tiling.js';
import {importLayers} from '../graph/layers/import_layers.js';
import {type BlockDispatches, type Rewritten, rewriteArtifacts, type RewriteOptions} from '../graph/index.js';

export type ConvertOptions = RewriteOptions;
export type Converted = Rewritten;

/** Of the WebGPU kernels' plan on a stock device. */
const plannedDispatches: BlockDispatches = (block, input) =>
  lowerBlock(block, input, tilingFor(usualLimits)).dispatches.length;

/**
 * Rewrites a model without loading it into TF.js.
 * @throws {ModelError} for damaged artifacts, and {LayersError} for a layer that cannot be expressed as a graph.
 */
export function convert(artifacts: tf.io.ModelArtifacts, options: ConvertOptions = {}): Converted {
  const graph = isGraphModel(artifacts) ? artifacts : importLayers(artifacts);
  return rewriteArtifacts(graph, {dispatches: plannedDispatches, ...options});
}

/** By content: converters leave `format` out now and then. */
export function isGraphModel({format, modelTopology}: tf.io.ModelArtifacts): boolean {
  const isLayers =
    typeof modelTopology === 'object' && ('model_config' in modelTopology || 'class_name' in modelTopology);
  return format === 'graph-model' || !isLayers;
}
