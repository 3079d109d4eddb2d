/** Profiles and comparisons as text for a terminal. Pure functions. */
import {
  type Column,
  formatBytes,
  formatCount,
  formatError,
  formatIntensity,
  formatInterval,
  formatMacs,
  formatMs,
  formatPercent,
  formatRatio,
  formatScaled,
  formatShape,
  formatTable,
} from './format.js';
import type {
  Adapter,
  BlockComparison,
  Comparison,
  Estimate,
  OpRow,
  Peaks,
  Profile,
  SideTiming,
  TopClass,
} from './types.js';
import {waterlineOf} from './waterline.js';

const left = <Row>(title: string, text: (row: Row) => string): Column<Row> => ({title, align: 'left', text});
const right = <Row>(title: string, text: (row: Row) => string): Column<Row> => ({
  title,
  align: 'right',
  text,
});

/** TF names can be whole paths; the end tells nodes apart. */
const MAX_NAME = 44;
const shorten = (name: string): string => (name.length > MAX_NAME ? `…${name.slice(1 - MAX_NAME)}` : name);

const OP_COLUMNS: readonly Column<OpRow>[] = [
  left('node', ({name}) => shorten(name)),
  left('op', ({op}) => op),
  left('output', ({outputShapes}) => outputShapes.map(formatShape).join(' ')),
  right('dispatches', ({dispatches}) => formatCount(dispatches)),
  right('GPU ms', ({gpuMs}) => formatMs(gpuMs)),
  right('wall ms', ({wallMs}) => formatMs(wallMs)),
  right('host ms', ({hostMs}) => formatMs(hostMs)),
  right('MACs', ({macs}) => formatMacs(macs)),
  right('bytes', ({bytes}) => formatBytes(bytes)),
  right('ops/byte', ({intensity}) => formatIntensity(intensity)),
];

/** Warnings, the device, one line per op, the totals. */
export function profileText(profile: Profile): string {
  const {totals, peaks} = profile;
  return [
    warningText(profile.warnings),
    `${profile.model} on ${adapterText(profile.adapter)}, median of ${profile.repeats} after ${profile.warmup} warm-up`,
    ...(peaks ? [peaksText(peaks), efficiencyText(profile.rows, peaks)] : []),
    '',
    formatTable(OP_COLUMNS, profile.rows),
    '',
    `${totals.ops} ops, ${formatCount(totals.dispatches)} dispatches, GPU ${formatMs(totals.gpuMs)} ms, ` +
      `wall ${formatMs(totals.wallMs)} ms (ops waited for one by one), host ${formatMs(totals.hostMs)} ms, ` +
      `${formatMacs(totals.macs)} MACs, ${formatBytes(totals.bytes)}`,
  ]
    .filter((line) => line !== null)
    .join('\n');
}

export const adapterText = ({backend, name, timer}: Adapter): string =>
  backend === name ? `${backend} (${timer})` : `${backend}, ${name} (${timer})`;

export function peaksText({operationsPerSecond, bytesPerSecond, waterline}: Peaks): string {
  return (
    `measured peaks, f32: ${formatScaled(operationsPerSecond)}op/s (FMA), ${formatScaled(bytesPerSecond)}B/s (copy), ` +
    `waterline ${formatIntensity(waterline)} ops/byte`
  );
}

function efficiencyText(rows: readonly OpRow[], peaks: Peaks): string {
  const {idealMs, attainableMs, measuredMs, attainableEfficiency, measuredEfficiency} = waterlineOf(
    rows,
    peaks,
  );
  return (
    `ideal ${formatMs(idealMs)} ms, attainable by these ops ${formatMs(attainableMs)} ms ` +
    `(${formatPercent(attainableEfficiency)}), measured ${formatMs(measuredMs)} ms (${formatPercent(measuredEfficiency)})`
  );
}

function warningText(warnings: readonly string[]): string | null {
  return warnings.length === 0 ? null : [...warnings.map((warning) => `WARNING: ${warning}`), ''].join('\n');
}

/** The time that stands for a side: the GPU's where known. */
export const sideMs = ({gpu, wall}: SideTiming): Estimate => gpu ?? wall;

const BLOCK_COLUMNS: readonly Column<BlockComparison>[] = [
  left('block', ({name}) => shorten(name)),
  left('kind', ({kind}) => kind.replace(/^Block/, '')),
  left('input', ({inputShape}) => formatShape(inputShape)),
  right('ops', ({replaced}) => String(replaced.length)),
  right(
    'dispatches',
    ({before, after}) => `${formatCount(before.dispatches)} → ${formatCount(after.dispatches)}`,
  ),
  right('ms before', ({before}) => formatMs(sideMs(before).median)),
  right('ms fused', ({after}) => formatMs(sideMs(after).median)),
  right('speedup', ({speedup}) => formatRatio(speedup.median)),
  right('95 %', ({speedup}) => formatInterval(speedup)),
  right('MACs', ({macs}) => formatMacs(macs)),
  right('bytes by stage', ({bytesByStage}) => formatBytes(bytesByStage)),
  right('fused', ({bytesFused}) => formatBytes(bytesFused)),
  right('max error', ({difference}) => formatError(difference.absolute)),
  right('relative', ({difference}) => formatError(difference.relative)),
];

/** One fact about both sides. */
export interface TotalRow {
  readonly what: string;
  readonly before: string;
  readonly after: string;
}

const TOTAL_COLUMNS: readonly Column<TotalRow>[] = [
  left('whole model', ({what}) => what),
  right('op by op', ({before}) => before),
  right('fused', ({after}) => after),
];

/** Warnings, the device, one line per block, the totals, the outputs and the classes. */
export function comparisonText(comparison: Comparison): string {
  const {adapter, before, blocks, outputs, classes, model, repeats} = comparison;
  const timed = adapter.timer === 'timestamp-query' ? 'GPU time' : 'wall time';
  return [
    warningText(comparison.warnings),
    `${model} on ${adapterText(adapter)}`,
    `${timed}, median of ${repeats}, the two models in turn`,
    ...(before.peaks ? [peaksText(before.peaks)] : []),
    '',
    blocks.length > 0 ? formatTable(BLOCK_COLUMNS, blocks) : 'No block was fused in this model.',
    '',
    formatTable(TOTAL_COLUMNS, totalRows(comparison)),
    '',
    ...outputs.map(
      ({name, shape, absolute, relative}) =>
        `output ${name} [${shape.join(', ')}]: largest difference ${formatError(absolute)}, ` +
        `${formatError(relative)} of its largest value`,
    ),
    ...(classes ? ['', classesText(classes)] : []),
  ]
    .filter((line) => line !== null)
    .join('\n');
}

/** The comparison's totals as rows of text, shared with the page. */
export function totalRows({before, after, total}: Comparison): readonly TotalRow[] {
  const [a, b] = [before.totals, after.totals];
  const wall = (side: SideTiming): string => formatMs(side.wall.median);
  const gpu = (side: SideTiming): string => formatMs(side.gpu?.median ?? null);
  return [
    {what: 'ops', before: String(a.ops), after: String(b.ops)},
    {
      what: 'dispatches',
      before: formatCount(total.before.dispatches),
      after: formatCount(total.after.dispatches),
    },
    {what: 'GPU ms', before: gpu(total.before), after: gpu(total.after)},
    {what: 'wall ms', before: wall(total.before), after: wall(total.after)},
    {
      what: 'speedup',
      before: '',
      after: `${formatRatio(total.speedup.median)} (95 %: ${formatInterval(total.speedup)})`,
    },
    {what: 'MACs', before: formatMacs(a.macs), after: formatMacs(b.macs)},
    {what: 'bytes moved', before: formatBytes(a.bytes), after: formatBytes(b.bytes)},
  ];
}

const scoreText = ({label, score}: TopClass): string => `${label} ${score.toFixed(4)}`;

const CLASS_COLUMNS: readonly Column<TotalRow>[] = [
  right('top', ({what}) => what),
  left('op by op', ({before}) => before),
  left('fused', ({after}) => after),
];

function classesText({before, after}: NonNullable<Comparison['classes']>): string {
  const rows = before.map((entry, i) => {
    const other = after[i];
    return {what: String(i + 1), before: scoreText(entry), after: other ? scoreText(other) : ''};
  });
  return formatTable(CLASS_COLUMNS, rows);
}
