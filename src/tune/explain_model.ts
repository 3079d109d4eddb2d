/** Explains the plans of a loaded model on the current device, and those of a model file on a device that need not be there. */
import * as tf from '@tensorflow/tfjs-core';
import {type DeviceModel, H200} from '../../kernels/webgpu/device_model.js';
import {explainBlock} from '../../kernels/webgpu/explain.js';
import {limitsOf, tunedOf} from '../../kernels/webgpu/index.js';
import {fusedBlocks} from '../graph/index.js';
import {plansOfModel, type Values, type Warmable, zerosFor} from '../warmup.js';
import {Explanation} from './explanation.js';
import {currentWebGPU, measureDevice} from './measure_device.js';

export interface ExplainModelOptions {
  /** Figures the estimates are made with; those of the current device are measured unless given. The limits are always its own. */
  readonly device?: DeviceModel;
}

/** @throws where the current backend is not WebGPU, and as the model's predict. */
export async function explainModel(
  model: Warmable,
  inputs: Values | undefined,
  options: ExplainModelOptions,
): Promise<Explanation> {
  const backend = currentWebGPU('explain');
  const feeds = inputs ?? zerosFor(model.inputs, 'explain');
  try {
    const plans = plansOfModel(model, feeds);
    const figures = options.device ?? (await measureDevice(backend));
    const device = {...figures, limits: limitsOf(backend.device)};
    const tuned = tunedOf(backend.device);
    return new Explanation(
      device,
      plans.map(({block, input}) => ({plan: explainBlock(block, input, {device, tuned})})),
    );
  } finally {
    if (inputs === undefined) tf.dispose(feeds);
  }
}

/** Of a rewritten model, by estimates alone, at the shapes its graph says or leaves to be assumed. */
export const explainArtifacts = (artifacts: tf.io.ModelArtifacts, device: DeviceModel = H200): Explanation =>
  new Explanation(
    device,
    fusedBlocks(artifacts).map(({name, block, input}) => ({
      at: name,
      plan: explainBlock(block, input, {device}),
    })),
  );
