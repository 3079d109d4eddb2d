/** Numbers with units for people, and text aligned in columns. */

const UNKNOWN = '–';

/** Three significant digits; `null` is a dash. */
export function formatMs(ms: number | null): string {
  if (ms === null) return UNKNOWN;
  if (ms === 0) return '0';
  return ms >= 100 ? ms.toFixed(0) : ms >= 10 ? ms.toFixed(1) : ms >= 1 ? ms.toFixed(2) : ms.toFixed(3);
}

export const formatCount = (count: number | null): string => (count === null ? UNKNOWN : String(count));

/** Powers of ten with SI letters, e.g. `4.10 T` for a unit to follow. */
export function formatScaled(value: number, base = 1000): string {
  const letters = ['', 'k', 'M', 'G', 'T', 'P'];
  let [scaled, letter] = [value, 0];
  while (Math.abs(scaled) >= base && letter < letters.length - 1) {
    scaled /= base;
    letter++;
  }
  const digits = letter === 0 && Number.isInteger(scaled) ? 0 : scaled >= 100 ? 0 : scaled >= 10 ? 1 : 2;
  return `${scaled.toFixed(digits)} ${letters[letter] ?? ''}`;
}

export const formatBytes = (bytes: number): string => `${formatScaled(bytes)}B`;
export const formatMacs = (macs: number): string => (macs === 0 ? '0' : formatScaled(macs).trim());
export const formatIntensity = (intensity: number): string =>
  intensity === 0 ? '0' : intensity >= 100 ? intensity.toFixed(0) : intensity.toFixed(1);
/** Errors: two digits are enough to see the magnitude. */
export const formatError = (error: number): string => (error === 0 ? '0' : error.toExponential(1));
export const formatRatio = (ratio: number): string =>
  `${ratio >= 100 ? ratio.toFixed(0) : ratio.toFixed(2)}×`;
export const formatPercent = (fraction: number): string => `${(fraction * 100).toPrecision(3)} %`;
export const formatShape = (shape: readonly number[]): string => shape.join('×');

/** The interval of an estimate; one run has none. */
export const formatInterval = ({low, high}: {readonly low: number; readonly high: number}): string =>
  low === high ? UNKNOWN : `${low.toFixed(2)}–${high.toFixed(2)}`;

export interface Column<Row> {
  readonly title: string;
  /** Numbers line up on the right, text on the left. */
  readonly align: 'left' | 'right';
  readonly text: (row: Row) => string;
}

/** Columns as wide as their widest cell, two spaces between, a rule under the titles. No trailing spaces. */
export function formatTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const cells = [columns.map(({title}) => title), ...rows.map((row) => columns.map(({text}) => text(row)))];
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => line[i]?.length ?? 0)));
  const pad = (text: string, i: number): string =>
    columns[i]?.align === 'right' ? text.padStart(widths[i] ?? 0) : text.padEnd(widths[i] ?? 0);
  const lines = cells.map((line) => line.map(pad).join('  ').trimEnd());
  const rule = widths.map((width) => '─'.repeat(width)).join('  ');
  return [lines[0], rule, ...lines.slice(1)].join('\n');
}
