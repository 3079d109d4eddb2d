/** Arithmetic on per-channel numbers: one for all channels, or a weight `[C]`. */
import type {AffineForm, PerChannel} from './forms.js';
import type {Shape} from './infer.js';
import {makeWeight, sizeOf, valuesOf, viewOf, type Weight, withShape} from './weights.js';

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

/**
 * Which channels the values of a filter's row belong to, of its input or its output: one for all, or one for each output channel. Rows are those
 * of `[…, channels]`.
 */
export type ChannelOf = (row: number) => number | Int32Array;

interface FilterChannels {
  /** Of the output. */
  readonly channels: number;
  readonly channelOf: ChannelOf;
}

/** The per-channel numbers of a row's values: one for all, or one for each output channel. */
function rowNumbers(
  value: PerChannel,
  {channels, channelOf}: FilterChannels,
): (row: number) => number | Float32Array {
  if (typeof value === 'number') return () => value;
  const numbers = valuesOf(value);
  const line = new Float32Array(channels);
  let told: Int32Array | undefined;
  return (row) => {
    const channel = channelOf(row);
    if (typeof channel === 'number') return numbers[channel] ?? 0;
    if (channel !== told) for (let c = 0; c < channels; c++) line[c] = numbers[channel[c] ?? 0] ?? 0;
    told = channel;
    return line;
  };
}

// Both loop over the values in place, as a call or a division for each of millions costs more than the rest.

/** Multiplies a filter's values by a factor for each channel. */
export function scaleFilter(filter: Weight, factor: PerChannel, of: FilterChannels): Weight {
  const factorsOf = rowNumbers(factor, of);
  // Not Float32Array.from with a function: it fills an array of numbers first, 30 times as slow for millions of them.
  const values = new Float32Array(viewOf(filter));
  for (let at = 0, row = 0; at < values.length; at += of.channels, row++) {
    const factors = factorsOf(row);
    if (typeof factors === 'number')
      for (let c = 0; c < of.channels; c++) values[at + c] = (values[at + c] ?? 0) * factors;
    else for (let c = 0; c < of.channels; c++) values[at + c] = (values[at + c] ?? 0) * (factors[c] ?? 0);
  }
  return makeWeight(filter.name, filter.shape, values);
}

/** What an offset of a convolution's input adds to its output: the filter's values times the offset, summed by output channel. */
export function filteredOffset(filter: Weight, offset: PerChannel, of: FilterChannels): Weight {
  const offsetsOf = rowNumbers(offset, of);
  const values = viewOf(filter);
  const sums = new Float64Array(of.channels);
  for (let at = 0, row = 0; at < values.length; at += of.channels, row++) {
    const offsets = offsetsOf(row);
    for (let c = 0; c < of.channels; c++)
      sums[c] =
        (sums[c] ?? 0) + (values[at + c] ?? 0) * (typeof offsets === 'number' ? offsets : (offsets[c] ?? 0));
  }
  return makeWeight(`${filter.name}/bias`, [of.channels], new Float32Array(sums));
}
