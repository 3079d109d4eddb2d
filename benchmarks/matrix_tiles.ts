/**
 * Every legal tile of the subgroup matrix kernel over the matrix products of the networks' blocks, by timestamps.
 *   node dist/benchmarks/matrix_tiles.js [--batches=1,32] [--networks=a,b] [--tiles=M.N.K.SUBGROUPS_M.SUBGROUPS_N,…] [--out=FILE]
 * Of the device's fragments the largest, unless --all-units is given. --tiles tries others beside those in use. Prints the best four and the one the estimate chose; --out has all, to fit it
 * anew: a list of {name, m, n, k, tile, unit, us, estimate}, 'tile' with a 1 for the K teams that fit_tiles.py expects.
 */
import {writeFileSync} from 'node:fs';
import {parseArgs} from 'node:util';
import type {Dispatch, Plan} from '../kernels/plan.js';
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {
  estimateMatrix,
  type FittedTile,
  fitTile,
  halfFeaturesOf,
  MATRIX_TILES,
  type MatrixUnit,
  type RatedMatrixTile,
  withHalf,
} from '../kernels/webgpu/matrix_tiling.js';
import {type MatmulProblem, tilingFor} from '../kernels/webgpu/tiling.js';
import {atBatch, NETWORKS} from './networks.js';
import {openBench} from './tile_bench.js';
import {PlanBuffers, recordedOf} from './timing.js';

const {values} = parseArgs({
  options: {
    batches: {type: 'string', default: '1,32'},
    networks: {type: 'string', default: Object.keys(NETWORKS).join()},
    tiles: {type: 'string', default: ''},
    'all-units': {type: 'boolean', default: false},
    out: {type: 'string'},
  },
});
const {adapter, device, limits, pipelines, timer} = await openBench({halfPrecision: true});
const features = halfFeaturesOf(device);
console.log(JSON.stringify({features}));
if (!features || features.matrices.length === 0) {
  console.log('This device has no subgroup matrices of f16 with f32 sums, or subgroups of varying size.');
  process.exit(2);
}
const stock = tilingFor(limits);

interface Candidate {
  readonly tile: RatedMatrixTile;
  readonly fit: FittedTile;
}

/** A tile nothing is known of. */
function ratedTile(text: string): RatedMatrixTile {
  const [TILE_M = 0, TILE_N = 0, TILE_K = 0, SUBGROUPS_M = 0, SUBGROUPS_N = 0] = text.split('.').map(Number);
  return {
    TILE_M,
    TILE_N,
    TILE_K,
    SUBGROUPS_M,
    SUBGROUPS_N,
    slots: 1,
    latency: Infinity,
    work: Infinity,
    fixed: 0,
    overhead: 0,
  };
}

const others = values.tiles.split(',').filter(Boolean).map(ratedTile);
const volume = (unit: MatrixUnit): number => unit.FRAGMENT_M * unit.FRAGMENT_N * unit.FRAGMENT_K;
const largestUnit = Math.max(...features.matrices.map(volume));
const units = features.matrices.filter((unit) => values['all-units'] || volume(unit) === largestUnit);
const candidates: readonly Candidate[] = units.flatMap((unit) =>
  [...MATRIX_TILES, ...others].flatMap((tile) => {
    const fit = fitTile(tile, unit, limits);
    return fit ? [{tile, fit}] : [];
  }),
);

const nameOf = ({TILE_M, TILE_N, TILE_K, SUBGROUPS_M, SUBGROUPS_N, ...fit}: FittedTile): string =>
  [TILE_M, TILE_N, TILE_K, SUBGROUPS_M, SUBGROUPS_N].join('.') +
  ` (${fit.FRAGMENT_M}×${fit.FRAGMENT_N}×${fit.FRAGMENT_K})`;

/** One product of a block, with everything that stands before and behind it there. */
interface Product extends MatmulProblem {
  readonly name: string;
  /** The block's plan with this tile for every product, and the product's dispatch. */
  readonly planOf: (fit: FittedTile) => readonly [Plan, Dispatch];
}

function products(): Product[] {
  const tiling = withHalf(stock, limits, features ?? {matrices: []});
  const found = new Map<string, Product>();
  for (const network of values.networks.split(','))
    for (const batch of values.batches.split(',').map(Number))
      for (const {block, input} of NETWORKS[network] ?? []) {
        const shape = atBatch(input, batch);
        lowerBlock(block, shape, tiling).dispatches.forEach((dispatch, at) => {
          if (!dispatch.kernel.startsWith('matrix')) return;
          const {kernel, constants} = dispatch;
          const [m = 0, n = 0, k = 0] = ['M', 'N', 'K'].map((name) => Number(constants[name]));
          const traits = ['HAS_NORM', 'HAS_SCALES', 'HAS_RESIDUAL', 'OUT_F16'].filter(
            (name) => constants[name],
          );
          const name = [`${m}×${n}×${k}`, kernel, ...traits].join(' ');
          const planOf = (fit: FittedTile): readonly [Plan, Dispatch] => {
            const plan = lowerBlock(block, shape, {...tiling, half: {matrix: () => fit}});
            return [plan, plan.dispatches[at] as Dispatch];
          };
          found.set(`${name} ${String(constants.ACTIVATION)}`, {name, m, n, k, planOf});
        });
      }
  return [...found.values()];
}

const all = products();
const first = candidates[0];
if (!first) throw new Error('No tile fits this device.');
await pipelines.prepare(all.flatMap(({planOf}) => candidates.map(({fit}) => planOf(fit)[1])));
// Clocks of an idle GPU are a third of a busy one's.
const largest = all.reduce((a, b) => (a.m * a.n * a.k > b.m * b.n * b.k ? a : b));
const [busyPlan, busy] = largest.planOf(first.fit);
const busyBuffers = new PlanBuffers(device, busyPlan);
await timer.microseconds([recordedOf(device, pipelines, busy, busyBuffers)], {samples: 5, milliseconds: 100});
busyBuffers.destroy();

const measured: Record<string, number | string>[] = [];
for (const {name, m, n, k, planOf} of all) {
  const buffers = new PlanBuffers(device, planOf(first.fit)[0]);
  const timed: {tile: string; fit: FittedTile; us: number; estimate: number}[] = [];
  for (const {tile, fit} of candidates) {
    const us = await timer.microseconds([recordedOf(device, pipelines, planOf(fit)[1], buffers)]);
    timed.push({tile: nameOf(fit), fit, us, estimate: estimateMatrix(tile, {m, n, k}, limits)});
  }
  buffers.destroy();
  const chosen = [...timed].sort((a, b) => a.estimate - b.estimate)[0];
  timed.sort((a, b) => a.us - b.us);
  const show = ({tile, us}: {tile: string; us: number}): string =>
    `${tile} ${us.toFixed(1)}us ${((2 * m * n * k) / us / 1e6).toFixed(1)}T`;
  console.log(`${name}: ${timed.slice(0, 4).map(show).join(' | ')} || chosen ${chosen ? show(chosen) : ''}`);
  for (const {fit, us, estimate} of timed) {
    const {TILE_M, TILE_N, TILE_K, SUBGROUPS_M, SUBGROUPS_N, FRAGMENT_M, FRAGMENT_N, FRAGMENT_K} = fit;
    const tile = [TILE_M, TILE_N, TILE_K, SUBGROUPS_M, SUBGROUPS_N, 1].join('.');
    measured.push({name, m, n, k, tile, unit: `${FRAGMENT_M}×${FRAGMENT_N}×${FRAGMENT_K}`, us, estimate});
  }
}
if (values.out) writeFileSync(values.out, JSON.stringify(measured));
adapter.dispose();
process.exit(0);
