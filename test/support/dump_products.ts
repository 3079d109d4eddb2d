/**
 * Compiles products by every tile of the list that SwiftShader has the threads and the memory for, and full convolutions and Winograd's
 * products by two of them, with Dawn writing out what it makes of them: a line `@@@ kernel tile` before each. A process of its own. Run by test/product_bounds.node.test.ts.
 */
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {writeSync} from 'node:fs';
import {tileText} from '../../benchmarks/tile_text.js';
import {shaderOf} from '../../kernels/webgpu/compile.js';
import {limitsOf} from '../../kernels/webgpu/index.js';
import {lowerBlock} from '../../kernels/webgpu/lower.js';
import {
  MATMUL_TILES,
  type MatmulTile,
  matmulBytes,
  matmulThreads,
  matmulTileOf,
  tilingFor,
} from '../../kernels/webgpu/tiling.js';
import type {Block} from '../../ops/index.js';
import {pointwiseStage, spatialStage} from '../../ops/stages/make.js';
import {useNodeWebGPU} from '../../src/node_webgpu.js';

await useNodeWebGPU({flags: ['enable-dawn-features=dump_shaders']});
const {device} = tf.backend() as WebGPUBackend;
const limits = limitsOf(device);
const product: Block = {kind: 'BlockSeparable', stages: [pointwiseStage('project', 96)]};
const convolution: Block = {
  kind: 'BlockConv',
  stages: [spatialStage('spatial', {kernel: 3, group: 32, channels: 96})],
};

function dump(block: Block, tile: MatmulTile, WINOGRAD: 0 | 2 = 0): void {
  const tiling = {...tilingFor(limits), matmul: () => tile, convolution: () => ({...tile, WINOGRAD})};
  for (const dispatch of lowerBlock(block, [1, 16, 16, 32], tiling).dispatches) {
    if (!/pointwise|convolution|winogradProduct/.test(dispatch.kernel)) continue;
    writeSync(1, `\n@@@ ${dispatch.kernel} ${tileText(tile)}\n`);
    const module = device.createShaderModule({code: shaderOf(dispatch)});
    device.createComputePipeline({layout: 'auto', compute: {module}});
  }
}

const tiles = MATMUL_TILES.map(matmulTileOf).filter(
  (tile) =>
    !tile.DIRECT &&
    matmulThreads(tile) <= limits.maxComputeInvocationsPerWorkgroup &&
    matmulBytes(tile) <= limits.maxComputeWorkgroupStorageSize,
);
for (const tile of tiles) dump(product, tile);
// The loop is the same: a tile of stacks of four, and one of two.
for (const tile of [8, 4].map((width) => tiles.find(({THREAD_N}) => THREAD_N === width))) {
  if (!tile) continue;
  dump(convolution, tile);
  dump(convolution, tile, 2);
}
process.exit(0);
