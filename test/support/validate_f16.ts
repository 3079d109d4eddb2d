/**
 * Compiles the f16 shaders of all cases on Dawn's null backend, and prints what it found as JSON. A process of its own. Run by
 * test/f16.node.test.ts.
 */
import type {Dispatch} from '../../kernels/plan.js';
import {lowerBlock} from '../../kernels/webgpu/lower.js';
import {type MatrixUnit, withHalf} from '../../kernels/webgpu/matrix_tiling.js';
import {stockLimits, tilingFor} from '../../kernels/webgpu/tiling.js';
import {BLOCK_SPECS} from '../../ops/index.js';
import {nullDevice, validate} from './null_backend.js';

const unit = (size: number): MatrixUnit => ({
  FRAGMENT_M: size,
  FRAGMENT_N: size,
  FRAGMENT_K: size,
  SUBGROUP_SIZE: 32,
});
const STAGED = {TILE_M: 32, TILE_N: 32, TILE_K: 16, THREAD_M: 4, THREAD_N: 4, SPLIT_K: 1, PARTS: 1};
const dispatches: Dispatch[] = [];
for (const matrices of [[unit(16)], [unit(8)], []]) {
  const usual = withHalf(tilingFor(stockLimits), stockLimits, {matrices});
  // Cases are small, so that products read straight from memory; larger ones stage their operands.
  const staged = {...usual, matmul: () => STAGED};
  for (const tiling of [usual, staged])
    for (const {kind, cases} of BLOCK_SPECS)
      for (const {input, stages} of cases)
        dispatches.push(...lowerBlock({kind, stages}, input, tiling).dispatches);
}

const features = ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'];
await validate(await nullDevice(['enable-dawn-features=allow_unsafe_apis'], features), dispatches);
