/** Filters for Winograd's F(2×2, 3×3): U = G g Gᵀ of each 3×3 filter g (Lavin and Gray 2015), on the host and by stock ops. */
import * as tf from '@tensorflow/tfjs-core';
import type {WeightSection} from '../plan.js';

const G: readonly (readonly number[])[] = [
  [1, 0, 0],
  [0.5, 0.5, 0.5],
  [0.5, -0.5, 0.5],
  [0, 0, 1],
];

/** G ⊗ G, `[16, 9]`: what each component takes of each tap. */
const FROM_TAPS: readonly (readonly number[])[] = G.flatMap((down) =>
  G.map((across) => down.flatMap((a) => across.map((b) => a * b))),
);

/**
 * Writes the sixteen components of a filter `[9, C, N]`, each `[rowStride, stride]`; rounds to float32 once. A ResNet has a million
 * such filters, so this is written out instead of multiplying by FROM_TAPS.
 * @param scaleOf factor of an output channel.
 */
export function fillTransformed(
  filter: Float32Array,
  into: Float32Array,
  {rows, rowStride, columns, stride}: Pick<WeightSection, 'rows' | 'rowStride' | 'columns' | 'stride'>,
  scaleOf: (column: number) => number,
): void {
  const tapSize = rows * columns;
  const component = rowStride * stride;
  const half = new Float64Array(12); // [4][3] of G g
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      for (let b = 0; b < 3; b++) {
        const at = r * columns + c + b * tapSize;
        const g0 = filter[at] ?? 0;
        const g1 = filter[at + 3 * tapSize] ?? 0;
        const g2 = filter[at + 6 * tapSize] ?? 0;
        half[b] = g0;
        half[3 + b] = 0.5 * (g0 + g1 + g2);
        half[6 + b] = 0.5 * (g0 - g1 + g2);
        half[9 + b] = g2;
      }
      const scale = scaleOf(c);
      for (let i = 0; i < 4; i++) {
        const h0 = scale * (half[3 * i] ?? 0);
        const h1 = scale * (half[3 * i + 1] ?? 0);
        const h2 = scale * (half[3 * i + 2] ?? 0);
        const at = 4 * i * component + r * stride + c;
        into[at] = h0;
        into[at + component] = 0.5 * (h0 + h1 + h2);
        into[at + 2 * component] = 0.5 * (h0 - h1 + h2);
        into[at + 3 * component] = h2;
      }
    }
  }
}

/** @param filter `[9, C, N]`. @returns `[16, C, N]`. */
export function transformFilter(filter: tf.Tensor): tf.Tensor {
  const [taps = 0, rows = 0, columns = 0] = filter.shape;
  const matrix = tf.tensor2d(FROM_TAPS.map((row) => [...row]));
  return tf.reshape(tf.matMul(matrix, tf.reshape(filter, [taps, rows * columns])), [-1, rows, columns]);
}
