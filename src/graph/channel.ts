/** Arithmetic on per-channel numbers: one for all channels, or a weight `[C]`. */
import type {AffineForm, PerChannel} from './forms.js';
import type {Shape} from './infer.js';
import {makeWeight, sizeOf, valuesOf, type Weight, withShape} from './weights.js';

/** A constant that is broadcast over everything but the last axis of `x`, or undefined where it is not. */
export function perChannel(weight: Weight, x: Shape | undefined): PerChannel | undefined {
  if (!x || weight.dtype !== 'float32' || weight.shape.length > x.length) return undefined;
  const size = sizeOf(weight.shape);
  if (size === 1) return valuesOf(weight)[0];
  return size === weight.shape.at(-1) && size === x.at(-1) ? withShape(weight, [size]) : undefined;
}

const at = (value: PerChannel): ((channel: number) => number) => {
  if (typeof value === 'number') return () => value;
  const values = valuesOf(value);
  return (channel) => values[channel] ?? 0;
};

const channelsOf = (values: readonly PerChannel[]): Weight | undefined =>
  values.find((value) => typeof value !== 'number');

/** `f` channel by channel, in float64; a number where all operands are numbers. */
export function combine(values: readonly PerChannel[], f: (...operands: number[]) => number): PerChannel {
  const like = channelsOf(values);
  const readers = values.map(at);
  const one = (channel: number): number => f(...readers.map((read) => read(channel)));
  if (!like) return one(0);
  return makeWeight(
    like.name,
    like.shape,
    Float32Array.from({length: sizeOf(like.shape)}, (_, channel) => one(channel)),
  );
}

/** The affine map that does `inner`, then `outer`. */
export const compose = (outer: AffineForm, inner: AffineForm): AffineForm => ({
  op: 'affine',
  gain: times(outer.gain, inner.gain),
  offset: plus(times(outer.gain, inner.offset), outer.offset),
});

/** Products and sums that keep a weight as stored where the other side changes nothing. */
export function times(a: PerChannel, b: PerChannel): PerChannel {
  if (a === 1) return b;
  if (b === 1) return a;
  return a === 0 || b === 0 ? 0 : combine([a, b], (x, y) => x * y);
}

export function plus(a: PerChannel, b: PerChannel): PerChannel {
  if (a === 0) return b;
  return b === 0 ? a : combine([a, b], (x, y) => x + y);
}

/** As a weight `[channels]`. */
export const toWeight = (value: PerChannel, channels: number, name: string): Weight =>
  typeof value === 'number' ? makeWeight(name, [channels], new Float32Array(channels).fill(value)) : value;

/** Multiplies a filter's values by a factor that depends on the element's position along its axes. */
export function scaleFilter(
  filter: Weight,
  factor: PerChannel,
  channelOf: (element: number) => number,
): Weight {
  const read = at(factor);
  // Not Float32Array.from with a function: it fills an array of numbers first, 30 times as slow for millions of them.
  const values = new Float32Array(valuesOf(filter));
  for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) * read(channelOf(i));
  return makeWeight(filter.name, filter.shape, values);
}

export const readChannels = at;
