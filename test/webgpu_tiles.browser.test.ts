/** Every tile the planner may choose, against the reference: a plan that no estimate picks here may be another device's best. */
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {shaderOf} from '../kernels/webgpu/compile.js';
import type {ConvolutionTile} from '../kernels/webgpu/convolution_tiling.js';
import {executePlan} from '../kernels/webgpu/execute.js';
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {
  depthwiseCandidates,
  type DeviceLimits,
  expandCandidates,
  MATMUL_TILES,
  matmulIsLegal,
  type MatmulTile,
  matmulTileOf,
  type Tiling,
  tilingFor,
} from '../kernels/webgpu/tiling.js';
import {APART} from '../kernels/webgpu/fused_tiling.js';
import {packOnHost} from '../kernels/webgpu/weights.js';
import {type Block, reference, traceBlock} from '../ops/index.js';
import {gateStage, pointwiseStage, residualStage, spatialStage} from '../ops/stages/make.js';
import {onBackend} from './support/environment.js';
import {expectClose} from './support/expect_close.js';
import {expectNoLeak} from './support/expect_no_leak.js';
import {seededTensors} from './support/random.js';

const backend = (): WebGPUBackend => tf.backend() as WebGPUBackend;

function limitsOf({limits}: GPUDevice): DeviceLimits {
  const {maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize} = limits;
  return {maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize, processors: 16};
}

const nameOf = (tile: MatmulTile): string => Object.values(tile).join('.');

/** Runs `block` by the plan that `change` makes of the usual tiling. */
async function compare(block: Block, input: readonly number[], change: Partial<Tiling>): Promise<void> {
  const make = seededTensors(11);
  const x = make(input);
  const trace = traceBlock(block, input);
  const weights = new Map(trace.weights.map(({name, shape}) => [name, make(shape)] as const));
  const values = new Map<string, Float32Array>();
  for (const [name, tensor] of weights) values.set(name, (await tensor.data()) as Float32Array);
  const plan = lowerBlock(block, input, {...tilingFor(limitsOf(backend().device)), ...change});
  const packed = tf.tensor1d(packOnHost(plan.weights, values));
  const out = executePlan(backend(), plan, {x, weights: packed});
  const got = tf.engine().makeTensorFromTensorInfo(out);
  const want = tf.tidy(() => reference(block, x, Object.fromEntries(weights)));
  await expectClose(got, await want.data(), {name: plan.name, tolerance: 1e-5});
  tf.dispose([x, packed, got, want, ...weights.values()]);
}

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
  // Where channels are a multiple of the step, it lies within one tap; 20 are not, 3 and 6 are read one by one.
  const windows = [
    {channels: 32, pad: 'same', stride: 2, dilation: 1},
    {channels: 20, pad: [3, 1, 0, 2], stride: 1, dilation: 2},
    {channels: 3, pad: 'same', stride: 2, dilation: 1},
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
      [3, 36],
      [3, 9],
    ] as const) {
      // prettier-ignore
      const stage = spatialStage('spatial', {kernel: 3, group: channels, channels: columns});
      const [dispatch] = lowerBlock({kind: 'BlockConv', stages: [stage]}, [1, 9, 9, channels], tilingFor(limitsOf(device))).dispatches; // prettier-ignore
      if (!dispatch) throw new Error('A convolution is a dispatch.');
      expect(dispatch.kernel).toBe(
        `${channels === 3 ? 'packedConvolution' : 'convolution'}.${columns === 9 ? 'scalar' : 'vector'}`,
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
});

onBackend('webgpu', 'expansions in one dispatch with the depth-wise convolution', () => {
  for (const [kernel, stride] of [
    [3, 2],
    [5, 1],
  ] as const) {
    it(`of ${kernel}×${kernel}, stride ${stride}`, async () => {
      const stage = spatialStage('spatial', {kernel, stride, group: 1, channels: 48, activation: 'relu6'});
      const block: Block = {
        kind: 'BlockMBConv',
        stages: [pointwiseStage('expand', 48, 'swish'), stage, pointwiseStage('project', 8)],
      };
      const input = [2, 9, 11, 10] as const;
      const shape: [number, number, number, number] = [2, Math.ceil(9 / stride), Math.ceil(11 / stride), 48];
      const tiles = expandCandidates({input: [...input], shape, stage}, limitsOf(backend().device));
      expect(tiles.length).toBeGreaterThan(8);
      for (const tile of tiles.filter((_, i) => i % 4 === 0))
        await compare(block, input, {expandDepthwise: () => tile});
    });
  }
});
