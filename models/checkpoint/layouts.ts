/** Between a file's layout of a tensor and ours. Axes of one element do not matter: they change no byte. */
import type {Naming} from '../naming/naming.js';
import type {CheckpointTensor} from '../tensors.js';

type Style = Naming['style'];

/** The shape the writer gives the tensor: PyTorch has output channels first. */
export function fileShape({layout, shape}: CheckpointTensor, style: Style): readonly number[] {
  return style === 'keras' || layout === 'vector'
    ? shape
    : [...shape].reverse().map((_, i) => shape[torchAxis(i, shape.length)] ?? 1);
}

/** Axis i of PyTorch's `[out, in, h, w]` or `[out, in]` in ours, `[h, w, in, out]` or `[in, out]`. */
const torchAxis = (i: number, rank: number): number => (i < 2 ? rank - 1 - i : i - 2);

const withoutOnes = (shape: readonly number[]): string => shape.filter((size) => size !== 1).join();

export const fitsLayout = (tensor: CheckpointTensor, style: Style, shape: readonly number[]): boolean =>
  withoutOnes(fileShape(tensor, style)) === withoutOnes(shape);

/** @param values In the file's layout. @returns The same in ours; a new array where the order differs. */
export function toOurLayout(
  {layout, shape}: CheckpointTensor,
  style: Style,
  values: Float32Array,
): Float32Array {
  if (style === 'keras' || layout === 'vector') return values;
  const [inner = 1, outer = 1] = [shape.at(-2), shape.at(-1)];
  const pixels = values.length / (inner * outer);
  const turned = new Float32Array(values.length);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const from = (o * inner + i) * pixels;
      for (let p = 0; p < pixels; p++) turned[(p * inner + i) * outer + o] = values[from + p] as number;
    }
  }
  return turned;
}
