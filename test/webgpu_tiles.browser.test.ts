/** Every tile the planner may choose, against the reference: a plan that no estimate picks here may be another device's best. */
import {shaderOf} from '../kernels/webgpu/compile.js';
import type {ConvolutionTile} from '../kernels/webgpu/convolution_tiling.js';
import {denseCandidates} from '../kernels/webgpu/dense_tiling.js';
import {APART} from '../kernels/webgpu/fused_tiling.js';
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {
  depthwiseCandidates,
  MATMUL_TILES,
  matmulIsLegal,
  type MatmulTile,
  matmulTileOf,
  stockLimits,
  tilingFor,
} from '../kernels/webgpu/tiling.js';
import {stemCandidates} from '../kernels/webgpu/stem_tiling.js';
import {type Block, traceBlock} from '../ops/index.js';
import {gateStage, pointwiseStage, residualStage, spatialStage} from '../ops/stages/make.js';
import {backend, compare, limitsOf} from './support/compare_plan.js';
import {onBackend} from './support/environment.js';
import {expectNoLeak} from './support/expect_no_leak.js';

const nameOf = (tile: MatmulTile): string => Object.values(tile).join('.');

onBackend('webgpu', 'matrix tiles', () => {
  // A little more than one tile of 64 rows, no multiple of any tile along N, and a K that no step divides.
  const block: Block = {
    kind: 'BlockMBConv',
    stages: [pointwiseStage('project', 76, 'swish'), residualStage()],
  };
  // Of a gate's scales, of three images, and of a LayerNorm.
  const gated: Block = {
    kind: 'BlockMBConv',
    stages: [spatialStage('spatial', {kernel: 3, group: 1, channels: 60}), gateStage(8), pointwiseStage('project', 20)], // prettier-ignore
  };
  const normed: Block = {
    kind: 'BlockConvNeXt',
    stages: [
      spatialStage('spatial', {kernel: 3, group: 1, channels: 24}),
      {op: 'layernorm', name: 'norm', epsilon: 1e-6, affine: true},
      pointwiseStage('expand', 44, 'gelu'),
      pointwiseStage('project', 24),
      residualStage(),
    ],
  };
  for (const tile of MATMUL_TILES.map(matmulTileOf)) {
    for (const PARTS of tile.DIRECT ? [1] : [1, 3]) {
      it(`${nameOf(tile)} in ${PARTS} parts`, async () => {
        if (!matmulIsLegal(tile, limitsOf(backend().device)))
          return pending('beyond the limits of this device');
        await expectNoLeak(() => compare(block, [1, 5, 14, 76], {matmul: () => ({...tile, PARTS})}));
      });
    }
    it(`${nameOf(tile)} behind a gate and a LayerNorm`, async () => {
      if (!matmulIsLegal(tile, limitsOf(backend().device)))
        return pending('beyond the limits of this device');
      await expectNoLeak(() => compare(gated, [3, 5, 3, 60], {matmul: () => tile}));
      await expectNoLeak(() =>
        compare(normed, [1, 5, 4, 24], {matmul: () => tile, feedForward: () => APART}),
      );
    });
  }
});

onBackend('webgpu', 'tiles of a full convolution that gathers its rows', () => {
  // Where channels are a multiple of the step, it lies within one tap; 20 are not, 6 and 7 are read one by one.
  const windows = [
    {channels: 32, pad: 'same', stride: 2, dilation: 1},
    {channels: 20, pad: [3, 1, 0, 2], stride: 1, dilation: 2},
    {channels: 7, pad: 'same', stride: 2, dilation: 1},
    {channels: 6, pad: 'valid', stride: 1, dilation: 1},
  ] as const;
  const staged = MATMUL_TILES.filter(({DIRECT}) => !DIRECT).map(matmulTileOf);
  for (const [at, tile] of staged.entries()) {
    for (const PARTS of at % 3 === 0 ? [1, 3] : [1]) {
      it(`${nameOf(tile)} in ${PARTS} parts`, async () => {
        if (!matmulIsLegal(tile, limitsOf(backend().device)))
          return pending('beyond the limits of this device');
        for (const {channels, ...window} of windows) {
          const stage = spatialStage('spatial', {...window, kernel: 3, group: channels, channels: 36, activation: 'relu6'}); // prettier-ignore
          const block: Block = {kind: 'BlockConv', stages: [stage]};
          const convolution = (): ConvolutionTile => ({...tile, PARTS, WINOGRAD: 0});
          await expectNoLeak(() => compare(block, [2, 9, 13, channels], {convolution}));
        }
      });
    }
  }

  it('has texts that are valid written out as on a GPU, not only as loops', async () => {
    const {device} = backend();
    for (const [channels, columns] of [
      [32, 36],
      [32, 9],
      [6, 36],
      [6, 9],
    ] as const) {
      // prettier-ignore
      const stage = spatialStage('spatial', {kernel: 3, group: channels, channels: columns});
      const [dispatch] = lowerBlock({kind: 'BlockConv', stages: [stage]}, [1, 9, 9, channels], tilingFor(limitsOf(device))).dispatches; // prettier-ignore
      if (!dispatch) throw new Error('A convolution is a dispatch.');
      expect(dispatch.kernel).toBe(
        `${channels === 6 ? 'packedConvolution' : 'convolution'}.${columns === 9 ? 'scalar' : 'vector'}`,
      );
      device.pushErrorScope('validation');
      device.createShaderModule({code: shaderOf(dispatch)});
      expect((await device.popErrorScope())?.message)
        .withContext(dispatch.kernel)
        .toBeUndefined();
    }
  });
});

onBackend('webgpu', 'depth-wise tiles', () => {
  for (const [kernel, stride] of [
    [3, 2],
    [7, 1],
  ] as const) {
    it(`of ${kernel}×${kernel}, stride ${stride}`, async () => {
      const stage = spatialStage('spatial', {kernel, stride, group: 1, channels: 20, activation: 'relu6'});
      const block: Block = {kind: 'BlockConv', stages: [stage]};
      const input = [2, 9, 11, 20];
      const shape = traceBlock(block, input).stages.at(-1)?.output ?? [0, 0, 0, 0];
      const tiles = depthwiseCandidates(shape, stage, limitsOf(backend().device));
      expect(tiles.length).toBeGreaterThan(8);
      for (const tile of tiles.filter((_, i) => i % 3 === 0))
        await compare(block, input, {depthwise: () => tile});
    });
  }

  // 20 channels are five lanes' fours, 22 no number of fours. Their means are many times their deviations: what squares of
  // numbers left of a variance, instead of squares of deviations, would be wrong in the fifth digit.
  for (const channels of [20, 22]) {
    it(`in front of a LayerNorm over ${channels} channels`, async () => {
      const stage = spatialStage('spatial', {kernel: 3, group: 1, channels});
      const norm = {op: 'layernorm', name: 'norm', epsilon: 1e-6, affine: true} as const;
      const block: Block = {kind: 'BlockConvNeXt', stages: [stage, norm, pointwiseStage('expand', 12)]};
      const input = [2, 9, 11, channels];
      const tiles = depthwiseCandidates([2, 9, 11, channels], stage, limitsOf(backend().device));
      for (const tile of tiles.filter((_, i) => i % 2 === 0))
        await compare(block, input, {depthwise: () => tile}, {spatialBias: 20});
    });
  }
});

onBackend('webgpu', "tiles of a network's first convolution", () => {
  const windows = [
    {input: [2, 13, 17, 3], kernel: 3, stride: 2, pad: 'same', dilation: 1, channels: 32},
    {input: [1, 9, 20, 2], kernel: 4, stride: 1, pad: [3, 1, 0, 2], dilation: 2, channels: 9},
    {input: [1, 16, 12, 3], kernel: 4, stride: 3, pad: 'valid', dilation: 1, channels: 24},
  ] as const;
  for (const {input, channels, ...window} of windows) {
    const stage = spatialStage('spatial', {...window, group: input[3], channels, activation: 'relu6'});
    const block: Block = {kind: 'BlockConv', stages: [stage]};

    it(`${window.kernel}×${window.kernel} of ${input[3]}`, async () => {
      const shape = traceBlock(block, input).stages.at(-1)?.output ?? [0, 0, 0, 0];
      const problem = {...stage, shape, channels: input[3]};
      const tiles = stemCandidates(problem, limitsOf(backend().device));
      expect(tiles.length).toBeGreaterThan(8);
      for (const tile of tiles.filter((_, i) => i % 4 === 0))
        await expectNoLeak(() => compare(block, input, {stem: () => tile}));
    });

    it(`${window.kernel}×${window.kernel} of ${input[3]}, as a text that is valid written out`, async () => {
      const {device} = backend();
      const {dispatches} = lowerBlock(block, input, tilingFor(limitsOf(device)));
      expect(dispatches.map(({kernel}) => kernel)).toEqual([
        `stem.${channels % 4 === 0 ? 'vector' : 'scalar'}`,
      ]);
      device.pushErrorScope('validation');
      for (const dispatch of dispatches) device.createShaderModule({code: shaderOf(dispatch)});
      expect((await device.popErrorScope())?.message).toBeUndefined();
    });
  }
});

describe('a first convolution whose windows do not overlap', () => {
  it('is a matrix product', () => {
    const stage = spatialStage('spatial', {kernel: 4, stride: 4, pad: 'valid', group: 3, channels: 24});
    const plan = lowerBlock({kind: 'BlockConv', stages: [stage]}, [1, 16, 12, 3], tilingFor(stockLimits));
    expect(plan.dispatches.map(({kernel}) => kernel)).toEqual(['packedConvolution.vector']);
  });
});

onBackend('webgpu', 'tiles of a dense layer', () => {
  const norm = {op: 'layernorm', name: 'norm', epsilon: 1e-6, affine: true} as const;
  const headOf = (stages: Block['stages'], columns: number): Block => ({
    kind: 'BlockHead',
    stages: [{op: 'mean', name: 'mean'}, ...stages, pointwiseStage('dense', columns, 'relu6')],
  });

  for (const [name, stages] of Object.entries({plain: [], normed: [norm]})) {
    it(name, async () => {
      const input = [5, 17, 16, 70];
      const tiles = denseCandidates(
        {batch: 5, k: 70, columns: 39, isNormed: name === 'normed'},
        limitsOf(backend().device),
      );
      expect(tiles.length).toBeGreaterThan(20);
      for (const tile of tiles.filter((_, at) => at % 7 === 0))
        await compare(headOf(stages, 39), input, {dense: () => tile});
    });

    it(`${name}, as texts that are valid written out as on a GPU, not only as loops`, async () => {
      const {device} = backend();
      for (const columns of [36, 39]) {
        const {dispatches} = lowerBlock(headOf(stages, columns), [5, 4, 4, 70], tilingFor(limitsOf(device)));
        device.pushErrorScope('validation');
        for (const dispatch of dispatches) device.createShaderModule({code: shaderOf(dispatch)});
        expect((await device.popErrorScope())?.message).toBeUndefined();
      }
    });
  }
});
