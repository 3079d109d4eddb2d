/** A report as a tree for the terminal: the stages of the network, what became of each block, and what is in no block and why. */
import {
  adviceOn,
  type BlockReport,
  type Miss,
  missesInNoBlock,
  type Report,
  type StageReport,
} from '../graph/index.js';

const percent = (fused: number, total: number): string =>
  total > 0 ? ` (${((100 * fused) / total).toFixed(1)} %)` : '';

const plural = (count: number, one: string): string => `${count} ${one}${count === 1 ? '' : 's'}`;

const shapeText = (shape: readonly number[]): string => `[${shape.join(', ')}]`;

export function reportText(report: Report): string {
  const {nodes, depthwise, macs, dispatches, blocks, misses, stages, notes} = report;
  const lines = [
    `nodes        ${nodes.before} → ${nodes.after}`,
    `dispatches   ${dispatches.before} → ${dispatches.after}`,
    `depth-wise   ${depthwise.fused} of ${depthwise.total} in blocks${percent(depthwise.fused, depthwise.total)}`,
    `MACs         ${macs.fused} of ${macs.total} of depth-wise and pointwise convolutions in blocks${percent(macs.fused, macs.total)}`,
    '',
    `${plural(blocks.length, 'block')} in ${plural(stages.length, 'stage')}, ${plural(missesInNoBlock(blocks, misses).length, 'convolution')} in no block`,
    ...stages.flatMap((stage) => stageText(stage, report)),
  ];
  return [...lines, ...notes.map((note) => `note: ${note}`)].join('\n');
}

function stageText({resolution, parts, function: of}: StageReport, report: Report): readonly string[] {
  const blocks = report.blocks.filter(({at}) => parts.includes(at));
  const misses = missesInNoBlock(blocks, report.misses).filter(({at}) => parts.includes(at));
  const lone = new Map(report.misses.map((miss) => [miss.at, miss]));
  const texts = new Map([
    ...blocks.map((block) => [block.at, blockText(block, lone.get(block.at))] as const),
    ...misses.map((miss) => [miss.at, missText(miss)] as const),
  ]);
  const branches = parts.flatMap((at, i) => {
    const [title = '', ...details] = texts.get(at) ?? [];
    const isLast = i === parts.length - 1;
    return [`${isLast ? '└─' : '├─'} ${title}`, ...details.map((line) => `${isLast ? ' ' : '│'}    ${line}`)];
  });
  const counts = [
    ...(blocks.length > 0 ? [plural(blocks.length, 'block')] : []),
    ...(misses.length > 0 ? [`${misses.length} not fused`] : []),
  ];
  return [
    '',
    `${resolution.length > 0 ? resolution.join('×') : 'vectors'}${of === undefined ? '' : ` in ${of}`}: ${counts.join(', ')}`,
    ...branches,
  ];
}

/** @param miss Why its one convolution is in no larger block. */
function blockText(
  {block, at, stages, input, output, ops, dispatches, folded}: BlockReport,
  miss?: Miss,
): readonly string[] {
  const swallowed = Object.entries(ops).map(([op, count]) => (count > 1 ? `${count} ${op}` : op));
  const count = Object.values(ops).reduce((total, each) => total + each, 0);
  return [
    `${block}  ${at}`,
    `${shapeText(input)} → ${shapeText(output)}, dispatches ${dispatches.before} → ${dispatches.after}`,
    ...stages.map((stage) => `· ${stage}`),
    `for ${plural(count, 'op')}: ${swallowed.join(', ')}`,
    ...(folded.length > 0 ? [`folded to float32: ${folded.join(', ')}`] : []),
    ...(miss ? whyText(miss, 'to fuse more') : []),
  ];
}

const missText = (miss: Miss): readonly string[] => [
  `not fused  ${miss.at}`,
  ...whyText(miss, 'to fuse this'),
];

const whyText = (miss: Miss, goal: string): readonly string[] => [
  miss.block === 'any' ? miss.reason : `nearest to ${miss.block}: ${miss.reason}`,
  `found ${miss.found}; needed ${miss.needed}`,
  `${goal}: ${adviceOn(miss)}`,
];
