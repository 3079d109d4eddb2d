/** Each typed op is its block: the same values as stages written by hand, options and absent weights included. */
import * as tf from '@tensorflow/tfjs-core';
import {type Block, reference, runBlock} from '../ops/index.js';
import {registerBlockKernels} from '../src/register.js';
import {MOBILE} from './ops_typed_mobile.js';
import {NEXT} from './ops_typed_next.js';
import {RES_NET} from './ops_typed_res_net.js';
import {dense, type Row} from './ops_typed_row.js';
import {disposeDrawn, drawBlock} from './support/draw.js';
import {onBackend} from './support/environment.js';
import {expectClose} from './support/expect_close.js';
import {expectNoLeak} from './support/expect_no_leak.js';

onBackend('cpu', 'typed ops', () => {
  beforeAll(() => registerBlockKernels());

  [...MOBILE, ...NEXT, ...RES_NET].forEach(({name, kind, op, options, input, stages}, index) => {
    it(`${name} runs its stages`, async () => {
      const block: Block = {kind, stages};
      const drawn = drawBlock(block, input, index + 1);
      await expectNoLeak(async () => {
        // The rows pair each op with weights of its own names; a table of all ops cannot say so in types.
        const actual = op(drawn.x, {...drawn.weights, unused: undefined} as never, options as never);
        const [byBlock, expected] = [
          runBlock(block, drawn.x, drawn.weights),
          reference(block, drawn.x, drawn.weights),
        ];
        await expectClose(actual, expected, {name});
        await expectClose(byBlock, expected, {name: `${name}, runBlock`});
        tf.dispose([actual, byBlock, expected]);
      });
      disposeDrawn(drawn);
    });
  });

  it('run the kernel that is registered, not the reference', async () => {
    const {kind, stages, input, op} = MOBILE[0] as Row;
    const drawn = drawBlock({kind, stages}, input, 1);
    const {kernelNames} = await tf.profile(() => op(drawn.x, drawn.weights as never).dispose());
    expect(kernelNames).toContain(kind);
    disposeDrawn(drawn);
  });
});

onBackend('cpu', 'a block of a kind that has no kernel', () => {
  it('runs by its reference, in both orders of calling', async () => {
    const block: Block = {kind: 'BlockUnknown', stages: [dense('expand', 3, 'relu')]};
    const drawn = drawBlock(block, [1, 2, 2, 4], 1);
    const [actual, expected] = [
      runBlock(block, drawn.x, drawn.weights),
      reference(block, drawn.x, drawn.weights),
    ];
    await expectClose(actual, expected);
    tf.dispose([actual, expected]);
    disposeDrawn(drawn);
  });
});
