/**
 * Compiles the f16 shaders of all cases on Dawn's null backend, which has every feature and runs nothing, and prints what it
 * found as JSON. A process of its own: it needs another Dawn than the tests. Run by test/f16.node.test.ts.
 */
import {create, globals} from 'webgpu';
import type {Dispatch} from '../../kernels/plan.js';
import {keyOf, PipelineCache} from '../../kernels/webgpu/compile.js';
import {lowerBlock} from '../../kernels/webgpu/lower.js';
import {type MatrixUnit, withHalf} from '../../kernels/webgpu/matrix_tiling.js';
import {stockLimits, tilingFor} from '../../kernels/webgpu/tiling.js';
import {BLOCK_SPECS} from '../../ops/index.js';

Object.assign(globalThis, globals);
const gpu = create(['backend=null', 'enable-dawn-features=allow_unsafe_apis']);
// Dawn ends when nothing refers to it any more, and takes its devices along.
Object.assign(globalThis, {gpu});
const adapter = await gpu.requestAdapter();
const features = ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'];
const device = await adapter?.requestDevice({
  requiredFeatures: features as GPUFeatureName[], // The experimental ones have no name in the types yet.
});
if (!device) throw new Error('Dawn has no null backend.');

const unit = (size: number): MatrixUnit => ({
  FRAGMENT_M: size,
  FRAGMENT_N: size,
  FRAGMENT_K: size,
  SUBGROUP_SIZE: 32,
});
const dispatches = new Map<string, Dispatch>();
for (const matrices of [[unit(16)], [unit(8)], []]) {
  const tiling = withHalf(tilingFor(stockLimits), stockLimits, {matrices});
  for (const {kind, cases} of BLOCK_SPECS)
    for (const {input, stages} of cases)
      for (const dispatch of lowerBlock({kind, stages}, input, tiling).dispatches)
        dispatches.set(keyOf(dispatch), dispatch);
}

const cache = new PipelineCache(device);
const kernels: Record<string, number> = {};
const errors: string[] = [];
for (const dispatch of dispatches.values()) {
  kernels[dispatch.kernel] = (kernels[dispatch.kernel] ?? 0) + 1;
  device.pushErrorScope('validation');
  cache.get(dispatch); // Not `prepare`: the null backend's threads now and then crash.
  const error = await device.popErrorScope();
  if (error) errors.push(error.message);
}
console.log(JSON.stringify({shaders: dispatches.size, kernels, errors: errors.slice(0, 5)}));
process.exit(errors.length > 0 ? 1 : 0);
