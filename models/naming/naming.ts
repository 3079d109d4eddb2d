/**
 * Where a checkpoint has the tensors of a network. A name map is data: rows from our layers to their modules. In a template
 * `{s}` is a number of the unit, `{s+1}` or `{2s+1}` is computed from it, `{b:a}` is it as a letter, `{name}` is the
 * network's name, and `~` the map's own `unit` template.
 */
import type {Network, Unit} from '../network.js';
import type {CheckpointTensor, Role} from '../tensors.js';

/** The module of a layer, and of its batch norm. A row that starts with `=` is a tensor's own name. */
export type Row = readonly [layer: string, norm?: string];

export interface Naming {
  /** PyTorch has filters `[out, in, h, w]` and dense weights `[out, in]`; Keras has ours. */
  readonly style: 'torch' | 'keras';
  readonly unit?: string;
  /** By `form.layer`, or by the layer alone where all forms agree. A form `irse` also reads the rows of `ir`. */
  readonly rows: Readonly<Record<string, Row>>;
  /** What a checkpoint may hold besides, as regular expressions. */
  readonly ignored?: readonly RegExp[];
}

export interface NamedTensor {
  readonly tensor: CheckpointTensor;
  /** The tensor's name in the file; some writers vary it. */
  readonly names: readonly string[];
}

const SUFFIXES: Readonly<Record<Naming['style'], Readonly<Record<Role, readonly string[]>>>> = {
  torch: {
    filter: ['.weight'],
    bias: ['.bias'],
    gain: ['.weight'],
    offset: ['.bias'],
    alpha: ['.weight'],
    normGain: ['.weight'],
    normOffset: ['.bias'],
    mean: ['.running_mean'],
    variance: ['.running_var'],
  },
  // A .weights.h5 numbers the variables of a layer, other files name them.
  keras: {
    filter: ['/kernel', '/depthwise_kernel', '/0'],
    bias: ['/bias', '/1'],
    gain: ['/gamma', '/variable', '/0'],
    offset: ['/beta', '/1'],
    alpha: ['/alpha', '/0'],
    normGain: ['/gamma', '/0'],
    normOffset: ['/beta', '/1'],
    mean: ['/moving_mean', '/2'],
    variance: ['/moving_variance', '/3'],
  },
};

const NORM_ROLES: ReadonlySet<Role> = new Set(['normGain', 'normOffset', 'mean', 'variance']);

/** @throws {Error} where the map has no row for a layer: a fault of the map. */
export function nameTensors(
  naming: Naming,
  network: Network,
  tensors: readonly CheckpointTensor[],
): readonly NamedTensor[] {
  const units = new Map(network.units.map((unit) => [unit.name, unit]));
  return tensors.map((tensor) => {
    const unit = units.get(tensor.name.split('/')[0] ?? '');
    if (!unit) throw new Error(`'${tensor.name}' belongs to no unit of ${network.name}.`);
    const row = rowOf(naming, unit, tensor.layer);
    const template = NORM_ROLES.has(tensor.role) ? row?.[1] : row?.[0];
    if (template === undefined)
      throw new Error(`The name map of ${network.name} has no row for ${tensor.name}.`);
    const path = fill(template, naming, network, unit, tensor.layer);
    const names = path.startsWith('=')
      ? [path.slice(1)]
      : SUFFIXES[naming.style][tensor.role].map((suffix) => path + suffix);
    return {tensor, names};
  });
}

function rowOf({rows}: Naming, {form}: Unit, layer: string): Row | undefined {
  return rows[`${form}.${layer}`] ?? rows[`${form.replace(/se$/, '')}.${layer}`] ?? rows[layer] ?? rows['*'];
}

const LETTER_A = 97;

function fill(template: string, naming: Naming, {name}: Network, unit: Unit, layer: string): string {
  return template
    .replace('~', naming.unit ?? '')
    .replace(
      /\{(\d*)([a-z]+)([+-]\d+)?(:a)?\}/g,
      (_, times: string, key: string, plus: string, letter: string) => {
        if (key === 'name') return name;
        if (key === 'unit') return unit.name;
        if (key === 'layer') return layer;
        const at = unit.at[key];
        if (at === undefined)
          throw new Error(`The unit ${unit.name} has no number '${key}' for '${template}'.`);
        const value = Number(times || 1) * at + Number(plus || 0);
        return letter ? String.fromCharCode(LETTER_A + value) : String(value);
      },
    );
}
