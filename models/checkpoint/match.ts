/** Fits a checkpoint to an architecture: finds out who wrote it, and that every tensor is there and of its shape. */
import {type Architecture, IMAGENET_CLASSES, makeNetwork, type Source} from '../architectures.js';
import {type NamedTensor, nameTensors} from '../naming/naming.js';
import type {Network} from '../network.js';
import {type CheckpointTensor, tensorsOf, type TensorSource} from '../tensors.js';
import {type Checkpoint, type CheckpointEntry, CheckpointError} from './checkpoint.js';
import {fitsLayout, fileShape, toOurLayout} from './layouts.js';

export interface MatchOptions {
  /** 0 leaves the classifier out; as the checkpoint has it unless given. */
  readonly classes?: number | undefined;
  /** Who wrote the checkpoint, where its names alone shall not decide. */
  readonly from?: Source['name'] | undefined;
}

export interface Matched {
  readonly network: Network;
  readonly source: Source;
  readonly weights: TensorSource;
}

interface Candidate {
  readonly source: Source;
  readonly network: Network;
  readonly named: readonly NamedTensor[];
}

/** @throws {CheckpointError} that lists every tensor that is missing, extra or of another shape. */
export function matchCheckpoint(
  architecture: Architecture,
  checkpoint: Checkpoint,
  options: MatchOptions = {},
): Matched {
  const file = new FileNames(checkpoint);
  const {source, network, named} = pickCandidate(architecture, file, options);
  const faults = faultsOf(file, source, named, architecture);
  if (faults.length > 0) {
    throw new CheckpointError(
      `'${checkpoint.path}' is no ${architecture.name} with ${network.classes} classes as ${source.name} writes it: ` +
        `${faults.join('; ')}. Check --arch and --classes.`,
    );
  }
  const places = new Map(named.map(({tensor, names}) => [tensor.name, file.find(names) ?? '']));
  return {
    network,
    source,
    weights: async (tensor) =>
      toOurLayout(tensor, source.naming.style, await checkpoint.read(places.get(tensor.name) ?? '')),
  };
}

/** Of the sources, the one most of whose names the file has. */
function pickCandidate(
  architecture: Architecture,
  file: FileNames,
  {classes, from}: MatchOptions,
): Candidate {
  const sources = architecture.sources.filter(({name}) => from === undefined || name === from);
  const scored = sources.map((source) => {
    const named = namesIn(architecture, source, IMAGENET_CLASSES).named;
    return {
      source,
      named,
      found: named.filter(({names}) => file.find(names) !== undefined).length / named.length,
    };
  });
  const best = scored.reduce<(typeof scored)[number] | undefined>(
    (best, next) => (best && best.found >= next.found ? best : next),
    undefined,
  );
  if (!best) {
    const known = architecture.sources.map(({name}) => name).join(', ');
    throw new CheckpointError(`No ${architecture.name} of '${String(from)}' is known; known are ${known}.`);
  }
  return namesIn(architecture, best.source, classes ?? classesIn(file, best.named));
}

function namesIn(architecture: Architecture, source: Source, classes: number): Candidate {
  const network = makeNetwork(architecture, {from: source, classes});
  return {source, network, named: nameTensors(source.naming, network, tensorsOf(network))};
}

const isClassifier = ({layer}: CheckpointTensor): boolean => layer === 'classifier';

/** From the classifier's bias; without a classifier the error will say that it is missing. */
function classesIn(file: FileNames, named: readonly NamedTensor[]): number {
  const bias = named.find(({tensor}) => isClassifier(tensor) && tensor.role === 'bias');
  return (bias && file.entry(bias.names)?.shape[0]) ?? IMAGENET_CLASSES;
}

function faultsOf(
  file: FileNames,
  source: Source,
  named: readonly NamedTensor[],
  architecture: Architecture,
): readonly string[] {
  const {style, ignored = []} = source.naming;
  const missing = named.filter(({names}) => !file.find(names)).map(({names}) => names[0] ?? '');
  const misshapen = named.flatMap(({tensor, names}) => {
    const shape = file.entry(names)?.shape;
    if (!shape || fitsLayout(tensor, style, shape)) return [];
    const wanted = fileShape(tensor, style).join(', ');
    return [`${file.find(names) ?? ''} is [${shape.join(', ')}] but must be [${wanted}]`];
  });
  // A classifier that nobody asked for is no fault.
  const unasked = namesIn(architecture, source, IMAGENET_CLASSES).named.filter(({tensor}) =>
    isClassifier(tensor),
  );
  const known = new Set([...named, ...unasked].flatMap(({names}) => names));
  const extra = file.all.filter((name) => !known.has(name) && !ignored.some((pattern) => pattern.test(name)));
  return [...listed('missing', missing), ...listed('extra', extra), ...listed('of another shape', misshapen)];
}

const listed = (what: string, items: readonly string[]): readonly string[] =>
  items.length === 0 ? [] : [`${items.length} ${what}: ${items.join(', ')}`];

/** Wrappers put one of these before every name. */
const WRAPPERS = ['module.', 'model.', 'ema.'];

class FileNames {
  /** From the names without a wrapper's prefix to those in the file. */
  readonly #names: ReadonlyMap<string, string>;
  readonly #entries: ReadonlyMap<string, CheckpointEntry>;

  constructor({entries}: Checkpoint) {
    const all = [...entries.keys()];
    const prefix = WRAPPERS.find((start) => all.every((name) => name.startsWith(start))) ?? '';
    this.#names = new Map(all.map((name) => [name.slice(prefix.length), name]));
    this.#entries = entries;
  }

  get all(): readonly string[] {
    return [...this.#names.keys()];
  }

  /** The first of `names` that the file has, as the file writes it. */
  find(names: readonly string[]): string | undefined {
    const name = names.find((candidate) => this.#names.has(candidate));
    return name === undefined ? undefined : this.#names.get(name);
  }

  entry(names: readonly string[]): CheckpointEntry | undefined {
    const name = this.find(names);
    return name === undefined ? undefined : this.#entries.get(name);
  }
}
