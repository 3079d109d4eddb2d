/**
 * Grouped convolutions of networks, as matrix products a group in many tiles and by strips: checks each result against the reference
 * by stock ops on the same device, then times it by timestamps.
 *   node dist/benchmarks/grouped_tiles.js [--batches=1,8,32] [--networks=a,b] [--more=H.W.IN.GROUP.OUT.KERNEL.STRIDE,…] [--size=256]
 *     [--tiles=24] [--strips=4] [--most=MINUTES] [--out=FILE] [--check]
 * --tiles of the product are tried, half of them those of least estimate, the others drawn from all that are legal; --check compares
 * and times nothing. --out has {problem, tile, us, estimate, difference} a row, `difference` the largest over the largest value.
 */
import {writeFileSync} from 'node:fs';
import {parseArgs} from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import type {Plan} from '../kernels/plan.js';
import {TILE_TABLE} from '../kernels/webgpu/candidates.js';
import {groupedMicroseconds, type GroupedProblem, groupedProductTiles, type GroupedTile} from '../kernels/webgpu/grouped_tiling.js'; // prettier-ignore
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {tilingFor} from '../kernels/webgpu/tiling.js';
import {type Block, LINEAR, reference, type Shape4D, type SpatialStage, traceBlock} from '../ops/index.js';
import {spatialStage} from '../ops/stages/make.js';
import {seededRandom} from '../test/support/random.js';
import {atBatch} from './networks.js';
import {differencesFrom, drawn, type Measured, type NetworkConvolution, networkConvolutions, openBench, sweepJobs} from './tile_bench.js'; // prettier-ignore

const {values} = parseArgs({
  options: {
    batches: {type: 'string', default: '1,8,32'},
    networks: {type: 'string', default: 'convfirst_tiny'},
    more: {type: 'string', default: ''},
    size: {type: 'string', default: '256'},
    tiles: {type: 'string', default: '24'},
    strips: {type: 'string', default: '4'},
    most: {type: 'string', default: '3.5'},
    out: {type: 'string'},
    check: {type: 'boolean', default: false},
  },
});
const bench = await openBench();
const {adapter, backend, limits} = bench;

type Convolution = Omit<NetworkConvolution, 'output'>;

interface Job extends Convolution {
  readonly block: Block;
  readonly problem: GroupedProblem;
  readonly macs: number;
  /** The planner's is the first. */
  readonly tiles: readonly GroupedTile[];
  readonly plans: readonly Plan[];
}

const isGrouped = ({group}: SpatialStage, input: Shape4D): boolean => group !== input[3] && group > 1;

/** Of --more. */
function givenConvolution(text: string): Convolution {
  const [h = 0, w = 0, c = 0, group = 0, channels = 0, kernel = 0, stride = 0] = text.split('.').map(Number);
  const stage = {...spatialStage('spatial', {kernel, stride, group, channels}), bias: true, activation: LINEAR}; // prettier-ignore
  return {network: 'given', stage, input: [1, h, w, c]};
}

/** So many of the list, drawn without repeats. */
function drawnFrom<T>(list: readonly T[], count: number, seed: number): T[] {
  const next = seededRandom(seed);
  const keyed = list.map((one) => ({one, key: next()})).sort((a, b) => a.key - b.key);
  return keyed.slice(0, count).map(({one}) => one);
}

function tilesToTry(problem: GroupedProblem): GroupedTile[] {
  const one = {...problem, input: [1, ...problem.input.slice(1)], shape: [1, ...problem.shape.slice(1)]} as unknown as GroupedProblem; // prettier-ignore
  const chosen = tilingFor(limits).grouped(problem);
  const products = groupedProductTiles(problem, limits);
  const estimate = (tile: (typeof products)[number]): number => groupedMicroseconds(tile, problem, limits);
  const count = Number(values.tiles);
  const best = [...products].sort((a, b) => estimate(a) - estimate(b)).slice(0, count / 2);
  // The same at every batch, so that pipelines are shared.
  const others = drawnFrom(groupedProductTiles(one, limits), count / 2, problem.shape[3]);
  const [, , w, c] = problem.shape;
  const LANES = Math.min(16, 2 ** Math.ceil(Math.log2(c / 4)));
  const usual: GroupedTile = {STAGED: false, STRIP: Math.min(4, w), LANES, STRIPS: 64 / LANES};
  const strips = TILE_TABLE.grouped.candidates(problem, limits).filter(({STAGED}) => !STAGED);
  const all = [chosen, ...best, ...others, usual, ...drawnFrom(strips, Number(values.strips), 7)];
  return [...new Map(all.map((tile) => [JSON.stringify(tile), tile])).values()];
}

function jobOf({network, stage, input: one}: Convolution, batch: number): Job {
  const block: Block = {kind: 'BlockConv', stages: [stage]};
  const input = atBatch(one, batch);
  const usual = tilingFor(limits);
  let posed: GroupedProblem | undefined;
  const [dispatch] = lowerBlock(block, input, {...usual, grouped: (problem) => usual.grouped((posed = problem))}).dispatches; // prettier-ignore
  if (!posed || !dispatch) throw new Error('The block has a grouped convolution.');
  const problem = posed;
  const tiles = tilesToTry(problem);
  const plans = tiles.map((tile) => lowerBlock(block, input, {...usual, grouped: () => tile}));
  return {network, stage, input, block, problem, macs: dispatch.cost.macs, tiles, plans};
}

/** From the reference. */
async function differences({block, input, plans}: Job): Promise<number[]> {
  const weights = new Map(
    traceBlock(block, input).weights.map(({name, shape}, at) => {
      const isFilter = shape.length === 4;
      const depth = isFilter ? shape.slice(0, 3).reduce((all, one) => all * one, 1) : 3;
      return [name, {shape, data: drawn(shape, at + 1, Math.sqrt(3 / depth))}] as const;
    }),
  );
  const x = tf.tensor4d(drawn(input, 3, 1), [...input]);
  const expected = tf.tidy(() => {
    const tensors = [...weights].map(([name, {shape, data}]) => [name, tf.tensor(data, [...shape])] as const);
    return reference(block, x, Object.fromEntries(tensors));
  });
  const host = new Map([...weights].map(([name, {data}]) => [name, data] as const));
  const found = await differencesFrom(expected, plans, {backend, x, weights: host});
  tf.dispose([x, expected]);
  return found;
}

const tileText = (tile: GroupedTile): string => Object.values(tile).slice(1).map(Number).join('.');
const rows: Record<string, unknown>[] = [];

function report(job: Job, {timed, differences: apart}: Measured): void {
  const {network, problem, stage, tiles, macs} = job;
  const measured = tiles.map((tile, at) => {
    const {us = NaN} = timed[at] ?? {};
    const difference = apart[at] ?? Infinity;
    const estimate = tile.STAGED ? groupedMicroseconds(tile, problem, limits) : NaN;
    rows.push({problem, tile, us, estimate, difference});
    return {tile, us, isChosen: at === 0, rate: (2e-6 * macs) / us};
  });
  const lineOf = (staged: boolean): string[] => {
    const own = measured.filter(({tile}) => tile.STAGED === staged).sort((a, b) => a.us - b.us);
    const shown = own.slice(0, staged ? 5 : 2).map(({tile, us, rate, isChosen}) => `${tileText(tile)}${isChosen ? '*' : ''} ${us.toFixed(1)}us ${rate.toFixed(1)}T`); // prettier-ignore
    return own.length > 0 ? [`  ${staged ? 'products' : 'strips'}: ${shown.join(' | ')}`] : [];
  };
  const [chosen] = measured;
  const worst = Math.max(...apart);
  console.log(
    [
      `${network} [${problem.input.join(', ')}] → [${problem.shape.join(', ')}] group ${stage.group} ${stage.kernel.join('×')} stride ${stage.stride[0]}: worst difference ${worst.toExponential(1)}, chosen ${chosen?.us.toFixed(1)}us`, // prettier-ignore
      ...lineOf(true),
      ...lineOf(false),
    ].join('\n'),
  );
}

const convolutions = [
  ...networkConvolutions(values.networks, Number(values.size), isGrouped),
  ...values.more.split(',').filter(Boolean).map(givenConvolution),
];
const batches = values.batches.split(',').map(Number);
const jobs = convolutions.flatMap((one) => batches.map((batch) => jobOf(one, batch)));
const worst = await sweepJobs(jobs, bench, {differences, report, minutes: Number(values.most), checksOnly: values.check}); // prettier-ignore
if (values.out) writeFileSync(values.out, JSON.stringify({adapter, limits, rows}));
adapter.dispose();
process.exit(worst < 1e-4 ? 0 : 1);
