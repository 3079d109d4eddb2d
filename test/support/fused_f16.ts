/**
 * A whole model fused in f16 on an emulated device: prints, as JSON, what test/f16.node.test.ts looks at. A process of its own,
 * since the emulation changes the device.
 */
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {layers, sequential} from '@tensorflow/tfjs-layers';
import {planFor} from '../../kernels/webgpu/index.js';
import {type Block, runBlock} from '../../ops/index.js';
import {pointwiseStage} from '../../ops/stages/make.js';
import {fuse} from '../../src/index.js';
import {useNodeWebGPU} from '../../src/node_webgpu.js';
import {emulateHalf, fragmentOf} from './emulate_f16.js';
import {worstError} from './expect_close.js';
import {seededTensors} from './random.js';

await useNodeWebGPU({flags: ['enable-dawn-features=disable_workgroup_init']});
tf.env().set('WEBGPU_CPU_FORWARD', false);
const {device} = tf.backend() as WebGPUBackend;
emulateHalf(device, fragmentOf('16.16.16.32'));
const warnings: unknown[] = [];
console.warn = (...words: unknown[]) => void warnings.push(words);

const model = sequential({
  layers: [
    layers.conv2d({inputShape: [12, 10, 8], filters: 32, kernelSize: 1, activation: 'relu6'}),
    layers.depthwiseConv2d({kernelSize: 3, padding: 'same', activation: 'relu6'}),
    layers.conv2d({filters: 16, kernelSize: 1}),
    layers.globalAveragePooling2d({}),
  ],
});
const x = seededTensors(3)([2, 12, 10, 8]);
const read = async (outputs: unknown): Promise<Float32Array> => {
  const [tensor] = [outputs].flat() as tf.Tensor[];
  const values = (await tensor?.data()) as Float32Array;
  tf.dispose(outputs as tf.TensorContainer);
  return values.slice();
};
const exact = await fuse(model);
const want = await read(exact.predict(x));
const half = await fuse(model, {precision: 'f16'});
await half.warmup(x);
let compiledLate = 0;
const createComputePipeline = device.createComputePipeline.bind(device);
device.createComputePipeline = (descriptor) => {
  if (descriptor.label?.startsWith('matrix') === true) compiledLate++;
  return createComputePipeline(descriptor);
};
const got = await read(half.predict(x));
const captured = await half.capture([x]);
const replayed = await read(captured.predict([x]));
const errorOf = (a: Float32Array, b: Float32Array): number => {
  const {error, scale} = worstError(a, b);
  return error / scale;
};

// Weights that are on the GPU alone.
const block: Block = {kind: 'BlockConv', stages: [pointwiseStage('conv', 16)]};
const weights = {convFilter: tf.mul(seededTensors(5)([8, 16]), 1), convBias: tf.zeros([16])};
const asF32 = await read(runBlock(block, x, weights));
const asF16 = await read(runBlock(block, x, weights, {precision: 'f16'}));

console.log(
  JSON.stringify({
    kernels: planFor(tf.backend() as WebGPUBackend, block, x.shape, 'f16').dispatches.map(
      ({kernel}) => kernel,
    ),
    blocks: half.report.blocks.length,
    error: errorOf(got, want),
    replayError: errorOf(replayed, got),
    compiledLate,
    gpuWeightsError: errorOf(asF16, asF32),
    warnings: warnings.length,
  }),
);
process.exit(0);
