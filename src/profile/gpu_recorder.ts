/**
 * Counts dispatches and times compute passes of one GPUDevice, whoever encodes them: stock TF.js, a block kernel, or raw
 * WebGPU. It wraps `createCommandEncoder` of that one device object and takes the wrapper off again; nothing private of the
 * backend is touched. Knows nothing of ops.
 */

export interface RecordedPass {
  readonly dispatches: number;
  /** On the GPU's clock, in ns; `null` where the device has no timestamp queries or the pass had its own. */
  readonly beginNs: bigint | null;
  readonly endNs: bigint | null;
}

export interface GPURecording {
  /** Passes begun so far: the index of the next one. */
  position(): number;
  /** Takes the wrapper off and reads the timestamps. All recorded work must be submitted. Call it once. */
  stop(): Promise<readonly RecordedPass[]>;
}

interface OpenPass {
  dispatches: number;
  /** Index of its first query, over all query sets. */
  readonly query: number | null;
}

type BeginPass = (descriptor?: GPUComputePassDescriptor) => GPUComputePassEncoder;

/** WebGPU allows 4096; a smaller set is cheap to allocate for a short recording. */
const QUERIES_PER_SET = 512;
const BYTES_PER_QUERY = 8;

/** @throws where the device is being recorded already. */
export function recordGPU(device: GPUDevice): GPURecording {
  if (Object.hasOwn(device, 'createCommandEncoder')) {
    throw new Error('recordGPU: this device is being recorded already; stop() the first recording.');
  }
  const passes: OpenPass[] = [];
  const querySets: GPUQuerySet[] = [];
  const hasTimestamps = device.features.has('timestamp-query');
  let queries = 0;

  const nextTimestamps = (): GPUComputePassTimestampWrites => {
    if (queries === querySets.length * QUERIES_PER_SET) {
      querySets.push(device.createQuerySet({type: 'timestamp', count: QUERIES_PER_SET}));
    }
    const first = queries % QUERIES_PER_SET;
    queries += 2;
    return {
      querySet: querySets.at(-1) as GPUQuerySet, // pushed above
      beginningOfPassWriteIndex: first,
      endOfPassWriteIndex: first + 1,
    };
  };

  const openPass = (begin: BeginPass, descriptor: GPUComputePassDescriptor = {}): GPUComputePassEncoder => {
    const isTimed = hasTimestamps && !descriptor.timestampWrites;
    const open: OpenPass = {dispatches: 0, query: isTimed ? queries : null};
    passes.push(open);
    const timed = isTimed ? {...descriptor, timestampWrites: nextTimestamps()} : descriptor;
    return countCalls(begin(timed), () => {
      open.dispatches++;
    });
  };

  const createEncoder = device.createCommandEncoder.bind(device);
  device.createCommandEncoder = (descriptor?: GPUCommandEncoderDescriptor): GPUCommandEncoder => {
    const encoder = createEncoder(descriptor);
    const begin = encoder.beginComputePass.bind(encoder);
    encoder.beginComputePass = (pass?: GPUComputePassDescriptor) => openPass(begin, pass);
    return encoder;
  };

  return {
    position: () => passes.length,
    async stop() {
      Reflect.deleteProperty(device, 'createCommandEncoder');
      const times = await readQueries(device, querySets, queries);
      querySets.forEach((set) => set.destroy());
      return passes.map(({dispatches, query}) => ({
        dispatches,
        beginNs: query === null ? null : (times[query] ?? null),
        endNs: query === null ? null : (times[query + 1] ?? null),
      }));
    },
  };
}

function countCalls(pass: GPUComputePassEncoder, count: () => void): GPUComputePassEncoder {
  const dispatch = pass.dispatchWorkgroups.bind(pass);
  pass.dispatchWorkgroups = (...sizes) => {
    count();
    dispatch(...sizes);
  };
  const dispatchIndirect = pass.dispatchWorkgroupsIndirect.bind(pass);
  pass.dispatchWorkgroupsIndirect = (...source) => {
    count();
    dispatchIndirect(...source);
  };
  return pass;
}

async function readQueries(
  device: GPUDevice,
  sets: readonly GPUQuerySet[],
  count: number,
): Promise<bigint[]> {
  const times: bigint[] = [];
  for (const [i, set] of sets.entries()) {
    times.push(...(await readQuerySet(device, set, Math.min(QUERIES_PER_SET, count - i * QUERIES_PER_SET))));
  }
  return times;
}

/** The first `count` values of the set, in ns. */
export async function readQuerySet(device: GPUDevice, set: GPUQuerySet, count: number): Promise<bigint[]> {
  const size = count * BYTES_PER_QUERY;
  const resolved = device.createBuffer({size, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC});
  const staging = device.createBuffer({size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST});
  try {
    const encoder = device.createCommandEncoder();
    encoder.resolveQuerySet(set, 0, count, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    return [...new BigUint64Array(staging.getMappedRange())];
  } finally {
    resolved.destroy();
    staging.destroy();
  }
}

/** Step of the clock: the greatest number that divides all timestamps; `null` for none or all zero. */
export function clockStepNs(times: readonly bigint[]): number | null {
  const first = times[0];
  if (first === undefined) return null;
  const step = times.reduce((divisor, time) => gcd(divisor, time > first ? time - first : first - time), 0n);
  return step === 0n ? null : Number(step);
}

function gcd(a: bigint, b: bigint): bigint {
  return b === 0n ? a : gcd(b, a % b);
}
