/** Varies one property of a block at a time, so that each spec is tested at every value of each without a product of all. */
import {ACTIVATION_NAMES, type ActivationLike} from './activation.js';
import type {Pad, Pair, Shape4D, Stage} from './block.js';
import type {BlockCase} from './spec.js';

export interface Variation {
  readonly kernel: number | Pair;
  readonly stride: number;
  readonly dilation: number | Pair;
  readonly pad: Pad;
  readonly activation: ActivationLike;
  readonly height: number;
  readonly width: number;
  readonly batch: number;
  readonly channels: number;
  readonly bias: boolean;
}

export const BASE: Variation = {
  kernel: 3,
  stride: 1,
  dilation: 1,
  pad: 'same',
  activation: 'relu6',
  height: 9,
  width: 7,
  batch: 1,
  channels: 8,
  bias: true,
};

/** The spatial values every block with a spatial stage must take. */
const SPATIAL: readonly Partial<Variation>[] = [
  ...([1, 2, 4, 5, 7, [3, 5], [1, 7], [5, 1]] as const).map((kernel) => ({kernel})),
  ...[2, 3, 4].map((stride) => ({stride})),
  ...([2, 3, [2, 1]] as const).map((dilation) => ({dilation})),
  {pad: 'valid'},
  {pad: [1, 0, 0, 2]},
  {pad: [0, 1, 0, 1], stride: 2},
  {pad: [2, 3, 3, 2], kernel: 5, stride: 2},
  {kernel: 5, stride: 2, height: 14, width: 15},
  {kernel: 7, dilation: 2, height: 17, width: 13},
];

/** Values of the map, the batch and the channels that sit on, under and over the tiles of the kernels. */
const SIZES: readonly Partial<Variation>[] = [
  {height: 1, width: 1},
  {height: 8, width: 8},
  {height: 16, width: 16},
  {height: 17, width: 33},
  {batch: 3},
  {channels: 16},
  {channels: 24},
  {channels: 40, batch: 2, height: 5, width: 5},
  {bias: false},
];

const ACTIVATIONS: readonly Partial<Variation>[] = [
  ...ACTIVATION_NAMES.map((activation) => ({activation})),
  {activation: {fn: 'leakyrelu', alpha: 0.01}},
  {activation: {fn: 'elu', alpha: 0.5}},
  {activation: {fn: 'clamp', min: -1, max: 2}},
  {activation: {fn: 'hardsigmoid', slope: 0.2, offset: 0.5}},
];

const describe = (change: Partial<Variation>): string =>
  Object.entries(change)
    .map(
      ([key, value]) =>
        `${key} ${typeof value === 'object' ? JSON.stringify(value).replace(/"/g, '') : String(value)}`,
    )
    .join(', ');

/** One case per value of each property; `build` makes the stages from a full variation, given the input channels. */
export function casesOf(
  build: (v: Variation) => readonly Stage[],
  only?: {readonly stride1?: boolean},
): readonly BlockCase[] {
  const spatial = only?.stride1
    ? SPATIAL.filter(({stride = 1, pad = 'same'}) => stride === 1 && pad === 'same')
    : SPATIAL;
  return [{}, ...spatial, ...SIZES, ...ACTIVATIONS].map((change) =>
    makeCase(describe(change) || 'base', build, change),
  );
}

export function makeCase(
  name: string,
  build: (v: Variation) => readonly Stage[],
  change: Partial<Variation> = {},
): BlockCase {
  const v = {...BASE, ...change};
  const input: Shape4D = [v.batch, v.height, v.width, v.channels];
  return {name, input, stages: build(v)};
}
