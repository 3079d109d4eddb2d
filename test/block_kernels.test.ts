/** Every case of every block spec: the kernel of each backend against the reference by stock ops on the CPU. */
import * as tf from '@tensorflow/tfjs-core';
import {type Block, BLOCK_SPECS, type BlockCase, reference, runBlock, traceBlock} from '../ops/index.js';
import {registerBlockKernels} from '../src/register.js';
import {drawBlock} from './support/draw.js';
import {onBackend, useBackend} from './support/environment.js';
import {expectClose} from './support/expect_close.js';

/** float32 rounds by 2^-24 a step; errors of a sum of n random terms grow like √n, and stages add theirs. */
function toleranceOf(block: Block, {input}: BlockCase): number {
  const depths = traceBlock(block, input).stages.map(
    ({macs, output}) =>
      macs /
      Math.max(
        1,
        output.reduce((a, b) => a * b),
      ),
  );
  const roundings = depths.reduce((sum, depth) => sum + Math.sqrt(depth + 16), 0);
  return 8 * 2 ** -24 * roundings;
}

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
