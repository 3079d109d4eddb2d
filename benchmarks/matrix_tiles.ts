/**
 * Every legal tile of the subgroup matrix kernel over the matrix products of the networks, f16 to f16 and f32 to f32, by timestamps.
 *   node dist/benchmarks/matrix_tiles.js [--batches=1,32] [--networks=a,b] [--tiles=M.N.K.SUBGROUPS_M.SUBGROUPS_N,…] [--out=FILE]
 * --tiles tries others beside those in use. Prints the best four and the one the estimate chose; --out has all, to fit it
 * anew: a list of {m, n, k, rows, tile, unit, us, estimate}, 'tile' with a 1 for the K teams that fit_tiles.py expects.
 */
import {writeFileSync} from 'node:fs';
import {parseArgs} from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import type {Dispatch, Plan} from '../kernels/plan.js';
import {PipelineCache} from '../kernels/webgpu/compile.js';
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {
  estimateMatrix,
  type FittedTile,
  fitTile,
  halfFeaturesOf,
  MATRIX_TILES,
  type RatedMatrixTile,
  withHalf,
} from '../kernels/webgpu/matrix_tiling.js';
import {type MatmulProblem, tilingFor} from '../kernels/webgpu/tiling.js';
import type {Shape4D} from '../ops/index.js';
import {pointwiseStage} from '../ops/stages/make.js';
import {useNodeWebGPU} from '../src/node_webgpu.js';
import {NETWORKS} from './networks.js';
import {GpuTimer, PlanBuffers, recordedOf} from './timing.js';

const {values} = parseArgs({
  options: {
    batches: {type: 'string', default: '1,32'},
    networks: {type: 'string', default: Object.keys(NETWORKS).join()},
    tiles: {type: 'string', default: ''},
    out: {type: 'string'},
  },
});
// Dawn rounds timestamps to 65 µs unless told otherwise.
const adapter = await useNodeWebGPU({
  flags: ['disable-dawn-features=timestamp_quantization'],
  halfPrecision: true,
});
const {device} = tf.backend() as WebGPUBackend;
const limits = {
  maxComputeInvocationsPerWorkgroup: device.limits.maxComputeInvocationsPerWorkgroup,
  maxComputeWorkgroupStorageSize: device.limits.maxComputeWorkgroupStorageSize,
  processors: 132,
};
const features = halfFeaturesOf(device);
console.log(JSON.stringify({adapter: adapter.description, ...limits, features}));
if (!features || features.matrices.length === 0) {
  console.log('This device has no subgroup matrices of f16 with f32 sums, or subgroups of varying size.');
  process.exit(2);
}
const cache = new PipelineCache(device);
const timer = new GpuTimer(device);
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
const candidates: readonly Candidate[] = features.matrices.flatMap((unit) =>
  [...MATRIX_TILES, ...others].flatMap((tile) => {
    const fit = fitTile(tile, unit, limits);
    return fit ? [{tile, fit}] : [];
  }),
);

const nameOf = ({TILE_M, TILE_N, TILE_K, SUBGROUPS_M, SUBGROUPS_N, ...fit}: FittedTile): string =>
  [TILE_M, TILE_N, TILE_K, SUBGROUPS_M, SUBGROUPS_N].join('.') +
  ` (${fit.FRAGMENT_M}×${fit.FRAGMENT_N}×${fit.FRAGMENT_K})`;

/** The product between two others, so that it reads and writes f16; or alone, from f32 to f32. */
function planOf({m, n, k}: MatmulProblem, fit: FittedTile, rows: 'f16' | 'f32'): [Plan, Dispatch] {
  const product = pointwiseStage('product', n);
  const stages =
    rows === 'f32' ? [product] : [pointwiseStage('before', k), product, pointwiseStage('after', 8)];
  const input: Shape4D = [1, 1, m, rows === 'f32' ? k : 8];
  const plan = lowerBlock({kind: 'BlockSeparable', stages}, input, {...stock, half: {matrix: () => fit}});
  return [plan, plan.dispatches[rows === 'f32' ? 0 : 1] as Dispatch];
}

function problems(): MatmulProblem[] {
  const tiling = withHalf(stock, limits, features ?? {matrices: []});
  const found = new Map<string, MatmulProblem>();
  for (const network of values.networks.split(','))
    for (const batch of values.batches.split(',').map(Number))
      for (const {block, input} of NETWORKS[network] ?? [])
        for (const {kernel, constants} of lowerBlock(block, [batch, ...input.slice(1)], tiling).dispatches)
          if (kernel.startsWith('matrix.')) {
            const [m = 0, n = 0, k = 0] = ['M', 'N', 'K'].map((name) => Number(constants[name]));
            found.set(`${m} ${n} ${k}`, {m, n, k});
          }
  return [...found.values()];
}

const all = problems();
const first = candidates[0];
if (!first) throw new Error('No tile fits this device.');
await cache.prepare(
  all.flatMap((problem) =>
    candidates.flatMap(({fit}) => (['f16', 'f32'] as const).map((rows) => planOf(problem, fit, rows)[1])),
  ),
);
// Clocks of an idle GPU are a third of a busy one's.
const [busy] = planOf({m: 4096, n: 1024, k: 1024}, first.fit, 'f32');
const busyBuffers = new PlanBuffers(device, busy);
await timer.microseconds(
  busy.dispatches.map((dispatch) => recordedOf(device, cache, dispatch, busyBuffers)),
  {samples: 5, milliseconds: 100},
);
busyBuffers.destroy();

const measured: Record<string, number | string>[] = [];
for (const problem of all) {
  const {m, n, k} = problem;
  for (const rows of ['f16', 'f32'] as const) {
    const buffers = new PlanBuffers(device, planOf(problem, first.fit, rows)[0]);
    const timed: {tile: string; fit: FittedTile; us: number; estimate: number}[] = [];
    for (const {tile, fit} of candidates) {
      const us = await timer.microseconds([
        recordedOf(device, cache, planOf(problem, fit, rows)[1], buffers),
      ]);
      timed.push({tile: nameOf(fit), fit, us, estimate: estimateMatrix(tile, problem, limits)});
    }
    buffers.destroy();
    const chosen = [...timed].sort((a, b) => a.estimate - b.estimate)[0];
    timed.sort((a, b) => a.us - b.us);
    const show = ({tile, us}: {tile: string; us: number}): string =>
      `${tile} ${us.toFixed(1)}us ${((2 * m * n * k) / us / 1e6).toFixed(1)}T`;
    console.log(
      `${m}×${n}×${k} ${rows}: ${timed.slice(0, 4).map(show).join(' | ')} || chosen ${chosen ? show(chosen) : ''}`,
    );
    for (const {fit, us, estimate} of timed) {
      const {TILE_M, TILE_N, TILE_K, SUBGROUPS_M, SUBGROUPS_N, FRAGMENT_M, FRAGMENT_N, FRAGMENT_K} = fit;
      const tile = [TILE_M, TILE_N, TILE_K, SUBGROUPS_M, SUBGROUPS_N, 1].join('.');
      measured.push({m, n, k, rows, tile, unit: `${FRAGMENT_M}×${FRAGMENT_N}×${FRAGMENT_K}`, us, estimate});
    }
  }
}
if (values.out) writeFileSync(values.out, JSON.stringify(measured));
adapter.dispose();
process.exit(0);
