/** How a dense layer on vectors is cut. */
import {divideUp} from '../plan.js';
import type {DeviceLimits} from './tiling.js';

export interface DenseProblem {
  readonly batch: number;
  readonly k: number;
  readonly columns: number;
  /** Whether each workgroup works out the rows' moments first. */
  readonly isNormed: boolean;
}

/** LANES × 4 columns of IMAGES rows a workgroup, whose TEAMS share K; STEP vectors of a row in flight a thread. */
export interface DenseTile {
  readonly LANES: number;
  readonly TEAMS: number;
  readonly IMAGES: number;
  readonly STEP: number;
}

const THREADS = 256;
/** About two a processor of a large GPU: fewer leave loads too few, more read the rows again. */
const WORKGROUPS = 200;
const MOST_LANES = 16;
const VECTOR_BYTES = 16;

const powerOfTwoFor = (value: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, value)));

const teamsOf = ({k}: DenseProblem, threads: number, LANES: number): number =>
  Math.max(1, Math.min(threads / LANES, powerOfTwoFor(divideUp(k, 4))));

/** Sums of half of the teams, or four images' moments a thread. */
const bytesOf = ({LANES, TEAMS, IMAGES}: DenseTile): number =>
  VECTOR_BYTES * LANES * Math.max(IMAGES * Math.max(1, TEAMS / 2), divideUp(IMAGES, 4) * TEAMS);

/**
 * Of up to sixteen images two share a read of the filter, of more eight, or four where a workgroup has to work out their moments. Then as many
 * lanes as leave enough workgroups. Within the limits WebGPU guarantees, so it asks for no device. On an H200, 1280 → 1000: 5.7 µs at batch 8 and
 * 8.5 at 32, as the best of 56 and of 28 tiles; 768 → 1000 with a norm at batch 32: 10.4, the best of 28.
 */
export function denseTile(problem: DenseProblem): DenseTile {
  const {batch, columns, isNormed} = problem;
  const IMAGES = batch > 16 ? (isNormed ? 4 : 8) : Math.min(2, batch);
  const n4 = divideUp(columns, 4);
  let LANES = Math.min(MOST_LANES, powerOfTwoFor(n4));
  while (LANES > 2 && divideUp(n4, LANES) * divideUp(batch, IMAGES) < WORKGROUPS) LANES /= 2;
  const STEP = IMAGES > 2 ? 1 : IMAGES === 2 ? 4 : 2;
  return {LANES, TEAMS: teamsOf(problem, THREADS, LANES), IMAGES, STEP};
}

/** Vectors a thread keeps of sums, rows and filter; above, they were seen to fall out of registers elsewhere. */
const MOST_VECTORS = 40;

/** Every tile worth a measurement. */
export function denseCandidates(problem: DenseProblem, limits: DeviceLimits): DenseTile[] {
  const {batch, k, columns} = problem;
  const n4 = divideUp(columns, 4);
  const found = new Map<string, DenseTile>();
  for (const LANES of [2, 4, 8, 16]) {
    if (LANES > powerOfTwoFor(n4)) continue;
    for (const threads of [64, 128, 256, 512]) {
      for (const IMAGES of [1, 2, 4, 8]) {
        if (IMAGES > powerOfTwoFor(batch)) continue;
        for (const STEP of [1, 2, 4]) {
          const tile = {LANES, TEAMS: teamsOf(problem, threads, LANES), IMAGES, STEP};
          const isUsed = STEP === 1 || STEP * tile.TEAMS < 2 * divideUp(k, 4);
          const isSmall =
            LANES * tile.TEAMS <= limits.maxComputeInvocationsPerWorkgroup &&
            bytesOf(tile) <= limits.maxComputeWorkgroupStorageSize &&
            IMAGES + STEP * (4 + IMAGES) <= MOST_VECTORS;
          if (isUsed && isSmall) found.set(JSON.stringify(tile), tile);
        }
      }
    }
  }
  return [...found.values()];
}
