/** Bind groups are used again, with the buffers they were made for and no others. */
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import * as tf from '@tensorflow/tfjs-core';
import {layers, type LayersModel, sequential} from '@tensorflow/tfjs-layers';
import {fuse, type FusedModel} from '../src/index.js';
import {onBackend} from './support/environment.js';
import {expectClose} from './support/expect_close.js';
import {seededTensors} from './support/random.js';

const SHAPE = [1, 8, 8, 8];

/** Those of blocks, whose layouts have labels. */
const madeBy = (make: jasmine.Spy<GPUDevice['createBindGroup']>): number =>
  make.calls.allArgs().filter(([{layout}]) => layout.label !== '').length;

/** Two blocks of one plan, whose weights differ. */
async function twoBlocks(): Promise<{model: LayersModel; fused: FusedModel}> {
  const depthwise = {kernelSize: 3, padding: 'same', activation: 'relu6'} as const;
  const project = {filters: 8, kernelSize: 1, activation: 'relu'} as const;
  const model = sequential({
    layers: [
      layers.depthwiseConv2d({...depthwise, inputShape: SHAPE.slice(1)}),
      layers.conv2d(project),
      layers.depthwiseConv2d(depthwise),
      layers.conv2d(project),
    ],
  });
  return {model, fused: await fuse(model)};
}

onBackend('webgpu', 'bind groups', () => {
  it('are made once for each set of buffers, and never serve another', async () => {
    const {model, fused} = await twoBlocks();
    const {device} = tf.backend() as WebGPUBackend;
    const make = spyOn(device, 'createBindGroup').and.callThrough();
    const random = seededTensors(3);
    const predict = async (): Promise<void> => {
      const x = random(SHAPE);
      const [y, expected] = [fused.predict(x) as tf.Tensor, model.predict(x) as tf.Tensor];
      await expectClose(y, await expected.data());
      tf.dispose([x, y, expected]);
    };
    for (let i = 0; i < 6; i++) await predict();
    const [settled, others] = [madeBy(make), make.calls.count() - madeBy(make)];
    for (let i = 0; i < 6; i++) await predict();
    expect(settled).toBeGreaterThan(0);
    expect(madeBy(make)).toBe(settled);
    expect(make.calls.count() - madeBy(make)).toBeGreaterThan(others); // TF.js makes its own each time.
    model.dispose();
    fused.dispose();
  });

  it('are made anew for who watches, as a recording does', async () => {
    const {model, fused} = await twoBlocks();
    const x = seededTensors(4)(SHAPE);
    const first = fused.predict(x) as tf.Tensor;
    const {device} = tf.backend() as WebGPUBackend;
    const make = spyOn(device, 'createBindGroup').and.callThrough();
    const second = fused.predict(x) as tf.Tensor;
    expect(madeBy(make)).toBeGreaterThan(0);
    await expectClose(second, await first.data(), {tolerance: 0});
    tf.dispose([x, first, second]);
    model.dispose();
    fused.dispose();
  });
});
