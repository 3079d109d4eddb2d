/** Captures against uncaptured runs, of several models: what the Node program and the page in Chromium share. */
import {checkEquality, type Equality, withoutSplitK} from '../test/support/capture_equality.js';
import {type BenchmarkModel, disposeModel, fusedModel, randomInput} from './benchmark_model.js';

export type Variant = 'stock' | 'fused';

export interface EqualityRow extends Equality {
  readonly model: string;
  readonly variant: Variant;
  /** Whether TF.js chose its programs, or was kept from the one that does not repeat itself. */
  readonly products: 'usual' | 'without split K';
  /** Node, or the browser by its name and version. */
  readonly place: string;
}

export interface EqualityPlan {
  readonly predictions: number;
  readonly variants: readonly Variant[];
  readonly place: string;
  readonly say: (line: string) => void;
}

/**
 * One row for each variant of `loaded`, which is disposed; and one more where TF.js does not repeat itself, made to.
 */
export async function equalityRows(loaded: BenchmarkModel, plan: EqualityPlan): Promise<EqualityRow[]> {
  const rows: EqualityRow[] = [];
  for (const variant of plan.variants) {
    const checked = variant === 'fused' ? await fusedModel(loaded) : loaded;
    const row = await equalityRow(checked, {variant, products: 'usual'}, plan);
    rows.push(row);
    if (row.unrepeatable > 0) {
      const products = 'without split K';
      rows.push(await withoutSplitK(() => equalityRow(checked, {variant, products}, plan)));
    }
    if (checked !== loaded) disposeModel(checked);
  }
  disposeModel(loaded);
  return rows;
}

async function equalityRow(
  loaded: BenchmarkModel,
  {variant, products}: Pick<EqualityRow, 'variant' | 'products'>,
  {predictions, place, say}: EqualityPlan,
): Promise<EqualityRow> {
  const {name, model, shape, dtype} = loaded;
  const step = Math.max(1, Math.round(predictions / 10));
  const result = await checkEquality({
    ...{model, predictions, shape, dtype},
    inputAt: (n) => randomInput(loaded, n + 1),
    onProgress: (done, differing) => {
      if (done % step === 0)
        say(`${place}, ${name} ${variant}: ${done} of ${predictions}, ${differing} differ`);
    },
  });
  const row = {model: name, variant, products, place, ...result};
  say(JSON.stringify(printable(row))); // should the program be cut short
  return row;
}

export function passes(row: EqualityRow): boolean {
  const {differing, unrepeatable, products, unchanged, growth, mode, predictions} = row;
  const {tensors, bytes, bufferBytes} = growth;
  // TF.js pools buffers by size for the part of a model that it runs itself, so only a replay must not make any.
  const isFlat = tensors <= 0 && bytes <= 0 && (mode !== 'replay' || bufferBytes <= 0);
  const isEqual = differing === 0 && (products === 'usual' || unrepeatable === 0);
  return isEqual && unchanged < Math.max(1, predictions / 10) && isFlat;
}

/** For console.table. */
export function printable(row: EqualityRow): Readonly<Record<string, string | number>> {
  const {variant, products, place, mode, dispatches, predictions, growth, memory} = row;
  return {
    model: row.model.replace(/^.*\/([^/]+)\/model\.json$/, '$1'),
    ...{variant, products, place, mode, dispatches, predictions, differing: row.differing},
    ...{unrepeatable: row.unrepeatable, unchanged: row.unchanged},
    ...{tensorGrowth: growth.tensors, byteGrowth: growth.bytes, bufferGrowth: growth.bufferBytes},
    ...{peakMB: megabytes(memory.peak), sumMB: megabytes(memory.sum)},
    ...{seconds: Math.round(row.seconds), result: passes(row) ? 'equal' : 'DIFFERS'},
  };
}

const megabytes = (bytes: number): number => Number((bytes / 2 ** 20).toPrecision(3));
