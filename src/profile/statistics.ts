/** Order statistics of a few timings. */
import type {Estimate} from './types.js';

/** Middle value; the mean of the two middle ones of an even count. @throws for an empty list. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  if (low === undefined || high === undefined)
    throw new Error('median: there are no values; time at least one run.');
  return (low + high) / 2;
}

/** Mulberry32: intervals must be the same in every run over the same timings. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const RESAMPLES = 1000;
const TAIL = 0.025;

/** Median and its 95 % percentile-bootstrap interval (Efron 1979). One value is its own interval. */
export function estimate(values: readonly number[]): Estimate {
  return bootstrap(values.length, (pick) => median(pick.map((i) => values[i] as number)));
}

/** The ratio of medians of paired runs; pairs are resampled together, so drift that hits both sides cancels. */
export function ratioEstimate(before: readonly number[], after: readonly number[]): Estimate {
  if (before.length !== after.length) {
    throw new Error(
      `ratioEstimate: ${before.length} runs before but ${after.length} after; runs must be pairs.`,
    );
  }
  return bootstrap(before.length, (pick) => {
    const [a, b] = [before, after].map((side) => median(pick.map((i) => side[i] as number)));
    return (a as number) / (b as number);
  });
}

function bootstrap(count: number, statistic: (pick: readonly number[]) => number): Estimate {
  const all = Array.from({length: count}, (_, i) => i);
  const random = seededRandom(count);
  const draws = Array.from({length: RESAMPLES}, () => statistic(all.map(() => Math.floor(random() * count))));
  draws.sort((a, b) => a - b);
  const at = (quantile: number): number => draws[Math.round(quantile * (RESAMPLES - 1))] as number;
  return {median: statistic(all), low: at(TAIL), high: at(1 - TAIL)};
}
