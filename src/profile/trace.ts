/**
 * Profiles in the Chrome trace event format, for ui.perfetto.dev or chrome://tracing: one process per profile, lanes CPU and
 * GPU, `ph: "X"` events with ts and dur in µs. Format: "Trace Event Format", Google, 2016.
 */
import type {OpRow, Profile, Span} from './types.js';

export interface TraceEvent {
  readonly ph: 'X' | 'M';
  readonly name: string;
  readonly cat?: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts?: number;
  readonly dur?: number;
  readonly args: Readonly<Record<string, unknown>>;
}

export interface Trace {
  readonly displayTimeUnit: 'ms';
  readonly traceEvents: readonly TraceEvent[];
  readonly otherData: Readonly<Record<string, string>>;
}

const CPU = 1;
const GPU = 2;

/** Each profile starts at 0; GPU times are aligned to the host's clock only as well as a read-back can tell. */
export function traceOf(profiles: readonly Profile[]): Trace {
  const [first] = profiles;
  return {
    displayTimeUnit: 'ms',
    traceEvents: profiles.flatMap((profile, i) => profileEvents(profile, i + 1)),
    otherData: {
      adapter: first ? `${first.adapter.backend}: ${first.adapter.name}` : '',
      timer: first?.adapter.timer ?? '',
      warnings: [...new Set(profiles.flatMap(({warnings}) => warnings))].join(' '),
    },
  };
}

function profileEvents({model, rows}: Profile, pid: number): TraceEvent[] {
  const label = (name: string, tid: number, text: string): TraceEvent => ({
    ph: 'M',
    name,
    pid,
    tid,
    args: {name: text},
  });
  const starts = rows.flatMap(({cpu, gpu}) => [cpu.start, ...(gpu ? [gpu.start] : [])]);
  const zero = Math.min(...starts);
  const event = (row: OpRow, tid: number, {start, duration}: Span): TraceEvent => ({
    ph: 'X',
    name: row.name,
    cat: row.isBlock ? 'block' : 'op',
    pid,
    tid,
    ts: microseconds(start - zero),
    dur: microseconds(duration),
    args: argsOf(row),
  });
  return [
    label('process_name', 0, model),
    label('thread_name', CPU, 'CPU'),
    label('thread_name', GPU, 'GPU'),
    ...rows.map((row) => event(row, CPU, row.cpu)),
    ...rows.flatMap((row) => (row.gpu ? [event(row, GPU, row.gpu)] : [])),
  ];
}

/** To the nanosecond; a longer fraction is noise of the floating point. */
const microseconds = (ms: number): number => Math.round(ms * 1e6) / 1e3;

function argsOf(row: OpRow): Record<string, unknown> {
  return {
    op: row.op,
    shape: row.outputShapes.map((shape) => `[${shape.join(', ')}]`).join(' '),
    dtype: 'float32',
    dispatches: row.dispatches,
    macs: row.macs,
    flops: 2 * row.macs,
    bytes: row.bytes,
    median_gpu_ms: row.gpuMs,
    median_wall_ms: row.wallMs,
  };
}
