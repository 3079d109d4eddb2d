/**
 * Compiles the kernels of fused runs, written out as on a real GPU, on Dawn's null backend under WebGPU's guaranteed limits, and
 * prints what it found as JSON: a candidate whose workgroup memory or threads were counted wrong fails there. A process of its own.
 * Run by test/fused_tiles.node.test.ts.
 */
import type {Dispatch} from '../../kernels/plan.js';
import {candidatesOf, type TiledKernel} from '../../kernels/webgpu/candidates.js';
import {decidedBy} from '../../kernels/webgpu/choices.js';
import {APART} from '../../kernels/webgpu/fused_tiling.js';
import {lowerBlock} from '../../kernels/webgpu/lower.js';
import {stockLimits, tilingFor} from '../../kernels/webgpu/tiling.js';
import {BLOCK_SPECS} from '../../ops/index.js';
import {nullDevice, validate} from './null_backend.js';

const FUSED: readonly TiledKernel[] = ['feedForward', 'depthwiseProject', 'expandDepthwise'];
/** Of a case's candidates, these. */
const PICKED = [0, 0.5, 1];
const dispatches: Dispatch[] = [];
for (const {kind, cases} of BLOCK_SPECS) {
  for (const {input, stages} of cases) {
    // What could be in one dispatch with its projection is nowhere else, unless that one stands apart.
    for (const apart of [[], ['depthwiseProject']]) {
      for (const share of PICKED) {
        const tiling = decidedBy(tilingFor(stockLimits), (kernel, problem, chosen) => {
          if (apart.includes(kernel)) return {...APART};
          if (!FUSED.includes(kernel)) return chosen();
          const tiles = candidatesOf({kernel, problem}, stockLimits).filter(({FUSED: isFused}) => isFused);
          return tiles[Math.round(share * (tiles.length - 1))] ?? chosen();
        });
        for (const dispatch of lowerBlock({kind, stages}, input, tiling).dispatches)
          if (dispatch.constants['FUSED'] === true) dispatches.push(dispatch);
      }
    }
  }
}

await validate(await nullDevice(), dispatches);
