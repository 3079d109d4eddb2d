/** A fixed number of staging buffers, so that several read-backs are on their way at once. */
import {createStaging} from './read_back.js';

export interface StagingSlot {
  readonly staging: GPUBuffer;
  /** A whole prediction that ends in this staging buffer, encoded ahead of time. Running it uses it up. */
  commands: GPUCommandBuffer | undefined;
}

export class StagingRing {
  readonly #device: GPUDevice;
  readonly #size: number;
  readonly #most: number;
  readonly #free: StagingSlot[] = [];
  readonly #waiting: ((slot: StagingSlot) => void)[] = [];
  #made = 0;
  #isDestroyed = false;

  /** `most` buffers of `size` bytes, made when first needed. */
  constructor(device: GPUDevice, size: number, most: number) {
    this.#device = device;
    this.#size = size;
    this.#most = most;
  }

  /** A free buffer at once, or a promise of the next one to come back where all are in flight. First come, first served. */
  take(): StagingSlot | Promise<StagingSlot> {
    const free = this.#free.pop();
    if (free) return free;
    if (this.#made < this.#most) {
      this.#made++;
      return {staging: createStaging(this.#device, this.#size), commands: undefined};
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  giveBack(slot: StagingSlot): void {
    const next = this.#waiting.shift();
    if (next) next(slot);
    else if (this.#isDestroyed) slot.staging.destroy();
    else this.#free.push(slot);
  }

  /** Buffers in flight are destroyed when they come back. */
  destroy(): void {
    this.#isDestroyed = true;
    for (const {staging} of this.#free.splice(0)) staging.destroy();
  }
}
