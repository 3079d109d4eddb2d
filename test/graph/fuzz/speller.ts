/** What all spellings share: names that are used once, seeded choices, constants, and now and then quantised weights. */
import {makeWeight, type Weight} from '../../../src/graph/weights.js';
import {seededRandom} from '../../support/random.js';
import {TestGraph} from '../../support/test_graph.js';

/** A map on the way through the graph. Its batch is open. */
export interface MapValue {
  readonly name: string;
  readonly h: number;
  readonly w: number;
  readonly c: number;
}

type Arg = string | readonly [name: string, type: string];
type Attrs = Parameters<TestGraph['op']>[3];

export class Speller {
  /** Which is built just now: the model's own, or that of a function. */
  graph = new TestGraph();
  /** Of the loop between Enter and Exit that is built just now. */
  frame: string | undefined;
  /** The model has control flow, so TF.js runs it asynchronously alone. */
  isDynamic = false;
  /** Sums of how many terms went into a value, over all layers so far: what rounding errors follow. */
  depth = 0;
  /** Ops that may stay beside the blocks: identities, and what stands between two parts of one. */
  others = 0;
  /** Maps are `[N, C, H, W]` just now. */
  channelsFirst = false;
  readonly #next: () => number;
  #count = 0;
  /** Of the loop whose body is built: its arguments, and what it is given for those. */
  #loop: {readonly outer: TestGraph; readonly args: Arg[]; readonly operands: string[]} | undefined;

  constructor(seed: number) {
    this.#next = seededRandom(seed);
  }

  random(): number {
    return this.#next();
  }

  /** An integer in [from, to]. */
  between(from: number, to: number): number {
    return from + Math.floor(this.random() * (to - from + 1));
  }

  pick<T>(choices: readonly T[]): T {
    return choices[Math.floor(this.random() * choices.length)] as T; // No list of choices is empty.
  }

  chance(probability: number): boolean {
    return this.random() < probability;
  }

  op(op: string, inputs: readonly string[], attrs: Attrs = {}): string {
    if (op === 'Identity') this.others++;
    return this.graph.op(`n${this.#count++}/${op}`, op, inputs, attrs);
  }

  fresh(what: string): string {
    return `n${this.#count++}/${what}`;
  }

  /**
   * A function; `build` gives the names of its values.
   * @param args Grows by constants that become operands of the call, of which the names go to `operands`.
   */
  body(args: Arg[], operands: string[], build: () => readonly string[]): ReturnType<TestGraph['body']> {
    const outer = this.graph;
    try {
      return outer.body(this.fresh('function'), args, (inside) => {
        this.graph = inside;
        this.#loop = {outer, args, operands};
        return build();
      });
    } finally {
      this.graph = outer;
      this.#loop = undefined;
    }
  }

  scalar(value: number): string {
    return this.graph.constant(`n${this.#count++}/scalar`, value);
  }

  integers(values: readonly number[], shape?: readonly number[]): string {
    return this.graph.integers(`n${this.#count++}/integers`, values, shape);
  }

  /** Uniform in [center − spread, center + spread). */
  vector(shape: readonly number[], center: number, spread: number): string {
    return this.#constant(shape, center, spread, 'vector');
  }

  /** Of a size that keeps the scale of what goes through; a third are stored quantised. */
  filter(shape: readonly number[], terms: number): string {
    this.depth += terms;
    return this.#constant(shape, 0, Math.sqrt(3 / terms), this.chance(0.3) ? 'quantised' : 'filter');
  }

  #constant(shape: readonly number[], center: number, spread: number, what: string): string {
    const name = `n${this.#count++}/${what}`;
    const size = shape.reduce((a, b) => a * b, 1);
    const values = Float32Array.from({length: size}, () => center + spread * (2 * this.random() - 1));
    const weight = makeWeight(name, shape, values);
    const stored = what === 'quantised' ? this.#quantised(weight, spread) : weight;
    if (this.frame !== undefined && this.chance(0.5)) {
      this.others++; // Where it is not for a convolution.
      const attrs = {frame_name: this.frame, is_constant: true};
      return this.graph.op(this.fresh('enter'), 'Enter', [this.graph.add(stored)], attrs);
    }
    const loop = this.#loop;
    // Not in a branch: the other one would need it, too.
    if (!loop || loop.args.length < 3 || this.chance(0.5)) return this.graph.add(stored);
    loop.operands.push(loop.outer.add(stored));
    const arg = this.fresh('argument');
    loop.args.push(arg);
    return arg;
  }

  #quantised({name, shape}: Weight, spread: number): Weight {
    const dtype = this.pick(['uint8', 'uint16', 'float16'] as const);
    const size = shape.reduce((a, b) => a * b, 1);
    const levels = dtype === 'uint8' ? 255 : 65535;
    // A half between 2⁻¹⁴ and 1, of either sign, is any bits with an exponent below 15.
    const draw = (): number =>
      dtype === 'float16'
        ? (this.between(0, 1) << 15) | this.between(0x400, 0x3bff)
        : this.between(0, levels);
    const stored = Array.from({length: size}, draw);
    const values = dtype === 'uint8' ? Uint8Array.from(stored) : Uint16Array.from(stored);
    const quantization =
      dtype === 'float16'
        ? {dtype}
        : {dtype, scale: Math.fround((2 * spread) / levels), min: Math.fround(-spread)};
    return {name, shape, dtype: 'float32', quantization, bytes: new Uint8Array(values.buffer)};
  }
}
