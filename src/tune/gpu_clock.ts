/**
 * Times GPU commands without TF.js in between: on the GPU's own clock where the device has timestamp queries, else by the
 * host's over many repeats. Each sample runs right behind an untimed copy of itself, so that clocks are up and neither launch
 * nor the clock's grain counts.
 */
import {median} from '../profile/statistics.js';
import type {Timer} from '../profile/types.js';

/** A dispatch with its buffers bound. Bind groups by their index. */
export interface TimedDispatch {
  readonly kind: 'dispatch';
  readonly pipeline: GPUComputePipeline;
  readonly groups: readonly GPUBindGroup[];
  readonly workgroups: readonly [number, number, number];
}

export interface TimedCopy {
  readonly kind: 'copy';
  readonly source: GPUBuffer;
  readonly target: GPUBuffer;
  readonly size: number;
}

export type TimedStep = TimedDispatch | TimedCopy;

export interface ClockOptions {
  /** Their median counts; 3 unless given. */
  readonly samples?: number;
  /** Length of a sample; 1 unless given. */
  readonly milliseconds?: number;
}

const MOST_REPEATS = 1000;
const QUERY_BYTES = 8;
/** Microseconds of one run that no repeat makes much more certain: of a CPU that plays the GPU. */
const LONG_ENOUGH = 50_000;
/** Since the last sample, after which the clocks are down, and what brings them up. */
const IDLE_MS = 200;
const COLD_MS = 500;

export class GpuClock {
  readonly timer: Timer;
  readonly #device: GPUDevice;
  readonly #queries: GPUQuerySet | undefined;
  readonly #resolved: GPUBuffer | undefined;
  readonly #staging: GPUBuffer | undefined;
  #lastBusy = -Infinity;

  constructor(device: GPUDevice) {
    this.#device = device;
    this.timer = device.features.has('timestamp-query') ? 'timestamp-query' : 'wall-clock';
    if (this.timer === 'wall-clock') return;
    const size = 2 * QUERY_BYTES;
    this.#queries = device.createQuerySet({type: 'timestamp', count: 2});
    this.#resolved = device.createBuffer({size, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC}); // prettier-ignore
    this.#staging = device.createBuffer({size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ});
  }

  destroy(): void {
    for (const owned of [this.#queries, this.#resolved, this.#staging]) owned?.destroy();
  }

  /** Microseconds one run of `steps` takes; NaN where none is a dispatch, or the clock did not move. */
  async microseconds(
    steps: readonly TimedStep[],
    {samples = 3, milliseconds = 1}: ClockOptions = {},
  ): Promise<number> {
    if (!steps.some(({kind}) => kind === 'dispatch')) return NaN;
    const rough = await this.#sample(steps, 1);
    if (rough > LONG_ENOUGH) return rough;
    const wanted = Math.ceil((1000 * milliseconds) / Math.max(rough, 1));
    const repeats = Math.min(MOST_REPEATS, Math.max(1, wanted));
    const times: number[] = [];
    for (let sample = 0; sample < samples; sample++) times.push(await this.#sample(steps, repeats));
    const time = median(times) / repeats;
    return time > 0 ? time : NaN;
  }

  /**
   * Keeps the GPU at work: the clocks of an idle one are a third of a busy one's, and take longer to come back the longer it had
   * nothing to do, as while pipelines compile.
   */
  async warmUp(steps: readonly TimedStep[], milliseconds: number): Promise<void> {
    const now = performance.now();
    const end = now + (now - this.#lastBusy > IDLE_MS ? Math.max(COLD_MS, milliseconds) : milliseconds);
    while (performance.now() < end) await this.microseconds(steps, {samples: 1, milliseconds: 20});
  }

  /** Microseconds of `repeats` runs. */
  async #sample(steps: readonly TimedStep[], repeats: number): Promise<number> {
    const {queue} = this.#device;
    if (!this.#queries || !this.#resolved || !this.#staging) {
      queue.submit([this.#encode(steps, repeats).finish()]);
      await queue.onSubmittedWorkDone();
      const start = performance.now();
      queue.submit([this.#encode(steps, repeats).finish()]);
      await queue.onSubmittedWorkDone();
      this.#lastBusy = performance.now();
      return 1000 * (this.#lastBusy - start);
    }
    const encoder = this.#encode(steps, repeats);
    this.#encode(steps, repeats, encoder, this.#queries);
    encoder.resolveQuerySet(this.#queries, 0, 2, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#staging, 0, 2 * QUERY_BYTES);
    queue.submit([encoder.finish()]);
    await this.#staging.mapAsync(GPUMapMode.READ);
    const [begin = 0n, end = 0n] = new BigUint64Array(this.#staging.getMappedRange().slice(0));
    this.#staging.unmap();
    this.#lastBusy = performance.now();
    return Number(end - begin) / 1000;
  }

  /** One compute pass, interrupted only by copies; timestamps at the beginning of the first and the end of the last. */
  #encode(
    steps: readonly TimedStep[],
    repeats: number,
    encoder = this.#device.createCommandEncoder(),
    querySet?: GPUQuerySet,
  ): GPUCommandEncoder {
    const all = Array.from({length: repeats}, () => steps).flat();
    const kinds = all.map(({kind}) => kind);
    const lastBreak = kinds.lastIndexOf('copy', kinds.lastIndexOf('dispatch'));
    let isFirst = true;
    for (let at = 0; at < all.length;) {
      const step = all[at];
      if (step?.kind === 'copy') {
        encoder.copyBufferToBuffer(step.source, 0, step.target, 0, step.size);
        at++;
        continue;
      }
      const isLast = at > lastBreak;
      const timestampWrites = querySet && {
        querySet,
        ...(isFirst ? {beginningOfPassWriteIndex: 0} : {}),
        ...(isLast ? {endOfPassWriteIndex: 1} : {}),
      };
      const pass = encoder.beginComputePass(timestampWrites && (isFirst || isLast) ? {timestampWrites} : {});
      at = encodeDispatches(pass, all, at);
      pass.end();
      isFirst = false;
    }
    return encoder;
  }
}

/** From `at` to the next copy. @returns where that is. */
function encodeDispatches(pass: GPUComputePassEncoder, steps: readonly TimedStep[], at: number): number {
  let next = at;
  for (; next < steps.length; next++) {
    const step = steps[next];
    if (step?.kind !== 'dispatch') break;
    pass.setPipeline(step.pipeline);
    step.groups.forEach((group, index) => pass.setBindGroup(index, group));
    pass.dispatchWorkgroups(...step.workgroups);
  }
  return next;
}
