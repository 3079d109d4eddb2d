/** How far from the reference a block's output may lie. */
import {type Block, type BlockCase, type Precision, traceBlock} from '../../ops/index.js';

/**
 * float32 rounds by 2^-24 a step, and a sum's errors grow with the square root of its depth; stages add theirs. In f16 each operand
 * of a sum is rounded once, by 2^-11, and the sum itself is f32: then errors grow as the sum does, whatever its depth, and
 * come to less than 2^-11 of the largest output a stage.
 */
export function toleranceOf(block: Block, {input}: BlockCase, precision: Precision = 'f32'): number {
  const {stages} = traceBlock(block, input);
  if (precision === 'f16') return 2 * 2 ** -11 * stages.length;
  const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b);
  const depths = stages.map(({macs, output}) => macs / Math.max(1, product(output)));
  return 8 * 2 ** -24 * depths.reduce((sum, depth) => sum + Math.sqrt(depth + 16), 0);
}
