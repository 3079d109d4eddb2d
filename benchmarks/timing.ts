/** Times dispatches of a plan on the GPU by timestamp queries, without TF.js in between. */
import type {BufferName, Dispatch, Plan} from '../kernels/plan.js';
import {boundBuffers, type PipelineCache} from '../kernels/webgpu/compile.js';
import {seededRandom} from '../test/support/random.js';

/** Flags of Dawn, which rounds timestamps to 65 µs unless told otherwise. */
export const EXACT_TIMESTAMPS = [
  'enable-dawn-features=allow_unsafe_apis',
  'disable-dawn-features=timestamp_quantization',
];

/** The buffers of a plan, filled with random numbers, f32 or f16: a GPU runs faster on zeros. */
export class PlanBuffers {
  readonly #device: GPUDevice;
  readonly #buffers = new Map<string, GPUBuffer>();
  readonly #sizes: ReadonlyMap<string, number>;
  readonly #values: Readonly<Record<string, Float32Array>>;

  /** @param values of the buffers that are not to hold random numbers. */
  constructor(device: GPUDevice, plan: Plan, values: Readonly<Record<string, Float32Array>> = {}) {
    this.#device = device;
    this.#values = values;
    const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
    this.#sizes = new Map<string, number>([
      ['x', product(plan.input)],
      ['out', product(plan.output)],
      ['weights', plan.weights.size],
      ...Object.entries(plan.scratch),
    ]);
  }

  get(name: BufferName): GPUBuffer {
    let buffer = this.#buffers.get(name);
    if (!buffer) {
      const size = Math.max(16, 4 * (this.#sizes.get(name) ?? 4));
      buffer = this.#device.createBuffer({
        size,
        usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC,
        mappedAtCreation: true,
      });
      const given = this.#values[name];
      if (given) {
        new Float32Array(buffer.getMappedRange()).set(given);
        buffer.unmap();
        this.#buffers.set(name, buffer);
        return buffer;
      }
      const next = seededRandom(name.length);
      const block = Float32Array.from({length: 4096}, () => 0.2 * (next() - 0.5));
      // Read as f16, both halves of a word are ordinary numbers too.
      const words = new Uint32Array(block.buffer);
      words.forEach((word, i) => (words[i] = (word & 0xffff0000) | (0x2c00 + (word & 0xfff))));
      const values = new Float32Array(buffer.getMappedRange());
      for (let at = 0; at < values.length; at += block.length)
        values.set(block.subarray(0, values.length - at), at);
      buffer.unmap();
      this.#buffers.set(name, buffer);
    }
    return buffer;
  }

  destroy(): void {
    for (const buffer of this.#buffers.values()) buffer.destroy();
  }
}

export interface Recorded {
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  readonly workgroups: readonly [number, number, number];
}

export function recordedOf(
  device: GPUDevice,
  cache: PipelineCache,
  dispatch: Dispatch,
  buffers: PlanBuffers,
): Recorded {
  const {pipeline, layout} = cache.get(dispatch);
  const entries = boundBuffers(dispatch).map(({binding, buffer}) => ({
    binding,
    resource: {buffer: buffers.get(buffer)},
  }));
  return {pipeline, bindGroup: device.createBindGroup({layout, entries}), workgroups: dispatch.workgroups};
}

/** Reads pairs of timestamps around compute passes. */
export class GpuTimer {
  readonly #device: GPUDevice;
  readonly #queries: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #staging: GPUBuffer;

  constructor(device: GPUDevice) {
    this.#device = device;
    this.#queries = device.createQuerySet({type: 'timestamp', count: 2});
    this.#resolved = device.createBuffer({
      size: 16,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    });
    this.#staging = device.createBuffer({size: 16, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ});
  }

  /**
   * Median over `samples` of the microseconds one run of `sequence` takes. Each sample is a pass of about `milliseconds`, right
   * behind an untimed one, so that clocks are up and neither launch nor the clock's grain counts.
   */
  async microseconds(sequence: readonly Recorded[], {samples = 3, milliseconds = 1} = {}): Promise<number> {
    const rough = await this.#once(sequence, 4);
    const repeats = Math.max(4, Math.min(1000, Math.ceil((1000 * milliseconds * 4) / Math.max(rough, 1))));
    const times: number[] = [];
    for (let sample = 0; sample < samples; sample++) times.push(await this.#once(sequence, repeats));
    times.sort((a, b) => a - b);
    return (times[samples >> 1] ?? NaN) / repeats;
  }

  async #once(sequence: readonly Recorded[], repeats: number): Promise<number> {
    const encoder = this.#device.createCommandEncoder();
    const encode = (pass: GPUComputePassEncoder): void => {
      for (let repeat = 0; repeat < repeats; repeat++) {
        for (const {pipeline, bindGroup, workgroups} of sequence) {
          pass.setPipeline(pipeline);
          pass.setBindGroup(0, bindGroup);
          pass.dispatchWorkgroups(...workgroups);
        }
      }
      pass.end();
    };
    encode(encoder.beginComputePass());
    const timestampWrites = {querySet: this.#queries, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1};
    encode(encoder.beginComputePass({timestampWrites}));
    encoder.resolveQuerySet(this.#queries, 0, 2, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#staging, 0, 16);
    this.#device.queue.submit([encoder.finish()]);
    await this.#staging.mapAsync(GPUMapMode.READ);
    const [begin = 0n, end = 0n] = new BigUint64Array(this.#staging.getMappedRange());
    const elapsed = Number(end - begin) / 1000;
    this.#staging.unmap();
    return elapsed;
  }
}
