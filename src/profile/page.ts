/** One self-contained HTML page from profiles and comparisons: no network, no state. Pure functions. */
import {blockTable, classTable, opTable, outputTable, totalTable} from './page_tables.js';
import {PAGE_SCRIPT, PAGE_STYLE} from './page_style.js';
import {efficiencyGapPlot, type EfficiencyRow} from './plots/efficiency_gap.js';
import {element, escapeText} from './plots/svg.js';
import {timelinePlot} from './plots/timeline.js';
import {waterlinePlot, waterlineScales} from './plots/waterline.js';
import {
  formatBytes,
  formatCount,
  formatError,
  formatIntensity,
  formatInterval,
  formatMacs,
  formatMs,
  formatRatio,
} from './format.js';
import {adapterText, peaksText, sideMs} from './text.js';
import type {Comparison, Profile} from './types.js';
import {waterlineOf} from './waterline.js';

export interface PageContent {
  readonly title: string;
  /** One line under the title: what was run, and when. */
  readonly subtitle?: string;
  readonly comparisons?: readonly Comparison[];
  /** Models that were profiled by themselves. */
  readonly profiles?: readonly Profile[];
}

export function reportPage({title, subtitle, comparisons = [], profiles = []}: PageContent): string {
  const warnings = new Set([...comparisons, ...profiles].flatMap((each) => each.warnings));
  const first = comparisons[0]?.before ?? profiles[0];
  return [
    '<!doctype html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    element('title', {}, escapeText(title)),
    element('style', {}, PAGE_STYLE),
    '</head>',
    '<body>',
    '<main>',
    element('h1', {}, escapeText(title)),
    subtitle === undefined ? '' : element('p', {class: 'soft'}, escapeText(subtitle)),
    first ? deviceLine(first) : '',
    alarm([...warnings]),
    ...comparisons.map(comparisonSection),
    ...profiles.map(profileSection),
    efficiencySection(comparisons, profiles),
    definitions(),
    '</main>',
    element('script', {}, PAGE_SCRIPT),
    '</body>',
    '</html>',
    '',
  ].join('\n');
}

function deviceLine({adapter, peaks}: Profile): string {
  const lines = [adapterText(adapter), ...(peaks ? [peaksText(peaks)] : [])];
  return element('p', {class: 'soft'}, lines.map(escapeText).join('<br>'));
}

function alarm(warnings: readonly string[]): string {
  if (warnings.length === 0) return '';
  const items = warnings.map((warning) => element('li', {}, escapeText(warning)));
  return element(
    'div',
    {class: 'alarm', role: 'alert'},
    '<strong>Read this first</strong>',
    element('ul', {}, ...items),
  );
}

const tile = (value: string, label: string): string =>
  element(
    'div',
    {class: 'tile'},
    element('b', {}, escapeText(value)),
    element('span', {}, escapeText(label)),
  );

const figure = (drawing: string, caption: string): string =>
  element('figure', {}, drawing, element('figcaption', {}, escapeText(caption)));

const section = (title: string, ...parts: readonly string[]): string =>
  element('section', {}, element('h2', {}, escapeText(title)), ...parts);

const heading = (text: string): string => element('h3', {}, escapeText(text));

const LEGEND = [
  ['block', 'fused block'],
  ['dense', 'convolution, matrix product'],
  ['depthwise', 'depth-wise convolution'],
  ['other', 'everything else'],
]
  .map(([name, text]) => `<span><i style="background:var(--${name ?? ''})"></i>${text ?? ''}</span>`)
  .join('');

const TIMELINE_CAPTION =
  'Median time of each op, end to end in the order of execution; a ribbon leads from the ops of a block to the one that replaced them. ' +
  'Point at a mark for its numbers.';
const WATERLINE_CAPTION =
  'Height: operations per byte (1 MAC = 2 operations; each input, weight and output moved once), logarithmic. Width: bytes moved; ' +
  'the paper does not say what its widths are, so this choice is ours. Water: the op:byte ratio of this device, from peaks measured on it. ' +
  'Blue bars lie under it: memory limits them, whatever the arithmetic units could do. Ops without multiplications show as a sliver at the bottom.';

function comparisonSection(comparison: Comparison): string {
  const {before, after, blocks, classes, outputs} = comparison;
  return section(
    comparison.model,
    comparisonTiles(comparison),
    heading('Where the time goes'),
    figure(element('div', {class: 'legend'}, LEGEND) + timelinePlot(before, after, blocks), TIMELINE_CAPTION),
    before.peaks ? heading('Waterline') + waterlineFigure([before, after]) : '',
    heading(`Blocks (${blocks.length})`),
    blocks.length > 0 ? blockTable(blocks) : element('p', {}, 'No block was fused in this model.'),
    element(
      'div',
      {class: 'columns'},
      element('div', {}, heading('Whole model'), totalTable(comparison)),
      element(
        'div',
        {},
        heading('Outputs'),
        outputTable(outputs),
        classes ? heading('Top classes') + classTable(classes) : '',
      ),
    ),
    opDetails(before),
    opDetails(after),
  );
}

function comparisonTiles({total, before, after, blocks, outputs}: Comparison): string {
  const worst = Math.max(0, ...outputs.map(({relative}) => relative));
  const [from, to] = [sideMs(total.before), sideMs(total.after)];
  return element(
    'div',
    {class: 'tiles'},
    tile(formatRatio(total.speedup.median), `speed-up (95 %: ${formatInterval(total.speedup)})`),
    tile(
      `${formatMs(from.median)} → ${formatMs(to.median)} ms`,
      total.before.gpu ? 'GPU time of one prediction' : 'wall time of one prediction',
    ),
    tile(`${formatCount(total.before.dispatches)} → ${formatCount(total.after.dispatches)}`, 'dispatches'),
    tile(`${formatBytes(before.totals.bytes)} → ${formatBytes(after.totals.bytes)}`, 'bytes moved'),
    tile(String(blocks.length), 'blocks fused'),
    tile(formatError(worst), 'largest difference of an output, relative'),
  );
}

function waterlineFigure(profiles: readonly Profile[]): string {
  const waterlines = profiles.flatMap(({rows, peaks, model}) =>
    peaks ? [{model, waterline: waterlineOf(rows, peaks)}] : [],
  );
  const scales = waterlineScales(waterlines.map(({waterline}) => waterline));
  const plots = waterlines.map(({model, waterline}) => waterlinePlot(model, waterline, scales));
  return figure(plots.join(''), WATERLINE_CAPTION);
}

function profileSection(profile: Profile): string {
  const {totals} = profile;
  return section(
    profile.model,
    element(
      'div',
      {class: 'tiles'},
      tile(
        `${formatMs(totals.gpuMs ?? totals.wallMs)} ms`,
        totals.gpuMs === null ? 'wall time, op by op' : 'GPU time, op by op',
      ),
      tile(formatCount(totals.dispatches), 'dispatches'),
      tile(String(totals.ops), 'ops'),
      tile(formatMacs(totals.macs), 'MACs'),
      tile(formatBytes(totals.bytes), 'bytes moved'),
      tile(formatIntensity((2 * totals.macs) / totals.bytes), 'operations per byte'),
    ),
    profile.peaks ? heading('Waterline') + waterlineFigure([profile]) : '',
    heading('Ops'),
    opTable(profile.rows),
  );
}

function opDetails({model, rows}: Profile): string {
  return element(
    'details',
    {},
    element('summary', {}, escapeText(`All ops: ${model} (${rows.length})`)),
    opTable(rows),
  );
}

function efficiencySection(comparisons: readonly Comparison[], profiles: readonly Profile[]): string {
  const rows = [
    ...comparisons.flatMap(({model, before, after}) => [
      ...efficiencyRow(before, model, 'op by op', false),
      ...efficiencyRow(after, model, 'fused', true),
    ]),
    ...profiles.flatMap((profile) =>
      efficiencyRow(
        profile,
        profile.model,
        'as given',
        profile.rows.some(({isBlock}) => isBlock),
      ),
    ),
  ];
  if (rows.length === 0) return '';
  const caption =
    'Filled: ideal latency, operations / measured peak. Tick: what this sequence of kernels could reach by the waterline model. ' +
    'Open: the sum of the measured op times. The longer the dashed line, the lower the computational efficiency.';
  return section('Efficiency gap', figure(efficiencyGapPlot(rows), caption));
}

function efficiencyRow(
  {rows, peaks}: Profile,
  model: string,
  variant: string,
  isFused: boolean,
): EfficiencyRow[] {
  if (!peaks) return [];
  const {idealMs, attainableMs, measuredMs} = waterlineOf(rows, peaks);
  if (idealMs === 0 || measuredMs === 0) return []; // A logarithmic scale has no place for it.
  return [{model, variant, isFused, idealMs, attainableMs, actualMs: measuredMs}];
}

function definitions(): string {
  const lines = [
    'latency = operations / (computational efficiency × peak); 1 MAC = 2 operations (Lavin, arXiv 2404.03617).',
    'Bytes: each input, weight and output of an op moved once, 4 bytes an element. Views (reshape, identity) move none.',
    'Attainable: per op the longer of operations / peak and bytes / bandwidth, summed; peaks are an FMA kernel and a copy, measured on this device.',
    'GPU time: timestamps around the compute passes of an op. Wall time of an op: from its call until the device is idle again. Host: until the call returns.',
    'Speed-up: ratio of medians of runs taken in turn, with a 95 % bootstrap interval. Relative difference: largest error over the largest expected value.',
  ];
  return section(
    'Definitions',
    element('ul', {class: 'soft'}, ...lines.map((line) => element('li', {}, escapeText(line)))),
  );
}
