/** Tiles of grouped convolutions as matrix products, with what ends and follows them, against the reference. */
import {shaderOf} from '../kernels/webgpu/compile.js';
import {
  groupedProductTiles,
  type GroupedProblem,
  type GroupedProductTile,
} from '../kernels/webgpu/grouped_tiling.js';
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {stockLimits, tilingFor} from '../kernels/webgpu/tiling.js';
import type {Block, Shape4D, SpatialStage, Stage} from '../ops/index.js';
import {gateStage, pointwiseStage, residualStage, spatialStage} from '../ops/stages/make.js';
import {backend, compare, limitsOf} from './support/compare_plan.js';
import {onBackend} from './support/environment.js';
import {expectNoLeak} from './support/expect_no_leak.js';

interface Case {
  readonly name: string;
  readonly input: Shape4D;
  readonly stage: SpatialStage;
  readonly after?: readonly Stage[];
  readonly kernels: readonly string[];
}

const norm = {op: 'layernorm', name: 'norm', epsilon: 1e-6, affine: true} as const;
const ALONE = ['groupedProduct.vector'];

const CASES: readonly Case[] = [
  {
    name: 'width 8, a shortcut',
    input: [2, 9, 11, 24],
    stage: spatialStage('spatial', {kernel: 3, group: 8, channels: 24, activation: 'relu6'}),
    after: [residualStage()],
    kernels: ALONE,
  },
  {
    name: 'width 12 to 8, 5×5, stride 2, padded unevenly',
    input: [1, 11, 10, 36],
    stage: spatialStage('spatial', {kernel: 5, group: 12, channels: 24, stride: 2, pad: [3, 1, 0, 2]}), // prettier-ignore
    kernels: ALONE,
  },
  {
    name: 'width 16, dilated by 2×3',
    input: [1, 8, 19, 32],
    stage: spatialStage('spatial', {
      kernel: 3,
      group: 16,
      channels: 32,
      dilation: [2, 3],
      activation: 'swish',
    }),
    kernels: ALONE,
  },
  {
    name: '1×1 of width 20',
    input: [2, 7, 7, 60],
    stage: spatialStage('spatial', {kernel: 1, group: 20, channels: 60, activation: 'relu'}),
    kernels: ALONE,
  },
  {
    name: 'width 64, in slices and shares',
    input: [1, 6, 7, 128],
    stage: spatialStage('spatial', {kernel: 3, group: 64, channels: 128, stride: 2}),
    kernels: ALONE,
  },
  {
    name: 'width 8, sums for a gate',
    input: [2, 9, 13, 32],
    stage: spatialStage('spatial', {kernel: 3, group: 8, channels: 32, activation: 'relu'}),
    after: [gateStage(5), pointwiseStage('project', 12)],
    kernels: ['groupedProduct.vector', 'gate'],
  },
  {
    name: 'width 16, moments for a LayerNorm',
    input: [2, 9, 7, 48],
    stage: spatialStage('spatial', {kernel: 3, group: 16, channels: 48}),
    after: [norm, pointwiseStage('expand', 20, 'gelu')],
    kernels: ALONE,
  },
];

const blockOf = ({stage, after = []}: Case): Block => ({kind: 'BlockMBConv', stages: [stage, ...after]});

/** The problem the block poses, and what its plan dispatches with a tile. */
function posedBy(example: Case): GroupedProblem {
  let posed: GroupedProblem | undefined;
  const usual = tilingFor(limitsOf(backend().device));
  lowerBlock(blockOf(example), example.input, {...usual, grouped: (problem) => usual.grouped((posed = problem))}); // prettier-ignore
  if (!posed) throw new Error('The block has a grouped convolution.');
  return posed;
}

/** So many of all, evenly. */
function some(tiles: readonly GroupedProductTile[], count: number): readonly GroupedProductTile[] {
  const every = Math.max(1, Math.floor(tiles.length / count));
  return tiles.filter((_, at) => at % every === 0);
}

onBackend('webgpu', 'grouped convolutions as matrix products', () => {
  for (const example of CASES) {
    it(example.name, async () => {
      const limits = limitsOf(backend().device);
      const tiles = some(groupedProductTiles(posedBy(example), limits), 10);
      expect(tiles.length).toBeGreaterThan(3);
      for (const tile of tiles) {
        const grouped = (): GroupedProductTile => tile;
        const plan = lowerBlock(blockOf(example), example.input, {...tilingFor(limits), grouped});
        // A product behind it may be made in several ways.
        const kernels = plan.dispatches.map(({kernel}) => kernel).filter((name) => !/pointwise/i.test(name));
        expect(kernels).toEqual([...example.kernels]);
        await expectNoLeak(() => compare(blockOf(example), example.input, {grouped}));
      }
    });

    it(`${example.name}: valid written out as on a GPU, and within the limits of stock devices`, async () => {
      const {device} = backend();
      const plan = lowerBlock(blockOf(example), example.input, tilingFor(stockLimits));
      const dispatch = plan.dispatches.find(({kernel}) => kernel === 'groupedProduct.vector');
      if (!dispatch) throw new Error('The block has a grouped convolution.');
      device.pushErrorScope('validation');
      const module = device.createShaderModule({code: shaderOf(dispatch)});
      await device.createComputePipelineAsync({layout: 'auto', compute: {module, entryPoint: 'main'}});
      expect((await device.popErrorScope())?.message).toBeUndefined();
    });
  }
});
