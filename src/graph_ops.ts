/** Makes TF.js's graph executor know the blocks: a graph node of a block's kind runs the kernel of that name. */
import {registerOp} from '@tensorflow/tfjs-converter';
import {BLOCK_SPECS, runOrdered} from '../ops/index.js';

/** Call it before a model with blocks in it is loaded. Calling it again changes nothing. */
export function registerBlockOps(): void {
  for (const {kind} of BLOCK_SPECS) {
    registerOp(kind, ({inputs, attrs}) =>
      runOrdered(kind, String(attrs['stages']), inputs, {
        precision: attrs['precision'] === 'f16' ? 'f16' : 'f32',
      }),
    );
  }
}
