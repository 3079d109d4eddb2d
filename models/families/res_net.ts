/** ResNet (He et al. 2016; bottlenecks stride in the 3×3, as everyone but Keras does) and RegNet (Radosavovic et al. 2020). */
import {
  type Conventions,
  dense,
  gate,
  type Layer,
  LayerMaker,
  maxPool,
  mean,
  residual,
  roundChannels,
  type Unit,
} from '../network.js';

export interface ResNetSizes {
  readonly block: 'basic' | 'bottleneck';
  readonly depths: readonly [number, number, number, number];
  /** Channels of the stem, and inside the blocks of the first stage; they double from one stage to the next. */
  readonly width: number;
}

export const RES_NETS = {
  resnet18: {block: 'basic', depths: [2, 2, 2, 2], width: 64},
  resnet34: {block: 'basic', depths: [3, 4, 6, 3], width: 64},
  resnet50: {block: 'bottleneck', depths: [3, 4, 6, 3], width: 64},
  resnet101: {block: 'bottleneck', depths: [3, 4, 23, 3], width: 64},
  resnet152: {block: 'bottleneck', depths: [3, 8, 36, 3], width: 64},
} as const satisfies Readonly<Record<string, ResNetSizes>>;

const head = (classes: number): Unit => ({
  name: 'head',
  form: 'head',
  at: {},
  layers: [mean(), ...(classes > 0 ? [dense('classifier', classes)] : [])],
});

export function resNet(
  {block, depths, width}: ResNetSizes,
  conventions: Conventions,
  classes: number,
): readonly Unit[] {
  const make = new LayerMaker(conventions);
  // The pool sees values behind a relu, so zeros around them are as good as −∞.
  const stem: readonly Layer[] = [
    make.conv('conv', 3, {kernel: 7, stride: 2, channels: width, activation: 'relu', pad: [3, 3, 3, 3]}),
    {stage: {op: 'zeropad', name: 'pad', pad: [1, 1, 1, 1]}},
    maxPool('pool', 3, 2, 'valid'),
  ];
  const units: Unit[] = [{name: 'stem', form: 'stem', at: {}, layers: stem}];
  let from = width;
  depths.forEach((depth, s) => {
    const inner = width * 2 ** s;
    for (let b = 0; b < depth; b++) {
      const stride = s > 0 && b === 0 ? 2 : 1;
      const sizes = {from, inner, stride};
      const layers = block === 'basic' ? basic(make, sizes) : bottleneck(make, sizes, conventions);
      units.push({name: `stages.${s}.${b}`, form: block, at: {s, b}, layers});
      from = block === 'basic' ? inner : inner * 4;
    }
  });
  return [...units, head(classes)];
}

interface BlockSizes {
  readonly from: number;
  readonly inner: number;
  readonly stride: number;
}

function joined(make: LayerMaker, from: number, channels: number, stride: number): Layer {
  const projection = make.conv('shortcut', from, {stride, channels});
  return residual(from === channels && stride === 1 ? [] : [projection], 'relu');
}

function basic(make: LayerMaker, {from, inner, stride}: BlockSizes): readonly Layer[] {
  return [
    make.conv('first', from, {kernel: 3, stride, channels: inner, activation: 'relu'}),
    make.conv('second', inner, {kernel: 3, channels: inner}),
    joined(make, from, inner, stride),
  ];
}

function bottleneck(
  make: LayerMaker,
  {from, inner, stride}: BlockSizes,
  {strideFirst = false}: Conventions,
): readonly Layer[] {
  const [first, middle] = strideFirst ? [stride, 1] : [1, stride];
  return [
    make.conv('reduce', from, {stride: first, channels: inner, activation: 'relu'}),
    make.conv('spatial', inner, {kernel: 3, stride: middle, channels: inner, activation: 'relu'}),
    make.conv('expand', inner, {channels: inner * 4}),
    joined(make, from, inner * 4, stride),
  ];
}

export interface RegNetRow {
  readonly depth: number;
  readonly w0: number;
  readonly wa: number;
  readonly wm: number;
  /** Group width. */
  readonly g: number;
  /** torchvision rounds widths to the group as MobileNet does to 8; the paper's code to the nearest, ties to even. */
  readonly rounds?: 'up';
  /** Squeeze-and-excite, which makes it a Y. */
  readonly gate?: boolean;
}

/** The design space's parameters; stages follow from them (appendix B of the paper). */
export const REG_NETS = {
  regnetx_002: {depth: 13, w0: 24, wa: 36.44, wm: 2.49, g: 8},
  regnetx_004: {depth: 22, w0: 24, wa: 24.48, wm: 2.54, g: 16},
  regnetx_004_tv: {depth: 22, w0: 24, wa: 24.48, wm: 2.54, g: 16, rounds: 'up'},
  regnetx_006: {depth: 16, w0: 48, wa: 36.97, wm: 2.24, g: 24},
  regnetx_008: {depth: 16, w0: 56, wa: 35.73, wm: 2.28, g: 16},
  regnetx_016: {depth: 18, w0: 80, wa: 34.01, wm: 2.25, g: 24},
  regnetx_032: {depth: 25, w0: 88, wa: 26.31, wm: 2.25, g: 48},
  regnetx_040: {depth: 23, w0: 96, wa: 38.65, wm: 2.43, g: 40},
  regnetx_064: {depth: 17, w0: 184, wa: 60.83, wm: 2.07, g: 56},
  regnetx_080: {depth: 23, w0: 80, wa: 49.56, wm: 2.88, g: 120},
  regnetx_120: {depth: 19, w0: 168, wa: 73.36, wm: 2.37, g: 112},
  regnetx_160: {depth: 22, w0: 216, wa: 55.59, wm: 2.1, g: 128},
  regnetx_320: {depth: 23, w0: 320, wa: 69.86, wm: 2.0, g: 168},
  regnety_002: {depth: 13, w0: 24, wa: 36.44, wm: 2.49, g: 8, gate: true},
  regnety_004: {depth: 16, w0: 48, wa: 27.89, wm: 2.09, g: 8, gate: true},
  regnety_006: {depth: 15, w0: 48, wa: 32.54, wm: 2.32, g: 16, gate: true},
  regnety_008: {depth: 14, w0: 56, wa: 38.84, wm: 2.4, g: 16, gate: true},
  regnety_008_tv: {depth: 14, w0: 56, wa: 38.84, wm: 2.4, g: 16, rounds: 'up', gate: true},
  regnety_016: {depth: 27, w0: 48, wa: 20.71, wm: 2.65, g: 24, gate: true},
  regnety_032: {depth: 21, w0: 80, wa: 42.63, wm: 2.66, g: 24, gate: true},
  regnety_040: {depth: 22, w0: 96, wa: 31.41, wm: 2.24, g: 64, gate: true},
  regnety_064: {depth: 25, w0: 112, wa: 33.22, wm: 2.27, g: 72, gate: true},
  regnety_080: {depth: 17, w0: 192, wa: 76.82, wm: 2.19, g: 56, gate: true},
  regnety_080_tv: {depth: 17, w0: 192, wa: 76.82, wm: 2.19, g: 56, rounds: 'up', gate: true},
  regnety_120: {depth: 19, w0: 168, wa: 73.36, wm: 2.37, g: 112, gate: true},
  regnety_160: {depth: 18, w0: 200, wa: 106.23, wm: 2.48, g: 112, gate: true},
  regnety_320: {depth: 20, w0: 232, wa: 115.89, wm: 2.53, g: 232, gate: true},
} as const satisfies Readonly<Record<string, RegNetRow>>;

function roundEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}

/** Width of each block: linear in its index, then to the nearest power of wm, then to a multiple of 8 and of the group. */
function regNetWidths({depth, w0, wa, wm, g, rounds}: RegNetRow): readonly number[] {
  return Array.from({length: depth}, (_, j) => {
    const power = roundEven(Math.log((wa * j + w0) / w0) / Math.log(wm));
    const width = roundEven((w0 * wm ** power) / 8) * 8;
    const group = Math.min(g, width);
    return rounds === 'up' ? roundChannels(width, group) : roundEven(width / group) * group;
  });
}

export function regNet(row: RegNetRow, conventions: Conventions, classes: number): readonly Unit[] {
  const make = new LayerMaker(conventions);
  const stem = make.conv('conv', 3, {kernel: 3, stride: 2, channels: 32, activation: 'relu'});
  const units: Unit[] = [{name: 'stem', form: 'stem', at: {}, layers: [stem]}];
  let [from, s, b] = [32, -1, 0];
  for (const width of regNetWidths(row)) {
    const stride = width === from && s >= 0 ? 1 : 2;
    [s, b] = stride === 2 ? [s + 1, 0] : [s, b + 1];
    const group = Math.min(row.g, width);
    const layers = [
      make.conv('reduce', from, {channels: width, activation: 'relu'}),
      make.conv('spatial', width, {kernel: 3, stride, group, channels: width, activation: 'relu'}),
      ...(row.gate ? [gate(Math.round(from / 4), 'relu', 'sigmoid')] : []),
      make.conv('expand', width, {channels: width}),
      joined(make, from, width, stride),
    ];
    units.push({name: `stages.${s}.${b}`, form: row.gate ? 'y' : 'x', at: {s, b}, layers});
    from = width;
  }
  return [...units, head(classes)];
}
