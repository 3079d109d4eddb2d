/** Two sides timed in turn, in one recording, and what their times say. */
import {estimate, ratioEstimate} from './statistics.js';
import {type Lap, startStopwatch, type Stopwatch} from './stopwatch.js';
import type {Estimate, SideTiming} from './types.js';

/** The two sides' laps of the same work, run by run. */
export interface Laps {
  readonly before: readonly Lap[];
  readonly after: readonly Lap[];
}

/** Runs A and B in turn, the order reversed every time, so that neither always has the warmer device. */
export async function interleave(
  repeats: number,
  lap: (side: 'before' | 'after', run: number) => Promise<void>,
): Promise<void> {
  for (let run = 0; run < repeats; run++) {
    const order = run % 2 === 0 ? (['before', 'after'] as const) : (['after', 'before'] as const);
    for (const side of order) await lap(side, run);
  }
}

/** What timingOf reads of a lap. */
export type Run = Pick<Lap, 'dispatches' | 'gpuMs' | 'wallMs'>;

export interface TimedRuns {
  readonly before: readonly Run[];
  readonly after: readonly Run[];
}

/** One recording for all laps that `work` takes; it notes each lap's key and side. */
export async function timeInTurn(
  work: (stopwatch: Stopwatch, note: (key: string, side: 'before' | 'after') => void) => Promise<void>,
): Promise<ReadonlyMap<string, Laps>> {
  const stopwatch = await startStopwatch();
  const notes: {key: string; side: 'before' | 'after'}[] = [];
  let stopped: Awaited<ReturnType<Stopwatch['stop']>> | undefined;
  try {
    await work(stopwatch, (key, side) => notes.push({key, side}));
  } finally {
    stopped = await stopwatch.stop();
  }
  const {laps} = stopped;
  const of = (key: string, side: string): Lap[] =>
    laps.filter((_, i) => notes[i]?.key === key && notes[i].side === side);
  return new Map(notes.map(({key}) => [key, {before: of(key, 'before'), after: of(key, 'after')}]));
}

export function timingOf({before, after}: TimedRuns): {
  before: SideTiming;
  after: SideTiming;
  speedup: Estimate;
} {
  const [gpuBefore, gpuAfter] = [gpuTimes(before), gpuTimes(after)];
  const wall = (laps: readonly Run[]): number[] => laps.map(({wallMs}) => wallMs);
  const side = (laps: readonly Run[], gpu: readonly number[] | null): SideTiming => ({
    dispatches: laps.at(-1)?.dispatches ?? null,
    gpu: gpu && estimate(gpu),
    wall: estimate(wall(laps)),
  });
  const speedup =
    gpuBefore && gpuAfter ? ratioEstimate(gpuBefore, gpuAfter) : ratioEstimate(wall(before), wall(after));
  return {before: side(before, gpuBefore), after: side(after, gpuAfter), speedup};
}

/** `null` where a lap has no GPU time, or where a coarse clock shows none. */
function gpuTimes(laps: readonly Run[]): number[] | null {
  const times = laps.flatMap(({gpuMs}) => (gpuMs ? [gpuMs] : []));
  return times.length === laps.length ? times : null;
}
