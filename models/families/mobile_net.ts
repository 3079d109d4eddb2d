/**
 * MobileNet: V1 (Howard et al. 2017), V2 (Sandler et al. 2018), V3 (Howard et al. 2019), V4's convolutional members (Qin et
 * al. 2024), and MnasNet (Tan et al. 2019), which has the same blocks.
 */
import {roundChannels} from '../network.js';
import type {Plan, Row} from './inverted_residual.js';

const byRow = (rows: readonly Row[]): readonly (readonly Row[])[] => rows.map((row) => [row]);

const V1: Plan = {
  stem: 32,
  act: 'relu6',
  stages: byRow([
    {block: 'separable', k: 3, s: 1, t: 1, c: 64, n: 1},
    {block: 'separable', k: 3, s: 2, t: 1, c: 128, n: 2},
    {block: 'separable', k: 3, s: 2, t: 1, c: 256, n: 2},
    {block: 'separable', k: 3, s: 2, t: 1, c: 512, n: 6},
    {block: 'separable', k: 3, s: 2, t: 1, c: 1024, n: 2},
  ]),
};

const V2: Plan = {
  stem: 32,
  act: 'relu6',
  stages: byRow([
    {block: 'mb', k: 3, s: 1, t: 1, c: 16, n: 1},
    {block: 'mb', k: 3, s: 2, t: 6, c: 24, n: 2},
    {block: 'mb', k: 3, s: 2, t: 6, c: 32, n: 3},
    {block: 'mb', k: 3, s: 2, t: 6, c: 64, n: 4},
    {block: 'mb', k: 3, s: 1, t: 6, c: 96, n: 3},
    {block: 'mb', k: 3, s: 2, t: 6, c: 160, n: 3},
    {block: 'mb', k: 3, s: 1, t: 6, c: 320, n: 1},
  ]),
  head: {channels: 1280, at: 'map'},
};

/** V3's table gives expansions to one or two digits; widths are then rounded. */
const v3 = (head: number, stages: Plan['stages']): Plan => ({
  stem: 16,
  act: 'hardswish',
  stages,
  squeeze: {
    channels: (_input, expanded) => roundChannels(expanded / 4),
    act: 'relu',
    curve: 'hardsigmoid',
  },
  expanded: (input, t) => roundChannels(input * t),
  head: {channels: head, at: 'vector', bias: true},
});

const V3_LARGE = v3(1280, [
  [{block: 'mb', k: 3, s: 1, t: 1, c: 16, n: 1, act: 'relu'}],
  [
    {block: 'mb', k: 3, s: 2, t: 4, c: 24, n: 1, act: 'relu'},
    {block: 'mb', k: 3, s: 1, t: 3, c: 24, n: 1, act: 'relu'},
  ],
  [{block: 'mb', k: 5, s: 2, t: 3, c: 40, n: 3, act: 'relu', se: true}],
  [
    {block: 'mb', k: 3, s: 2, t: 6, c: 80, n: 1},
    {block: 'mb', k: 3, s: 1, t: 2.5, c: 80, n: 1},
    {block: 'mb', k: 3, s: 1, t: 2.3, c: 80, n: 2},
  ],
  [{block: 'mb', k: 3, s: 1, t: 6, c: 112, n: 2, se: true}],
  [{block: 'mb', k: 5, s: 2, t: 6, c: 160, n: 3, se: true}],
  [{block: 'conv', k: 1, s: 1, t: 1, c: 960, n: 1}],
]);

const V3_SMALL = v3(1024, [
  [{block: 'mb', k: 3, s: 2, t: 1, c: 16, n: 1, act: 'relu', se: true}],
  [
    {block: 'mb', k: 3, s: 2, t: 4.5, c: 24, n: 1, act: 'relu'},
    {block: 'mb', k: 3, s: 1, t: 3.67, c: 24, n: 1, act: 'relu'},
  ],
  [
    {block: 'mb', k: 5, s: 2, t: 4, c: 40, n: 1, se: true},
    {block: 'mb', k: 5, s: 1, t: 6, c: 40, n: 2, se: true},
  ],
  [{block: 'mb', k: 5, s: 1, t: 3, c: 48, n: 2, se: true}],
  [{block: 'mb', k: 5, s: 2, t: 6, c: 96, n: 3, se: true}],
  [{block: 'conv', k: 1, s: 1, t: 1, c: 576, n: 1}],
]);

const v4 = (stages: Plan['stages']): Plan => ({
  stem: 32,
  act: 'relu',
  stages,
  expanded: (input, t) => roundChannels(input * t),
  head: {channels: 1280, at: 'vector'},
});

const V4_SMALL = v4([
  [
    {block: 'conv', k: 3, s: 2, t: 1, c: 32, n: 1},
    {block: 'conv', k: 1, s: 1, t: 1, c: 32, n: 1},
  ],
  [
    {block: 'conv', k: 3, s: 2, t: 1, c: 96, n: 1},
    {block: 'conv', k: 1, s: 1, t: 1, c: 64, n: 1},
  ],
  [
    {block: 'universal', start: 5, k: 5, s: 2, t: 3, c: 96, n: 1},
    {block: 'universal', k: 3, s: 1, t: 2, c: 96, n: 4},
    {block: 'universal', start: 3, k: 0, s: 1, t: 4, c: 96, n: 1},
  ],
  [
    {block: 'universal', start: 3, k: 3, s: 2, t: 6, c: 128, n: 1},
    {block: 'universal', start: 5, k: 5, s: 1, t: 4, c: 128, n: 1},
    {block: 'universal', k: 5, s: 1, t: 4, c: 128, n: 1},
    {block: 'universal', k: 5, s: 1, t: 3, c: 128, n: 1},
    {block: 'universal', k: 3, s: 1, t: 4, c: 128, n: 2},
  ],
  [{block: 'conv', k: 1, s: 1, t: 1, c: 960, n: 1}],
]);

const V4_MEDIUM = v4([
  [{block: 'fused', k: 3, s: 2, t: 4, c: 48, n: 1}],
  [
    {block: 'universal', start: 3, k: 5, s: 2, t: 4, c: 80, n: 1},
    {block: 'universal', start: 3, k: 3, s: 1, t: 2, c: 80, n: 1},
  ],
  [
    {block: 'universal', start: 3, k: 5, s: 2, t: 6, c: 160, n: 1},
    {block: 'universal', start: 3, k: 3, s: 1, t: 4, c: 160, n: 2},
    {block: 'universal', start: 3, k: 5, s: 1, t: 4, c: 160, n: 1},
    {block: 'universal', start: 3, k: 3, s: 1, t: 4, c: 160, n: 1},
    {block: 'universal', start: 3, k: 0, s: 1, t: 4, c: 160, n: 1},
    {block: 'universal', k: 0, s: 1, t: 2, c: 160, n: 1},
    {block: 'universal', start: 3, k: 0, s: 1, t: 4, c: 160, n: 1},
  ],
  [
    {block: 'universal', start: 5, k: 5, s: 2, t: 6, c: 256, n: 1},
    {block: 'universal', start: 5, k: 5, s: 1, t: 4, c: 256, n: 1},
    {block: 'universal', start: 3, k: 5, s: 1, t: 4, c: 256, n: 2},
    {block: 'universal', k: 0, s: 1, t: 4, c: 256, n: 1},
    {block: 'universal', start: 3, k: 0, s: 1, t: 4, c: 256, n: 1},
    {block: 'universal', start: 3, k: 5, s: 1, t: 2, c: 256, n: 1},
    {block: 'universal', start: 5, k: 5, s: 1, t: 4, c: 256, n: 1},
    {block: 'universal', k: 0, s: 1, t: 4, c: 256, n: 2},
    {block: 'universal', start: 5, k: 0, s: 1, t: 2, c: 256, n: 1},
  ],
  [{block: 'conv', k: 1, s: 1, t: 1, c: 960, n: 1}],
]);

const mnas = (rows: readonly Row[]): Plan => ({
  stem: 32,
  act: 'relu',
  stages: byRow(rows),
  squeeze: {channels: (input) => Math.max(1, Math.floor(input / 4)), act: 'relu', curve: 'sigmoid'},
  head: {channels: 1280, at: 'map'},
});

const MNAS_A1 = mnas([
  {block: 'mb', k: 3, s: 1, t: 1, c: 16, n: 1},
  {block: 'mb', k: 3, s: 2, t: 6, c: 24, n: 2},
  {block: 'mb', k: 5, s: 2, t: 3, c: 40, n: 3, se: true},
  {block: 'mb', k: 3, s: 2, t: 6, c: 80, n: 4},
  {block: 'mb', k: 3, s: 1, t: 6, c: 112, n: 2, se: true},
  {block: 'mb', k: 5, s: 2, t: 6, c: 160, n: 3, se: true},
  {block: 'mb', k: 3, s: 1, t: 6, c: 320, n: 1},
]);

const MNAS_B1 = mnas([
  {block: 'mb', k: 3, s: 1, t: 1, c: 16, n: 1},
  {block: 'mb', k: 3, s: 2, t: 3, c: 24, n: 3},
  {block: 'mb', k: 5, s: 2, t: 3, c: 40, n: 3},
  {block: 'mb', k: 5, s: 2, t: 6, c: 80, n: 3},
  {block: 'mb', k: 3, s: 1, t: 6, c: 96, n: 2},
  {block: 'mb', k: 5, s: 2, t: 6, c: 192, n: 4},
  {block: 'mb', k: 3, s: 1, t: 6, c: 320, n: 1},
]);

/** By the name of the architecture. */
export const MOBILE_NETS = {
  mobilenetv1: {family: 'MobileNetV1', plan: V1, size: 224},
  mobilenetv2: {family: 'MobileNetV2', plan: V2, size: 224},
  mobilenetv3_large: {family: 'MobileNetV3', plan: V3_LARGE, size: 224},
  mobilenetv3_small: {family: 'MobileNetV3', plan: V3_SMALL, size: 224},
  mobilenetv4_conv_small: {family: 'MobileNetV4', plan: V4_SMALL, size: 224},
  mobilenetv4_conv_medium: {family: 'MobileNetV4', plan: V4_MEDIUM, size: 256},
  mnasnet_a1: {family: 'MnasNet', plan: MNAS_A1, size: 224},
  mnasnet_b1: {family: 'MnasNet', plan: MNAS_B1, size: 224},
} as const;
