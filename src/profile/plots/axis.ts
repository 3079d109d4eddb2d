/** Axes: ticks, hairlines and a title. */
import {element, svgText} from './svg.js';
import type {Scale} from './scale.js';

export interface AxisOptions {
  readonly title: string;
  readonly format: (value: number) => string;
}

/** Along y = `bottom`, with hairlines up to `top`. */
export function xAxis(scale: Scale, top: number, bottom: number, {title, format}: AxisOptions): string {
  const marks = scale.ticks.map((tick) => {
    const x = scale.at(tick);
    return (
      element('line', {class: 'grid', x1: x, x2: x, y1: top, y2: bottom}) +
      svgText(format(tick), {class: 'tick', x, y: bottom + 15, 'text-anchor': 'middle'})
    );
  });
  const [first = 0, last = 0] = [scale.ticks[0], scale.ticks.at(-1)].map((tick) => scale.at(tick ?? 0));
  const name = svgText(title, {
    class: 'axis',
    x: (first + last) / 2,
    y: bottom + 32,
    'text-anchor': 'middle',
  });
  return element('g', {}, ...marks, name);
}

/** Along x = `left`, with hairlines to `right`. */
export function yAxis(scale: Scale, left: number, right: number, {title, format}: AxisOptions): string {
  const marks = scale.ticks.map((tick) => {
    const y = scale.at(tick);
    return (
      element('line', {class: 'grid', x1: left, x2: right, y1: y, y2: y}) +
      svgText(format(tick), {class: 'tick', x: left - 6, y: y + 3.5, 'text-anchor': 'end'})
    );
  });
  const ys = scale.ticks.map((tick) => scale.at(tick));
  const middle = (Math.min(...ys) + Math.max(...ys)) / 2;
  const place = {
    x: 0,
    y: 0,
    transform: `translate(12 ${middle.toFixed(1)}) rotate(-90)`,
    'text-anchor': 'middle',
  };
  return element('g', {}, ...marks, svgText(title, {class: 'axis', ...place}));
}
