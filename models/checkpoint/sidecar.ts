/** What publishers put beside a checkpoint: timm's and transformers' JSON about preprocessing and labels. */
import type {Interpolation, Preprocessing, Triple} from '../preprocessing.js';

export interface Sidecar {
  readonly preprocessing: Partial<Preprocessing>;
  /** By class. */
  readonly labels?: readonly string[];
}

/** As PIL numbers its filters. */
const RESAMPLE: Readonly<Record<number, Interpolation>> = {0: 'nearest', 2: 'bilinear', 3: 'bicubic'};
const INTERPOLATIONS: readonly Interpolation[] = ['nearest', 'bilinear', 'bicubic'];

/** @param config Of a `config.json` or `preprocessor_config.json`; what it does not say is left out. */
export function readSidecar(config: unknown): Sidecar {
  const all = recordOf(config);
  const timm = recordOf(all['pretrained_cfg']);
  const [, height, width] = numbersOf(timm['input_size']) ?? [];
  const edge = recordOf(all['size'])['shortest_edge'] ?? all['size'];
  const crop = numberOf(timm['crop_pct']) ?? numberOf(all['crop_pct']);
  const size =
    height && width
      ? ([height, width] as const)
      : typeof edge === 'number'
        ? ([edge, edge] as const)
        : undefined;
  const mean = tripleOf(timm['mean'] ?? all['image_mean']);
  const std = tripleOf(timm['std'] ?? all['image_std']);
  const interpolation = interpolationOf(timm['interpolation'] ?? all['resample']);
  const labels = labelsOf(recordOf(all['id2label']));
  return {
    preprocessing: {
      ...(size ? {size} : {}),
      ...(crop === undefined ? {} : {crop}),
      ...(mean ? {mean} : {}),
      ...(std ? {std} : {}),
      ...(interpolation ? {interpolation} : {}),
    },
    ...(labels ? {labels} : {}),
  };
}

const recordOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};

const numberOf = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined);

const numbersOf = (value: unknown): readonly number[] | undefined =>
  Array.isArray(value) && value.every((item) => typeof item === 'number') ? value : undefined;

function tripleOf(value: unknown): Triple | undefined {
  const [a, b, c, ...more] = numbersOf(value) ?? [];
  return a === undefined || b === undefined || c === undefined || more.length > 0 ? undefined : [a, b, c];
}

const interpolationOf = (value: unknown): Interpolation | undefined =>
  typeof value === 'number' ? RESAMPLE[value] : INTERPOLATIONS.find((known) => known === value);

/** Names that only repeat the number are none. */
function labelsOf(byClass: Readonly<Record<string, unknown>>): readonly string[] | undefined {
  const labels = Object.entries(byClass)
    .sort(([a], [b]) => Number(a) - Number(b))
    .map(([, label]) => String(label));
  return labels.length === 0 || labels.every((label) => /^LABEL_\d+$/.test(label)) ? undefined : labels;
}
