/** ConvNeXt (Liu et al. 2022; the smallest four from timm) and ConvNeXt V2 (Woo et al. 2023). */
import {
  type Conventions,
  dense,
  type Layer,
  LayerMaker,
  layerNorm,
  mean,
  residual,
  type Unit,
} from '../network.js';

export interface ConvNextSizes {
  readonly depths: readonly [number, number, number, number];
  /** Channels of the first stage; they double from one to the next. */
  readonly width: number;
  /** 2 has GRN in place of the layer scale. */
  readonly version: 1 | 2;
}

const SMALL = [2, 2, 6, 2] as const;
const LONG = [3, 3, 27, 3] as const;

export const CONV_NEXTS = {
  convnext_atto: {depths: SMALL, width: 40, version: 1},
  convnext_femto: {depths: SMALL, width: 48, version: 1},
  convnext_pico: {depths: SMALL, width: 64, version: 1},
  convnext_nano: {depths: [2, 2, 8, 2], width: 80, version: 1},
  convnext_tiny: {depths: [3, 3, 9, 3], width: 96, version: 1},
  convnext_small: {depths: LONG, width: 96, version: 1},
  convnext_base: {depths: LONG, width: 128, version: 1},
  convnext_large: {depths: LONG, width: 192, version: 1},
  convnext_xlarge: {depths: LONG, width: 256, version: 1},
  convnextv2_atto: {depths: SMALL, width: 40, version: 2},
  convnextv2_femto: {depths: SMALL, width: 48, version: 2},
  convnextv2_pico: {depths: SMALL, width: 64, version: 2},
  convnextv2_nano: {depths: [2, 2, 8, 2], width: 80, version: 2},
  convnextv2_tiny: {depths: [3, 3, 9, 3], width: 96, version: 2},
  convnextv2_small: {depths: LONG, width: 96, version: 2},
  convnextv2_base: {depths: LONG, width: 128, version: 2},
  convnextv2_large: {depths: LONG, width: 192, version: 2},
  convnextv2_huge: {depths: LONG, width: 352, version: 2},
} as const satisfies Readonly<Record<string, ConvNextSizes>>;

const EPSILON = 1e-6;

export function convNext(
  {depths, width, version}: ConvNextSizes,
  conventions: Conventions,
  classes: number,
): readonly Unit[] {
  const make = new LayerMaker(conventions);
  const patches = (from: number, kernel: number, channels: number): Layer =>
    make.conv('conv', from, {kernel, stride: kernel, channels, bias: true, pad: 'valid'});
  const units: Unit[] = [
    {name: 'stem', form: 'stem', at: {}, layers: [patches(3, 4, width), layerNorm('norm', EPSILON)]},
  ];
  depths.forEach((depth, s) => {
    const channels = width * 2 ** s;
    if (s > 0) {
      const layers = [layerNorm('norm', EPSILON), patches(channels / 2, 2, channels)];
      units.push({name: `stages.${s}.downsample`, form: 'down', at: {s}, layers});
    }
    for (let b = 0; b < depth; b++) {
      units.push({
        name: `stages.${s}.${b}`,
        form: 'block',
        at: {s, b},
        layers: block(make, channels, version),
      });
    }
  });
  const classifier = classes > 0 ? [dense('classifier', classes)] : [];
  const head: Unit = {
    name: 'head',
    form: 'head',
    at: {},
    layers: [mean(), layerNorm('norm', EPSILON), ...classifier],
  };
  return [...units, head];
}

function block(make: LayerMaker, channels: number, version: ConvNextSizes['version']): readonly Layer[] {
  return [
    make.conv('spatial', channels, {kernel: 7, group: 1, channels, bias: true}),
    layerNorm('norm', EPSILON),
    make.conv('expand', channels, {channels: 4 * channels, activation: 'gelu', bias: true}),
    ...(version === 2 ? [{stage: {op: 'grn', name: 'grn', epsilon: EPSILON}} as const] : []),
    make.conv('project', 4 * channels, {channels, bias: true}),
    ...(version === 2 ? [] : [{stage: {op: 'scale', name: 'scale'}} as const]),
    residual(),
  ];
}
