/** Every case of every block spec: the kernel of each backend against the reference by stock ops on the CPU. */
import * as tf from '@tensorflow/tfjs-core';
import {type Block, BLOCK_SPECS, type BlockCase, reference, runBlock, traceBlock} from '../ops/index.js';
import {registerBlockKernels} from '../src/register.js';
import {onBackend, useBackend} from './support/environment.js';
import {expectClose} from './support/expect_close.js';
import {seededTensors} from './support/random.js';

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

export interface Drawn {
  readonly x: tf.Tensor4D;
  readonly weights: Record<string, tf.Tensor>;
}

/** Weights of such a scale that activations stay of order one. */
function draw(block: Block, {input}: BlockCase, seed: number): Drawn {
  const make = seededTensors(seed);
  const entries = traceBlock(block, input).weights.map(({name, shape}) => {
    const fanIn = shape.length > 1 ? shape.slice(0, -1).reduce((a, b) => a * b) : 1;
    return [name, make(shape, Math.sqrt(3 / fanIn))] as const;
  });
  return {x: make(input) as tf.Tensor4D, weights: Object.fromEntries(entries)};
}

onBackend('webgpu', 'block kernels equal the reference', () => {
  beforeAll(() => registerBlockKernels());

  for (const spec of BLOCK_SPECS) {
    describe(spec.kind, () => {
      spec.cases.forEach((example, index) => {
        it(`${example.name} (case ${index})`, async () => {
          const block: Block = {kind: spec.kind, stages: example.stages};
          await useBackend('cpu');
          const {x, weights} = draw(block, example, index + 1);
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
