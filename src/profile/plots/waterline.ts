/**
 * The waterline plot: a bar per op, its height the operational intensity, its width the bytes moved, so that on a linear scale
 * its area would be its operations. Bars under the device's op:byte ratio are submerged: memory, not arithmetic, limits them.
 */
import {formatBytes, formatIntensity, formatMacs, formatMs, formatPercent} from '../format.js';
import type {WaterlineBar, Waterline} from '../waterline.js';
import {xAxis, yAxis} from './axis.js';
import {linearScale, logScale, type Scale} from './scale.js';
import {element, figure, svgText, tip} from './svg.js';

const WIDTH = 1120;
const HEIGHT = 250;
const LEFT = 62;
const RIGHT = 12;
const TOP = 30;
const BOTTOM = 42;
/** A bar of no operations at all still moves bytes; it gets this many pixels. */
const FLOOR_HEIGHT = 4;

export interface WaterlineScales {
  readonly maxBytes: number;
  readonly maxIntensity: number;
}

/** Scales that hold all of these, so that panels can be compared by eye. */
export function waterlineScales(all: readonly Waterline[]): WaterlineScales {
  const bytes = all.map(({bars}) => bars.reduce((total, bar) => total + bar.bytes, 0));
  const intensities = all.flatMap(({bars, ratio}) => [ratio, ...bars.map(({intensity}) => intensity)]);
  return {maxBytes: Math.max(...bytes), maxIntensity: Math.max(...intensities)};
}

export function waterlinePlot(title: string, waterline: Waterline, scales: WaterlineScales): string {
  const bottom = HEIGHT - BOTTOM;
  const x = linearScale(scales.maxBytes, LEFT, WIDTH - RIGHT, 10);
  const y = logScale(0.1, scales.maxIntensity * 1.2, bottom, TOP);
  const water = y.at(waterline.ratio);
  return figure(
    WIDTH,
    HEIGHT,
    `Waterline plot, ${title}`,
    yAxis(y, LEFT, WIDTH - RIGHT, {title: 'operations per byte', format: formatTick}),
    xAxis(x, bottom, bottom, {title: 'bytes moved, op after op', format: formatBytes}),
    element('rect', {class: 'water', x: LEFT, y: water, width: WIDTH - RIGHT - LEFT, height: bottom - water}),
    ...bars(waterline.bars, x, y, bottom),
    element('line', {class: 'waterline', x1: LEFT, x2: WIDTH - RIGHT, y1: water, y2: water}),
    svgText(`waterline ${formatIntensity(waterline.ratio)} ops/byte`, {
      class: 'halo',
      x: WIDTH - RIGHT - 4,
      y: water - 5,
      'text-anchor': 'end',
    }),
    svgText(`${title} · ${summary(waterline)}`, {class: 'lane', x: LEFT, y: 16}),
  );
}

function summary({
  attainableEfficiency,
  measuredEfficiency,
  attainableMs,
  measuredMs,
  bars,
}: Waterline): string {
  const submerged = bars.filter(({isSubmerged}) => isSubmerged).length;
  return (
    `${submerged} of ${bars.length} ops submerged · attainable ${formatMs(attainableMs)} ms ` +
    `(${formatPercent(attainableEfficiency)} of peak) · measured ${formatMs(measuredMs)} ms (${formatPercent(measuredEfficiency)})`
  );
}

const formatTick = (value: number): string => (value >= 1 ? value.toFixed(0) : String(value));

function bars(list: readonly WaterlineBar[], x: Scale, y: Scale, bottom: number): string[] {
  let bytes = 0;
  return list.map((bar) => {
    const [from, to] = [x.at(bytes), x.at(bytes + bar.bytes)];
    bytes += bar.bytes;
    const top = Math.min(y.at(bar.intensity), bottom - FLOOR_HEIGHT);
    const width = Math.max(0.3, to - from - (to - from > 2 ? 0.75 : 0));
    const shape = {
      class: bar.isSubmerged ? 'submerged' : 'dry',
      x: from,
      y: top,
      width,
      height: bottom - top,
    };
    return element('rect', shape, tip(...describe(bar)));
  });
}

const describe = (bar: WaterlineBar): readonly string[] => [
  bar.name,
  `${bar.op}: ${formatIntensity(bar.intensity)} ops/byte, ${bar.isSubmerged ? 'bound by memory' : 'bound by arithmetic'}`,
  `${formatMacs(bar.operations / 2)} MACs, ${formatBytes(bar.bytes)}`,
  `attainable ${formatMs(bar.attainableMs)} ms, measured ${formatMs(bar.measuredMs)} ms`,
];
