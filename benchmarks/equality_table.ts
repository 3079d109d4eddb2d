/** Captures against uncaptured runs, of several models: what the Node program and the page in Chromium share. */
import {checkEquality, type Equality, type Limits, withoutSplitK} from '../test/support/capture_equality.js';
import {type BenchmarkModel, disposeModel, fusedModel, randomInput} from './benchmark_model.js';

export type Variant = 'stock' | 'fused';

/** What is compared, and where. */
interface Subject {
  readonly model: string;
  readonly variant: Variant;
  /** Whether TF.js chose its programs, or was kept from the one that does not repeat itself. */
  readonly products: 'usual' | 'without split K';
  /** Node, or the browser by its name and version. */
  readonly place: string;
  readonly adapter: string;
}

export type EqualityRow = Subject & Equality;

export interface FailedRow extends Subject {
  /** What was thrown. */
  readonly error: string;
}

export interface EqualityPlan {
  readonly predictions: number;
  readonly variants: readonly Variant[];
  readonly limits: Partial<Limits>;
}

/** Where it runs, and whom it tells. */
export interface Reporter {
  readonly place: string;
  readonly adapter: string;
  readonly say: (line: string) => void;
  /** Told of each row as soon as there is one. */
  readonly onRow: (row: EqualityRow | FailedRow) => void | Promise<void>;
}

/** @throws where `adapter` is another than asked for. */
export function expectAdapter(adapter: string, wanted: string): void {
  if (!adapter.toLowerCase().includes(wanted.toLowerCase()))
    throw new Error(`The WebGPU adapter is '${adapter}', not '${wanted}' as --adapter says.`);
}

/** One row for each variant of a model; and one more where TF.js does not repeat itself, made to. A failure is a row too. */
export async function equalityRows(
  name: string,
  load: () => Promise<BenchmarkModel>,
  {plan, reporter}: {plan: EqualityPlan; reporter: Reporter},
): Promise<void> {
  const {place, adapter, onRow} = reporter;
  for (const variant of plan.variants) {
    const subject = {model: name, variant, products: 'usual', place, adapter} as const;
    try {
      await variantRows(await load(), subject, {plan, reporter});
    } catch (error) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      await onRow({...subject, error: text});
    }
  }
}

/** Disposes the model. */
async function variantRows(
  loaded: BenchmarkModel,
  subject: Subject,
  {plan, reporter}: {plan: EqualityPlan; reporter: Reporter},
): Promise<void> {
  let checked = loaded;
  try {
    if (subject.variant === 'fused') checked = await fusedModel(loaded);
    const row = await equalityRow(checked, subject, {plan, reporter});
    await reporter.onRow(row);
    if (isRepeatable(row)) return;
    const again = {...subject, products: 'without split K'} as const;
    await reporter.onRow(await withoutSplitK(() => equalityRow(checked, again, {plan, reporter})));
  } finally {
    if (checked !== loaded) disposeModel(checked);
    disposeModel(loaded);
  }
}

const SECONDS_BETWEEN_LINES = 5;

async function equalityRow(
  loaded: BenchmarkModel,
  subject: Subject,
  {plan, reporter}: {plan: EqualityPlan; reporter: Reporter},
): Promise<EqualityRow> {
  const {model, shape, dtype} = loaded;
  const {predictions, limits} = plan;
  let last = performance.now();
  const result = await checkEquality({
    ...{model, predictions, limits, shape, dtype},
    inputAt: (n) => randomInput(loaded, n + 1),
    onProgress: (done, of, what) => {
      if (performance.now() - last < 1000 * SECONDS_BETWEEN_LINES) return;
      last = performance.now();
      reporter.say(`${subject.place}, ${subject.model} ${subject.variant}: ${done} of ${of} ${what}`);
    },
  });
  return {...subject, ...result};
}

const isRepeatable = ({unrepeatable, repeatsDiffering}: EqualityRow): boolean =>
  unrepeatable === 0 && repeatsDiffering === 0;

/** Of a model that TF.js does not repeat, the second row tells whether it is captured rightly. */
export function passes(row: EqualityRow | FailedRow): boolean {
  if ('error' in row) return false;
  const {differing, products, unchanged, growth, inputs, predictions} = row;
  // TF.js pools buffers by size, and may need its largest number late; what leaks does so at each prediction.
  const isFlat = growth.tensors <= 0 && growth.bytes <= 0 && growth.buffers < Math.max(10, predictions / 10);
  const isEqual = differing === 0 && (products === 'usual' || isRepeatable(row));
  return isEqual && unchanged < Math.max(1, inputs / 10) && isFlat;
}

export function verdict(row: EqualityRow | FailedRow): string {
  if ('error' in row) return 'FAILED';
  if (!passes(row)) return row.differing > 0 ? 'DIFFERS' : 'GROWS OR STANDS STILL';
  return isRepeatable(row) ? 'equal' : 'equal where TF.js repeats itself';
}

/** For console.table. */
export function printable(row: EqualityRow | FailedRow): Readonly<Record<string, string | number>> {
  const {variant, products, place} = row;
  const model = row.model.replace(/^.*\/([^/]+)\/model\.json$/, '$1');
  const subject = {model, variant, products, place, result: verdict(row)};
  if ('error' in row) return {...subject, error: row.error.split('\n')[0] ?? ''};
  const {mode, dispatches, predictions, inputs, differing, unrepeatable, growth, memory} = row;
  return {
    ...{...subject, mode, dispatches, predictions, inputs, differing, unrepeatable},
    ...{repeats: row.repeats, repeatsDiffering: row.repeatsDiffering, unchanged: row.unchanged},
    ...{tensorGrowth: growth.tensors, byteGrowth: growth.bytes},
    ...{bufferGrowth: growth.buffers, bufferByteGrowth: growth.bufferBytes},
    ...{peakMB: short(memory.peak / 2 ** 20), sumMB: short(memory.sum / 2 ** 20)},
    ...{
      uncapturedMs: short(row.uncapturedMs),
      capturedMs: short(row.capturedMs),
      seconds: short(row.seconds),
    },
  };
}

const short = (value: number): number => Number(value.toPrecision(3));
