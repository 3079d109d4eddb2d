/** A block as a node of a graph: how its stages are read back. */
import {type Block, BLOCK_SPECS, decodeStages, traceBlock} from '../../ops/index.js';
import {textAttr} from './attrs.js';
import type {Node} from './graph.js';
import type {Shape} from './infer.js';

export const BLOCK_KINDS: ReadonlySet<string> = new Set(BLOCK_SPECS.map(({kind}) => kind));

/** The block a node is, if it is one. */
export const blockOf = (node: Node): Block | undefined =>
  BLOCK_KINDS.has(node.op)
    ? {kind: node.op, stages: decodeStages(textAttr(node.attrs, 'stages'))}
    : undefined;

/** Open sizes of the input stay open behind the block. */
export function blockShape(block: Block, input: Shape | undefined): Shape | undefined {
  const [n = -1, h = -1, w = -1, c = -1] = input ?? [];
  if (input?.length !== 4 || c < 1) return undefined;
  const isOpen = h < 1 || w < 1;
  const {output} = traceBlock(block, [n < 1 ? 1 : n, isOpen ? 64 : h, isOpen ? 64 : w, c]);
  const [, height = 1, width = 1, channels = 1] = output;
  if (output.length === 2) return [n, output[1] ?? -1];
  const isMean = block.stages.some(({op}) => op === 'mean');
  return isOpen && !isMean ? [n, -1, -1, channels] : [n, height, width, channels];
}
