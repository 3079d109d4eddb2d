/** A source, recorded on one device and ready to run: what a capture replaces when it is recorded anew. */
import * as tf from '@tensorflow/tfjs-core';
import {BackendAccess, missingFields} from '../../kernels/webgpu/backend_access.js';
import {DeviceLoss} from './device_loss.js';
import type {ImageOptions} from './image_input.js';
import {type Prepared, prepare} from './prepare.js';
import {keepWeights, type KeptWeights} from './recovery.js';
import {type Described, openRunner, type Runner} from './runner.js';
import type {OpenSource} from './source.js';
import type {HostValues, NamedSpec} from './values.js';

export interface Job {
  readonly source: OpenSource;
  readonly specs: readonly NamedSpec[];
  readonly examples: readonly HostValues[];
  readonly inFlight: number;
  readonly shareMemory: boolean;
  readonly image: ImageOptions;
  /** Whether to keep a copy of the weights in main memory. */
  readonly recoverable: boolean;
}

interface Parts {
  readonly access: BackendAccess | undefined;
  readonly loss: DeviceLoss | undefined;
  readonly prepared: Prepared;
  readonly runner: Runner;
  readonly outputs: readonly Described[];
  readonly kept: KeptWeights | undefined;
}

export class Session {
  readonly access: BackendAccess | undefined;
  readonly prepared: Prepared;
  readonly outputs: readonly Described[];
  readonly kept: KeptWeights | undefined;
  readonly #loss: DeviceLoss | undefined;
  readonly #runner: Runner;
  #users = 0;
  #isRetired = false;

  constructor({access, loss, prepared, runner, outputs, kept}: Parts) {
    this.access = access;
    this.prepared = prepared;
    this.outputs = outputs;
    this.kept = kept;
    this.#loss = loss;
    this.#runner = runner;
  }

  get isLost(): boolean {
    return this.#loss?.isLost === true;
  }

  /** @throws where the device is lost. */
  get runner(): Runner {
    this.#loss?.check();
    return this.#runner;
  }

  /** Runs something asynchronous; what it needs lives until it ends. @throws as `run`, and where the device is lost. */
  async use<Result>(run: (runner: Runner) => Promise<Result>): Promise<Result> {
    this.#users++;
    try {
      return await (this.#loss ? this.#loss.explain(() => run(this.runner)) : run(this.runner));
    } finally {
      this.#users--;
      this.#freeIfUnused();
    }
  }

  /** Frees all, once nothing runs any more. */
  retire(): void {
    this.#isRetired = true;
    this.#freeIfUnused();
  }

  #freeIfUnused(): void {
    if (!this.#isRetired || this.#users > 0) return;
    this.#runner.dispose();
    this.kept?.release();
  }
}

/** Recordings hook the device, so there is one at a time. */
let turn: Promise<unknown> = Promise.resolve();

/** Records. @throws what the source throws, and where the device is lost meanwhile; then nothing is left behind. */
export function openSession(job: Job): Promise<Session> {
  const opened = turn.then(() => {
    const backend = tf.backend();
    const missing = missingFields(backend);
    const access = missing.length === 0 ? new BackendAccess(backend) : undefined;
    const loss = access && new DeviceLoss(access.device);
    const start = (): Promise<Session> => startOn(access, {job, loss, missing});
    return loss ? loss.explain(start) : start();
  });
  const nothing = (): void => undefined; // The next in turn must not keep this session alive.
  turn = opened.then(nothing, nothing);
  return opened;
}

interface Start {
  readonly job: Job;
  readonly loss: DeviceLoss | undefined;
  /** Fields that the backend lacks. */
  readonly missing: readonly string[];
}

async function startOn(access: BackendAccess | undefined, {job, loss, missing}: Start): Promise<Session> {
  const {source, specs, examples, inFlight, shareMemory, image} = job;
  const prepared: Prepared = access
    ? await prepare(access, {source, specs, examples, options: {inFlight, shareMemory, image}})
    : {
        mode: 'plain',
        reason: `'${tf.getBackend()}' is not the WebGPU backend of TF.js 4.22.0: it lacks ${missing.join(', ')}`,
      };
  let kept: KeptWeights | undefined;
  try {
    const {runner, outputs} = await openRunner({access, prepared, source, specs, examples, image});
    const recorded = prepared.mode === 'plain' ? [] : prepared.weights;
    kept = access && (await keepWeights(access, {recorded, owned: source.weights, copy: job.recoverable}));
    loss?.check();
    return new Session({access, loss, prepared, runner, outputs, kept});
  } catch (error) {
    kept?.release();
    if (prepared.mode !== 'plain') prepared.replay.dispose();
    throw error;
  }
}
