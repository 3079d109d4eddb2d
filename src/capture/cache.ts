/** Captures of one model for inputs whose shapes change. */
import * as tf from '@tensorflow/tfjs-core';
import {capture, type Capture, type CaptureOptions} from './capture.js';
import type {CaptureSource} from './source.js';
import {isSpec, type InputSpec} from './values.js';

export interface CaptureCacheOptions extends CaptureOptions {
  /** Captures kept; the one unused for longest is disposed when another is needed. Default 8. */
  readonly capacity?: number;
}

type Shaped = tf.Tensor | InputSpec;

const DEFAULT_CAPACITY = 8;

export class CaptureCache {
  #source: CaptureSource;
  readonly #options: CaptureOptions;
  readonly #capacity: number;
  /** In order of use, the latest last. */
  readonly #captures = new Map<string, Promise<Capture>>();
  readonly #users = new WeakMap<Promise<Capture>, Set<Promise<unknown>>>();

  constructor(source: CaptureSource, {capacity = DEFAULT_CAPACITY, ...options}: CaptureCacheOptions = {}) {
    if (!(capacity >= 1)) throw new Error(`CaptureCache: capacity is ${capacity}; it must be 1 or more.`);
    this.#source = source;
    this.#options = options;
    this.#capacity = capacity;
  }

  /** Captures held now. */
  get size(): number {
    return this.#captures.size;
  }

  /** The capture for these shapes, recorded if need be. Do not dispose it; and do not keep it, it may be evicted. */
  get(inputs: Shaped | readonly Shaped[]): Promise<Capture> {
    const list = isShaped(inputs) ? [inputs] : [...inputs];
    const key = list.map(({shape, dtype}) => `${dtype}[${shape.join()}]`).join(' ');
    const known = this.#captures.get(key);
    if (known) {
      this.#captures.delete(key);
      this.#captures.set(key, known);
      return known;
    }
    const made = capture(this.#source, list, this.#options);
    this.#captures.set(key, made);
    made.catch(() => {
      if (this.#captures.get(key) === made) this.#captures.delete(key);
    });
    this.#evict();
    return made;
  }

  async executeAsync(inputs: tf.Tensor | readonly tf.Tensor[]): Promise<tf.Tensor[]> {
    return this.#use(this.get(inputs), (captured) => captured.executeAsync(inputs));
  }

  async predictAsync(inputs: tf.Tensor | readonly tf.Tensor[]): Promise<tf.TypedArray[]> {
    return this.#use(this.get(inputs), (captured) => captured.predictAsync(inputs));
  }

  /** After the device was lost: all captures, as `Capture.recover` does each. */
  async recover(source?: CaptureSource): Promise<void> {
    if (source) this.#source = source;
    for (const made of [...this.#captures.values()]) await (await made).recover(source);
  }

  /** Disposes all captures. The cache can be used again. */
  async dispose(): Promise<void> {
    const captures = [...this.#captures.values()];
    this.#captures.clear();
    for (const one of await Promise.allSettled(captures)) if (one.status === 'fulfilled') one.value.dispose();
  }

  /** A capture that is evicted while it is used is disposed when that is over. */
  #use<Result>(made: Promise<Capture>, run: (captured: Capture) => Promise<Result>): Promise<Result> {
    const result = made.then(run);
    const users = this.#users.get(made) ?? new Set();
    this.#users.set(made, users.add(result));
    const forget = (): boolean => users.delete(result);
    result.then(forget, forget);
    return result;
  }

  #evict(): void {
    for (const [key, oldest] of this.#captures) {
      if (this.#captures.size <= this.#capacity) return;
      this.#captures.delete(key);
      const users = this.#users.get(oldest) ?? [];
      void Promise.allSettled([oldest, ...users]).then(([made]) => {
        if (made.status === 'fulfilled') made.value.dispose(); // else who asked for it was told
      });
    }
  }
}

const isShaped = (inputs: Shaped | readonly Shaped[]): inputs is Shaped =>
  inputs instanceof tf.Tensor || isSpec(inputs);
