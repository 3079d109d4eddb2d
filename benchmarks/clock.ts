/** Wall-clock times of predictions. */

export const median = (times: readonly number[]): number =>
  [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? NaN;

/**
 * An idle GPU runs at a third of its clock, and takes tenths of a second to speed up: without this, what follows a measurement on
 * the CPU looks several times slower than it is.
 */
const WARM_UP_MS = 500;

export async function warmUp(run: (i: number) => Promise<unknown>): Promise<void> {
  const start = performance.now();
  for (let i = 0; i < 3 || performance.now() - start < WARM_UP_MS; i++) await run(i);
}

/** So many runs a median has, however long they take. */
export const FEWEST_RUNS = 5;

/** The median of `runs` in milliseconds, after a warm-up; of fewer, but five, where they take longer than `seconds`. */
export async function medianMs(
  runs: number,
  run: (i: number) => Promise<unknown>,
  seconds = Infinity,
): Promise<number> {
  await warmUp(run);
  return medianOfNext(runs, run, seconds);
}

/** The same without a warm-up. */
export async function medianOfNext(
  runs: number,
  run: (i: number) => Promise<unknown>,
  seconds = Infinity,
): Promise<number> {
  const times: number[] = [];
  const begin = performance.now();
  const isLate = (): boolean => performance.now() - begin > 1000 * seconds;
  for (let i = 0; i < runs && !(i >= FEWEST_RUNS && isLate()); i++) {
    const start = performance.now();
    await run(i);
    times.push(performance.now() - start);
  }
  return median(times);
}

/** Milliseconds a run where `inFlight` are always on their way; the median of three goes, after a warm-up. */
export async function inFlightMs(
  {runs, inFlight}: {runs: number; inFlight: number},
  run: (i: number) => Promise<unknown>,
): Promise<number> {
  const once = async (): Promise<number> => {
    const start = performance.now();
    const pending: Promise<unknown>[] = [];
    for (let i = 0; i < runs; i++) {
      pending.push(run(i));
      if (pending.length === inFlight) await pending.shift();
    }
    await Promise.all(pending);
    return (performance.now() - start) / runs;
  };
  await warmUp(run);
  return median([await once(), await once(), await once()]);
}
