/**
 * Compiles the kernels of fused runs, written out as on a real GPU, on Dawn's null backend under WebGPU's guaranteed limits, and
 * prints what it found as JSON: a candidate whose workgroup memory or threads were counted wrong fails there. A process of its own:
 * it needs another Dawn than the tests. Run by test/fused_tiles.node.test.ts.
 */
import {create, globals} from 'webgpu';
import type {Dispatch} from '../../kernels/plan.js';
import {candidatesOf, type TiledKernel} from '../../kernels/webgpu/candidates.js';
import {decidedBy} from '../../kernels/webgpu/choices.js';
import {keyOf, PipelineCache} from '../../kernels/webgpu/compile.js';
import {lowerBlock} from '../../kernels/webgpu/lower.js';
import {stockLimits, tilingFor} from '../../kernels/webgpu/tiling.js';
import {BLOCK_SPECS} from '../../ops/index.js';

Object.assign(globalThis, globals);
const gpu = create(['backend=null']);
// Dawn ends when nothing refers to it any more, and takes its devices along.
Object.assign(globalThis, {gpu});
const device = await (await gpu.requestAdapter())?.requestDevice();
if (!device) throw new Error('Dawn has no null backend.');

const FUSED: readonly TiledKernel[] = ['feedForward', 'depthwiseProject'];
/** Of a case's candidates, these. */
const PICKED = [0, 0.5, 1];
const dispatches = new Map<string, Dispatch>();
for (const {kind, cases} of BLOCK_SPECS) {
  for (const {input, stages} of cases) {
    for (const share of PICKED) {
      const tiling = decidedBy(tilingFor(stockLimits), (kernel, problem, chosen) => {
        if (!FUSED.includes(kernel)) return chosen();
        const tiles = candidatesOf({kernel, problem}, stockLimits).filter(({FUSED: isFused}) => isFused);
        return tiles[Math.round(share * (tiles.length - 1))] ?? chosen();
      });
      for (const dispatch of lowerBlock({kind, stages}, input, tiling).dispatches)
        if (dispatch.constants['FUSED'] === true) dispatches.set(keyOf(dispatch), dispatch);
    }
  }
}

const cache = new PipelineCache(device);
const kernels: Record<string, number> = {};
const errors: string[] = [];
for (const dispatch of dispatches.values()) {
  kernels[dispatch.kernel] = (kernels[dispatch.kernel] ?? 0) + 1;
  device.pushErrorScope('validation');
  cache.get(dispatch); // Not `prepare`: the null backend's threads now and then crash.
  const error = await device.popErrorScope();
  if (error) errors.push(`${error.message} ${keyOf(dispatch)}`);
}
console.log(JSON.stringify({shaders: dispatches.size, kernels, errors: errors.slice(0, 5)}));
process.exit(errors.length > 0 ? 1 : 0);
