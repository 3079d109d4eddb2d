/** Positions and round tick values. */

export interface Scale {
  /** Pixel of a value. */
  readonly at: (value: number) => number;
  readonly ticks: readonly number[];
}

/** From 0 to `max`, with about `count` ticks at 1, 2 or 5 times a power of ten. */
export function linearScale(max: number, from: number, to: number, count = 6): Scale {
  const top = max > 0 ? max : 1;
  const step = niceStep(top / count);
  const ticks = Array.from({length: Math.floor(top / step + 1e-9) + 1}, (_, i) => i * step);
  return {at: (value) => from + (value / top) * (to - from), ticks};
}

function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough));
  const lead = rough / power;
  return power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
}

/** From `min` to `max`, widened to whole powers of ten; a value below the scale sits at its start. */
export function logScale(min: number, max: number, from: number, to: number): Scale {
  const [low, high] = [Math.floor(Math.log10(min)), Math.ceil(Math.log10(max))];
  const span = Math.max(1, high - low);
  const ticks = Array.from({length: span + 1}, (_, i) => 10 ** (low + i));
  const position = (value: number): number => (Math.log10(Math.max(value, 10 ** low)) - low) / span;
  return {at: (value) => from + position(value) * (to - from), ticks};
}
