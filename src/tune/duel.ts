/** Two sequences of a model's dispatches, timed by turns on buffers of their own. */
import type {PipelineCache} from '../../kernels/webgpu/compile.js';
import type {ClockOptions, GpuClock, TimedStep} from './gpu_clock.js';
import {bufferSizes, stepOf} from './plan_steps.js';
import {isFaster, type Sequence} from './prove.js';
import {ScratchBuffers} from './scratch_buffers.js';

export interface DuelBench {
  readonly device: GPUDevice;
  /** For sequences alone; they outlast a duel, since the next differs in few of them. */
  readonly pipelines: PipelineCache;
  readonly clock: GpuClock;
}

/** A browser's timestamps have steps of 100 µs: of 40 ms that is a quarter of a per cent, less than what counts as noise. */
const SAMPLE: ClockOptions = {samples: 1, milliseconds: 40};
const WARM_UP_MS = 50;
/** More than any cache holds, so that weights come from memory even where the plans take turns on fewer buffers. */
const MOST_WEIGHT_BYTES = 512 * 2 ** 20;

/** Whether `one` is measured to be faster by more than noise; undefined where memory does not suffice to tell, or the clock stands. */
export async function duel(one: Sequence, other: Sequence, bench: DuelBench): Promise<boolean | undefined> {
  const {device, pipelines, clock} = bench;
  await pipelines.prepare([one, other].flat().flatMap(({dispatches}) => dispatches));
  const buffers = new ScratchBuffers(device);
  try {
    const steps = await boundSteps([one, other], bench, buffers);
    if (!steps) return undefined;
    const [own = [], others = []] = steps;
    await clock.warmUp(own, WARM_UP_MS);
    return await isFaster(
      () => clock.microseconds(own, SAMPLE),
      () => clock.microseconds(others, SAMPLE),
    );
  } finally {
    buffers.destroy();
  }
}

/**
 * Each plan reads random numbers, not what the one before it wrote, which would grow or vanish along the sequence. Dispatches
 * still wait for one another: all write to buffers that others used before. Undefined where memory ran out: no single buffer is
 * larger than the model's own, but here they are besides those.
 */
async function boundSteps(
  sequences: readonly Sequence[],
  {device, pipelines}: DuelBench,
  buffers: ScratchBuffers,
): Promise<readonly (readonly TimedStep[])[] | undefined> {
  const weights = weightBuffers(sequences);
  const sizes = new Map([...bufferSizes(sequences.flat()), ...weights.sizes]);
  const bind = (plans: Sequence): readonly TimedStep[] =>
    plans.flatMap(({dispatches}, at) => {
      const bench = {device, pipelines, buffers, sizes, weights: weights.names[at]};
      return dispatches.map((dispatch) => stepOf(dispatch, bench));
    });
  // A buffer that is none makes whatever uses it invalid.
  for (const filter of ['out-of-memory', 'validation'] as const) device.pushErrorScope(filter);
  let errors: Promise<(GPUError | null)[]>;
  let steps: readonly (readonly TimedStep[])[];
  try {
    steps = sequences.map(bind);
  } finally {
    errors = Promise.all([device.popErrorScope(), device.popErrorScope()]);
  }
  return (await errors).every((error) => error === null) ? steps : undefined;
}

/**
 * A name per place in the sequences, and the bytes of each name, enough for both. Every occurrence of a block has weights of its
 * own, as in a network: those of another would be in the cache already.
 */
export function weightBuffers(sequences: readonly Sequence[]): {
  readonly names: readonly string[];
  readonly sizes: ReadonlyMap<string, number>;
} {
  const [first = []] = sequences;
  const bytes = first.map((_, at) =>
    Math.max(...sequences.map((plans) => 4 * (plans[at]?.weights.size ?? 0))),
  );
  const total = bytes.reduce((all, size) => all + size, 0);
  const fitting = Math.max(1, Math.floor(MOST_WEIGHT_BYTES / Math.max(...bytes)));
  const count = total <= MOST_WEIGHT_BYTES ? bytes.length : fitting;
  const names = bytes.map((_, at) => `weights ${at % count}`);
  const sizes = new Map<string, number>();
  for (const [at, name] of names.entries()) sizes.set(name, Math.max(sizes.get(name) ?? 0, bytes[at] ?? 0));
  return {names, sizes};
}
