/** Narrow and shallow networks with every kind of block: those of test/fixtures/checkpoints, and ConvFirst. */
import {convFirst} from '../../models/families/conv_first.js';
import {convNext} from '../../models/families/conv_next.js';
import {invertedResidualNet, type Plan, type Row} from '../../models/families/inverted_residual.js';
import {regNet, resNet} from '../../models/families/res_net.js';
import {type Architecture, findArchitecture} from '../../models/index.js';
import {roundChannels} from '../../models/network.js';

/** Names, conventions and preprocessing are those of a published architecture. */
const tiny = (name: string, like: string, units: Architecture['units']): Architecture => ({
  ...findArchitecture(like),
  name,
  size: 32,
  units,
});

const efficient = (stem: number, head: number, ...rows: readonly Row[]): Plan => ({
  stem,
  stages: rows.map((row) => [row]),
  act: 'swish',
  squeeze: {channels: (input) => Math.max(1, Math.floor(input / 4)), act: 'swish', curve: 'sigmoid'},
  head: {channels: head, at: 'map'},
});

const MOBILE = efficient(
  8,
  32,
  {block: 'mb', k: 3, s: 1, t: 1, c: 8, n: 1, se: true},
  {block: 'fused', k: 3, s: 2, t: 2, c: 16, n: 2},
  {block: 'mb', k: 5, s: 2, t: 3, c: 16, n: 2, se: true},
);
const MOBILE_TF = efficient(
  8,
  32,
  {block: 'fused', k: 3, s: 1, t: 1, c: 8, n: 2},
  {block: 'mb', k: 3, s: 2, t: 4, c: 16, n: 1, se: true},
  {block: 'mb', k: 5, s: 2, t: 4, c: 24, n: 1},
);
const KERAS_MOBILE = efficient(
  8,
  32,
  {block: 'mb', k: 3, s: 1, t: 1, c: 8, n: 1, se: true},
  {block: 'mb', k: 5, s: 2, t: 3, c: 8, n: 2, se: true},
);
const UNIVERSAL: Plan = {
  stem: 8,
  act: 'relu',
  expanded: (input, t) => roundChannels(input * t),
  head: {channels: 32, at: 'vector'},
  stages: [
    [{block: 'conv', k: 3, s: 2, t: 1, c: 8, n: 1}],
    [
      {block: 'universal', start: 3, k: 5, s: 2, t: 2, c: 16, n: 1},
      {block: 'universal', start: 3, k: 0, s: 1, t: 2, c: 16, n: 1},
      {block: 'universal', k: 3, s: 1, t: 2, c: 16, n: 1},
    ],
    [{block: 'conv', k: 1, s: 1, t: 1, c: 32, n: 1}],
  ],
};
const V3: Plan = {
  ...UNIVERSAL,
  act: 'hardswish',
  head: {channels: 16, at: 'vector', bias: true},
  squeeze: {channels: (_, expanded) => roundChannels(expanded / 4), act: 'relu', curve: 'hardsigmoid'},
  stages: [[{block: 'mb', k: 5, s: 2, t: 3, c: 8, n: 2, se: true}]],
};

const mobile = (name: string, like: string, plan: Plan): Architecture =>
  tiny(name, like, (conventions, classes) => invertedResidualNet(plan, conventions, classes));

export const TIMM_MOBILE = mobile('timm_mobile', 'efficientnet_b0', MOBILE);
export const TIMM_MOBILE_TF = mobile('timm_mobile_tf', 'tf_efficientnet_b0', MOBILE_TF);
export const KERAS_MOBILE_NET = mobile('keras_mobile', 'efficientnet_b0', KERAS_MOBILE);
export const TIMM_UNIVERSAL = mobile('timm_universal', 'mobilenetv4_conv_small', UNIVERSAL);
export const MOBILE_V3 = mobile('mobile_v3', 'mobilenetv3_small', V3);

export const TIMM_CONV_NEXT = tiny('timm_convnext', 'convnext_tiny', (conventions, classes) =>
  convNext({depths: [1, 1, 2, 1], width: 4, version: 1}, conventions, classes),
);
export const TIMM_CONV_NEXT_V2 = tiny('timm_convnextv2', 'convnextv2_tiny', (conventions, classes) =>
  convNext({depths: [1, 1, 1, 1], width: 4, version: 2}, conventions, classes),
);
/** Keras puts the network's name into its layers'. */
export const KERAS_CONV_NEXT = tiny('keras_convnext', 'convnext_tiny', (conventions, classes) =>
  convNext({depths: [1, 1, 1, 1], width: 4, version: 1}, conventions, classes),
);
export const TIMM_REG_NET_Y = tiny('timm_regnety', 'regnety_004', (conventions, classes) =>
  regNet({depth: 5, w0: 8, wa: 14, wm: 2, g: 8, gate: true}, conventions, classes),
);
export const TIMM_RES_NET_BASIC = tiny('timm_resnet_basic', 'resnet18', (conventions, classes) =>
  resNet({block: 'basic', depths: [1, 1, 1, 1], width: 4}, conventions, classes),
);
export const TIMM_RES_NET_BOTTLENECK = tiny('timm_resnet_bottleneck', 'resnet50', (conventions, classes) =>
  resNet({block: 'bottleneck', depths: [1, 1, 1, 1], width: 4}, conventions, classes),
);
export const CONV_FIRST = tiny('convfirst', 'convfirst_pico', (conventions, classes) =>
  convFirst({width: 16, depths: [1, 1, 1], size: 32}, conventions, classes),
);

export const TINY_ARCHITECTURES: readonly Architecture[] = [
  TIMM_MOBILE,
  TIMM_MOBILE_TF,
  TIMM_UNIVERSAL,
  MOBILE_V3,
  TIMM_CONV_NEXT,
  TIMM_CONV_NEXT_V2,
  TIMM_REG_NET_Y,
  TIMM_RES_NET_BASIC,
  TIMM_RES_NET_BOTTLENECK,
  CONV_FIRST,
];
