/** How a dense layer on vectors is cut. Within the limits WebGPU guarantees, so it asks for no device; not yet fitted to one. */
import {divideUp} from '../plan.js';

export interface DenseProblem {
  readonly batch: number;
  readonly k: number;
  readonly columns: number;
}

export interface DenseTile {
  readonly LANES: number;
  readonly TEAMS: number;
  readonly IMAGES: number;
  readonly CHUNK4: number;
}

const THREADS = 256;
/** Of staged rows in workgroup memory: 8 KiB, beside 4 KiB for the teams' sums. */
const STAGED_VECTORS = 512;
/** About one a processor of a large GPU: fewer leave it idle, more read the rows again. */
const WORKGROUPS = 128;
const MOST_LANES = 16;

const powerOfTwoFor = (value: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, value)));

/**
 * Eight images share a read of the filter in a large batch, four in a small one. Then as many lanes as leave enough
 * workgroups: two already read whole sectors of 32 bytes.
 */
export function denseTile({batch, k, columns}: DenseProblem): DenseTile {
  const IMAGES = batch > 16 ? 8 : Math.min(4, powerOfTwoFor(batch));
  const [k4, n4] = [divideUp(k, 4), divideUp(columns, 4)];
  let LANES = Math.min(MOST_LANES, powerOfTwoFor(n4));
  while (LANES > 2 && divideUp(n4, LANES) * divideUp(batch, IMAGES) < WORKGROUPS) LANES /= 2;
  const TEAMS = Math.min(THREADS / LANES, powerOfTwoFor(k4));
  return {LANES, TEAMS, IMAGES, CHUNK4: Math.min(k4, STAGED_VECTORS / IMAGES)};
}
