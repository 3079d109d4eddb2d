/**
 * A plan: how a block at one input shape is cut into dispatches, as plain data. It names kernels, their constants and the
 * buffers between them, and holds no GPU object, so it can be printed, compared, tested and stored.
 */
import type {Block, Shape4D} from '../ops/index.js';

/** Named constants of a kernel, UPPER_SNAKE; they become `const` lines in front of its text. */
export type Constants = Readonly<Record<string, number | boolean>>;

/**
 * A buffer of a plan: the block's input, the map that a residual is given, the output, the packed weights, or a scratch buffer
 * by name. A kernel's binding that the plan has no use for is `unused`. Gradients have `dy`, the gradient of an output, and
 * besides `out` the gradient of a `bias`. What packs weights reads them as `weight:NUMBER`.
 */
export type BufferName =
  'x' | 'map' | 'out' | 'weights' | 'dy' | 'bias' | 'unused' | `scratch:${string}` | `weight:${number}`;

export interface Dispatch {
  readonly kernel: string;
  readonly constants: Constants;
  /** Buffer per binding name of the kernel. */
  readonly buffers: Readonly<Record<string, BufferName>>;
  readonly workgroups: readonly [number, number, number];
  /** What the dispatch is expected to do, for the estimate and for explain(). */
  readonly cost: DispatchCost;
}

export interface DispatchCost {
  /** Multiply-accumulates, recomputed halo included. */
  readonly macs: number;
  /** Bytes read from and written to device memory, each once. */
  readonly bytes: number;
}

export interface Plan {
  readonly block: Block;
  readonly input: Shape4D;
  readonly output: readonly number[];
  /** How the stages share dispatches, e.g. `expand | spatial+means | gate | project+residual`. */
  readonly name: string;
  readonly dispatches: readonly Dispatch[];
  /** 32-bit words of each scratch buffer: float32 elements, or pairs of f16 ones. */
  readonly scratch: Readonly<Record<`scratch:${string}`, number>>;
  readonly weights: WeightLayout;
}

export type WeightType = 'f32' | 'f16';

/**
 * One filter or vector in the packed weights, `[taps, rows, columns]` at `offset` 32-bit words. Zeros pad each row to `stride`
 * columns, and each tap to `rowStride` rows. Of f16 elements two share a word, the first in its lower half.
 */
export interface WeightSection {
  readonly offset: number;
  readonly dtype: WeightType;
  readonly taps: number;
  readonly rows: number;
  readonly rowStride: number;
  readonly columns: number;
  readonly stride: number;
  readonly value: WeightValue;
}

/**
 * What a section holds, by names of the block's inputs. `filter` is diag(rowScale) · W · diag(columnScale);
 * `winograd` are the 16 or 36 components of that 3×3 filter transformed for F(2×2, 3×3) or F(4×4, 3×3), as taps;
 * `bias` is (bias + rowOffset · W) · columnScale; `columnsums` are the column sums of the scaled filter. They fold
 * LayerNorm's gain and offset and the layer scale into a pointwise stage.
 */
export interface WeightValue {
  readonly form: 'filter' | 'winograd' | 'bias' | 'columnsums';
  readonly filter: string;
  readonly bias?: string | undefined;
  readonly rowScale?: string | undefined;
  readonly rowOffset?: string | undefined;
  readonly columnScale?: string | undefined;
}

export interface WeightLayout {
  readonly sections: readonly WeightSection[];
  /** 32-bit words in all. */
  readonly size: number;
}

/** Elements of a section, the zeros that pad it included. */
export const sectionElements = ({taps, rowStride, stride, value}: WeightSection): number =>
  value.form === 'filter' || value.form === 'winograd' ? taps * rowStride * stride : stride;

/** Collects the sections of a block's packed weights; every section starts at a multiple of four words. */
export class WeightPacker {
  readonly #sections: WeightSection[] = [];
  #size = 0;

  /** Rows of the columns, padded to fours (f16: eights) where `padRows` says so. @returns the section's offset in words. */
  add(
    section: {taps?: number; rows: number; columns: number; padRows?: boolean; dtype?: WeightType},
    value: WeightValue,
  ): number {
    const {taps = 1, rows, columns, padRows = false, dtype = 'f32'} = section;
    const vector = dtype === 'f16' ? 8 : 4;
    const stride = roundUp(columns, vector);
    const rowStride = padRows ? roundUp(rows, vector) : rows;
    const added: WeightSection = {offset: this.#size, dtype, taps, rows, rowStride, columns, stride, value};
    this.#sections.push(added);
    this.#size += sectionElements(added) / (dtype === 'f16' ? 2 : 1);
    return added.offset;
  }

  /** A per-channel vector: a filter of one row. */
  vector(name: string, columns: number): number {
    return this.add({rows: 1, columns}, {form: 'filter', filter: name});
  }

  layout(): WeightLayout {
    return {sections: this.#sections, size: Math.max(4, this.#size)};
  }
}

export const roundUp = (value: number, multiple: number): number => Math.ceil(value / multiple) * multiple;
export const divideUp = (value: number, divisor: number): number => Math.ceil(value / divisor);
/** The first power of two that covers `value`, or `most`. */
export const powerOfTwoUpTo = (value: number, most: number): number =>
  Math.min(most, 2 ** Math.ceil(Math.log2(Math.max(1, value))));
