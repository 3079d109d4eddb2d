/** Rows as CSV (RFC 4180), one line per op or block. Times in ms; an unknown value is an empty field. */
import type {BlockComparison, OpRow, Profile} from './types.js';

type Field = string | number | boolean | null;

const quote = (field: Field): string => {
  const text = String(field ?? '');
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

function csv(rows: readonly Readonly<Record<string, Field>>[], titles: readonly string[]): string {
  const lines = [titles, ...rows.map((row) => titles.map((title) => row[title] ?? null))];
  return lines.map((line) => line.map(quote).join(',') + '\r\n').join('');
}

const shapes = (list: readonly (readonly number[])[]): string =>
  list.map((shape) => shape.join('x')).join(' ');

const OP_TITLES = [
  'model',
  'name',
  'op',
  'is_block',
  'input_shapes',
  'weight_shapes',
  'output_shapes',
  'dispatches',
  'gpu_ms',
  'wall_ms',
  'host_ms',
  'macs',
  'bytes',
  'ops_per_byte',
];

export function opsCSV(profiles: readonly Profile[]): string {
  const records = profiles.flatMap(({model, rows}) => rows.map((row) => opRecord(model, row)));
  return csv(records, OP_TITLES);
}

function opRecord(model: string, row: OpRow): Record<string, Field> {
  return {
    model,
    name: row.name,
    op: row.op,
    is_block: row.isBlock,
    input_shapes: shapes(row.inputShapes),
    weight_shapes: shapes(row.weightShapes),
    output_shapes: shapes(row.outputShapes),
    dispatches: row.dispatches,
    gpu_ms: row.gpuMs,
    wall_ms: row.wallMs,
    host_ms: row.hostMs,
    macs: row.macs,
    bytes: row.bytes,
    ops_per_byte: row.intensity,
  };
}

const SIDES = ['before', 'after'] as const;
const BLOCK_TITLES = [
  'name',
  'kind',
  'input_shape',
  'output_shape',
  'ops_replaced',
  ...SIDES.flatMap((side) => ['dispatches', 'gpu_ms', 'wall_ms'].map((what) => `${what}_${side}`)),
  'speedup',
  'speedup_low',
  'speedup_high',
  'macs',
  'bytes_by_stage',
  'bytes_fused',
  'max_abs_difference',
  'max_rel_difference',
];

export function blocksCSV(blocks: readonly BlockComparison[]): string {
  const records = blocks.map((block): Record<string, Field> => ({
    name: block.name,
    kind: block.kind,
    input_shape: shapes([block.inputShape]),
    output_shape: shapes([block.outputShape]),
    ops_replaced: block.replaced.length,
    ...Object.fromEntries(
      SIDES.flatMap((side): [string, Field][] => [
        [`dispatches_${side}`, block[side].dispatches],
        [`gpu_ms_${side}`, block[side].gpu?.median ?? null],
        [`wall_ms_${side}`, block[side].wall.median],
      ]),
    ),
    speedup: block.speedup.median,
    speedup_low: block.speedup.low,
    speedup_high: block.speedup.high,
    macs: block.macs,
    bytes_by_stage: block.bytesByStage,
    bytes_fused: block.bytesFused,
    max_abs_difference: block.difference.absolute,
    max_rel_difference: block.difference.relative,
  }));
  return csv(records, BLOCK_TITLES);
}
