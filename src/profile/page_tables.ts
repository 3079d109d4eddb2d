/** The report's tables. Pure functions from rows to HTML. */
import {
  formatBytes,
  formatCount,
  formatError,
  formatIntensity,
  formatInterval,
  formatMacs,
  formatMs,
  formatRatio,
  formatShape,
} from './format.js';
import {element, escapeText} from './plots/svg.js';
import {sideMs, type TotalRow, totalRows} from './text.js';
import type {BlockComparison, Comparison, Difference, Estimate, OpRow} from './types.js';

interface Cell {
  readonly text: string;
  readonly class?: string;
}

interface Column<Row> {
  readonly title: string;
  readonly cell: (row: Row) => Cell;
}

const text = <Row>(title: string, of: (row: Row) => string): Column<Row> => ({
  title,
  cell: (row) => ({text: of(row), class: 'left'}),
});
const number = <Row>(title: string, of: (row: Row) => string): Column<Row> => ({
  title,
  cell: (row) => ({text: of(row)}),
});

function table<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const lines = rows.map((row) => columns.map(({cell}) => cell(row)));
  const titles = columns.map(({title}, i) =>
    element(
      'th',
      {class: lines[0]?.[i]?.class === 'left' ? 'left' : undefined, scope: 'col'},
      escapeText(title),
    ),
  );
  const body = lines.map((line) =>
    element('tr', {}, ...line.map((cell) => element('td', {class: cell.class}, escapeText(cell.text)))),
  );
  const whole = element(
    'table',
    {},
    element('thead', {}, element('tr', {}, ...titles)),
    element('tbody', {}, ...body),
  );
  return element('div', {class: 'scroll'}, whole);
}

/** Green only where the whole interval says faster, red only where it says slower. */
function speedupCell({median, low, high}: Estimate): Cell {
  const value = {text: formatRatio(median)};
  if (low === high) return value; // one run proves nothing
  return low > 1 ? {...value, class: 'good'} : high < 1 ? {...value, class: 'bad'} : value;
}

export const blockTable = (blocks: readonly BlockComparison[]): string =>
  table<BlockComparison>(
    [
      text('block', ({name}) => name),
      text('kind', ({kind}) => kind.replace(/^Block/, '')),
      number('input', ({inputShape}) => formatShape(inputShape)),
      number('ops', ({replaced}) => `${replaced.length} → 1`),
      number(
        'dispatches',
        ({before, after}) => `${formatCount(before.dispatches)} → ${formatCount(after.dispatches)}`,
      ),
      number('before, ms', ({before}) => formatMs(sideMs(before).median)),
      number('fused, ms', ({after}) => formatMs(sideMs(after).median)),
      {title: 'speed-up', cell: ({speedup}) => speedupCell(speedup)},
      number('95 %', ({speedup}) => formatInterval(speedup)),
      number('MACs', ({macs}) => formatMacs(macs)),
      number(
        'bytes, by stage → fused',
        (block) => `${formatBytes(block.bytesByStage)} → ${formatBytes(block.bytesFused)}`,
      ),
      number('max diff.', ({difference}) => formatError(difference.absolute)),
      number('rel. diff.', ({difference}) => formatError(difference.relative)),
    ],
    blocks,
  );

export const opTable = (rows: readonly OpRow[]): string =>
  table<OpRow>(
    [
      text('node', ({name}) => name),
      text('op', ({op}) => op),
      number('output', ({outputShapes}) => outputShapes.map(formatShape).join(' ')),
      number('dispatches', ({dispatches}) => formatCount(dispatches)),
      number('GPU ms', ({gpuMs}) => formatMs(gpuMs)),
      number('wall ms', ({wallMs}) => formatMs(wallMs)),
      number('host ms', ({hostMs}) => formatMs(hostMs)),
      number('MACs', ({macs}) => formatMacs(macs)),
      number('bytes', ({bytes}) => formatBytes(bytes)),
      number('ops/byte', ({intensity}) => formatIntensity(intensity)),
    ],
    rows,
  );

export const totalTable = (comparison: Comparison): string =>
  table<TotalRow>(
    [
      text('', ({what}) => what),
      number('op by op', ({before}) => before),
      number('fused', ({after}) => after),
    ],
    totalRows(comparison),
  );

export const outputTable = (outputs: readonly Difference[]): string =>
  table<Difference>(
    [
      text('output', ({name}) => name),
      number('shape', ({shape}) => formatShape(shape)),
      number('largest difference', ({absolute}) => formatError(absolute)),
      number('relative', ({relative}) => formatError(relative)),
    ],
    outputs,
  );

export function classTable({before, after}: NonNullable<Comparison['classes']>): string {
  const rows = before.map((entry, i) => ({entry, other: after[i] ?? entry}));
  return table<(typeof rows)[number]>(
    [
      text('op by op', ({entry}) => entry.label),
      number('score', ({entry}) => entry.score.toFixed(4)),
      text('fused', ({other}) => other.label),
      number('score', ({other}) => other.score.toFixed(4)),
    ],
    rows,
  );
}
