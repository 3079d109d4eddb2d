/**
 * How a grouped convolution is made: as a matrix product a group with both operands staged in workgroup memory, or, for group widths
 * that are no multiple of four or less than eight, by threads that each read what they need (strips).
 */
import type {Pair, Shape4D} from '../../ops/index.js';
import {divideUp} from '../plan.js';
import {bestOf} from './matmul_tiling.js';
import {type DeviceLimits, MOST_WORKGROUPS} from './tiling.js';

export interface GroupedProblem {
  readonly input: Shape4D;
  /** Of the output. */
  readonly shape: Shape4D;
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly dilation: Pair;
  /** Input channels of a group. */
  readonly group: number;
  /** What the stage behind it wants of the map: sums over pixels for a gate, moments over channels for a LayerNorm. */
  readonly statistics: 'none' | 'sums' | 'moments';
}

/** STRIP pixels of four channels a thread, LANES · STRIPS threads. */
export interface GroupedStripTile {
  readonly STAGED: false;
  readonly STRIP: number;
  readonly LANES: number;
  readonly STRIPS: number;
}

/** As wgsl/grouped_product.ts says. */
export interface GroupedProductTile {
  readonly STAGED: true;
  readonly TILE_W: number;
  readonly ROWS: number;
  readonly STRIP: number;
  readonly THREADS_N: number;
  readonly SPAN: number;
  readonly SLICE4: number;
}

export type GroupedTile = GroupedStripTile | GroupedProductTile;

/** Narrower groups are left to strips; the product was not measured on them. */
const LEAST_GROUP = 8;
/** Threads of a pixel. */
const MOST_LANES = 16;
/** Vectors of one column of input that a thread keeps in registers, and of what it stages. */
const MOST_WINDOW = 20;
const MOST_LOADS = 16;
/** Of workgroup memory; more leaves room for too few workgroups side by side. */
const MOST_BYTES = 24576;
/** Pixels that a tile may cover over those that the map has, unless all tiles do. */
const MOST_WASTE = 1.4;
const VECTOR_BYTES = 16;

/** Input rows under STRIP output rows. */
export const windowHeight = ({kernel, stride, dilation}: GroupedProblem, strip: number): number =>
  (strip - 1) * stride[0] + (kernel[0] - 1) * dilation[0] + 1;

const groupsOf = ({input, group}: GroupedProblem): number => input[3] / group;
/** Vectors of one group's output channels. */
const outputsOf = (problem: GroupedProblem): number => problem.shape[3] / groupsOf(problem) / 4;

const threadsOf = ({TILE_W, ROWS, SPAN, THREADS_N}: GroupedProductTile): number =>
  TILE_W * ROWS * SPAN * THREADS_N;

/** Vectors of a slice that a workgroup stages. */
function stagedVectors(t: GroupedProductTile, problem: GroupedProblem): {x: number; w: number} {
  const {kernel, stride, dilation} = problem;
  const reach = (axis: 0 | 1, extent: number): number =>
    (extent - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1;
  const patch = reach(0, t.ROWS * t.STRIP) * reach(1, t.TILE_W);
  const columns = t.SPAN * t.THREADS_N;
  return {x: t.SPAN * t.SLICE4 * patch, w: kernel[0] * kernel[1] * t.SLICE4 * 4 * columns};
}

/** What a thread stages of a slice. */
export function groupedLoads(
  t: GroupedProductTile,
  problem: GroupedProblem,
): {X_LOADS: number; W_LOADS: number} {
  const {x, w} = stagedVectors(t, problem);
  const threads = threadsOf(t);
  return {X_LOADS: divideUp(x, threads), W_LOADS: divideUp(w, threads)};
}

function vectorsOf(t: GroupedProductTile, problem: GroupedProblem): number {
  const {x, w} = stagedVectors(t, problem);
  const perThread = {none: 0, sums: 1, moments: divideUp(t.STRIP, 4)};
  return Math.max(x, threadsOf(t) * perThread[problem.statistics]) + w;
}

const powers = (most: number): readonly number[] => [1, 2, 4, 8, 16, 32].filter((power) => power <= most);
const divides = (value: number, by: number): boolean => Number.isInteger(value / by);

/** How threads share the channels: those of a wide group, or of several narrow ones. */
function channelShares(problem: GroupedProblem): Pick<GroupedProductTile, 'THREADS_N' | 'SPAN'>[] {
  const outputs = outputsOf(problem);
  const groups = groupsOf(problem);
  return Array.from({length: MOST_LANES}, (_, at) => at + 1).flatMap((lanes) => {
    if (lanes <= outputs) return divides(outputs, lanes) ? [{THREADS_N: lanes, SPAN: 1}] : [];
    const span = lanes / outputs;
    return Number.isInteger(span) && divides(groups, span) ? [{THREADS_N: outputs, SPAN: span}] : [];
  });
}

/** Widths of tiles: powers of two, and even parts of the map. */
function widthsOf(width: number): readonly number[] {
  const parts = [1, 2, 3, 4].map((by) => divideUp(width, by)).filter((part) => part >= 4 && part <= 32);
  return [...new Set([...[8, 16, 32].filter((part) => part < 2 * width), ...parts, Math.min(width, 32)])];
}

/** Vectors of a group's input channels between two barriers. */
const SLICES4 = [1, 2, 3, 4];

function isLegal(t: GroupedProductTile, problem: GroupedProblem, limits: DeviceLimits): boolean {
  const {X_LOADS, W_LOADS} = groupedLoads(t, problem);
  const [across] = gridOf(t, problem);
  return (
    threadsOf(t) <= limits.maxComputeInvocationsPerWorkgroup &&
    VECTOR_BYTES * vectorsOf(t, problem) <= Math.min(MOST_BYTES, limits.maxComputeWorkgroupStorageSize) &&
    X_LOADS + W_LOADS <= MOST_LOADS &&
    across <= MOST_WORKGROUPS
  );
}

const wasteOf = ({TILE_W, ROWS, STRIP}: GroupedProductTile, [, h, w]: Shape4D): number =>
  (divideUp(h, ROWS * STRIP) * ROWS * STRIP * divideUp(w, TILE_W) * TILE_W) / (h * w);

/** Every tile of the product that is legal and not plainly bad. */
export function groupedProductTiles(
  problem: GroupedProblem,
  limits: DeviceLimits,
): readonly GroupedProductTile[] {
  const {shape, group} = problem;
  const [, h, w] = shape;
  if (group % 4 !== 0 || group < LEAST_GROUP || !Number.isInteger(outputsOf(problem))) return [];
  const found = new Map<string, GroupedProductTile>();
  for (const share of channelShares(problem)) {
    const lanes = share.SPAN * share.THREADS_N;
    for (const STRIP of powers(8)) {
      if (windowHeight(problem, STRIP) > MOST_WINDOW) continue;
      if (STRIP > 1 && STRIP >= 2 * h) continue;
      for (const TILE_W of widthsOf(w)) {
        for (const threads of [64, 128, 256]) {
          const ROWS = Math.min(Math.floor(threads / lanes / TILE_W), divideUp(h, STRIP));
          if (ROWS < 1) continue;
          for (const SLICE4 of SLICES4.filter((slice) => divides(group / 4, slice))) {
            const tile = {STAGED: true, TILE_W, ROWS, STRIP, ...share, SLICE4} as const;
            if (isLegal(tile, problem, limits)) found.set(JSON.stringify(tile), tile);
          }
        }
      }
    }
  }
  const tiles = [...found.values()];
  const least = Math.min(...tiles.map((tile) => wasteOf(tile, shape)));
  return tiles.filter((tile) => wasteOf(tile, shape) <= Math.max(MOST_WASTE, least));
}

/** Workgroups of a tile: across the map, across the channels, images. */
function gridOf(t: GroupedTile, {shape: [n, h, w, c]}: GroupedProblem): readonly [number, number, number] {
  if (!t.STAGED) return [divideUp(h * divideUp(w, t.STRIP), t.STRIPS), divideUp(divideUp(c, 4), t.LANES), n];
  const blocks = c / (4 * t.SPAN * t.THREADS_N);
  return [divideUp(h, t.ROWS * t.STRIP) * divideUp(w, t.TILE_W), blocks, n];
}

/**
 * What the estimate counts with: fitted to 682 tiles of seven grouped 3×3 convolutions of ConvFirst-T, ResNeXt-50 and RegNetX-3.2GF at
 * batches 1, 8 and 32, measured on an H200 by benchmarks/grouped_tiles.ts, with a mean error of 9 %. Of 51 problems measured with them
 * the chosen tile was on average 8 % slower than the best of some 14, at worst 26 %, and the mean error 13 %.
 */
export const GROUPED_RATES = {
  /** Cycles of a processor a warp for each of its threads' FMAs of vectors, and loads of vectors from workgroup memory. */
  fma: 1.12,
  load: 2.11,
  /** For each vector it stages of the map and of the filter, and each it writes; more where a pixel's are less than a cache line. */
  stageInput: 0.98,
  stageFilter: 26.8,
  write: 9.99,
  /** Microseconds of a workgroup however few there are, and of each slice; cycles of it for each of a thread's FMAs. */
  fixed: 0.305,
  slice: 0.683,
  latency: 4.74,
  cyclesPerMicrosecond: 1750,
} as const;

const WARP = 32;
/** Of an H200's processor. */
const MOST_THREADS = 2048;
const LINE4 = 8;

/** Workgroups side by side on a processor, by threads, registers and workgroup memory. */
function slotsOf(t: GroupedProductTile, problem: GroupedProblem): number {
  const {x, w} = stagedVectors(t, problem);
  const {X_LOADS, W_LOADS} = groupedLoads(t, problem);
  const ahead = problem.group / 4 > t.SLICE4 ? X_LOADS + W_LOADS : 0;
  const registers = 36 + 4 * (t.STRIP + windowHeight(problem, t.STRIP) + ahead);
  const threads = WARP * divideUp(threadsOf(t), WARP);
  const byThreads = Math.floor((MOST_THREADS * Math.min(1, 64 / registers)) / threads);
  const byMemory = Math.floor((228 * 1024) / (VECTOR_BYTES * (x + w) + 1024));
  return Math.max(1, Math.min(byThreads, byMemory, 32));
}

/** Microseconds of an H200's processors: latency where few workgroups wait for each slice, arithmetic where there are many. */
export function groupedMicroseconds(
  t: GroupedProductTile,
  problem: GroupedProblem,
  {processors}: DeviceLimits,
): number {
  const rates = GROUPED_RATES;
  const {X_LOADS, W_LOADS} = groupedLoads(t, problem);
  const [kh, kw] = problem.kernel;
  const slices = problem.group / 4 / t.SLICE4;
  const turns = slices * t.SLICE4 * kw;
  const fmas = turns * kh * 4 * t.STRIP;
  const cycles =
    rates.fma * fmas +
    rates.load * turns * (windowHeight(problem, t.STRIP) + 4 * kh) +
    rates.stageInput * slices * X_LOADS * Math.max(1, LINE4 / (t.SPAN * t.SLICE4)) +
    rates.stageFilter * slices * W_LOADS +
    rates.write * t.STRIP * Math.max(1, LINE4 / (t.SPAN * t.THREADS_N));
  const work = (divideUp(threadsOf(t), WARP) * cycles) / rates.cyclesPerMicrosecond;
  const wait = rates.fixed + rates.slice * slices + (rates.latency * fmas) / rates.cyclesPerMicrosecond;
  const workgroups = gridOf(t, problem).reduce((all, one) => all * one, 1);
  return Math.max(
    divideUp(workgroups, processors) * work,
    divideUp(workgroups, processors * slotsOf(t, problem)) * wait,
  );
}

/** The cheapest product, or strips where none is legal. */
export function groupedTile(problem: GroupedProblem, limits: DeviceLimits): GroupedTile {
  const products = groupedProductTiles(problem, limits);
  if (products.length > 0) return bestOf(products, (tile) => groupedMicroseconds(tile, problem, limits));
  const [, , w, c] = problem.shape;
  const LANES = Math.min(16, 2 ** Math.ceil(Math.log2(divideUp(c, 4))));
  return {STAGED: false, STRIP: Math.min(4, w), LANES, STRIPS: 64 / LANES};
}
