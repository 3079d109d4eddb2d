/**
 * Places intermediate buffers so that those which are never alive together share memory.
 *
 * WebGPU forbids a dispatch to write to a GPUBuffer that it also binds for reading, even in disjoint ranges. So the arena is
 * several GPUBuffers ("pools"), and a dispatch never finds its results in a pool that holds one of its inputs. Placement is
 * greedy by size, the rule that comes closest to the optimum in Pisarchyk and Lee, "Efficient Memory Management for Deep
 * Neural Net Inference" (2020).
 */
import {type Command, readsOf, type RecordedBuffer, writesOf} from './commands.js';
import type {Lifetime} from './program.js';

export interface Placement {
  readonly pool: number;
  /** Bytes into the pool. */
  readonly offset: number;
}

export interface ArenaPlan {
  readonly placements: ReadonlyMap<RecordedBuffer, Placement>;
  /** Bytes of each pool. */
  readonly pools: readonly number[];
  /** Bytes if every buffer had memory of its own. */
  readonly sum: number;
  /** Bytes alive at the worst step: no placement can do with less. */
  readonly liveBytes: number;
}

export interface ArenaOptions {
  /** Bytes; offsets of storage bindings are multiples of it. */
  readonly alignment: number;
  /** Bytes; no pool grows beyond it. */
  readonly maxPool: number;
  /** False gives every buffer memory of its own. Default true. */
  readonly share?: boolean;
}

interface Placed {
  readonly life: Lifetime;
  readonly offset: number;
  readonly end: number;
}

interface Pool {
  readonly placed: Placed[];
  size: number;
}

export function planArena(
  lives: readonly Lifetime[],
  steps: readonly Command[],
  {alignment, maxPool, share = true}: ArenaOptions,
): ArenaPlan {
  const aligned = ({buffer: {size}}: Lifetime): number => Math.ceil(size / alignment) * alignment;
  const conflicts = conflictsOf(steps);
  const pools: Pool[] = [];
  const placements = new Map<RecordedBuffer, Placement>();
  for (const life of [...lives].sort((a, b) => aligned(b) - aligned(a) || a.first - b.first)) {
    const size = aligned(life);
    const best = share && !life.isReadFirst ? bestSpot({life, size, pools, conflicts, maxPool}) : undefined;
    const pool = best?.pool ?? pools.length;
    const offset = best?.offset ?? 0;
    const target = pools[pool] ?? {placed: [], size: 0};
    pools[pool] = target;
    // Whoever must not share owns its pool until the end of time.
    const owner = share && !life.isReadFirst ? life : {...life, first: -1, last: Infinity};
    target.placed.push({life: owner, offset, end: offset + size});
    target.size = Math.max(target.size, offset + size);
    placements.set(life.buffer, {pool, offset});
  }
  const sum = lives.reduce((total, life) => total + aligned(life), 0);
  return {
    placements,
    pools: pools.map(({size}) => size),
    sum,
    liveBytes: mostAlive(lives, steps.length, aligned),
  };
}

interface Search {
  readonly life: Lifetime;
  readonly size: number;
  readonly pools: readonly Pool[];
  readonly conflicts: ReadonlyMap<RecordedBuffer, ReadonlySet<RecordedBuffer>>;
  readonly maxPool: number;
}

/** The place that makes the arena grow least; a new pool grows it by the whole size. */
function bestSpot({life, size, pools, conflicts, maxPool}: Search): Placement | undefined {
  const enemies = conflicts.get(life.buffer);
  let best: (Placement & {growth: number}) | undefined;
  for (const [pool, {placed, size: poolSize}] of pools.entries()) {
    if (placed.some((other) => enemies?.has(other.life.buffer) || other.life.last === Infinity)) continue;
    const offset = lowestGap(placed, life, size);
    const growth = Math.max(0, offset + size - poolSize);
    if (poolSize + growth > maxPool || growth >= size) continue;
    if (!best || growth < best.growth) best = {pool, offset, growth};
  }
  return best;
}

/** The lowest offset at which `size` bytes are free during the whole life. */
function lowestGap(placed: readonly Placed[], life: Lifetime, size: number): number {
  const alive = placed
    .filter(({life: other}) => other.first <= life.last && life.first <= other.last)
    .sort((a, b) => a.offset - b.offset);
  let offset = 0;
  for (const other of alive) {
    if (other.offset - offset >= size) break;
    offset = Math.max(offset, other.end);
  }
  return offset;
}

/** For each buffer those that must be in another GPUBuffer: one step reads the one and writes the other. */
function conflictsOf(steps: readonly Command[]): Map<RecordedBuffer, Set<RecordedBuffer>> {
  const conflicts = new Map<RecordedBuffer, Set<RecordedBuffer>>();
  const add = (a: RecordedBuffer, b: RecordedBuffer): void => {
    const set = conflicts.get(a) ?? new Set();
    set.add(b);
    conflicts.set(a, set);
  };
  for (const step of steps) {
    for (const read of readsOf(step)) {
      for (const written of writesOf(step)) {
        add(read, written);
        add(written, read);
      }
    }
  }
  return conflicts;
}

function mostAlive(lives: readonly Lifetime[], steps: number, bytes: (life: Lifetime) => number): number {
  const change = new Array<number>(steps + 2).fill(0);
  for (const life of lives) {
    change[life.first] = (change[life.first] ?? 0) + bytes(life);
    change[life.last + 1] = (change[life.last + 1] ?? 0) - bytes(life);
  }
  let [alive, most] = [0, 0];
  for (const delta of change) most = Math.max(most, (alive += delta));
  return most;
}
