/**
 * Capture and replay: a model's GPU commands are recorded once and repeated at each prediction with one submit, so that
 * JavaScript costs microseconds per dispatch and not tens of them.
 */
import * as tf from '@tensorflow/tfjs-core';
import {BackendAccess, missingFields} from '../../kernels/webgpu/backend_access.js';
import {type ExampleInputs, exampleValues, inputList, type Inputs, namedSpecs} from './inputs.js';
import type {ImageOptions} from './image_input.js';
import {type Prepared, prepare} from './prepare.js';
import {openRunner, type Runner} from './runner.js';
import {keepWeights, type KeptWeights, restartBackend} from './recovery.js';
import {type CaptureSource, type OpenSource, openSource} from './source.js';
import type {HostValues, NamedSpec} from './values.js';

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

/** What a capture knows about one device; replaced by `recover`. */
interface State {
  readonly access: BackendAccess | undefined;
  readonly prepared: Prepared;
  readonly runner: Runner;
  readonly outputs: readonly CaptureOutput[];
  readonly kept: KeptWeights | undefined;
}

interface Job {
  readonly source: OpenSource;
  readonly specs: readonly NamedSpec[];
  readonly examples: readonly HostValues[];
  readonly options: CaptureOptions;
}

const DEFAULT_IN_FLIGHT = 2;

/** Recordings hook the device, so there is one at a time. */
let turn: Promise<unknown> = Promise.resolve();

function inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
  const result = turn.then(work);
  turn = result.catch(() => undefined);
  return result;
}

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
  const opened = openSource(source);
  const list = inputList(inputs, opened.declared);
  const specs = namedSpecs(list, opened.declared);
  const examples = await Promise.all(specs.map((spec, i) => exampleValues(spec, list[i])));
  const job = {source: opened, specs, examples, options};
  return new Capture(job, await inTurn(() => start(job)));
}

async function start({source, specs, examples, options}: Job): Promise<State> {
  const backend = tf.backend();
  const missing = missingFields(backend);
  const access = missing.length === 0 ? new BackendAccess(backend) : undefined;
  const {inFlight = DEFAULT_IN_FLIGHT, shareMemory = true, image = {}, recoverable: copy = true} = options;
  const prepared: Prepared = access
    ? await prepare(access, {source, specs, examples, options: {inFlight, shareMemory, image}})
    : {
        mode: 'plain',
        reason: `'${tf.getBackend()}' is not the WebGPU backend of TF.js 4.22.0: it lacks ${missing.join(', ')}`,
      };
  const {runner, outputs} = await openRunner({access, prepared, source, specs, examples, image});
  const recorded = prepared.mode === 'plain' ? [] : prepared.weights;
  const kept = access && (await keepWeights(access, {recorded, owned: source.weights, copy}));
  return {access, prepared, runner, outputs, kept};
}

/** A recorded model, function or part of one. Made by `capture`. */
export class Capture {
  #job: Job;
  #state: State;
  #lost: GPUDeviceLostInfo | undefined;
  #isDisposed = false;
  #pending = 0;

  constructor(job: Job, state: State) {
    this.#job = job;
    this.#state = state;
    this.#watchDevice();
  }

  get mode(): CaptureMode {
    return this.#state.prepared.mode;
  }

  /** Why this is not one replay, with the op's name; undefined for `replay`. */
  get reason(): string | undefined {
    const {prepared} = this.#state;
    return prepared.mode === 'replay' ? undefined : prepared.reason;
  }

  get inputs(): readonly NamedSpec[] {
    return this.#job.specs;
  }

  /** In the order in which predictions return them. */
  get outputs(): readonly CaptureOutput[] {
    return this.#state.outputs.map(({name, shape, dtype}) => ({name, shape, dtype}));
  }

  /** GPU dispatches that a prediction replays. */
  get dispatches(): number {
    const {prepared} = this.#state;
    return prepared.mode === 'plain' ? 0 : prepared.replay.dispatches;
  }

  get segments(): readonly CaptureSegment[] {
    const {prepared} = this.#state;
    if (prepared.mode === 'plain') return [{kind: 'plain', hostOps: []}];
    const replayed = {kind: 'replay', dispatches: prepared.replay.dispatches} as const;
    return prepared.mode === 'replay' ? [replayed] : [replayed, {kind: 'plain', hostOps: prepared.hostOps}];
  }

  get memory(): CaptureMemory {
    const {prepared, kept} = this.#state;
    const weights = kept?.bytes ?? 0;
    if (prepared.mode === 'plain') return {peak: 0, sum: 0, live: 0, weights, constants: 0};
    const {arena, sum, live, constants} = prepared.replay.memory;
    return {peak: arena, sum, live, weights, constants};
  }

  /** Resolves when the device is lost; never for a capture that runs plainly on another backend. */
  get lost(): Promise<GPUDeviceLostInfo> {
    return this.#state.access?.device.lost ?? new Promise(() => undefined);
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
    return this.#unlessLost(() => this.#use().runner.tensorsAsync(inputList(inputs, this.#job.specs)));
  }

  /**
   * One prediction, read back in one go: what `tensor.data()` gives for each output. Submitted before this returns, unless
   * `inFlight` predictions are on their way already: then the inputs must stay as they are until the first of those arrives.
   */
  async predictAsync(inputs: Inputs): Promise<tf.TypedArray[]> {
    this.#pending++;
    try {
      return await this.#unlessLost(() => this.#use().runner.values(inputList(inputs, this.#job.specs)));
    } finally {
      this.#pending--;
    }
  }

  /**
   * Whether fewer than `inFlight` predictions of `predictAsync` are on their way. A video loop that must never wait for the GPU
   * skips the frame where this is false.
   */
  get isReady(): boolean {
    return this.#pending < (this.#job.options.inFlight ?? DEFAULT_IN_FLIGHT);
  }

  /**
   * After the device was lost: records again on a new one. Where the current backend is the lost one, TF.js starts it anew.
   * The model's weights come back from main memory; with `recoverable: false` pass a model that was loaded again.
   * Without a loss and without a new source it does nothing.
   */
  async recover(source?: CaptureSource): Promise<void> {
    if (this.#isDisposed)
      throw new Error('Capture: it is disposed and cannot recover. Capture the model again.');
    const {access, kept, runner} = this.#state;
    if (!this.#lost && !source) return;
    if (!source && this.#job.options.recoverable === false) {
      throw new Error(
        'Capture: the weights were lost with the device, because of recoverable: false. ' +
          'Pass the model, loaded again, to recover().',
      );
    }
    if (this.#lost && !source) kept?.restore();
    runner.dispose();
    kept?.release();
    if (this.#lost && access) await restartBackend(access);
    if (source) this.#job = {...this.#job, source: openSource(source)};
    this.#state = await inTurn(() => start(this.#job));
    this.#lost = undefined;
    this.#watchDevice();
  }

  /** Frees all that the capture owns. The model stays as it is; predictions on their way still arrive. */
  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#state.runner.dispose();
    this.#state.kept?.release();
  }

  #watchDevice(): void {
    const {access} = this.#state;
    void access?.device.lost.then((info) => {
      if (this.#state.access === access) this.#lost = info;
    });
  }

  #use(): State {
    if (this.#isDisposed) throw new Error('Capture: it is disposed. Capture the model again.');
    if (this.#lost) throw new Error(lostMessage(this.#lost));
    return this.#state;
  }

  async #unlessLost<Result>(run: () => Promise<Result>): Promise<Result> {
    try {
      return await run();
    } catch (error) {
      await Promise.resolve(); // a mapping fails just before the loss is told
      if (this.#lost && !(error instanceof Error && error.message === lostMessage(this.#lost))) {
        throw new Error(lostMessage(this.#lost), {cause: error});
      }
      throw error;
    }
  }
}

const lostMessage = ({reason, message}: GPUDeviceLostInfo): string =>
  `Capture: the GPU device was lost (${reason}: ${message}). Call recover() to record again on a new device.`;
