/**
 * Which tile each kernel gets: legal candidates from the device's limits, an estimate for each, the cheapest. The estimates
 * count issue slots of a processor; their constants were fitted to measurements and carry them in a comment.
 */
import type {Shape4D, SpatialStage} from '../../ops/index.js';
import {divideUp, powerOfTwoUpTo} from '../plan.js';
import {type DenseProblem, denseTile, type DenseTile} from './dense_tiling.js';
import {
  depthwiseProjectApart,
  depthwiseProjectCandidates,
  depthwiseProjectMacs,
  type DepthwiseProjectProblem,
  type DepthwiseProjectTile,
  estimateDepthwiseProject,
} from './depthwise_project_tiling.js';
import {expandApart, type ExpandProblem} from './expand_apart.js';
import {estimateExpandRows, expandRowsTile, type ExpandRowsTile} from './expand_rows_tiling.js';
import {
  estimateFeedForward,
  feedForwardApart,
  feedForwardCandidates,
  feedForwardMacs,
  type FeedForwardProblem,
  type FeedForwardTile,
} from './feed_forward_tiling.js';
import {APART, type Apart, FUSED_RATES, fusedIfWorthwhile, worthwhileShare} from './fused_tiling.js';
import {type GateProblem, type GateTile, gateTile} from './gate_tiling.js';
import {type GroupedProblem, groupedTile, type GroupedTile} from './grouped_tiling.js';
import {type ConvolutionProblem, type ConvolutionTile, convolutionTile} from './convolution_tiling.js';
import {
  bestOf,
  estimateMatmul,
  FLOAT_BYTES,
  matmulCandidates,
  type MatmulProblem,
  type MatmulTile,
  matmulTileOf,
  type RatedTile,
} from './matmul_tiling.js';
import type {HalfTiling} from './matrix_tiling.js';
import {type StemProblem, stemTile, type StemTile} from './stem_tiling.js';

export * from './matmul_tiling.js';

/** What a plan may rely on; `stockLimits` are WebGPU's guaranteed ones. */
export interface DeviceLimits {
  readonly maxComputeInvocationsPerWorkgroup: number;
  readonly maxComputeWorkgroupStorageSize: number;
  /** Independent processors (SMs, compute units), where known; WebGPU does not tell. */
  readonly processors: number;
  /** Bytes of one buffer as a kernel sees it; 128 MiB, which every device has, unless given. */
  readonly maxStorageBufferBindingSize?: number;
}

export const stockLimits: DeviceLimits = {
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupStorageSize: 16384,
  processors: 132,
};

/** What nearly every adapter offers, and TF.js asks for: plans made without a device count with it. */
export const usualLimits: DeviceLimits = {...stockLimits, maxComputeWorkgroupStorageSize: 32768};

/** A workgroup's tile of output pixels, a thread's strip of it, and the groups of four channels a workgroup takes. */
export interface DepthwiseTile {
  readonly TILE_H: number;
  readonly TILE_W: number;
  readonly STRIP_H: number;
  readonly STRIP_W: number;
  readonly LANES: number;
}

export interface DepthwiseProblem {
  readonly shape: Shape4D;
  readonly stage: SpatialStage;
  /** Groups of four squeezed channels where a gate is behind it, for whose first layer a workgroup wants as many threads. */
  readonly squeezed?: number;
}

/** A depth-wise tile whose input is expanded into workgroup memory, PIXELS a thread at a time. */
export interface ExpandPatchTile extends DepthwiseTile {
  readonly FUSED: true;
  readonly PIXELS: number;
}

export type ExpandTile = ExpandPatchTile | ExpandRowsTile;

export const isPatchTile = (tile: ExpandTile): tile is ExpandPatchTile => 'PIXELS' in tile;

export interface Tiling {
  /** Where the plan is to hold f16 between its dispatches. */
  readonly half?: HalfTiling;
  matmul(problem: MatmulProblem): MatmulTile;
  /** A full convolution: as one product that gathers its rows, or by Winograd's transforms. */
  convolution(problem: ConvolutionProblem): ConvolutionTile;
  depthwise(problem: DepthwiseProblem): DepthwiseTile;
  /** Whether an expansion and the depth-wise convolution behind it are one dispatch. */
  expandDepthwise(problem: ExpandProblem): ExpandTile | Apart;
  /** Whether two pointwise stages are one dispatch. */
  feedForward(problem: FeedForwardProblem): FeedForwardTile | Apart;
  /** Whether a depth-wise convolution and its projection are one dispatch, with the expansion before them if there is one. */
  depthwiseProject(problem: DepthwiseProjectProblem): DepthwiseProjectTile | Apart;
  /** The first convolution of a network, of up to three channels. */
  stem(problem: StemProblem): StemTile;
  /** A dense layer on vectors. */
  dense(problem: DenseProblem): DenseTile;
  /** A grouped convolution: as a matrix product a group, or by strips. */
  grouped(problem: GroupedProblem): GroupedTile;
  normalize(problem: {readonly channels: number}): {readonly LANES: number; readonly WORKGROUP: number};
  gate(problem: GateProblem): GateTile;
  sum(problem: {readonly pixels: number; readonly channels: number}): {
    readonly LANES: number;
    readonly ROWS: number;
    readonly SUM_PARTS: number;
  };
}

/** Workgroups along one axis that every device allows. */
export const MOST_WORKGROUPS = 65535;

/** Threads of a workgroup. */
export const threadsOf = (t: DepthwiseTile): number =>
  t.LANES * divideUp(t.TILE_H, t.STRIP_H) * divideUp(t.TILE_W, t.STRIP_W);

function isLegalDepthwise(t: DepthwiseTile, limits: DeviceLimits): boolean {
  const threads = threadsOf(t);
  // Of a gate two vectors a thread, of a LayerNorm two numbers a pixel; and what the other of the two leaves of its arrays, a vector each.
  const statistics = FLOAT_BYTES * (threads * Math.max(8, 2 * t.STRIP_H * t.STRIP_W) + 8);
  return (
    threads <= limits.maxComputeInvocationsPerWorkgroup && statistics <= limits.maxComputeWorkgroupStorageSize
  );
}

/** Strips of a map, as many as make about `threads` threads with the lanes, as square as they come. */
function tileOf(
  [, h, w]: Shape4D,
  strip: {readonly STRIP_H: number; readonly STRIP_W: number; readonly LANES: number},
  threads: number,
): Pick<DepthwiseTile, 'TILE_H' | 'TILE_W'> {
  const [rows, columns] = [divideUp(h, strip.STRIP_H), divideUp(w, strip.STRIP_W)];
  const strips = Math.max(1, Math.floor(threads / strip.LANES));
  const across = divideUp(columns, divideUp(columns, strips));
  const down = Math.min(rows, Math.max(1, Math.floor(strips / across)));
  return {TILE_H: divideUp(rows, divideUp(rows, down)) * strip.STRIP_H, TILE_W: across * strip.STRIP_W};
}

const STRIPS: readonly (readonly [number, number])[] = [[1, 2], [1, 4], [1, 7], [1, 8], [2, 2], [2, 4], [2, 7], [4, 4]]; // prettier-ignore

/** Every tile worth a measurement: strips, lanes, threads a workgroup. */
export function depthwiseCandidates(
  shape: Shape4D,
  stage: SpatialStage,
  limits: DeviceLimits,
): DepthwiseTile[] {
  const vectors = divideUp(stage.channels, 4);
  const found = new Map<string, DepthwiseTile>();
  for (const [STRIP_H, STRIP_W] of STRIPS) {
    if (STRIP_H > shape[1] || STRIP_W > shape[2]) continue;
    for (const lanes of [4, 8, 16]) {
      const strip = {STRIP_H, STRIP_W, LANES: powerOfTwoUpTo(vectors, lanes)};
      for (const threads of [32, 64, 128]) {
        const tile = {...tileOf(shape, strip, threads), ...strip};
        if (isLegalDepthwise(tile, limits)) found.set(JSON.stringify(tile), tile);
      }
    }
  }
  return [...found.values()];
}

/**
 * Long strips read less, short ones fill a GPU. Measured on an H200 over the depth-wise convolutions of ConvNeXt-T, MobileNetV2 and
 * EfficientNet-B0 at batches 1 to 32, each dispatch behind others, 8 to 24 tiles each: within a quarter of the best of
 * them, 4 % on average. From 150,000 vectors of output on one row of seven for windows above 5×5 and 5×5 of stride 1; from 400,000 on 2×4 for
 * 3×3 of stride 1, in workgroups of four strips; 1×4 for all others.
 * Where a gate wants more threads than such a tile has, twice the lanes: without them its first layer goes to one workgroup an image.
 */
export function depthwiseTile(
  {shape, stage, squeezed = 0}: DepthwiseProblem,
  limits: DeviceLimits,
): DepthwiseTile {
  const [n, h, w] = shape;
  const vectors = divideUp(stage.channels, 4);
  const size = n * h * w * vectors;
  const isDense = stage.stride[0] === 1 && stage.dilation[0] === 1;
  const isWide = stage.kernel[1] > (isDense ? 4 : 5);
  const isSquare = !isWide && isDense && size >= 400_000;
  const [rows, columns, lanes] = isSquare ? [2, 4, 16] : [1, isWide && size >= 150_000 ? 7 : 4, 8];
  const strip = {
    STRIP_H: Math.min(rows, h),
    STRIP_W: Math.min(columns, w),
    LANES: powerOfTwoUpTo(vectors, lanes),
  };
  const strips = isSquare ? 4 : !isWide && w >= 56 ? 8 : 16;
  const narrow = {...tileOf(shape, strip, strips * strip.LANES), ...strip};
  const isShort = threadsOf(narrow) < squeezed;
  const tile = isShort ? {...narrow, LANES: powerOfTwoUpTo(vectors, 2 * lanes)} : narrow;
  return isLegalDepthwise(tile, limits) ? tile : {...tileOf(shape, strip, strip.LANES), ...strip};
}

/** Pixels of input under a tile. */
export function patchOf(t: DepthwiseTile, {kernel, stride, dilation}: SpatialStage): number {
  const reach = (axis: 0 | 1, extent: number): number =>
    (extent - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1;
  return reach(0, t.TILE_H) * reach(1, t.TILE_W);
}

const EXPAND_STRIPS: readonly (readonly [number, number])[] = [[1, 2], [2, 2], [1, 4], [2, 4], [1, 7]]; // prettier-ignore

/** Every tile of an expansion with its depth-wise convolution by a patch in workgroup memory that is worth a measurement. */
export function expandPatchCandidates(
  {shape, stage}: Pick<ExpandProblem, 'shape' | 'stage'>,
  limits: DeviceLimits,
): ExpandPatchTile[] {
  const vectors = divideUp(stage.channels, 4);
  const found = new Map<string, ExpandPatchTile>();
  for (const [STRIP_H, STRIP_W] of EXPAND_STRIPS) {
    if (STRIP_H > shape[1] || STRIP_W > shape[2]) continue;
    for (const LANES of [4, 6, 8, 12, 16]) {
      if (divideUp(vectors, LANES) * LANES > 1.12 * vectors) continue;
      for (const threads of [64, 128]) {
        for (const PIXELS of [4, 8]) {
          const strip = {STRIP_H, STRIP_W, LANES};
          const tile = {FUSED: true, ...tileOf(shape, strip, threads), ...strip, PIXELS} as const;
          const bytes = 16 * LANES * (patchOf(tile, stage) + 2 * divideUp(threads, LANES));
          if (isLegalDepthwise(tile, limits) && bytes <= limits.maxComputeWorkgroupStorageSize)
            found.set(JSON.stringify(tile), tile);
        }
      }
    }
  }
  return [...found.values()];
}

/**
 * One dispatch instead of two saves its launch and the expanded map's way through memory, but makes halos twice and multiplies
 * at a third of the matrix product's rate. Measured on an H200: at batch 1 and up to 40 channels 1 to 2 µs of 8 to 11 saved
 * on maps of 56² and 28²; with more channels or larger batches slower everywhere, by up to three times.
 */
function expandPatchTile(
  {input, shape, stage}: Omit<ExpandProblem, 'gated'>,
  limits: DeviceLimits,
): ExpandPatchTile | undefined {
  const [n, h, w, channels] = input;
  const vectors = divideUp(stage.channels, 4);
  if (channels > 40 || n * h * w * vectors > 150_000 || n * h * w * vectors < 20_000) return undefined;
  const strip = {STRIP_H: 1, STRIP_W: Math.min(2, shape[2]), LANES: 4};
  const tile = {FUSED: true, ...tileOf(shape, strip, 112), ...strip, PIXELS: 8} as const;
  const bytes = 16 * tile.LANES * (patchOf(tile, stage) + 64);
  return isLegalDepthwise(tile, limits) && bytes <= limits.maxComputeWorkgroupStorageSize ? tile : undefined;
}

/** A thread of a row's moments has up to twelve vectors in flight: measured on an H200 at 96 to 768 channels, benchmarks/NOTES.md. */
export const momentsTile = (channels: number): {readonly LANES: number; readonly WORKGROUP: number} => ({
  LANES: Math.max(4, Math.min(64, powerOfTwoUpTo(divideUp(channels, 48), 64))),
  WORKGROUP: 64,
});

const bestMatmul = (problem: MatmulProblem, limits: DeviceLimits): RatedTile =>
  bestOf(matmulCandidates(problem, limits), (t) => estimateMatmul(t, problem, limits));

/** Microseconds on an H200 of what a fused dispatch replaces, launches included. */
export const apartMicroseconds = {
  feedForward: (problem: FeedForwardProblem, limits: DeviceLimits): number =>
    feedForwardApart(problem, (one) => estimateMatmul(bestMatmul(one, limits), one, limits)),
  expandDepthwise: (problem: ExpandProblem, limits: DeviceLimits): number =>
    expandApart(problem, (one) => estimateMatmul(bestMatmul(one, limits), one, limits)),
  depthwiseProject: (problem: DepthwiseProjectProblem, limits: DeviceLimits): number => {
    const product = (one: MatmulProblem): number => estimateMatmul(bestMatmul(one, limits), one, limits);
    const once = problem.expand ? expandTile({...problem, gated: false}, limits) : APART;
    const apart = (1 - LEAST_GAIN) * expandApart(problem, product);
    const expanded = once.FUSED
      ? Math.min(apart, estimateExpand(once, {...problem, gated: false}, limits))
      : undefined;
    return depthwiseProjectApart(problem, product, expanded);
  },
} as const;

/** Microseconds of expansion and depth-wise convolution in one dispatch on an H200, launch included; `limits` for what they take apart. */
export const estimateExpand = (tile: ExpandTile, problem: ExpandProblem, limits: DeviceLimits): number =>
  isPatchTile(tile)
    ? apartMicroseconds.expandDepthwise(problem, limits) - FUSED_RATES.launch
    : estimateExpandRows(tile, problem);

/** Of the rule's choice less than of both apart, whatever the estimate: it was measured. */
const LEAST_GAIN = 0.08;

const expandTile = (problem: ExpandProblem, limits: DeviceLimits): ExpandTile | Apart =>
  expandPatchTile(problem, limits) ?? expandRowsTile(problem, limits) ?? APART;

export function tilingFor(limits: DeviceLimits): Tiling {
  return {
    matmul: (problem) => matmulTileOf(bestMatmul(problem, limits)),
    feedForward: (problem) =>
      fusedIfWorthwhile(
        () => feedForwardCandidates(problem, limits),
        (tile) => estimateFeedForward(tile, problem),
        {
          apart: apartMicroseconds.feedForward(problem, limits),
          macs: feedForwardMacs(problem),
          share: worthwhileShare(),
        },
      ),
    depthwiseProject: (problem) =>
      fusedIfWorthwhile(
        () => depthwiseProjectCandidates(problem, limits),
        (tile) => estimateDepthwiseProject(tile, problem),
        {
          apart: apartMicroseconds.depthwiseProject(problem, limits),
          macs: depthwiseProjectMacs(problem),
          share: worthwhileShare(problem.input[0]),
        },
      ),
    convolution: (problem) => convolutionTile(problem, limits),
    depthwise: (problem) => depthwiseTile(problem, limits),
    expandDepthwise: (problem) => expandTile(problem, limits),
    grouped: (problem) => groupedTile(problem, limits),
    stem: (problem) => stemTile(problem, limits),
    dense: denseTile,
    // Three or four vectors a thread; more lanes only where registers would run out.
    normalize: ({channels}) => ({
      LANES: Math.min(32, powerOfTwoUpTo(divideUp(channels, 12), 32)),
      WORKGROUP: 128,
    }),
    gate: (problem) => gateTile(problem, limits),
    // Measured on an H200 over ten maps of ConvNeXt-T: 8 lanes by 32 rows were within a ninth of the best of four, but for one map, and
    // up to 3.7 times as fast as 16 by 4, whose threads have longer sums of their own.
    sum: ({pixels, channels}) => {
      const LANES = powerOfTwoUpTo(divideUp(channels, 4), 8);
      return {LANES, ROWS: 256 / LANES, SUM_PARTS: Math.min(32, divideUp(pixels, 256))};
    },
  };
}
