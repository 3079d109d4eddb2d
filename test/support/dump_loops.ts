/**
 * Compiles kernels whose loops load from workgroup memory, with Dawn writing out what it makes of them: a line `@@@ kernel tile` before each.
 * Products by every tile of the list that SwiftShader has the threads and the memory for, a full convolution and Winograd's products by one of
 * them, fused runs by one of their candidates. A process of its own. Run by test/index_bounds.node.test.ts.
 */
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {writeSync} from 'node:fs';
import {tileText} from '../../benchmarks/tile_text.js';
import {candidatesOf, type TiledKernel} from '../../kernels/webgpu/candidates.js';
import {decidedBy} from '../../kernels/webgpu/choices.js';
import {shaderOf} from '../../kernels/webgpu/compile.js';
import {APART} from '../../kernels/webgpu/fused_tiling.js';
import {limitsOf} from '../../kernels/webgpu/index.js';
import {lowerBlock} from '../../kernels/webgpu/lower.js';
import {
  MATMUL_TILES,
  type MatmulTile,
  matmulBytes,
  matmulThreads,
  matmulTileOf,
  type Tiling,
  tilingFor,
} from '../../kernels/webgpu/tiling.js';
import type {Block, Shape4D} from '../../ops/index.js';
import {pointwiseStage, spatialStage} from '../../ops/stages/make.js';
import {useNodeWebGPU} from '../../src/node_webgpu.js';

await useNodeWebGPU({flags: ['enable-dawn-features=dump_shaders']});
const {device} = tf.backend() as WebGPUBackend;
const limits = limitsOf(device);
const INPUT: Shape4D = [1, 16, 16, 32];

function compile(name: string, code: string): void {
  writeSync(1, `\n@@@ ${name}\n`);
  device.createComputePipeline({layout: 'auto', compute: {module: device.createShaderModule({code})}});
}

/** A loop with one index of known bounds and one of unknown ones, to see that they are told apart. */
const CONTROL = /* wgsl */ `
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
var<workgroup> tile: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32) {
  tile[local] = f32(local);
  workgroupBarrier();
  var sum = 0.0;
  for (var i = 0u; i < 4u; i++) {
    sum += tile[local % 32u + i];
    sum += tile[(local & 31u) + i];
  }
  out[local] = sum;
}
`;

/** Those of the block's dispatches that are of these kernels. */
function dump(block: Block, tiling: Tiling, kernels: RegExp, tile: string): void {
  for (const dispatch of lowerBlock(block, INPUT, tiling).dispatches) {
    if (!kernels.test(dispatch.kernel)) continue;
    compile(`${dispatch.kernel} ${tile}`, shaderOf(dispatch));
  }
}

function dumpProduct(block: Block, tile: MatmulTile, WINOGRAD: 0 | 2 = 0): void {
  const tiling = {...tilingFor(limits), matmul: () => tile, convolution: () => ({...tile, WINOGRAD})};
  dump(block, tiling, /^(pointwise|convolution|winogradProduct)\./, tileText(tile));
}

/** The run in one dispatch by the middle one of such tiles; other runs of the block are taken apart. */
function dumpFused(block: Block, run: TiledKernel, isSuch: (tile: object) => boolean = () => true): void {
  const tiling = decidedBy(tilingFor(limits), (kernel, problem, chosen) => {
    if (!FUSED.includes(kernel)) return chosen();
    if (kernel !== run) return {...APART};
    const tiles = candidatesOf({kernel, problem}, limits).filter(
      (tile) => tile.FUSED === true && isSuch(tile),
    );
    return tiles[tiles.length >> 1] ?? chosen();
  });
  dump(block, tiling, /^(feedForward|depthwiseProject|expandDepthwise|expandRows)/, '');
}

const FUSED: readonly TiledKernel[] = ['feedForward', 'depthwiseProject', 'expandDepthwise'];
const expand = pointwiseStage('expand', 64, 'relu6');
const spatial = spatialStage('spatial', {kernel: 3, group: 1, channels: 64, activation: 'relu6'});
const alone = spatialStage('spatial', {kernel: 3, group: 1, channels: 32, activation: 'relu6'});
const full = spatialStage('spatial', {kernel: 3, group: 32, channels: 96});
const project = pointwiseStage('project', 96);

const tiles = MATMUL_TILES.map(matmulTileOf).filter(
  (tile) =>
    !tile.DIRECT &&
    matmulThreads(tile) <= limits.maxComputeInvocationsPerWorkgroup &&
    matmulBytes(tile) <= limits.maxComputeWorkgroupStorageSize,
);
compile('control', CONTROL);
for (const tile of tiles) dumpProduct({kind: 'BlockSeparable', stages: [project]}, tile);
// The loop is the same.
const [first] = tiles;
if (first) dumpProduct({kind: 'BlockConv', stages: [full]}, first);
if (first) dumpProduct({kind: 'BlockConv', stages: [full]}, first, 2);
const mbConv: Block = {kind: 'BlockMBConv', stages: [expand, spatial, project]};
dumpFused(mbConv, 'expandDepthwise', (tile) => !('STAGED' in tile)); // By patches.
dumpFused(mbConv, 'expandDepthwise', (tile) => 'STAGED' in tile && tile.STAGED === true); // By rows.
dumpFused(mbConv, 'depthwiseProject');
dumpFused({kind: 'BlockSeparable', stages: [alone, project]}, 'depthwiseProject');
dumpFused({kind: 'BlockFeedForward', stages: [expand, project]}, 'feedForward');
process.exit(0);
