/** A toy data set: ten patterns drawn at random position, scale and colour, with noise. Seeded, so that every run sees the same images. */
import * as tf from '@tensorflow/tfjs-core';

export const TOY_CLASSES = 10;

/** Of a pixel at (u, v) in [−1, 1]², turned and scaled; 1 is ink. */
const PATTERNS: readonly ((u: number, v: number) => boolean)[] = [
  (u) => Math.sin(8 * u) > 0,
  (u, v) => Math.sin(8 * u) * Math.sin(8 * v) > 0,
  (u, v) => u * u + v * v < 0.35,
  (u, v) => Math.abs(u * u + v * v - 0.4) < 0.2,
  (u, v) => Math.max(Math.abs(u), Math.abs(v)) < 0.55,
  (u, v) => Math.min(Math.abs(u), Math.abs(v)) < 0.18,
  (u, v) => v > Math.abs(u) - 0.5 && v < 0.4,
  (u, v) => Math.sin(12 * Math.hypot(u, v)) > 0,
  (u, v) => Math.abs(v - 0.5 * Math.sin(5 * u)) < 0.2,
  (u, v) => u > 0 === v > 0,
];

export interface ToyBatch {
  /** `[N, size, size, 3]`, roughly in [−1, 1]. */
  readonly images: tf.Tensor4D;
  /** One-hot, `[N, 10]`. */
  readonly labels: tf.Tensor2D;
}

/** @param random Uniform in [0, 1); where it stands decides the batch. */
export function toyBatch(random: () => number, count: number, size: number): ToyBatch {
  const pixels = new Float32Array(count * size * size * 3);
  const labels = new Float32Array(count * TOY_CLASSES);
  for (let n = 0; n < count; n++) {
    const label = Math.floor(random() * TOY_CLASSES);
    labels[n * TOY_CLASSES + label] = 1;
    drawInto(pixels.subarray(n * size * size * 3, (n + 1) * size * size * 3), size, label, random);
  }
  return {
    images: tf.tensor4d(pixels, [count, size, size, 3]),
    labels: tf.tensor2d(labels, [count, TOY_CLASSES]),
  };
}

function drawInto(image: Float32Array, size: number, label: number, random: () => number): void {
  const pattern = PATTERNS[label];
  const signed = (range: number): number => range * (2 * random() - 1);
  const [dx, dy, zoom, turn] = [signed(0.2), signed(0.2), 1 + signed(0.2), signed(0.3)];
  const ink = [0, 1, 2].map(() => 0.4 + 0.6 * random());
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const [a, b] = [((2 * x + 1) / size - 1) * zoom + dx, ((2 * y + 1) / size - 1) * zoom + dy];
      const u = a * Math.cos(turn) - b * Math.sin(turn);
      const v = a * Math.sin(turn) + b * Math.cos(turn);
      const sign = pattern?.(u, v) ? 1 : -1;
      for (let c = 0; c < 3; c++) image[(y * size + x) * 3 + c] = sign * (ink[c] ?? 0) + signed(0.3);
    }
  }
}
