/** What the gradient of a block needs of WebGPU besides the block kernels, as TF.js kernel functions. */
import type * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import type {Activation, Shape4D} from '../../ops/index.js';
import {
  type ActivationCall,
  activationByOps,
  filterGradientByOps,
  readActivation,
  readFilterGradient,
} from '../../ops/stages/gradient_kernels.js';
import {keptIn} from '../../ops/kept.js';
import {elements} from '../../ops/shapes.js';
import {type Dispatch, divideUp} from '../plan.js';
import {activationConstants, derivativeConstants, type PlainActivation} from './activation_codes.js';
import {isKnownBackend} from './backend_access.js';
import {recordAll} from './execute.js';
import {type FilterGradientProblem, type LoweredGradient, lowerFilterGradient} from './lower_gradients.js';
import {FLOAT_BYTES, gridOf, PLAIN_ROWS} from './lowering.js';

/** By the problem's text; a network has some dozens. */
const lowered = new Map<string, LoweredGradient>();

const loweredOf = (problem: FilterGradientProblem): LoweredGradient =>
  keptIn(lowered, JSON.stringify(problem), () => lowerFilterGradient(problem));

/** `BlockFilterGradient`; by stock ops on a backend whose private fields are not those of 4.22.0. */
export const filterGradientKernel: tf.KernelFunc = ({inputs, attrs, backend}) => {
  const {stage, x, dy} = readFilterGradient(inputs, attrs);
  if (!isKnownBackend(backend)) return filterGradientByOps(stage, x as tf.Tensor4D, dy as tf.Tensor4D); // prettier-ignore
  const webgpu = backend as WebGPUBackend;
  // Shapes of a convolution's maps, which the block's trace has checked.
  const problem = {stage, input: x.shape as unknown as Shape4D, output: dy.shape as unknown as Shape4D};
  const {dispatches, sums} = loweredOf(problem);
  const filter = webgpu.makeTensorInfo([...stage.kernel, stage.group, stage.channels], 'float32');
  const bias = stage.bias ? webgpu.makeTensorInfo([stage.channels], 'float32') : undefined;
  const parts = sums > 0 ? webgpu.makeTensorInfo([sums], 'float32') : undefined;
  const tensors = {x, dy, out: filter, bias, 'scratch:sums': parts};
  recordAll(webgpu, {kind: 'BlockFilterGradient', dispatches, tensors});
  if (parts) webgpu.disposeData(parts.dataId);
  return bias ? [filter, bias] : [filter];
};

/** By activation, size and direction. */
const activations = new Map<string, Dispatch>();
const activationKey = (activation: Activation): string => Object.values(activation).join();

/** `BlockActivation`, forward or, given dy, back. */
export const activationKernel: tf.KernelFunc = ({inputs, attrs, backend}) => {
  const call = readActivation(inputs, attrs);
  const {activation, x, dy} = call;
  if (activation.fn === 'prelu' || !isKnownBackend(backend)) return activationByOps(call);
  const webgpu = backend as WebGPUBackend;
  const out = webgpu.makeTensorInfo([...x.shape], 'float32');
  const key = `${activationKey(activation)} ${elements(x.shape)} ${dy !== undefined}`;
  const dispatches = [keptIn(activations, key, () => lowerActivation(call, activation))];
  recordAll(webgpu, {kind: 'BlockActivation', dispatches, tensors: {x, dy, out}});
  return out;
};

function lowerActivation({x, dy}: ActivationCall, activation: Activation & PlainActivation): Dispatch {
  const size = elements(x.shape);
  // The map as rows of as many channels as a vector has; where that leaves a rest, as one row.
  const channels = size % 4 === 0 ? 4 : size;
  const vectors = divideUp(size, 4);
  return {
    kernel: `${dy ? 'slope' : 'activation'}.${channels % 4 === 0 ? 'vector' : 'scalar'}`,
    constants: {
      X_CHANNELS: channels,
      OUT_CHANNELS: channels,
      RESIDUAL_CHANNELS: channels,
      ...PLAIN_ROWS,
      M: size / channels,
      WORKGROUP: 64,
      ...(dy ? derivativeConstants(activation) : activationConstants('ACTIVATION', activation)),
    },
    buffers: {x: 'x', residual: dy ? 'dy' : 'unused', out: 'out'},
    workgroups: gridOf(vectors, 64),
    cost: {macs: 0, bytes: FLOAT_BYTES * size * (dy ? 3 : 2)},
  };
}
