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

/** Which channel a filter's value belongs to: of its input or its output, by row and by output channel, `[…, channels]` as rows of channels. */
export type ChannelOf = (row: number, column: number) => number;

/** Calls `visit` with each value's index and channel. Loops over rows, as millions of values cost a division each otherwise. */
function visitFilter(
  length: number,
  columns: number,
  channelOf: ChannelOf,
  visit: (index: number, channel: number, column: number) => void,
): void {
  for (let index = 0, row = 0; index < length; row++)
    for (let column = 0; column < columns; column++, index++) visit(index, channelOf(row, column), column);
}

interface FilterChannels {
  /** Of the output. */
  readonly channels: number;
  readonly channelOf: ChannelOf;
}

/** Multiplies a filter's values by a factor for each channel. */
export function scaleFilter(
  filter: Weight,
  factor: PerChannel,
  {channels, channelOf}: FilterChannels,
): Weight {
  const read = at(factor);
  // Not Float32Array.from with a function: it fills an array of numbers first, 30 times as slow for millions of them.
  const values = new Float32Array(viewOf(filter));
  visitFilter(values.length, channels, channelOf, (index, channel) => {
    values[index] = (values[index] ?? 0) * read(channel);
  });
  return makeWeight(filter.name, filter.shape, values);
}

/** What an offset of a convolution's input adds to its output: the filter's values times the offset, summed by output channel. */
export function filteredOffset(
  filter: Weight,
  offset: PerChannel,
  {channels, channelOf}: FilterChannels,
): Weight {
  const read = at(offset);
  const values = viewOf(filter);
  const sums = new Float64Array(channels);
  visitFilter(values.length, channels, channelOf, (index, channel, column) => {
    sums[column] = (sums[column] ?? 0) + (values[index] ?? 0) * read(channel);
  });
  return makeWeight(`${filter.name}/bias`, [channels], new Float32Array(sums));
}
