/** Filters for Winograd's F(2×2, 3×3) and F(4×4, 3×3): U = G g Gᵀ of each 3×3 filter g (Lavin and Gray 2015), on the host and by stock ops. */
import * as tf from '@tensorflow/tfjs-core';
import type {WeightSection} from '../plan.js';

type Matrix = readonly (readonly number[])[];

/** G by the number of components. */
const MATRICES: Readonly<Record<number, Matrix>> = {
  16: [
    [1, 0, 0],
    [1 / 2, 1 / 2, 1 / 2],
    [1 / 2, -1 / 2, 1 / 2],
    [0, 0, 1],
  ],
  36: [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
  ],
};

function matrixOf(components: number): Matrix {
  const matrix = MATRICES[components];
  if (!matrix) throw new Error(`No filter is transformed to ${components} components.`);
  return matrix;
}

/**
 * Writes the components of a filter `[9, C, N]`, each `[rowStride, stride]`; rounds to float32 once. A ResNet has a million
 * such filters, so both products are loops over numbers.
 * @param scaleOf factor of an output channel.
 */
export function fillTransformed(
  filter: Float32Array,
  into: Float32Array,
  {taps, rows, rowStride, columns, stride}: WeightSection,
  scaleOf: (column: number) => number,
): void {
  const matrix = matrixOf(taps);
  const g = Float64Array.from(matrix.flat()); // [side][3]
  const side = matrix.length;
  const half = new Float64Array(g.length); // G · filter
  const dot = (at: number, x: number, y: number, z: number): number =>
    (g[at] ?? 0) * x + (g[at + 1] ?? 0) * y + (g[at + 2] ?? 0) * z;
  const [tapSize, component] = [rows * columns, rowStride * stride];
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const scale = scaleOf(c);
      for (let x = 0; x < 3; x++) {
        const tap = (y: number): number => scale * (filter[(3 * y + x) * tapSize + r * columns + c] ?? 0);
        const [top, middle, bottom] = [tap(0), tap(1), tap(2)];
        for (let i = 0; i < side; i++) half[3 * i + x] = dot(3 * i, top, middle, bottom);
      }
      for (let i = 0; i < side; i++) {
        const [x = 0, y = 0, z = 0] = [half[3 * i], half[3 * i + 1], half[3 * i + 2]];
        const at = i * side * component + r * stride + c;
        for (let j = 0; j < side; j++) into[at + j * component] = dot(3 * j, x, y, z);
      }
    }
  }
}

/** @param filter `[9, C, N]`. @returns `[components, C, N]`. */
export function transformFilter(filter: tf.Tensor, components: number): tf.Tensor {
  const [taps = 0, rows = 0, columns = 0] = filter.shape;
  const matrix = matrixOf(components);
  // G ⊗ G, [components, 9]: what each component takes of each tap.
  const fromTaps = matrix.flatMap((down) =>
    matrix.map((across) => down.flatMap((a) => across.map((b) => a * b))),
  );
  const transformed = tf.matMul(tf.tensor2d(fromTaps), tf.reshape(filter, [taps, rows * columns]));
  return tf.reshape(transformed, [components, rows, columns]);
}
