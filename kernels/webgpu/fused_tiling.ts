/**
 * What the tilings share of kernels that keep hidden channels in workgroup memory (wgsl/fused.ts): the estimate and its
 * constants, how a chunk's two products are dealt out to threads, and when stages are fused at all.
 */
import {type Constants, divideUp, roundUp} from '../plan.js';
import type {DeviceLimits, MatmulProblem} from './tiling.js';

/**
 * The estimates' constants, fitted to 84 tiles of MobileNetV2's blocks at batches 1 and 8, measured on an H200 by
 * benchmarks/fused_tiles.ts: mean error 10 %, and with the margin below it fuses none of the tiles measured that was slower fused. `load` is not
 * fitted, since it also shapes the tiles; a step was too cheap to tell from nothing.
 */
export const FUSED_RATES = {
  /** Operations a microsecond of 132 processors; a load of four floats from workgroup memory counts as `load` multiply-adds. */
  rate: 43e6,
  load: 4,
  processors: 132,
  /**
   * Microseconds: a dispatch's start; a workgroup's first loads and last stores; a chunk of hidden channels; a step of either
   * product; a load by each thread of the map into workgroup memory.
   */
  launch: 2.2,
  fixed: 0.15,
  chunk: 0.93,
  step: 0,
  staging: 0.24,
  /** What feed-forward pairs of ConvNeXt-T took of the estimate, 1.2 to 1.9: their sums fill the registers. */
  feedForward: 1.5,
  /** Workgroups of a processor at the same time, and threads that keep it busy. */
  slots: 1,
  fullThreads: 64,
  /** Bytes a microsecond of device memory. */
  bandwidth: 4.1e6,
  /** What the stages take apart where nothing fused is in them: operations a microsecond of a depth-wise convolution, and its latency. */
  depthwiseRate: 16e6,
  depthwiseFixed: 2.2,
} as const;

/** Up to so many images the networks measured were faster with all runs fused that the estimate says win. */
const FEW_IMAGES = 4;
const MARGIN = 0.15;

/**
 * Stages are fused only where the estimate promises to leave at most this share of their time apart. Whole networks on an H200 at 224×224,
 * with the margin → without: MobileNetV2 at 1, 2 and 4 images 0.204 → 0.189, 0.237 → 0.232 and 0.369 → 0.360 ms, at 8 0.482 → 0.526: there a
 * fused dispatch takes up to twice as long in the network as in a loop of its own, to which the estimate is fitted. Other sizes of the image and
 * five to seven of them were not measured.
 * @param images where the problem tells; of a feed-forward pair it does not.
 */
export const worthwhileShare = (images = Infinity): number => (images <= FEW_IMAGES ? 1 : 1 - MARGIN);

/** The stages as dispatches of their own. */
export interface Apart {
  readonly FUSED: false;
}

export const APART: Apart = {FUSED: false};

/** What both fused kernels have: threads, chunk, steps along both products, sums a thread (rows, and columns by four), parts. */
export interface ChunkTile {
  readonly FUSED: true;
  readonly WORKGROUP: number;
  readonly HIDDEN_CHUNK: number;
  /** These three are zero where nothing is expanded. */
  readonly STEP_K: number;
  readonly EXPAND_ROWS: number;
  readonly EXPAND_COLUMNS: number;
  readonly STEP_H: number;
  readonly PROJECT_ROWS: number;
  readonly PROJECT_COLUMNS: number;
  /** Workgroups that share a tile of pixels, each with a part of the chunks; where more than one, another dispatch merges their sums. */
  readonly PARTS: number;
}

/** Microseconds of a matrix product as a dispatch of its own, launch included. */
export type ProductTime = (problem: MatmulProblem) => number;

/** What a tile's workgroups do, each and all together, for the estimate. */
export interface Work {
  readonly workgroups: number;
  /** Of a workgroup. */
  readonly threads: number;
  /** Multiply-adds of a workgroup, loads counted in. */
  readonly macs: number;
  readonly chunks: number;
  readonly steps: number;
  /** Loads by each thread, a chunk, of the map that a spatial convolution or its expansion reads. */
  readonly stagings?: number;
  readonly bytes: number;
  /** Floats of the output, for the merge of parts. */
  readonly out: number;
}

export const FLOAT_BYTES = 4;
const VECTOR_BYTES = 16;
/** Sums a thread may hold, in vectors: of the projection, and of both products. Beyond, registers spill. */
const MOST_SUMS = 24;
const MOST_SUMS_OF_BOTH = 36;
const MOST_ROWS = 12;
/** Candidates of one problem, the best by estimate. */
const MOST_CANDIDATES = 24;

const odd = (value: number): number => value + (1 - (value % 2));

/** Rows of `threads` × `columns` vectors that cover `rows` × `vectors`. */
interface ThreadTile {
  readonly rows: number;
  readonly columns: number;
  readonly threadsM: number;
  /** Multiply-adds of a thread for four channels along K, loads counted in. */
  readonly cost: number;
}

function threadTile(
  {rows, vectors}: {rows: number; vectors: number},
  workgroup: number,
  columns: number,
): ThreadTile | undefined {
  const threadsM = Math.floor(workgroup / divideUp(vectors, columns));
  if (threadsM < 1) return undefined;
  const own = divideUp(rows, threadsM);
  const cost = 16 * own * columns + FUSED_RATES.load * (own + 4 * columns);
  return own <= MOST_ROWS ? {rows: own, columns, threadsM, cost} : undefined;
}

/** The cheapest over numbers of columns a thread; `whole` where they have to divide the vectors. */
function bestThreadTile(
  area: {rows: number; vectors: number},
  workgroup: number,
  {most, whole}: {most: number; whole: boolean},
): ThreadTile | undefined {
  let best: ThreadTile | undefined;
  for (let columns = 1; columns <= Math.min(area.vectors, 6); columns++) {
    if (whole && area.vectors % columns !== 0) continue;
    const tile = threadTile(area, workgroup, columns);
    if (tile && tile.rows * columns <= most && (!best || tile.cost < best.cost)) best = tile;
  }
  return best;
}

/** Chunks of about those sizes, in multiples of four, that share the hidden channels evenly. */
export const chunksFor = (hidden: number, sizes: readonly number[]): readonly number[] => {
  const even = sizes.map((size) => roundUp(divideUp(hidden, divideUp(hidden, size)), 4));
  return [...new Set(even)];
};

/** Steps of `whole` channels that fit: all at once, else the largest of 32, 16 and 8 that divides where it has to. */
const stepsOf = (whole: number, divides: boolean): readonly number[] =>
  [whole, 32, 16, 8].filter((step, at) => at === 0 || (step < whole && (!divides || whole % step === 0)));

/** What a workgroup makes of which channels, wherever its pixels lie. */
export interface Grid {
  /** Of pixels that a workgroup makes, and of those it expands. */
  readonly pixels: number;
  readonly sources: number;
  readonly k: number;
  readonly hidden: number;
  readonly n: number;
  readonly expand: boolean;
  /** Vectors of workgroup memory for a spatial convolution between the products, if there is one. */
  readonly spatial?: (chunk4: number) => number;
}

/** Loads in flight that a thread has registers for, in vectors, of either filter and of x. */
const MOST_LOADS = 8;

/** Everything but the pixels' geometry and the parts: the largest steps that fit, the cheapest thread tiles. */
export function chunkTile(
  {pixels, sources, k, hidden, n, expand, spatial}: Grid,
  [WORKGROUP, HIDDEN_CHUNK]: readonly [number, number],
  limits: DeviceLimits,
): Omit<ChunkTile, 'PARTS'> | undefined {
  const chunk4 = HIDDEN_CHUNK / 4;
  const project = bestThreadTile({rows: pixels, vectors: divideUp(n, 4)}, WORKGROUP, {most: MOST_SUMS, whole: false}); // prettier-ignore
  if (!project || hidden === 0) return undefined;
  const most = MOST_SUMS_OF_BOTH - project.rows * project.columns;
  const made = expand
    ? bestThreadTile({rows: sources, vectors: chunk4}, WORKGROUP, {most, whole: true})
    : {rows: 0, columns: 0, threadsM: 0};
  if (!made) return undefined;
  const madeRows = made.rows * made.threadsM;
  const hiddenRows = Math.max(project.rows * project.threadsM, spatial ? pixels : madeRows);
  // The moments of a LayerNorm are half a vector a row.
  const extra = spatial ? spatial(chunk4) : divideUp(madeRows, 2);
  const filterColumns = divideUp(divideUp(n, 4), project.columns) * project.columns;
  const fits = (STEP_K: number, STEP_H: number): boolean => {
    const expanding = expand ? (STEP_K / 4) * odd(madeRows) + STEP_K * chunk4 : 0;
    const vectors = expanding + chunk4 * odd(hiddenRows) + STEP_H * filterColumns + extra;
    const xLoads = STEP_K < k ? (sources * STEP_K) / 4 : 0; // In flight at the same time as sums only where there are several steps.
    const loads = Math.max(xLoads, STEP_K * chunk4, STEP_H * filterColumns) / WORKGROUP;
    return VECTOR_BYTES * vectors <= limits.maxComputeWorkgroupStorageSize && loads <= MOST_LOADS;
  };
  for (const STEP_K of expand ? stepsOf(roundUp(k, 4), false) : [0])
    for (const STEP_H of stepsOf(HIDDEN_CHUNK, true))
      if (fits(STEP_K, STEP_H))
        return {
          FUSED: true,
          WORKGROUP,
          HIDDEN_CHUNK,
          STEP_K,
          EXPAND_ROWS: made.rows,
          EXPAND_COLUMNS: made.columns,
          STEP_H,
          PROJECT_ROWS: project.rows,
          PROJECT_COLUMNS: project.columns,
        };
  return undefined;
}

/** Multiply-adds of a workgroup for one chunk in both products, loads counted in. */
export function productMacs(tile: Omit<ChunkTile, 'PARTS'>, k: number): number {
  const {WORKGROUP, HIDDEN_CHUNK, EXPAND_ROWS, EXPAND_COLUMNS, PROJECT_ROWS, PROJECT_COLUMNS} = tile;
  const of = (rows: number, columns: number): number =>
    rows > 0 ? 16 * rows * columns + FUSED_RATES.load * (rows + 4 * columns) : 0;
  return (
    WORKGROUP *
    (divideUp(k, 4) * of(EXPAND_ROWS, EXPAND_COLUMNS) +
      (HIDDEN_CHUNK / 4) * of(PROJECT_ROWS, PROJECT_COLUMNS))
  );
}

/** Steps of both products, a chunk. */
export const stepsPerChunk = ({STEP_K, STEP_H, HIDDEN_CHUNK}: Omit<ChunkTile, 'PARTS'>, k: number): number =>
  (STEP_K > 0 ? divideUp(k, STEP_K) : 0) + HIDDEN_CHUNK / STEP_H;

/** Microseconds on an H200, launch included. */
export function estimate(
  {workgroups, threads, macs, chunks, steps, stagings = 0, bytes, out}: Work,
  parts: number,
): number {
  const {rate, processors, launch, fixed, chunk, step, staging, slots, fullThreads, bandwidth} = FUSED_RATES;
  const perProcessor = divideUp(workgroups, processors);
  const fill = Math.min(1, (Math.min(perProcessor, slots) * threads) / fullThreads);
  const work = (perProcessor * 2 * macs * processors) / (rate * fill);
  const latency =
    divideUp(perProcessor, slots) * (fixed + chunks * (chunk + steps * step + stagings * staging));
  const sums = FLOAT_BYTES * out * parts;
  const memory = (bytes + (parts > 1 ? sums : FLOAT_BYTES * out)) / bandwidth;
  const merge = parts > 1 ? launch + (sums + FLOAT_BYTES * out) / bandwidth : 0;
  return launch + Math.max(work + latency, memory) + merge;
}

const PARTS = [1, 2, 4, 8, 12, 16];
/** Parts that leave each workgroup the same number of chunks, or nearly. */
export const partsFor = (chunks: number): readonly number[] =>
  PARTS.filter((parts) => parts <= chunks && divideUp(chunks, parts) * parts <= 1.15 * chunks);

/**
 * The tiles of least estimate, the lowest first: of those that differ in threads alone, one.
 * @param pixels a number that tells tiles of pixels apart.
 */
export function shortlist<T extends ChunkTile>(
  tiles: Iterable<T>,
  estimateOf: (tile: T) => number,
  pixels: (tile: T) => number,
): readonly T[] {
  const bests = new Map<number, {tile: T; microseconds: number}>();
  for (const tile of tiles) {
    const microseconds = estimateOf(tile);
    const key = (pixels(tile) * 32 + tile.PARTS) * 256 + tile.HIDDEN_CHUNK;
    if (microseconds < (bests.get(key)?.microseconds ?? Infinity)) bests.set(key, {tile, microseconds});
  }
  return [...bests.values()]
    .sort((a, b) => a.microseconds - b.microseconds)
    .slice(0, MOST_CANDIDATES)
    .map(({tile}) => tile);
}

/** Plans ask for the candidates of the same few problems over and over. */
const MOST_REMEMBERED = 512;

/** `make`, which takes milliseconds, once a problem and limits. */
export function remembered<P, T>(
  make: (problem: P, limits: DeviceLimits) => readonly T[],
): (problem: P, limits: DeviceLimits) => readonly T[] {
  const known = new Map<string, readonly T[]>();
  return (problem, limits) => {
    const key = JSON.stringify([problem, limits]);
    let tiles = known.get(key);
    if (!tiles) {
      if (known.size >= MOST_REMEMBERED) known.clear();
      known.set(key, (tiles = make(problem, limits)));
    }
    return tiles;
  };
}

const WORKGROUPS = [64, 96, 128, 192, 256];
export const workgroupsFor = (limits: DeviceLimits): readonly number[] =>
  WORKGROUPS.filter((size) => size <= limits.maxComputeInvocationsPerWorkgroup);

/**
 * The tile of least estimate where it takes at most `share` of `apart`. `macs` are the products' without any waste: where these alone
 * take too long, nobody need look for a tile.
 */
export function fusedIfWorthwhile<T extends ChunkTile>(
  candidates: () => readonly T[],
  estimateOf: (tile: T) => number,
  {apart, macs, share}: {readonly apart: number; readonly macs: number; readonly share: number},
): T | Apart {
  const enough = share * apart;
  if (FUSED_RATES.launch + (2 * macs) / FUSED_RATES.rate > enough) return APART;
  const [first] = candidates();
  return first && estimateOf(first) <= enough ? first : APART;
}

/** The largest number of vectors up to four that divides a step: what is written out at once. */
const unrolled = (step: number): number => [4, 3, 2].find((count) => (step / 4) % count === 0) ?? 1;

/** The constants that follow from a tile: loads of a thread a step, vectors written out at once. */
export function chunkConstants(
  tile: ChunkTile,
  {n, sources}: {readonly n: number; readonly sources: number},
): Constants {
  const {WORKGROUP, HIDDEN_CHUNK, STEP_K, STEP_H, PROJECT_COLUMNS} = tile;
  const columns = divideUp(divideUp(n, 4), PROJECT_COLUMNS) * PROJECT_COLUMNS;
  const project = {PROJECT_LOADS: divideUp(STEP_H * columns, WORKGROUP), UNROLL_H: unrolled(STEP_H)};
  if (STEP_K === 0) return project;
  return {
    ...project,
    X_LOADS: divideUp((sources * STEP_K) / 4, WORKGROUP),
    EXPAND_LOADS: divideUp((STEP_K * HIDDEN_CHUNK) / 4, WORKGROUP),
    UNROLL_K: unrolled(STEP_K),
  };
}
