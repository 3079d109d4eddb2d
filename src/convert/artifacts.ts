/** The artifacts of a model that is already in memory, without its weights being copied to a file and back. */
import type {GraphModel} from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import type {LayersModel} from '@tensorflow/tfjs-layers';

export type AnyModel = GraphModel | LayersModel;

export const isLayersModel = (model: AnyModel): model is LayersModel => 'layers' in model;

/** What `save` hands over; weights as the model keeps them. */
export async function savedBy(model: Pick<AnyModel, 'save'>): Promise<tf.io.ModelArtifacts> {
  let saved: tf.io.ModelArtifacts | undefined;
  await model.save(
    tf.io.withSaveHandler((artifacts) => {
      saved = artifacts;
      return Promise.resolve({modelArtifactsInfo: {dateSaved: new Date(), modelTopologyType: 'JSON'}});
    }),
  );
  if (!saved) throw new Error('TF.js did not hand over the model it was asked to save.');
  return saved;
}

/** The model stays as it is and usable. Quantised weights keep their bytes, unless it was loaded as a stream. */
export async function artifactsOf(model: AnyModel): Promise<tf.io.ModelArtifacts> {
  const saved = await savedBy(model);
  if (saved.weightData !== undefined || isLayersModel(model)) return saved;
  // A streamed model keeps no data but its tensors, which are float32 whatever the file had.
  const tensors = Object.entries(model.weights).map(([name, [tensor]]) => ({
    name,
    tensor: tensor as tf.Tensor,
  }));
  const {data, specs} = await tf.io.encodeWeights(tensors);
  return {...saved, weightData: data, weightSpecs: specs};
}
