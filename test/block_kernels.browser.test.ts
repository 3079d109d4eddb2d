/** Every case of every block spec: the kernel of each backend against the reference by stock ops on the CPU. */
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import * as tf from '@tensorflow/tfjs-core';
import {halfFeaturesOf} from '../kernels/webgpu/matrix_tiling.js';
import {type Block, BLOCK_SPECS, reference, runBlock} from '../ops/index.js';
import {registerBlockKernels} from '../src/register.js';
import {toleranceOf} from './support/block_cases.js';
import {drawBlock} from './support/draw.js';
import {onBackend, useBackend} from './support/environment.js';
import {expectClose} from './support/expect_close.js';

onBackend('webgpu', 'block kernels equal the reference', () => {
  beforeAll(() => registerBlockKernels());

  for (const spec of BLOCK_SPECS) {
    describe(spec.kind, () => {
      spec.cases.forEach((example, index) => {
        it(`${example.name} (case ${index})`, async () => {
          const block: Block = {kind: spec.kind, stages: example.stages};
          await useBackend('cpu');
          const {x, weights} = drawBlock(block, example.input, index + 1);
          const expected = reference(block, x, weights);
          const values = await expected.data();
          await useBackend('webgpu');
          const actual = runBlock(block, x, weights);
          expect(actual.shape).toEqual(expected.shape);
          await expectClose(actual, values, {name: example.name, tolerance: toleranceOf(block, example)});
          tf.dispose([x, weights, expected, actual]);
        });
      });
    });
  }
});

onBackend('webgpu', 'block kernels in f16 are as near to the reference as f16 allows', () => {
  beforeAll(() => registerBlockKernels());

  for (const spec of BLOCK_SPECS) {
    it(spec.kind, async () => {
      const {device} = tf.backend() as WebGPUBackend;
      if (!halfFeaturesOf(device)) pending(`no f16 on this device: ${spec.cases.length} cases not run`);
      for (const [index, example] of spec.cases.entries()) {
        const block: Block = {kind: spec.kind, stages: example.stages};
        await useBackend('cpu');
        const {x, weights} = drawBlock(block, example.input, index + 1);
        const expected = reference(block, x, weights);
        const values = await expected.data();
        await useBackend('webgpu');
        const actual = runBlock(block, x, weights, {precision: 'f16'});
        const tolerance = toleranceOf(block, example, 'f16');
        await expectClose(actual, values, {name: `${example.name} (case ${index})`, tolerance});
        tf.dispose([x, weights, expected, actual]);
      }
    });
  }
});
