/** Whether a captured model answers as the uncaptured one does, bit by bit, over many predictions, and whether anything grows. */
import * as tf from '@tensorflow/tfjs-core';
import type {GraphModel} from '@tensorflow/tfjs-converter';
import type {LayersModel} from '@tensorflow/tfjs-layers';
import {BackendAccess} from '../../kernels/webgpu/backend_access.js';
import {type Capture, capture, type CaptureMemory, type CaptureMode} from '../../src/capture/index.js';
import type {Run} from '../../src/capture/source.js';
import {type Growth, watchGrowth} from './memory_growth.js';
import {seededRandom} from './random.js';
import {sameBits, shuffledCycle} from './same_bits.js';
import {uncaptured, uncapturedRun, valuesOf} from './uncaptured.js';

export interface EqualityRequest {
  readonly model: GraphModel | LayersModel;
  /** Captured predictions. Each is compared with an uncaptured one of the same input. */
  readonly predictions: number;
  /** Values of the n-th input, as many as `shape` has elements. */
  readonly inputAt: (n: number) => Float32Array | Int32Array;
  readonly shape: readonly number[];
  readonly dtype: 'float32' | 'int32';
  readonly limits?: Partial<Limits>;
  readonly onProgress?: (done: number, of: number, what: string) => void;
}

/**
 * How many different inputs there are. One for each prediction, unless that takes longer or more memory than this: then the
 * predictions go through what there are, in an order shuffled anew each time, so that no input follows itself.
 */
export interface Limits {
  /** So many in any case. */
  readonly least: number;
  /** For the uncaptured predictions of all inputs. */
  readonly seconds: number;
  /** Of inputs and outputs that are kept. */
  readonly bytes: number;
}

export interface Equality {
  readonly mode: CaptureMode;
  readonly reason: string | undefined;
  readonly dispatches: number;
  readonly predictions: number;
  readonly inputs: number;
  /** Predictions in which a bit of any output differs from what the uncaptured model gives, and gives each time. */
  readonly differing: number;
  /**
   * Predictions that differ where the uncaptured model does not repeat itself either. TF.js sums floats with atomics in its
   * MatMulSplitKProgram, in whatever order they come; see `withoutSplitK`.
   */
  readonly unrepeatable: number;
  /** Uncaptured predictions run again, between captured ones; and those of them that differ from the first time. */
  readonly repeats: number;
  readonly repeatsDiffering: number;
  /** Inputs whose outputs are those of the input before: inputs that change nothing would prove nothing. */
  readonly unchanged: number;
  /** From the time when pools have filled to the last prediction. */
  readonly growth: Growth;
  readonly memory: CaptureMemory;
  readonly seconds: number;
  /** Milliseconds of an uncaptured prediction, a median. */
  readonly uncapturedMs: number;
  /** Milliseconds a captured prediction, several being on their way, with the comparison and the repeats; a mean. */
  readonly capturedMs: number;
}

type Counts = Pick<Equality, 'differing' | 'unrepeatable' | 'repeats' | 'repeatsDiffering'>;

const DEFAULT_LIMITS: Limits = {least: 50, seconds: Infinity, bytes: 400 * 2 ** 20};
/** Captured predictions on their way at once. */
const IN_FLIGHT = 4;
/** Uncaptured predictions that are run once more. */
const MOST_REPEATS = 50;

/** Predictions before growth counts: pools fill in the first ones, of each kind of input. */
const settled = (predictions: number): number => Math.min(20, Math.max(3, Math.ceil(predictions / 10)));

/** Typed arrays, tensors in main memory and tensors on the GPU take turns, and both ways to get at the results. */
export async function checkEquality(request: EqualityRequest): Promise<Equality> {
  const start = performance.now();
  const example = tensorOf(request, request.inputAt(0));
  const captured = await capture(request.model, example, {recoverable: false, inFlight: IN_FLIGHT});
  try {
    const run = await uncapturedRun(request.model, example);
    example.dispose();
    const references = await makeReferences(request, run);
    const {list, unchanged, uncapturedMs} = references;
    const compared = await new Comparison(request, {captured, run, references: list}).run();
    const {mode, reason, dispatches, memory} = captured;
    return {
      ...{mode, reason, dispatches, predictions: request.predictions, inputs: list.length},
      ...{...compared, unchanged, memory, uncapturedMs, seconds: (performance.now() - start) / 1000},
    };
  } finally {
    captured.dispose();
  }
}

type Values = Float32Array | Int32Array;

const tensorOf = ({shape, dtype}: EqualityRequest, values: Values): tf.Tensor =>
  tf.tensor(values, [...shape], dtype);

interface Reference {
  readonly values: Values;
  /** What uncaptured predictions of these values gave; more than one where they differ. */
  readonly outputs: (readonly tf.TypedArray[])[];
}

interface References {
  readonly list: readonly Reference[];
  readonly unchanged: number;
  readonly uncapturedMs: number;
}

async function makeReferences(request: EqualityRequest, run: Run): Promise<References> {
  const {predictions, inputAt, onProgress} = request;
  const limits = {...DEFAULT_LIMITS, ...request.limits};
  const list: Reference[] = [];
  const times: number[] = [];
  let [bytes, unchanged] = [0, 0];
  const start = performance.now();
  const isWithin = (): boolean => bytes < limits.bytes && performance.now() - start < 1000 * limits.seconds;
  while (list.length < predictions && (list.length < limits.least || isWithin())) {
    const values = inputAt(list.length + 1);
    const from = performance.now();
    const output = await uncaptured(run, tensorOf(request, values));
    times.push(performance.now() - from);
    const before = list.at(-1)?.outputs[0];
    if (before && sameBits(before, output)) unchanged++;
    list.push({values, outputs: [output]});
    for (const {byteLength} of [values, ...output]) bytes += byteLength;
    onProgress?.(list.length, predictions, 'inputs uncaptured');
  }
  return {list, unchanged, uncapturedMs: median(times)};
}

const median = (times: readonly number[]): number =>
  [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? NaN;

interface Compared {
  readonly captured: Capture;
  readonly run: Run;
  readonly references: readonly Reference[];
}

/** Uncaptured predictions of one input until one differs from the others. `emotion` differs in one of four. */
const ATTEMPTS = 60;
/** So many differences are proof enough; the next are not looked into. */
const MOST_JUDGED = 20;

class Comparison {
  readonly #request: EqualityRequest;
  readonly #captured: Capture;
  readonly #run: Run;
  readonly #references: readonly Reference[];
  readonly #access = new BackendAccess(tf.backend());
  readonly #mismatches: Reference[] = [];
  readonly #flying: Promise<void>[] = [];
  readonly #counts = {differing: 0, unrepeatable: 0, repeats: 0, repeatsDiffering: 0};

  constructor(request: EqualityRequest, {captured, run, references}: Compared) {
    this.#request = request;
    this.#captured = captured;
    this.#run = run;
    this.#references = references;
  }

  async run(): Promise<Counts & Pick<Equality, 'growth' | 'capturedMs'>> {
    const {predictions, onProgress} = this.#request;
    const repeats = Math.min(MOST_REPEATS, Math.ceil(predictions / 4));
    const every = Math.floor(predictions / repeats);
    const next = shuffledCycle(this.#references.length, seededRandom(1));
    const watch = watchGrowth(this.#access.device);
    const start = performance.now();
    try {
      await watch.restart();
      for (let n = 0; n < predictions; n++) {
        if (n === settled(predictions)) {
          await this.#land();
          await watch.restart();
        }
        // In the middle of each stretch, captured predictions being on their way.
        if (n % every === every >> 1 && this.#counts.repeats < repeats) {
          const at = Math.floor((this.#counts.repeats++ * this.#references.length) / repeats);
          await watch.without(() => this.#repeat(this.#references[at] as Reference)); // a position among them
        }
        this.#launch(this.#references[next()] as Reference, n); // a position among them
        if (this.#flying.length >= IN_FLIGHT) await this.#flying.shift();
        if (this.#mismatches.length > 0) await watch.without(() => this.#judge());
        onProgress?.(n + 1, predictions, `captured, ${this.#counts.differing} differ`);
      }
      await this.#land();
      const capturedMs = (performance.now() - start) / predictions;
      await watch.without(() => this.#judge());
      return {...this.#counts, capturedMs, growth: await watch.growth()};
    } finally {
      await Promise.allSettled(this.#flying);
      watch.stop();
    }
  }

  #launch(reference: Reference, n: number): void {
    const flight = this.#predict(reference, n);
    flight.catch(() => undefined); // who awaits it is told
    this.#flying.push(flight);
  }

  async #land(): Promise<void> {
    while (this.#flying.length > 0) await this.#flying.shift();
  }

  async #predict(reference: Reference, n: number): Promise<void> {
    const got = await this.#predictionOf(reference.values, n);
    if (!reference.outputs.some((output) => sameBits(output, got))) this.#mismatches.push(reference);
  }

  async #predictionOf(values: Values, n: number): Promise<tf.TypedArray[]> {
    if (n % 3 === 0) return this.#captured.predictAsync(values);
    const x = tensorOf(this.#request, values);
    if (n % 3 === 1) this.#access.backend.uploadToGPU(x.dataId);
    const results = this.#captured.executeAsync(x);
    if (this.#captured.mode === 'replay') x.dispose(); // submitted already
    const tensors = await results;
    x.dispose();
    return valuesOf(tensors);
  }

  /** Runs an input uncaptured once more. TF.js keeps to one scope at a time, so what runs asynchronously runs alone. */
  async #repeat(reference: Reference): Promise<void> {
    if (this.#captured.mode !== 'replay') await this.#land();
    if (!(await this.#isRepeated(reference))) this.#counts.repeatsDiffering++;
  }

  /** Whether one more uncaptured prediction gives the same as the first. What it gives is kept. */
  async #isRepeated({values, outputs}: Reference): Promise<boolean> {
    const output = await uncaptured(this.#run, tensorOf(this.#request, values));
    const first = outputs[0] ?? [];
    if (!outputs.some((known) => sameBits(known, output))) outputs.push(output);
    return sameBits(first, output);
  }

  /** Whose fault each difference is: TF.js's, where it differs from itself. */
  async #judge(): Promise<void> {
    await this.#land();
    for (const reference of this.#mismatches.splice(0)) {
      const {outputs} = reference;
      const attempts = this.#counts.differing < MOST_JUDGED ? ATTEMPTS : 0;
      for (let i = 0; i < attempts && outputs.length === 1; i++) await this.#isRepeated(reference);
      if (outputs.length > 1) this.#counts.unrepeatable++;
      else this.#counts.differing++;
    }
  }
}

/** MatMulPackedProgram: TF.js's usual one, whose sums have one order. */
const PACKED = 3;

/** Has TF.js take for every matrix product a program that repeats itself to the bit. Captures made meanwhile keep it. */
export async function withoutSplitK<Result>(run: () => Promise<Result>): Promise<Result> {
  const usual = tf.env().getNumber('WEBGPU_MATMUL_PROGRAM_TYPE');
  tf.env().set('WEBGPU_MATMUL_PROGRAM_TYPE', PACKED);
  try {
    return await run();
  } finally {
    tf.env().set('WEBGPU_MATMUL_PROGRAM_TYPE', usual);
  }
}
