/**
 * Capture and replay: a model's GPU commands are recorded once and repeated at each prediction with one submit, so that
 * JavaScript costs microseconds per dispatch and not tens of them.
 */
import type * as tf from '@tensorflow/tfjs-core';
import {type ExampleInputs, exampleValues, inputList, type Inputs, namedSpecs} from './inputs.js';
import type {ImageOptions} from './image_input.js';
import {restartBackend} from './recovery.js';
import {type Job, openSession, type Session} from './session.js';
import {type CaptureSource, openSource} from './source.js';
import type {NamedSpec} from './values.js';

export interface CaptureOptions {
  /** Predictions that `predictAsync` may have on their way at once; the next waits for the first. Default 2. */
  readonly inFlight?: number;
  /** How images become inputs. */
  readonly image?: ImageOptions;
  /** Keeps a copy of the weights in main memory, so that `recover()` needs nothing else. Default true. */
  readonly recoverable?: boolean;
  /** False gives each intermediate result memory of its own. Default true. */
  readonly shareMemory?: boolean;
}

/**
 * replay    every prediction is one submit
 * segments  the part before the ops that run on the CPU is one submit, the rest runs as TF.js runs it
 * plain     the model runs as TF.js runs it
 */
export type CaptureMode = 'replay' | 'segments' | 'plain';

export interface CaptureOutput {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: tf.DataType;
}

/** In bytes; zeros where nothing is captured. */
export interface CaptureMemory {
  /** Intermediate results, sharing memory. */
  readonly peak: number;
  /** Intermediate results if none shared memory with another. */
  readonly sum: number;
  /** Intermediate results alive at the worst moment: the least that `peak` could be. */
  readonly live: number;
  /** The model's own weights, not copied. */
  readonly weights: number;
  /** Frozen uniforms, uploaded constants, and results computed once. */
  readonly constants: number;
}

export type CaptureSegment =
  | {readonly kind: 'replay'; readonly dispatches: number}
  | {readonly kind: 'plain'; readonly hostOps: readonly string[]};

const DEFAULT_IN_FLIGHT = 2;

/**
 * Records `source` for the shapes of `inputs`. They are examples: tensors, or `{shape, dtype}`; for a model also arrays,
 * GPUBuffers or images, whose shapes the model knows. While this promise is pending no other TF.js work may run.
 * @throws what the source throws, and where an input's shape is unknown.
 */
export async function capture(
  source: CaptureSource,
  inputs: ExampleInputs,
  options: CaptureOptions = {},
): Promise<Capture> {
  const {inFlight = DEFAULT_IN_FLIGHT, shareMemory = true, image = {}, recoverable = true} = options;
  if (!Number.isInteger(inFlight) || inFlight < 1)
    throw new Error(`Capture: inFlight is ${inFlight}; it must be a whole number, 1 or more.`);
  const opened = openSource(source);
  const list = inputList(inputs, opened.declared);
  const specs = namedSpecs(list, opened.declared);
  const examples = await Promise.all(specs.map((spec, i) => exampleValues(spec, list[i])));
  const job = {source: opened, specs, examples, inFlight, shareMemory, image, recoverable};
  return new Capture(job, await openSession(job));
}

/** A recorded model, function or part of one. Made by `capture`. */
export class Capture {
  #job: Job;
  #session: Session;
  #recovering: Promise<void> | undefined;
  #isDisposed = false;
  #pending = 0;

  constructor(job: Job, session: Session) {
    this.#job = job;
    this.#session = session;
  }

  get mode(): CaptureMode {
    return this.#session.prepared.mode;
  }

  /** Why this is not one replay, with the op's name; undefined for `replay`. */
  get reason(): string | undefined {
    const {prepared} = this.#session;
    return prepared.mode === 'replay' ? undefined : prepared.reason;
  }

  get inputs(): readonly NamedSpec[] {
    return this.#job.specs;
  }

  /** In the order in which predictions return them. */
  get outputs(): readonly CaptureOutput[] {
    return this.#session.outputs.map(({name, shape, dtype}) => ({name, shape, dtype}));
  }

  /** GPU dispatches that a prediction replays. */
  get dispatches(): number {
    const {prepared} = this.#session;
    return prepared.mode === 'plain' ? 0 : prepared.replay.dispatches;
  }

  get segments(): readonly CaptureSegment[] {
    const {prepared} = this.#session;
    if (prepared.mode === 'plain') return [{kind: 'plain', hostOps: []}];
    const replayed = {kind: 'replay', dispatches: prepared.replay.dispatches} as const;
    return prepared.mode === 'replay' ? [replayed] : [replayed, {kind: 'plain', hostOps: prepared.hostOps}];
  }

  get memory(): CaptureMemory {
    const {prepared, kept} = this.#session;
    const weights = kept?.bytes ?? 0;
    if (prepared.mode === 'plain') return {peak: 0, sum: 0, live: 0, weights, constants: 0};
    const {arena, sum, live, constants} = prepared.replay.memory;
    return {peak: arena, sum, live, weights, constants};
  }

  /** Resolves when the device is lost; never for a capture that runs plainly on another backend. */
  get lost(): Promise<GPUDeviceLostInfo> {
    return this.#session.access?.device.lost ?? new Promise(() => undefined);
  }

  /**
   * One prediction: tensors in the order of `outputs`, the caller's to dispose. Returns as soon as the work is submitted.
   * @throws where the model runs asynchronously (`executeAsync` does it then), the device is lost, or inputs do not fit.
   */
  predict(inputs: Inputs): tf.Tensor[] {
    const {runner} = this.#use();
    if (runner.isAsync) {
      throw new Error(
        `Capture: this model runs in part on the CPU and must wait for the GPU (${this.reason ?? ''}). ` +
          'Call executeAsync() or predictAsync() instead of predict().',
      );
    }
    return runner.tensors(inputList(inputs, this.#job.specs));
  }

  /** As `predict`, for every model. */
  async executeAsync(inputs: Inputs): Promise<tf.Tensor[]> {
    return this.#use().use((runner) => runner.tensorsAsync(inputList(inputs, this.#job.specs)));
  }

  /**
   * One prediction, read back in one go: what `tensor.data()` gives for each output. Submitted before this returns, unless
   * `inFlight` predictions are on their way already: then the inputs must stay as they are until the first of those arrives.
   */
  async predictAsync(inputs: Inputs): Promise<tf.TypedArray[]> {
    const session = this.#use();
    this.#pending++;
    try {
      return await session.use((runner) => runner.values(inputList(inputs, this.#job.specs)));
    } finally {
      this.#pending--;
    }
  }

  /**
   * Whether a prediction by `predictAsync` would be submitted at once: fewer than `inFlight` are on their way, and the device is
   * there. A video loop that must never wait for the GPU skips the frame where this is false.
   */
  get isReady(): boolean {
    return !this.#isDisposed && !this.#session.isLost && this.#pending < this.#job.inFlight;
  }

  /**
   * After the device was lost: records again on a new one. Where the current backend is the lost one, TF.js starts it anew.
   * The model's weights come back from main memory; with `recoverable: false` pass a model that was loaded again.
   * Without a loss it records `source`, if given; the old recording answers until that is done.
   */
  async recover(source?: CaptureSource): Promise<void> {
    if (this.#isDisposed)
      throw new Error('Capture: it is disposed and cannot recover. Capture the model again.');
    const previous = this.#recovering ?? Promise.resolve();
    const recovered = previous.catch(() => undefined).then(() => this.#recover(source));
    this.#recovering = recovered;
    await recovered;
  }

  async #recover(source: CaptureSource | undefined): Promise<void> {
    const old = this.#session;
    if (!old.isLost && !source) return;
    if (!source && !this.#job.recoverable) {
      throw new Error(
        'Capture: the weights were lost with the device, because of recoverable: false. ' +
          'Pass the model, loaded again, to recover().',
      );
    }
    if (old.isLost) {
      if (!source) old.kept?.restore();
      old.retire();
      if (old.access) await restartBackend(old.access);
    }
    const job = source ? {...this.#job, source: openSource(source)} : this.#job;
    const session = await openSession(job);
    old.retire();
    this.#job = job;
    this.#session = session;
    if (this.#isDisposed) session.retire();
  }

  /** Frees all that the capture owns, when what is on its way has arrived. The model stays as it is. */
  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#session.retire();
  }

  #use(): Session {
    if (this.#isDisposed) throw new Error('Capture: it is disposed. Capture the model again.');
    return this.#session;
  }
}
