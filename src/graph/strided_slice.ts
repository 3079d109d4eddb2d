/** What a `StridedSlice` does to each axis of its input, whatever masks it was spelled with. */
import {numberAttr} from './attrs.js';
import type {Node} from './graph.js';
import type {Element} from './known.js';

/** Of an input axis; without a begin or an end it goes to the edge, and where one is not known it `isOpen`. */
export interface Span {
  readonly begin?: Element;
  readonly end?: Element;
  readonly step: number;
  /** The axis is dropped. */
  readonly shrinks?: true;
  readonly isOpen?: boolean;
}

export interface Bounds {
  readonly begin: readonly Element[];
  readonly end: readonly Element[];
  readonly step: readonly Element[];
}

const WHOLE: Span = {step: 1};

/** A span an axis, and 'new' where an axis of one is put in. */
export function spansOf(
  {attrs}: Pick<Node, 'attrs'>,
  rank: number,
  {begin, end, step}: Bounds,
): readonly (Span | 'new')[] {
  const mask = (name: string, bit: number): boolean =>
    (numberAttr(attrs, `${name}_mask`, 0) & (1 << bit)) !== 0;
  const places = begin.map((_, i) => i);
  const named = places.filter((i) => !mask('ellipsis', i) && !mask('new_axis', i)).length;
  const spans = places.flatMap((i): readonly (Span | 'new')[] => {
    if (mask('ellipsis', i)) return Array<Span>(Math.max(0, rank - named)).fill(WHOLE);
    if (mask('new_axis', i)) return ['new'];
    const [from, to] = [mask('begin', i) ? undefined : begin[i], mask('end', i) ? undefined : end[i]];
    if (mask('shrink_axis', i)) return [{begin: from, step: 1, shrinks: true}];
    return [
      {
        begin: from,
        end: to,
        step: step[i] ?? 1,
        isOpen: (!mask('begin', i) && from === undefined) || (!mask('end', i) && to === undefined),
      },
    ];
  });
  const used = spans.filter((span) => span !== 'new').length;
  return [...spans, ...Array<Span>(Math.max(0, rank - used)).fill(WHOLE)];
}

const isWhole = ({begin, end, step, shrinks}: Span): boolean =>
  begin === undefined && end === undefined && step === 1 && !shrinks;

/** First element and how many, of an axis of known size. */
export function rangeOf(
  {begin, end, step}: Span,
  size: number,
): {readonly from: number; readonly count: number} {
  const clip = (at: number): number => Math.min(size, Math.max(0, at < 0 ? at + size : at));
  const [from, to] = step > 0 ? [clip(begin ?? 0), clip(end ?? size)] : [begin ?? size - 1, end ?? -1];
  return {from, count: Math.max(0, Math.ceil((to - from) / step))};
}

/** How many elements of an axis of `size`; -1 where that cannot be said. */
export function countOf(span: Span, size: number): number {
  if (size < 0 || span.isOpen || span.step === 0) return isWhole(span) ? size : -1;
  return rangeOf(span, size).count;
}
