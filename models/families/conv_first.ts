/**
 * ConvFirst (Lavin, "On the Efficiency of Convolutional Neural Networks"). The paper prints the blocks, and parameters and MACs of
 * four variants, but not their stages: THESE SIZES ARE A RECONSTRUCTION, found by benchmarks/conv_first_search.ts, whose log
 * is docs/conv_first_search.log. No weights of the original can fit them except by luck.
 *
 * Known: ConvFirst blocks of group width 8 (figure 6b), the stride-2 form with concat and blur-pool (6c), ReLU, batch norm, MBConv
 * of group width 8; the author times ConvFirst at 64 channels on 64×64 maps with expansion 6 and MBConv at 256 channels on 16×16
 * with expansion 4. Assumed: 256-pixel input, a 4×4 patch stem, four stages that double in width, ConvFirst in the first two
 * and MBConv in the last two, a stride-2 ConvFirst between stages whose hidden width is four times its input's, no
 * squeeze-and-excite.
 */
import {type Conventions, dense, type Layer, LayerMaker, mean, residual, type Unit} from '../network.js';

export interface ConvFirstSizes {
  /** Channels of the first stage; a multiple of 8. */
  readonly width: number;
  /** Residual blocks of each stage; a down-sampling block comes in front of the last three. */
  readonly depths: readonly number[];
  readonly size: number;
}

export const GROUP_WIDTH = 8;
const CONV_FIRST_STAGES = 2;
const EXPANSION = {convFirst: 6, mbConv: 4, down: 4} as const;
const BLUR_TAPS = 3;

export const CONV_FIRSTS = {
  convfirst_pico: {width: 32, depths: [3, 2, 5, 7], size: 256},
  convfirst_nano: {width: 40, depths: [4, 4, 9, 7], size: 256},
  convfirst_tiny: {width: 48, depths: [5, 5, 13, 8], size: 256},
  convfirst_small: {width: 64, depths: [5, 5, 13, 8], size: 256},
} as const satisfies Readonly<Record<string, ConvFirstSizes>>;

/** Also for smaller networks of the same make: any width that is a multiple of 8, any number of stages. */
export function convFirst(
  {width, depths}: ConvFirstSizes,
  conventions: Conventions,
  classes: number,
): readonly Unit[] {
  const make = new LayerMaker(conventions);
  const stem = make.conv('conv', 3, {kernel: 4, stride: 4, channels: width, pad: 'valid'});
  const units: Unit[] = [{name: 'stem', form: 'stem', at: {}, layers: [stem]}];
  depths.forEach((depth, s) => {
    const channels = width * 2 ** s;
    if (s > 0)
      units.push({
        name: `stages.${s}.downsample`,
        form: 'down',
        at: {s},
        layers: downLayers(make, channels / 2),
      });
    for (let b = 0; b < depth; b++) {
      const isFirst = s < CONV_FIRST_STAGES;
      const layers = isFirst ? convFirstLayers(make, channels) : mbConvLayers(make, channels);
      units.push({name: `stages.${s}.${b}`, form: isFirst ? 'first' : 'mb', at: {s, b}, layers});
    }
  });
  const classifier = classes > 0 ? [dense('classifier', classes)] : [];
  return [...units, {name: 'head', form: 'head', at: {}, layers: [mean(), ...classifier]}];
}

function convFirstLayers(make: LayerMaker, channels: number): readonly Layer[] {
  const hidden = channels * EXPANSION.convFirst;
  return [
    make.conv('spatial', channels, {kernel: 3, group: GROUP_WIDTH, channels}),
    make.conv('expand', channels, {channels: hidden, activation: 'relu'}),
    make.conv('project', hidden, {channels}),
    residual(),
  ];
}

function mbConvLayers(make: LayerMaker, channels: number): readonly Layer[] {
  const hidden = channels * EXPANSION.mbConv;
  return [
    make.conv('expand', channels, {channels: hidden, activation: 'relu'}),
    make.conv('spatial', hidden, {kernel: 3, group: GROUP_WIDTH, channels: hidden, activation: 'relu'}),
    make.conv('project', hidden, {channels}),
    residual(),
  ];
}

/** From C channels to 2C on a quarter of the pixels. */
function downLayers(make: LayerMaker, channels: number): readonly Layer[] {
  const hidden = channels * EXPANSION.down;
  return [
    make.conv('spatial', channels, {kernel: 3, group: GROUP_WIDTH, channels}),
    {stage: {op: 'concat', name: 'concat'}},
    {stage: {op: 'blurpool', name: 'blur', taps: BLUR_TAPS, stride: 2, mode: 'reflect'}},
    make.conv('expand', 2 * channels, {channels: hidden, activation: 'relu'}),
    make.conv('project', hidden, {channels: 2 * channels}),
  ];
}
