/**
 * The efficiency gap: per model the ideal latency (operations / measured peak, filled) and the actual one (open), joined by a
 * dashed line. The scale is logarithmic, so the line's length is log(1 / computational efficiency).
 */
import {formatMs, formatPercent} from '../format.js';
import {xAxis} from './axis.js';
import {logScale, type Scale} from './scale.js';
import {element, figure, svgText, tip} from './svg.js';

export interface EfficiencyRow {
  readonly model: string;
  readonly variant: string;
  readonly isFused: boolean;
  /** Operations / peak. */
  readonly idealMs: number;
  /** What these kernels could reach by the waterline model. */
  readonly attainableMs: number;
  readonly actualMs: number;
}

const WIDTH = 1120;
const LEFT = 250;
const RIGHT = 200;
const ROW = 30;
const TOP = 12;

export function efficiencyGapPlot(rows: readonly EfficiencyRow[]): string {
  const bottom = TOP + rows.length * ROW + 6;
  const times = rows.flatMap(({idealMs, attainableMs, actualMs}) => [idealMs, attainableMs, actualMs]);
  const x = logScale(Math.min(...times), Math.max(...times), LEFT, WIDTH - RIGHT);
  return figure(
    WIDTH,
    bottom + 40,
    'Efficiency gap: ideal against actual latency of each model',
    xAxis(x, TOP, bottom, {title: 'latency, ms (logarithmic)', format: formatTick}),
    ...rows.map((row, i) => mark(row, x, TOP + (i + 0.5) * ROW + 3)),
  );
}

const formatTick = (ms: number): string => (ms >= 1 ? ms.toFixed(0) : String(ms));

function mark(row: EfficiencyRow, x: Scale, y: number): string {
  const kind = row.isFused ? 'fused' : 'unfused';
  const [ideal, attainable, actual] = [row.idealMs, row.attainableMs, row.actualMs].map((ms) => x.at(ms)) as [
    number,
    number,
    number,
  ];
  const efficiency = row.idealMs / row.actualMs;
  return element(
    'g',
    {class: `gap ${kind}`},
    tip(
      `${row.model}, ${row.variant}`,
      `ideal ${formatMs(row.idealMs)} ms, attainable ${formatMs(row.attainableMs)} ms, actual ${formatMs(row.actualMs)} ms`,
    ),
    svgText(`${row.model}, ${row.variant}`, {class: 'tick', x: LEFT - 12, y: y + 4, 'text-anchor': 'end'}),
    element('line', {class: 'gap-line', x1: ideal, x2: actual, y1: y, y2: y}),
    element('line', {class: 'gap-tick', x1: attainable, x2: attainable, y1: y - 7, y2: y + 7}),
    element('circle', {class: 'ideal', cx: ideal, cy: y, r: 5}),
    element('circle', {class: 'actual', cx: actual, cy: y, r: 5}),
    svgText(`${formatMs(row.actualMs)} ms, efficiency ${formatPercent(efficiency)}`, {
      class: 'tick',
      x: Math.max(ideal, actual) + 12,
      y: y + 4,
    }),
  );
}
