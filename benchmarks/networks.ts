/** The blocks of well-known networks at 224×224, as problems for the kernels. Tables: Tan and Le 2019, Liu et al. 2022. */
import type {Block, Shape4D, Stage} from '../ops/index.js';
import {gateStage, pointwiseStage, residualStage, spatialStage} from '../ops/stages/make.js';

/** Architectures of models/ that whole-network programs measure unless told otherwise. */
export const COMPARED_NETWORKS = [
  'efficientnet_b0',
  'efficientnet_b4',
  'efficientnetv2_s',
  'mobilenetv2',
  'mobilenetv3_large',
  'convnext_tiny',
  'convfirst_tiny',
  'resnet50',
] as const;

export interface NetworkBlock {
  readonly name: string;
  readonly block: Block;
  /** `[1, H, W, C]`; batches scale the first axis. */
  readonly input: Shape4D;
  /** How often the network has this very block. */
  readonly count: number;
}

interface MBRow {
  readonly expansion: number;
  readonly kernel: number;
  readonly stride: number;
  readonly channels: number;
  readonly repeats: number;
}

const mbRow = (
  expansion: number,
  kernel: number,
  stride: number,
  channels: number,
  repeats: number,
): MBRow => ({expansion, kernel, stride, channels, repeats});

function mbBlocks(
  rows: readonly MBRow[],
  start: {size: number; channels: number},
  activation: 'swish' | 'relu6',
  squeeze: boolean,
): NetworkBlock[] {
  let {size, channels} = start;
  return rows.flatMap((row, r) => {
    const strides = row.stride === 1 ? [1] : [row.stride, 1];
    const made: NetworkBlock[] = [];
    strides.forEach((stride, at) => {
      const first = at === 0;
      const variants =
        first && row.stride === 1 && channels !== row.channels && row.repeats > 1
          ? [1, row.repeats - 1]
          : [first ? (row.stride === 1 ? row.repeats : 1) : row.repeats - 1];
      for (const count of variants) {
        if (count === 0) continue;
        const hidden = channels * row.expansion;
        const stages: Stage[] = [
          ...(row.expansion > 1 ? [pointwiseStage('expand', hidden, activation)] : []),
          spatialStage('spatial', {kernel: row.kernel, stride, group: 1, channels: hidden, activation}),
          ...(squeeze ? [gateStage(Math.max(1, Math.floor(channels / 4)))] : []),
          pointwiseStage('project', row.channels),
          ...(stride === 1 && channels === row.channels ? [residualStage()] : []),
        ];
        made.push({
          name: `${r + 1}.${made.length} ${size}² ${channels}→${row.channels} k${row.kernel}s${stride}`,
          block: {kind: 'BlockMBConv', stages},
          input: [1, size, size, channels],
          count,
        });
        size = Math.ceil(size / stride);
        channels = row.channels;
      }
    });
    return made;
  });
}

const EFFICIENTNET_B0 = mbBlocks(
  [
    mbRow(1, 3, 1, 16, 1),
    mbRow(6, 3, 2, 24, 2),
    mbRow(6, 5, 2, 40, 2),
    mbRow(6, 3, 2, 80, 3),
    mbRow(6, 5, 1, 112, 3),
    mbRow(6, 5, 2, 192, 4),
    mbRow(6, 3, 1, 320, 1),
  ],
  {size: 112, channels: 32},
  'swish',
  true,
);

const MOBILENET_V2 = mbBlocks(
  [
    mbRow(1, 3, 1, 16, 1),
    mbRow(6, 3, 2, 24, 2),
    mbRow(6, 3, 2, 32, 3),
    mbRow(6, 3, 2, 64, 4),
    mbRow(6, 3, 1, 96, 3),
    mbRow(6, 3, 2, 160, 3),
    mbRow(6, 3, 1, 320, 1),
  ],
  {size: 112, channels: 32},
  'relu6',
  false,
);

const CONVNEXT_T: readonly NetworkBlock[] = [96, 192, 384, 768].map((channels, i) => {
  const size = 56 >> i;
  const stages: Stage[] = [
    spatialStage('spatial', {kernel: 7, group: 1, channels}),
    {op: 'layernorm', name: 'norm', epsilon: 1e-6, affine: true},
    pointwiseStage('expand', channels * 4, 'gelu'),
    pointwiseStage('project', channels),
    {op: 'scale', name: 'scale'},
    residualStage(),
  ];
  return {
    name: `${i + 1} ${size}² ${channels}`,
    block: {kind: 'BlockConvNeXt', stages},
    input: [1, size, size, channels],
    count: [3, 3, 9, 3][i] as number,
  };
});

/** Convolutions between the blocks. */
const lone = (
  name: string,
  input: Shape4D,
  convolution: {kernel: number; stride: number; channels: number; activation?: 'swish' | 'relu6'},
): NetworkBlock => ({
  name,
  block: {kind: 'BlockConv', stages: [spatialStage('spatial', {...convolution, group: input[3]})]},
  input,
  count: 1,
});

const STEM = {kernel: 3, stride: 2, channels: 32};

export const NETWORKS: Readonly<Record<string, readonly NetworkBlock[]>> = {
  efficientnet_b0: EFFICIENTNET_B0,
  mobilenetv2: MOBILENET_V2,
  convnext_tiny: CONVNEXT_T,
  lone: [
    lone('stem, swish', [1, 224, 224, 3], {...STEM, activation: 'swish'}),
    lone('stem, relu6', [1, 224, 224, 3], {...STEM, activation: 'relu6'}),
    lone('ConvNeXt-T stem', [1, 224, 224, 3], {kernel: 4, stride: 4, channels: 96}),
    ...[96, 192, 384].map((channels, i) =>
      lone(`ConvNeXt-T to ${2 * channels}`, [1, 56 >> i, 56 >> i, channels], {
        kernel: 2,
        stride: 2,
        channels: 2 * channels,
      }),
    ),
  ],
};

export const atBatch = ([, h, w, c]: Shape4D, batch: number): Shape4D => [batch, h, w, c];
