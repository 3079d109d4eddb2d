/** Tiles of the feed-forward pair in one dispatch (wgsl/feed_forward.ts), and what it takes in one and in two. */
import {divideUp, roundUp} from '../plan.js';
import {
  chunksFor,
  chunkTile,
  type ChunkTile,
  estimate,
  FLOAT_BYTES,
  partsFor,
  productMacs,
  type ProductTime,
  remembered,
  shortlist,
  stepsPerChunk,
  workgroupsFor,
  FUSED_RATES,
} from './fused_tiling.js';
import type {DeviceLimits} from './tiling.js';

/** m pixels, k → hidden → n channels. */
export interface FeedForwardProblem {
  readonly m: number;
  readonly k: number;
  readonly hidden: number;
  readonly n: number;
  readonly norm: boolean;
}

export interface FeedForwardTile extends ChunkTile {
  readonly TILE_M: number;
}

const TILES_M = [16, 32, 64, 128];
const CHUNKS = [32, 64, 128];

/** All that fit. */
export function* feedForwardTiles(
  problem: FeedForwardProblem,
  limits: DeviceLimits,
): Iterable<FeedForwardTile> {
  const {m, k, hidden, n} = problem;
  for (const TILE_M of TILES_M.filter((rows) => rows === TILES_M[0] || rows < 2 * m))
    for (const chunk of chunksFor(hidden, CHUNKS))
      for (const workgroup of workgroupsFor(limits)) {
        const grid = {pixels: TILE_M, sources: TILE_M, k, hidden, n, expand: true};
        const made = chunkTile(grid, [workgroup, chunk], limits);
        if (!made) continue;
        for (const PARTS of partsFor(divideUp(hidden, chunk))) yield {...made, PARTS, TILE_M};
      }
}

/** Those of them worth a measurement, the lowest estimate first. */
export const feedForwardCandidates = remembered(
  (problem: FeedForwardProblem, limits: DeviceLimits): readonly FeedForwardTile[] =>
    shortlist(feedForwardTiles(problem, limits), (tile) => estimateFeedForward(tile, problem), ({TILE_M}) => TILE_M), // prettier-ignore
);

export function estimateFeedForward(tile: FeedForwardTile, {m, k, hidden, n}: FeedForwardProblem): number {
  const chunks = divideUp(divideUp(hidden, tile.HIDDEN_CHUNK), tile.PARTS);
  return (
    FUSED_RATES.feedForward *
    estimate(
      {
        workgroups: divideUp(m, tile.TILE_M) * tile.PARTS,
        threads: tile.WORKGROUP,
        macs: chunks * productMacs(tile, k),
        chunks,
        steps: stepsPerChunk(tile, k),
        bytes: FLOAT_BYTES * (m * k + hidden * (k + n)),
        out: m * n,
      },
      tile.PARTS,
    )
  );
}

/** Multiply-adds without any waste. */
export const feedForwardMacs = ({m, k, hidden, n}: FeedForwardProblem): number => m * hidden * (k + n);

export const feedForwardApart = ({m, k, hidden, n, norm}: FeedForwardProblem, product: ProductTime): number =>
  product({m, n: hidden, k: roundUp(k, 4), canPart: !norm, isPointwise: true}) + product({m, n, k: roundUp(hidden, 4), canPart: true, isPointwise: true}); // prettier-ignore
