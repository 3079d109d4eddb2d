/**
 * Times what runs on the current TF.js backend: host time, wall time to the end of the work on the device, and on webgpu
 * dispatches and GPU time. Knows backends, not models.
 */
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {clockStepNs, type GPURecording, type RecordedPass, recordGPU} from './gpu_recorder.js';
import type {Adapter, Span, Timer} from './types.js';

export interface Lap {
  readonly hostMs: number;
  readonly wallMs: number;
  readonly dispatches: number | null;
  readonly gpuMs: number | null;
  readonly cpu: Span;
  readonly gpu: Span | null;
}

export interface LapOptions {
  /** Wait for the device before the lap ends; else the work is only queued, and wallMs equals hostMs. */
  readonly wait: boolean;
}

export interface Stopwatch {
  /** Runs `work` as one lap. */
  lap(work: () => tf.Tensor[] | Promise<tf.Tensor[]>, options: LapOptions): Promise<tf.Tensor[]>;
  /** Waits for the device, stops recording and returns the laps in order. Call it once, also after an error. */
  stop(): Promise<{readonly laps: readonly Lap[]; readonly clockStepNs: number | null}>;
}

interface OpenLap {
  readonly begin: number;
  returned: number;
  end: number;
  readonly firstPass: number;
  endPass: number;
}

/** Starts a stopwatch on the current backend. Only one can run per WebGPU device. */
export async function startStopwatch(): Promise<Stopwatch> {
  await tf.ready();
  const backend = webgpuBackend();
  await waitForDevice([]); // So that the first lap starts with a command encoder that is being recorded.
  const recording = backend ? recordGPU(backend.device) : null;
  const zero = performance.now();
  const now = (): number => performance.now() - zero;
  const laps: OpenLap[] = [];
  return {
    async lap(work, {wait}) {
      const lap: OpenLap = {
        begin: now(),
        returned: 0,
        end: 0,
        firstPass: recording?.position() ?? 0,
        endPass: 0,
      };
      const result = await work();
      lap.returned = now();
      backend?.endComputePassEncoder(); // The next lap's first dispatch opens a pass of its own.
      lap.endPass = recording?.position() ?? 0;
      if (wait) await waitForDevice(result);
      lap.end = wait ? now() : lap.returned;
      laps.push(lap);
      return result;
    },
    async stop() {
      await waitForDevice([]);
      return readLaps(laps, recording);
    },
  };
}

async function readLaps(
  laps: readonly OpenLap[],
  recording: GPURecording | null,
): Promise<{laps: Lap[]; clockStepNs: number | null}> {
  const passes = (await recording?.stop()) ?? [];
  const own = laps.map(({firstPass, endPass}) => passes.slice(firstPass, endPass));
  const offset = clockOffset(laps, own);
  const times = passes.flatMap(({beginNs, endNs}) =>
    beginNs === null || endNs === null ? [] : [beginNs, endNs],
  );
  return {
    laps: laps.map((lap, i) => closeLap(lap, recording ? (own[i] ?? []) : null, offset)),
    clockStepNs: clockStepNs(times),
  };
}

function closeLap(lap: OpenLap, passes: readonly RecordedPass[] | null, offset: number): Lap {
  const [begin, end] = [passes?.[0]?.beginNs, passes?.at(-1)?.endNs];
  const gpuMs = passes && sumOfPasses(passes);
  return {
    hostMs: lap.returned - lap.begin,
    wallMs: lap.end - lap.begin,
    dispatches: passes && passes.reduce((total, {dispatches}) => total + dispatches, 0),
    gpuMs,
    cpu: {start: lap.begin, duration: lap.returned - lap.begin},
    gpu: begin == null || end == null ? null : {start: toMs(begin) + offset, duration: toMs(end - begin)},
  };
}

/** `null` where a pass has no timestamps; 0 for a lap that dispatched nothing. */
function sumOfPasses(passes: readonly RecordedPass[]): number | null {
  let total = 0;
  for (const {beginNs, endNs} of passes) {
    if (beginNs === null || endNs === null) return null;
    total += toMs(endNs - beginNs);
  }
  return total;
}

const toMs = (ns: bigint): number => Number(ns) / 1e6;

/**
 * What to add to GPU ms to get host ms. The host learns of the end of the work after it ended, so each lap that waited gives
 * an upper bound, and the least of them is the best.
 */
function clockOffset(laps: readonly OpenLap[], passes: readonly (readonly RecordedPass[])[]): number {
  const bounds = laps.flatMap(({end}, i) => {
    const endNs = passes[i]?.at(-1)?.endNs;
    return endNs == null ? [] : [end - toMs(endNs)];
  });
  return bounds.length > 0 ? Math.min(...bounds) : 0;
}

/** Until everything queued on the current backend is done. */
export async function waitForDevice(tensors: readonly tf.Tensor[]): Promise<void> {
  const backend = webgpuBackend();
  if (backend) {
    backend.ensureCommandEncoderReady();
    backend.endComputePassEncoder();
    backend.submitQueue();
    await backend.device.queue.onSubmittedWorkDone();
  } else if (tf.getBackend() === 'webgl') {
    await Promise.all(tensors.map((tensor) => tensor.data()));
  }
}

/** The current backend, if it is TF.js's webgpu one. */
export function webgpuBackend(): WebGPUBackend | null {
  const backend = tf.backend();
  return 'device' in backend && 'submitQueue' in backend ? (backend as WebGPUBackend) : null;
}

const SOFTWARE = /swiftshader|llvmpipe|lavapipe|softpipe|basic render/i;

/** What the current backend runs on. */
export function currentAdapter(): Adapter {
  const backend = webgpuBackend();
  if (!backend)
    return {backend: tf.getBackend(), name: tf.getBackend(), isSoftware: false, timer: 'wall-clock'};
  const {adapterInfo: info, features} = backend.device;
  const name = [`${info.vendor} ${info.architecture}`.trim(), info.description].filter(Boolean).join(': ');
  const timer: Timer = features.has('timestamp-query') ? 'timestamp-query' : 'wall-clock';
  return {
    backend: tf.getBackend(),
    name: name || 'an adapter that does not name itself',
    isSoftware: info.isFallbackAdapter || SOFTWARE.test(`${name} ${info.device}`),
    timer,
  };
}

/** Dawn in a browser rounds to 65.5 or 100 µs unless told not to; a step over 1 µs is coarser than a small dispatch. */
const COARSE_STEP_NS = 1000;

/** What a reader must be told before the first number. */
export function adapterWarnings(adapter: Adapter, clockStepNs: number | null): readonly string[] {
  const warnings: string[] = [];
  if (adapter.isSoftware) {
    warnings.push(
      `${adapter.name} is a software rasteriser on the CPU: results count, times say nothing about a GPU.`,
    );
  }
  if (adapter.backend === 'webgpu' && adapter.timer === 'wall-clock') {
    warnings.push(
      'The device has no timestamp-query: times are wall clock and include waiting for each op. ' +
        'Request the device with that feature.',
    );
  }
  if (adapter.backend !== 'webgpu') {
    warnings.push(
      `The ${adapter.backend} backend has no GPU clock and counts no dispatches: times are wall clock.`,
    );
  }
  if (clockStepNs !== null && clockStepNs > COARSE_STEP_NS) {
    warnings.push(
      `GPU timestamps are quantised to ${(clockStepNs / 1000).toFixed(1)} µs: shorter ops read as 0 or one step. ` +
        'In Chrome, start with --enable-dawn-features=allow_unsafe_apis --disable-dawn-features=timestamp_quantization.',
    );
  }
  return warnings;
}
