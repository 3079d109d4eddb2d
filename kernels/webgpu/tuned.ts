/**
 * What measuring taught about a device: the fastest tile per kernel problem, and the blocks that are faster as stock ops. It
 * travels as JSON; nothing in a file is believed that was measured elsewhere or that the candidates do not allow.
 */
import type {Block} from '../../ops/index.js';
import type {Constants} from '../plan.js';
import {VERSION} from '../version.js';
import {isCandidate, isTiledKernel, type TiledKernel} from './candidates.js';
import {blockKey, decidedBy, parseProblemKey, problemKey} from './choices.js';
import type {DeviceLimits, Tiling} from './tiling.js';

/** What the measurements hold for, as WebGPU tells it; `description` names the driver where anything does. */
export interface AdapterIdentity {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
}

export interface TunedTile {
  readonly tile: Constants;
  /** GPU time of the dispatches the tile decides. */
  readonly microseconds: number;
}

/** GPU time of a block as planned and as the stock ops of its reference. */
export interface BlockTiming {
  readonly planMicroseconds: number;
  readonly opsMicroseconds: number;
}

export const TUNED_FORMAT = 'block-fusion-tuned';
export const TUNED_FORMAT_VERSION = 1;

/** A tuned file. Keys are texts made from kernel and problem, or from block and input shape. */
export interface TunedData {
  readonly format: typeof TUNED_FORMAT;
  readonly formatVersion: number;
  readonly packageVersion: string;
  readonly adapter: AdapterIdentity;
  readonly tiles: Readonly<Record<string, TunedTile>>;
  readonly blocks: Readonly<Record<string, BlockTiming>>;
}

/** What came of a file. */
export type LoadOutcome =
  | {
      readonly kind: 'loaded';
      readonly tiles: number;
      readonly blocks: number;
      readonly refused: readonly string[];
    }
  | {readonly kind: 'ignored'; readonly reason: string};

/** The measurements for one device. */
export class TunedPlans {
  readonly adapter: AdapterIdentity;
  readonly #limits: DeviceLimits;
  readonly #tiles = new Map<string, TunedTile>();
  readonly #blocks = new Map<string, BlockTiming>();
  #revision = 0;

  constructor(adapter: AdapterIdentity, limits: DeviceLimits) {
    this.adapter = adapter;
    this.#limits = limits;
  }

  /** Grows with each change, so that whoever keeps plans knows when they are stale. */
  get revision(): number {
    return this.#revision;
  }

  /** Kernel problems and blocks that were measured. */
  get size(): number {
    return this.#tiles.size + this.#blocks.size;
  }

  /** The measured tile of a problem, if there is one and the candidates allow it. */
  tileFor(kernel: TiledKernel, problem: unknown): TunedTile | undefined {
    const found = this.#tiles.get(problemKey(kernel, problem));
    return found && isCandidate({kernel, problem}, found.tile, this.#limits) ? found : undefined;
  }

  timingOf(block: Block, input: readonly number[]): BlockTiming | undefined {
    if (this.#blocks.size === 0) return undefined; // Asked at every call, mostly for nothing.
    return this.#blocks.get(blockKey(block, input));
  }

  /** Whether stock ops were measured to be faster than the block's plan: then it is not fused. */
  prefersOps(block: Block, input: readonly number[]): boolean {
    const timing = this.timingOf(block, input);
    return timing !== undefined && timing.opsMicroseconds < timing.planMicroseconds;
  }

  setTile(key: string, tile: TunedTile): void {
    this.#tiles.set(key, tile);
    this.#revision++;
  }

  setTiming(block: Block, input: readonly number[], timing: BlockTiming): void {
    this.#blocks.set(blockKey(block, input), timing);
    this.#revision++;
  }

  clear(): void {
    this.#tiles.clear();
    this.#blocks.clear();
    this.#revision++;
  }

  toJSON(): TunedData {
    return {
      format: TUNED_FORMAT,
      formatVersion: TUNED_FORMAT_VERSION,
      packageVersion: VERSION,
      adapter: this.adapter,
      tiles: Object.fromEntries(this.#tiles),
      blocks: Object.fromEntries(this.#blocks),
    };
  }

  /** Adds what a tuned file holds; its entries replace those of the same key. Never throws: a file is a hint. */
  load(data: unknown): LoadOutcome {
    const reason = reasonToIgnore(data, this.adapter);
    if (reason !== undefined) return {kind: 'ignored', reason};
    const {tiles, blocks} = data as TunedData; // reasonToIgnore has looked.
    const refused = Object.entries(tiles).flatMap(([key, {tile}]) =>
      isAllowed(key, tile, this.#limits) ? [] : [key],
    );
    for (const [key, tile] of Object.entries(tiles)) if (!refused.includes(key)) this.#tiles.set(key, tile);
    for (const [key, timing] of Object.entries(blocks)) this.#blocks.set(key, timing);
    this.#revision++;
    const taken = Object.keys(tiles).length - refused.length;
    return {kind: 'loaded', tiles: taken, blocks: Object.keys(blocks).length, refused};
  }
}

/** `base`, but for the problems that were measured. */
export const tunedTiling = (base: Tiling, tuned: TunedPlans): Tiling =>
  decidedBy(base, (kernel, problem, chosen) => tuned.tileFor(kernel, problem)?.tile ?? chosen());

/** A problem that no kernel poses makes its row throw or find no candidate; either way the tile is refused. */
function isAllowed(key: string, tile: Constants, limits: DeviceLimits): boolean {
  try {
    const {kernel, problem} = parseProblemKey(key);
    return isTiledKernel(kernel) && isCandidate({kernel, problem}, tile, limits);
  } catch {
    return false;
  }
}

function reasonToIgnore(data: unknown, adapter: AdapterIdentity): string | undefined {
  if (!isRecord(data) || data['format'] !== TUNED_FORMAT) return 'it is no tuned file, or a damaged one';
  if (data['formatVersion'] !== TUNED_FORMAT_VERSION)
    return `its format is version ${text(data['formatVersion'])}, but this package reads version ${TUNED_FORMAT_VERSION}`;
  if (data['packageVersion'] !== VERSION)
    return `it was measured with version ${text(data['packageVersion'])} of the package, but this is ${VERSION}`;
  const measured = data['adapter'];
  if (!isRecord(measured)) return 'it does not say on which adapter it was measured, so it is damaged';
  const differing = Object.entries<string>({...adapter}).find(([name, value]) => measured[name] !== value);
  if (differing) {
    const [name, value] = differing;
    return `it was measured on another adapter or driver: its ${name} is ${text(measured[name])}, here it is ${text(value)}`;
  }
  const {tiles, blocks} = data;
  if (!isRecord(tiles) || !Object.values(tiles).every(isTunedTile)) return 'its tiles are damaged';
  if (!isRecord(blocks) || !Object.values(blocks).every(isTiming)) return 'its blocks are damaged';
  return undefined;
}

const text = (value: unknown): string => (value === undefined ? 'missing' : JSON.stringify(value));

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isTime = (value: unknown): boolean => typeof value === 'number' && value > 0 && value < Infinity;

const isTunedTile = (value: unknown): boolean =>
  isRecord(value) && isTime(value['microseconds']) && isRecord(value['tile']);

const isTiming = (value: unknown): boolean =>
  isRecord(value) && isTime(value['planMicroseconds']) && isTime(value['opsMicroseconds']);
