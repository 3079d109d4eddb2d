/**
 * Tiles of a depth-wise convolution with its projection, and the expansion before them if there is one, in one dispatch
 * (wgsl/depthwise_project.ts), and what they take in one and apart.
 */
import type {Shape4D, SpatialStage} from '../../ops/index.js';
import {elements} from '../../ops/shapes.js';
import {divideUp, roundUp} from '../plan.js';
import {depthwiseTime, expandApart} from './expand_apart.js';
import {
  chunksFor,
  chunkTile,
  type ChunkTile,
  estimate,
  FLOAT_BYTES,
  FUSED_RATES,
  partsFor,
  productMacs,
  type ProductTime,
  remembered,
  shortlist,
  stepsPerChunk,
  workgroupsFor,
} from './fused_tiling.js';
import type {DeviceLimits} from './tiling.js';

/** [expand 1×1 ·] depth-wise · project 1×1. */
export interface DepthwiseProjectProblem {
  /** Of the rows the dispatch reads. */
  readonly input: Shape4D;
  readonly expand: boolean;
  readonly stage: SpatialStage;
  /** Of the depth-wise convolution's output. */
  readonly shape: Shape4D;
  /** Channels of the projection. */
  readonly n: number;
}

export interface DepthwiseProjectTile extends ChunkTile {
  readonly TILE_H: number;
  readonly TILE_W: number;
  readonly STRIP_W: number;
}

const CHUNKS = [24, 32, 48, 64];
/** Pixels of a tile: below, halos outgrow it; above, neither sums nor patch fit. */
const LEAST_PIXELS = 12;
const MOST_PIXELS = 128;
const EXTENTS = [2, 4, 7, 8, 14, 16];

/** Extents of a tile along an axis of that length: the whole of it where it is small, and those that leave little over. */
const extentsOf = (length: number): readonly number[] => {
  const most = Math.max(length + 1, 1.15 * length);
  const whole = length <= 16 ? [length] : [];
  return [...new Set([...whole, ...EXTENTS.filter((extent) => roundUp(length, extent) <= most)])];
};

const reach = ({kernel, stride, dilation}: SpatialStage, axis: 0 | 1, extent: number): number =>
  (extent - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1;

/** Pixels of the map before the depth-wise convolution that a tile of its output needs. */
export const patchPixels = (
  {TILE_H, TILE_W}: Pick<DepthwiseProjectTile, 'TILE_H' | 'TILE_W'>,
  stage: SpatialStage,
): number => reach(stage, 0, TILE_H) * reach(stage, 1, TILE_W);

/** The longest strip of up to four that divides the tile; sevens stay whole. */
const stripOf = (width: number): number => [4, 7, 3, 2].find((strip) => width % strip === 0) ?? 1;

type Geometry = Pick<DepthwiseProjectTile, 'TILE_H' | 'TILE_W' | 'STRIP_W'>;

const geometriesOf = ([, height, width]: Shape4D): readonly Geometry[] =>
  extentsOf(height)
    .flatMap((TILE_H) => extentsOf(width).map((TILE_W) => ({TILE_H, TILE_W, STRIP_W: stripOf(TILE_W)})))
    .filter(({TILE_H, TILE_W}) => {
      const pixels = TILE_H * TILE_W;
      return pixels <= MOST_PIXELS && (pixels >= LEAST_PIXELS || pixels >= height * width);
    });

/** All that fit. */
export function* depthwiseProjectTiles(
  {input, expand, stage, shape, n}: DepthwiseProjectProblem,
  limits: DeviceLimits,
): Iterable<DepthwiseProjectTile> {
  const hidden = stage.channels;
  const taps = stage.kernel[0] * stage.kernel[1];
  for (const geometry of geometriesOf(shape)) {
    const sources = patchPixels(geometry, stage);
    const spatial = (chunk4: number): number => chunk4 * (sources + taps);
    const pixels = geometry.TILE_H * geometry.TILE_W;
    const grid = {pixels, sources, k: input[3], hidden, n, expand, spatial};
    for (const chunk of chunksFor(hidden, CHUNKS))
      for (const workgroup of workgroupsFor(limits)) {
        const made = chunkTile(grid, [workgroup, chunk], limits);
        if (!made) continue;
        for (const PARTS of partsFor(divideUp(hidden, chunk))) yield {...made, PARTS, ...geometry};
      }
  }
}

/** Those of them worth a measurement, the lowest estimate first. */
export const depthwiseProjectCandidates = remembered(
  (problem: DepthwiseProjectProblem, limits: DeviceLimits): readonly DepthwiseProjectTile[] =>
    shortlist(
      depthwiseProjectTiles(problem, limits),
      (tile) => estimateDepthwiseProject(tile, problem),
      ({TILE_H, TILE_W}) => 64 * TILE_H + TILE_W,
    ),
);

export function estimateDepthwiseProject(
  tile: DepthwiseProjectTile,
  problem: DepthwiseProjectProblem,
): number {
  const {input, expand, stage, shape, n} = problem;
  const {TILE_H, TILE_W, STRIP_W, HIDDEN_CHUNK, WORKGROUP, PARTS: parts} = tile;
  const [kh, kw] = stage.kernel;
  const hidden = stage.channels;
  const chunks = divideUp(divideUp(hidden, HIDDEN_CHUNK), parts);
  const strips = TILE_H * (TILE_W / STRIP_W) * (HIDDEN_CHUNK / 4);
  const perStrip = 4 * kh * kw * STRIP_W + FUSED_RATES.load * kh * (reach(stage, 1, STRIP_W) + kw);
  const spatial = WORKGROUP * divideUp(strips, WORKGROUP) * perStrip;
  const k = expand ? input[3] : 0;
  return estimate(
    {
      workgroups: shape[0] * divideUp(shape[1], TILE_H) * divideUp(shape[2], TILE_W) * parts,
      threads: WORKGROUP,
      macs: chunks * (productMacs(tile, k) + spatial),
      chunks,
      steps: stepsPerChunk(tile, k) + 1,
      stagings: divideUp((patchPixels(tile, stage) * (expand ? input[3] : HIDDEN_CHUNK)) / 4, WORKGROUP),
      bytes: FLOAT_BYTES * (elements(input) + hidden * (k + kh * kw + n)),
      out: shape[0] * shape[1] * shape[2] * n,
    },
    parts,
  );
}

/** Multiply-adds of the products without any waste. */
export const depthwiseProjectMacs = ({input, expand, stage, shape, n}: DepthwiseProjectProblem): number =>
  stage.channels * ((expand ? elements(input) : 0) + shape[0] * shape[1] * shape[2] * n);

/** @param expanded microseconds of expansion and depth-wise convolution where these would be one dispatch. */
export function depthwiseProjectApart(
  problem: DepthwiseProjectProblem,
  product: ProductTime,
  expanded: number | undefined,
): number {
  const {shape, stage, n} = problem;
  const hidden = stage.channels;
  const m = shape[0] * shape[1] * shape[2];
  const before = problem.expand ? (expanded ?? expandApart(problem, product)) : depthwiseTime(problem);
  return before + product({m, n, k: roundUp(hidden, 4), canPart: true, isPointwise: true});
}
