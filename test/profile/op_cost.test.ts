import * as tf from '@tensorflow/tfjs-core';
import {bytesOf, macsOf} from '../../src/profile/op_cost.js';

describe('op_cost', () => {
  it('counts the MACs of each op as by hand', () => {
    // 3×3, 16 → 32 channels, 10×12 output: 10·12·32 elements of 3·3·16 products.
    expect(
      macsOf(
        'Conv2D',
        [
          [1, 20, 24, 16],
          [3, 3, 16, 32],
        ],
        [1, 10, 12, 32],
      ),
    ).toBe(552_960);
    expect(macsOf('_FusedConv2D', [[1, 20, 24, 16], [3, 3, 16, 32], [32]], [1, 10, 12, 32])).toBe(552_960);
    // Grouped, width 8: the filter's third axis is the width.
    expect(
      macsOf(
        'Conv2D',
        [
          [1, 4, 4, 32],
          [3, 3, 8, 32],
        ],
        [1, 4, 4, 32],
      ),
    ).toBe(4 * 4 * 32 * 72);
    expect(
      macsOf(
        'DepthwiseConv2dNative',
        [
          [2, 8, 8, 6],
          [5, 5, 6, 1],
        ],
        [2, 8, 8, 6],
      ),
    ).toBe(2 * 64 * 6 * 25);
    expect(
      macsOf(
        'DepthwiseConv2D',
        [
          [1, 8, 8, 6],
          [3, 3, 6, 2],
        ],
        [1, 8, 8, 12],
      ),
    ).toBe(64 * 12 * 9);
    expect(
      macsOf(
        'MatMul',
        [
          [4, 7],
          [7, 9],
        ],
        [4, 9],
      ),
    ).toBe(4 * 7 * 9);
    expect(
      macsOf(
        'BatchMatMulV2',
        [
          [3, 4, 7],
          [3, 7, 9],
        ],
        [3, 4, 9],
      ),
    ).toBe(3 * 4 * 7 * 9);
    expect(macsOf('Dense', [[2, 1280], [1280, 5], [5]], [2, 5])).toBe(2 * 1280 * 5);
    // Transposed: each of the 4·4·8 inputs meets 3·3 taps of 6 channels.
    expect(macsOf('Conv2DBackpropInput', [[4], [3, 3, 6, 8], [1, 4, 4, 8]], [1, 8, 8, 6])).toBe(128 * 9 * 6);
    expect(macsOf('Conv2DTranspose', [[1, 4, 4, 8], [3, 3, 6, 8], [6]], [1, 8, 8, 6])).toBe(128 * 9 * 6);
    expect(
      macsOf(
        'SeparableConv2D',
        [
          [1, 8, 8, 4],
          [3, 3, 4, 1],
          [1, 1, 4, 10],
        ],
        [1, 8, 8, 10],
      ),
    ).toBe(64 * (36 + 40));
    expect(macsOf('Relu6', [[1, 8, 8, 4]], [1, 8, 8, 4])).toBe(0);
  });

  it('gives a transposed left operand its own product count', () => {
    // [K, M]ᵀ × [K, N]: the left operand has M·K elements either way.
    expect(
      macsOf(
        'MatMul',
        [
          [7, 4],
          [7, 9],
        ],
        [4, 9],
      ),
    ).toBe(252);
  });

  it('moves each input, weight and output once, and nothing for a view', () => {
    expect(
      bytesOf(
        'Conv2D',
        [
          [1, 8, 8, 4],
          [1, 1, 4, 6],
        ],
        [[1, 8, 8, 6]],
      ),
    ).toBe(4 * (256 + 24 + 384));
    expect(
      bytesOf(
        'Split',
        [[2, 6]],
        [
          [2, 3],
          [2, 3],
        ],
      ),
    ).toBe(4 * 24);
    expect(bytesOf('Reshape', [[2, 6], [2]], [[3, 4]])).toBe(0);
  });

  it('agrees with the number of products a convolution of ones adds up', async () => {
    // No padding and all ones: the sum over the output is the MAC count.
    const [x, filter] = [tf.ones([1, 9, 7, 3]), tf.ones([3, 2, 3, 5])] as [tf.Tensor4D, tf.Tensor4D];
    const y = tf.conv2d(x, filter, 2, 'valid');
    const sum = tf.sum(y);
    const [total] = await sum.data();
    expect(macsOf('Conv2D', [x.shape, filter.shape], y.shape)).toBe(total as number);
    tf.dispose([x, filter, y, sum]);
  });
});
