/**
 * Where the time goes: the ops of the original above, those of the fused model below, each as long as its median time, end
 * to end on one scale; a ribbon joins a block to the ops it replaced.
 */
import {formatBytes, formatMacs, formatMs} from '../format.js';
import type {BlockComparison, OpRow, Profile} from '../types.js';
import {msOf} from '../waterline.js';
import {xAxis} from './axis.js';
import {linearScale, type Scale} from './scale.js';
import {element, figure, svgText, tip} from './svg.js';

const WIDTH = 1120;
const MARGIN = 12;
const LANE = 46;
const GAP = 64;
const TOP = 26;

export type OpClass = 'block' | 'dense' | 'depthwise' | 'other';

/** What a colour stands for. */
export function opClass({isBlock, op, macs}: OpRow): OpClass {
  if (isBlock) return 'block';
  if (/depthwise/i.test(op)) return 'depthwise';
  return macs > 0 ? 'dense' : 'other';
}

interface Placed {
  readonly row: OpRow;
  readonly start: number;
  readonly end: number;
}

function endToEnd(rows: readonly OpRow[]): readonly Placed[] {
  let now = 0;
  return rows.map((row) => {
    const start = now;
    now += msOf(row);
    return {row, start, end: now};
  });
}

export function timelinePlot(before: Profile, after: Profile, blocks: readonly BlockComparison[]): string {
  const [upper, lower] = [endToEnd(before.rows), endToEnd(after.rows)];
  const total = Math.max(upper.at(-1)?.end ?? 0, lower.at(-1)?.end ?? 0);
  const x = linearScale(total, MARGIN, WIDTH - MARGIN, 10);
  const lowerTop = TOP + LANE + GAP;
  const bottom = lowerTop + LANE;
  return figure(
    WIDTH,
    bottom + 40,
    'Timelines of the ops, op by op above and fused below',
    xAxis(x, TOP, bottom, {title: 'ms', format: (ms) => formatMs(ms)}),
    ...blocks.map((block) => ribbon(block, upper, lower, x, TOP + LANE, lowerTop)),
    lane(upper, x, TOP, `op by op · ${laneText(upper)}`, TOP - 8),
    lane(lower, x, lowerTop, `fused · ${laneText(lower)}`, lowerTop - 8),
  );
}

const laneText = (placed: readonly Placed[]): string =>
  `${placed.length} ops · ${formatMs(placed.at(-1)?.end ?? 0)} ms`;

function lane(placed: readonly Placed[], x: Scale, top: number, label: string, labelAt: number): string {
  const marks = placed.map(({row, start, end}) => segment(row, x.at(start), x.at(end), top));
  return element('g', {}, ...marks, svgText(label, {class: 'lane', x: MARGIN, y: labelAt}));
}

/** Wide enough for a few letters of 11 px. */
const LABEL_WIDTH = 40;
const LETTER = 6.2;

function segment(row: OpRow, from: number, to: number, top: number): string {
  const width = Math.max(0.3, to - from - (to - from > 3 ? 1 : 0));
  const box = element('rect', {
    class: opClass(row),
    x: from,
    y: top,
    width,
    height: LANE,
    rx: width > 6 ? 2 : 0,
  });
  const name = row.name.slice(row.name.lastIndexOf('/') + 1);
  const fitting = name.slice(0, Math.floor((width - 8) / LETTER));
  const label =
    width > LABEL_WIDTH ? svgText(fitting, {class: 'inside', x: from + 4, y: top + LANE / 2 + 4}) : '';
  return element('g', {}, tip(...describe(row)), box, label);
}

export const describe = (row: OpRow): readonly string[] => [
  row.name,
  `${row.op} → ${row.outputShapes.map((shape) => `[${shape.join(', ')}]`).join(' ')}`,
  `GPU ${formatMs(row.gpuMs)} ms, wall ${formatMs(row.wallMs)} ms, host ${formatMs(row.hostMs)} ms`,
  `${formatMacs(row.macs)} MACs, ${formatBytes(row.bytes)}, ${row.dispatches ?? '–'} dispatches`,
];

/** From the span of the replaced ops to the block. */
function ribbon(
  block: BlockComparison,
  upper: readonly Placed[],
  lower: readonly Placed[],
  x: Scale,
  from: number,
  to: number,
): string {
  const names = new Set(block.replaced);
  const replaced = upper.filter(({row}) => names.has(row.name));
  const fused = lower.find(({row}) => row.name === block.name);
  const [first, last] = [replaced[0], replaced.at(-1)];
  if (!first || !last || !fused) return '';
  const [a, b, c, d] = [first.start, last.end, fused.start, fused.end].map((ms) => x.at(ms).toFixed(2));
  const middle = (from + to) / 2;
  const path =
    `M${a} ${from}C${a} ${middle} ${c} ${middle} ${c} ${to}H${d}` +
    `C${d} ${middle} ${b} ${middle} ${b} ${from}Z`;
  return element('path', {class: 'ribbon', d: path}, tip(`${block.name}: ${replaced.length} ops become one`));
}
