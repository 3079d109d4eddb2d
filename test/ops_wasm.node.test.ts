/** Registration on a backend without kernels of its own: there the reference is the kernel, and gives what the CPU gives. */
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-wasm';
import {BLOCK_SPECS, type BlockCase, hasKernel, reference, runBlock} from '../ops/index.js';
import {registerBlockKernels} from '../src/register.js';
import {disposeDrawn, drawBlock} from './support/draw.js';
import {useBackend} from './support/environment.js';
import {expectClose} from './support/expect_close.js';
import {shrunkCases} from './support/small_cases.js';

/** Stock conv2d of the wasm backend is wrong for SAME padding where windows leave gaps between them. */
const leavesGaps = ({stages}: BlockCase): boolean =>
  stages.some((stage) => stage.op === 'spatial' && stage.kernel[0] > 1 && stage.kernel[0] < stage.stride[0]);

describe('blocks on wasm', () => {
  beforeAll(async () => {
    registerBlockKernels();
    if (!(await tf.setBackend('wasm'))) throw new Error('The wasm backend did not start.');
  });

  for (const spec of BLOCK_SPECS) {
    it(`${spec.kind} gives the values of the CPU, and leaves nothing behind`, async () => {
      expect(hasKernel(spec.kind, 'wasm')).toBeTrue();
      const before = tf.memory().numTensors;
      const cases = shrunkCases(spec, 60_000).filter((example) => !leavesGaps(example));
      expect(cases.length).toBeGreaterThan(spec.cases.length / 2);
      for (const [index, {stages, input, name}] of cases.entries()) {
        const block = {kind: spec.kind, stages};
        await useBackend('cpu');
        const drawn = drawBlock(block, input, index + 1);
        const expected = reference(block, drawn.x, drawn.weights);
        const values = await expected.data();
        await tf.setBackend('wasm');
        const actual = runBlock(block, drawn.x, drawn.weights);
        await expectClose(actual, values, {name, tolerance: 4e-6});
        tf.dispose([expected, actual]);
        disposeDrawn(drawn);
      }
      expect(tf.memory().numTensors).toBe(before);
    });
  }
});
