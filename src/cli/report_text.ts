/** A report as a tree for the terminal. */
import type {Report} from '../graph/index.js';

const percent = (fused: number, total: number): string =>
  total > 0 ? ` (${((100 * fused) / total).toFixed(1)} %)` : '';

export function reportText(report: Report): string {
  const {nodes, depthwise, macs, dispatches, blocks, misses, notes} = report;
  const lines = [
    `nodes        ${nodes.before} → ${nodes.after}`,
    `dispatches   ${dispatches.before} → ${dispatches.after}`,
    `depth-wise   ${depthwise.fused} of ${depthwise.total} in blocks${percent(depthwise.fused, depthwise.total)}`,
    `MACs         ${macs.fused} of ${macs.total} of depth-wise and pointwise convolutions in blocks${percent(macs.fused, macs.total)}`,
    '',
    `${blocks.length} blocks`,
  ];
  for (const {block, at, stages, input, output, nodes: replaced, folded} of blocks) {
    lines.push(
      `├─ ${block}  ${at}`,
      `│    [${input.join(', ')}] → [${output.join(', ')}], for ${replaced.length} nodes`,
    );
    lines.push(...stages.map((stage) => `│    · ${stage}`));
    if (folded.length > 0) lines.push(`│    folded to float32: ${folded.join(', ')}`);
  }
  lines.push('', `${misses.length} convolutions in no block`);
  for (const {block, at, reason, found, needed} of misses) {
    lines.push(`├─ ${at}`, `│    nearest to ${block}: ${reason}`, `│    found ${found}; needed ${needed}`);
  }
  return [...lines, ...notes.map((note) => `note: ${note}`)].join('\n');
}
