/** EfficientNet (Tan and Le 2019) and EfficientNetV2 (Tan and Le 2021), as published with their code. */
import {type Conventions, roundChannels, type Unit} from '../network.js';
import {invertedResidualNet, type Plan, type Row} from './inverted_residual.js';

/** Width and depth multipliers, and the input's size. */
export const EFFICIENT_NETS = {
  b0: {width: 1.0, depth: 1.0, size: 224},
  b1: {width: 1.0, depth: 1.1, size: 240},
  b2: {width: 1.1, depth: 1.2, size: 260},
  b3: {width: 1.2, depth: 1.4, size: 300},
  b4: {width: 1.4, depth: 1.8, size: 380},
  b5: {width: 1.6, depth: 2.2, size: 456},
  b6: {width: 1.8, depth: 2.6, size: 528},
  b7: {width: 2.0, depth: 3.1, size: 600},
} as const;

const B0: readonly Row[] = [
  {block: 'mb', k: 3, s: 1, t: 1, c: 16, n: 1, se: true},
  {block: 'mb', k: 3, s: 2, t: 6, c: 24, n: 2, se: true},
  {block: 'mb', k: 5, s: 2, t: 6, c: 40, n: 2, se: true},
  {block: 'mb', k: 3, s: 2, t: 6, c: 80, n: 3, se: true},
  {block: 'mb', k: 5, s: 1, t: 6, c: 112, n: 3, se: true},
  {block: 'mb', k: 5, s: 2, t: 6, c: 192, n: 4, se: true},
  {block: 'mb', k: 3, s: 1, t: 6, c: 320, n: 1, se: true},
];

interface V2 {
  readonly size: number;
  readonly stem: number;
  readonly rows: readonly Row[];
}

const V2_BASE: readonly Row[] = [
  {block: 'fused', k: 3, s: 1, t: 1, c: 16, n: 1},
  {block: 'fused', k: 3, s: 2, t: 4, c: 32, n: 2},
  {block: 'fused', k: 3, s: 2, t: 4, c: 48, n: 2},
  {block: 'mb', k: 3, s: 2, t: 4, c: 96, n: 3, se: true},
  {block: 'mb', k: 3, s: 1, t: 6, c: 112, n: 5, se: true},
  {block: 'mb', k: 3, s: 2, t: 6, c: 192, n: 8, se: true},
];

export const EFFICIENT_NETS_V2: Readonly<Record<'s' | 'm' | 'l', V2>> = {
  s: {
    size: 384,
    stem: 24,
    rows: [
      {block: 'fused', k: 3, s: 1, t: 1, c: 24, n: 2},
      {block: 'fused', k: 3, s: 2, t: 4, c: 48, n: 4},
      {block: 'fused', k: 3, s: 2, t: 4, c: 64, n: 4},
      {block: 'mb', k: 3, s: 2, t: 4, c: 128, n: 6, se: true},
      {block: 'mb', k: 3, s: 1, t: 6, c: 160, n: 9, se: true},
      {block: 'mb', k: 3, s: 2, t: 6, c: 256, n: 15, se: true},
    ],
  },
  m: {
    size: 480,
    stem: 24,
    rows: [
      {block: 'fused', k: 3, s: 1, t: 1, c: 24, n: 3},
      {block: 'fused', k: 3, s: 2, t: 4, c: 48, n: 5},
      {block: 'fused', k: 3, s: 2, t: 4, c: 80, n: 5},
      {block: 'mb', k: 3, s: 2, t: 4, c: 160, n: 7, se: true},
      {block: 'mb', k: 3, s: 1, t: 6, c: 176, n: 14, se: true},
      {block: 'mb', k: 3, s: 2, t: 6, c: 304, n: 18, se: true},
      {block: 'mb', k: 3, s: 1, t: 6, c: 512, n: 5, se: true},
    ],
  },
  l: {
    size: 480,
    stem: 32,
    rows: [
      {block: 'fused', k: 3, s: 1, t: 1, c: 32, n: 4},
      {block: 'fused', k: 3, s: 2, t: 4, c: 64, n: 7},
      {block: 'fused', k: 3, s: 2, t: 4, c: 96, n: 7},
      {block: 'mb', k: 3, s: 2, t: 4, c: 192, n: 10, se: true},
      {block: 'mb', k: 3, s: 1, t: 6, c: 224, n: 19, se: true},
      {block: 'mb', k: 3, s: 2, t: 6, c: 384, n: 25, se: true},
      {block: 'mb', k: 3, s: 1, t: 6, c: 640, n: 7, se: true},
    ],
  },
};

/** Scaled from the base table; these round widths down freely. */
export const EFFICIENT_NETS_V2_B = {
  b0: {width: 1.0, depth: 1.0, size: 224},
  b1: {width: 1.0, depth: 1.1, size: 240},
  b2: {width: 1.1, depth: 1.2, size: 260},
  b3: {width: 1.2, depth: 1.4, size: 300},
} as const;

const HEAD = 1280;

/** Squeezed to a quarter of the block's input, not of what it is expanded to. */
const squeeze: NonNullable<Plan['squeeze']> = {
  channels: (input) => Math.max(1, Math.floor(input / 4)),
  act: 'swish',
  curve: 'sigmoid',
};

interface Scaling {
  readonly width: number;
  readonly depth: number;
}

const scaleRow = (row: Row, {width, depth}: Scaling, limit: number): Row => ({
  ...row,
  c: roundChannels(row.c * width, 8, limit),
  n: Math.ceil(row.n * depth),
});

const plan = (stem: number, rows: readonly Row[], head: number): Plan => ({
  stem,
  stages: rows.map((row) => [row]),
  act: 'swish',
  squeeze,
  head: {channels: head, at: 'map'},
});

const scaled = (rows: readonly Row[], by: Scaling, limit: number): Plan =>
  plan(
    roundChannels(32 * by.width, 8, limit),
    rows.map((row) => scaleRow(row, by, limit)),
    roundChannels(HEAD * by.width, 8, limit),
  );

export const efficientNet = (
  variant: keyof typeof EFFICIENT_NETS,
  conventions: Conventions,
  classes: number,
): readonly Unit[] => invertedResidualNet(scaled(B0, EFFICIENT_NETS[variant], 0.9), conventions, classes);

export function efficientNetV2(
  variant: keyof typeof EFFICIENT_NETS_V2 | keyof typeof EFFICIENT_NETS_V2_B,
  conventions: Conventions,
  classes: number,
): readonly Unit[] {
  if (variant === 's' || variant === 'm' || variant === 'l') {
    const {stem, rows} = EFFICIENT_NETS_V2[variant];
    return invertedResidualNet(plan(stem, rows, HEAD), conventions, classes);
  }
  return invertedResidualNet(scaled(V2_BASE, EFFICIENT_NETS_V2_B[variant], 0), conventions, classes);
}
