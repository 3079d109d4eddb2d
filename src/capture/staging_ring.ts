/** A fixed number of staging buffers, so that several read-backs are on their way at once. */
import {createStaging} from './read_back.js';

export class StagingRing {
  readonly #device: GPUDevice;
  readonly #size: number;
  readonly #most: number;
  readonly #free: GPUBuffer[] = [];
  readonly #waiting: ((staging: GPUBuffer) => void)[] = [];
  #made = 0;
  #isDestroyed = false;

  /** `most` buffers of `size` bytes, made when first needed. */
  constructor(device: GPUDevice, size: number, most: number) {
    this.#device = device;
    this.#size = size;
    this.#most = most;
  }

  /** A free buffer at once, or a promise of the next one to come back where all are in flight. First come, first served. */
  take(): GPUBuffer | Promise<GPUBuffer> {
    const free = this.#free.pop();
    if (free) return free;
    if (this.#made < this.#most) {
      this.#made++;
      return createStaging(this.#device, this.#size);
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  giveBack(staging: GPUBuffer): void {
    const next = this.#waiting.shift();
    if (next) next(staging);
    else if (this.#isDestroyed) staging.destroy();
    else this.#free.push(staging);
  }

  /** Buffers in flight are destroyed when they come back. */
  destroy(): void {
    this.#isDestroyed = true;
    for (const staging of this.#free.splice(0)) staging.destroy();
  }
}
