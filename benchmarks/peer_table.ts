/** The comparison as a table: milliseconds a prediction, a row for each network and batch. */
import type {PartName} from './peer_parts.js';
import type {Values} from './peer_process.js';

export interface PeerRow {
  readonly network: string;
  readonly batch: number;
  /** Milliseconds and counts by part; see networks_bench.ts and peers/. */
  readonly values: Readonly<Partial<Record<PartName, Values>>>;
  readonly failures: Readonly<Partial<Record<PartName, string>>>;
}

interface Column {
  readonly title: string;
  readonly part: PartName;
  /** Names of values; several are separated by a slash. */
  readonly of: readonly string[];
}

const COLUMNS: readonly Column[] = [
  {title: 'stock', part: 'ours', of: ['stockMs']},
  {title: 'replay wall/GPU', part: 'ours', of: ['stockReplayMs', 'stockGpuMs']},
  {title: 'fused wall/GPU', part: 'ours', of: ['fusedReplayMs', 'fusedGpuMs']},
  {title: 'fused f16 wall/GPU', part: 'f16', of: ['fusedReplayMs', 'fusedGpuMs']},
  {title: 'ort WebGPU', part: 'ort', of: ['wallMs']},
  {title: 'torch eager f32 wall/GPU', part: 'torch', of: ['eagerF32WallMs', 'eagerF32Ms']},
  {title: 'graph tf32 wall/GPU', part: 'torch', of: ['graphTf32WallMs', 'graphTf32Ms']},
  {title: 'graph f16 wall/GPU', part: 'torch', of: ['graphF16WallMs', 'graphF16Ms']},
  {title: 'compiled f16 wall/GPU', part: 'torch', of: ['compiledF16WallMs', 'compiledF16Ms']},
];
/** Left out where nobody asked for them. */
const OPTIONAL = ['fused f16 wall/GPU', 'torch eager f32 wall/GPU', 'compiled f16 wall/GPU'];

const LEGEND = [
  'Milliseconds a prediction, medians. wall: the clock around one call, its output read back; GPU: by timestamps or CUDA events.',
  'stock: TensorFlow.js op by op, wall; replay: the same dispatches recorded once and submitted again; fused: fused and captured.',
  'float32 unless the title says otherwise; tf32 and f16 multiply on tensor cores.',
];

export function milliseconds(value: unknown): string {
  if (typeof value !== 'number' || !Number.isFinite(value)) return 'n/a';
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

function cell({values}: PeerRow, {part, of}: Column): string {
  const texts = of.map((name) => milliseconds(values[part]?.[name]));
  return texts.every((text) => text === 'n/a') ? 'n/a' : texts.join(' / ');
}

/** Why cells are 'n/a': those of a part, and what stock TF.js says. Equal reasons are said once. */
function reasonsOf(rows: readonly PeerRow[]): string[] {
  const places = new Map<string, string[]>();
  for (const {network, batch, values, failures} of rows) {
    const stock = values.ours?.['stockError'];
    const all = [...Object.entries(failures), ...(stock === undefined ? [] : [['stock', String(stock)]])];
    for (const [part = '', reason = ''] of all) {
      const key = `${part}: ${reason}`;
      places.set(key, [...(places.get(key) ?? []), `${network} ${batch}`]);
    }
  }
  return [...places].map(([reason, where]) => `n/a ${where.join(', ')} — ${reason}`);
}

export function peerTable(rows: readonly PeerRow[]): string {
  const isShown = ({title, part, of}: Column): boolean =>
    !OPTIONAL.includes(title) ||
    rows.some(({values}) => of.some((name) => values[part]?.[name] !== undefined)) ||
    (part === 'f16' && rows.some(({failures}) => failures.f16 !== undefined));
  const columns = COLUMNS.filter(isShown);
  const lines = [
    ['network', 'batch', ...columns.map(({title}) => title)],
    ...rows.map((row) => [row.network, String(row.batch), ...columns.map((column) => cell(row, column))]),
  ];
  const widths = (lines[0] ?? []).map((_, i) => Math.max(...lines.map((line) => (line[i] ?? '').length)));
  const text = lines.map((line) => `| ${line.map((part, i) => part.padEnd(widths[i] ?? 0)).join(' | ')} |`);
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  const [head = '', ...body] = text;
  return [...LEGEND, '', head, rule, ...body, '', ...reasonsOf(rows)].join('\n');
}
