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
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import type {Plan} from '../kernels/plan.js';
import {TILE_TABLE} from '../kernels/webgpu/candidates.js';
import {executePlan, pipelinesOf} from '../kernels/webgpu/execute.js';
import {groupedMicroseconds, type GroupedProblem, groupedProductTiles, type GroupedTile} from '../kernels/webgpu/grouped_tiling.js'; // prettier-ignore
import {limitsOf} from '../kernels/webgpu/index.js';
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {tilingFor} from '../kernels/webgpu/tiling.js';
import {packOnHost} from '../kernels/webgpu/weights.js';
import {findArchitecture, makeNetwork} from '../models/index.js';
import {traceNetwork} from '../models/trace.js';
import {type Block, LINEAR, reference, type Shape4D, type SpatialStage, traceBlock} from '../ops/index.js';
import {spatialStage} from '../ops/stages/make.js';
import {useNodeWebGPU} from '../src/node_webgpu.js';
import {seededRandom} from '../test/support/random.js';
import {drawn, largestOf, timesOf, warmUp} from './timed_plans.js';
import {EXACT_TIMESTAMPS, GpuTimer} from './timing.js';

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
const started = performance.now();
const seconds = (): string => ((performance.now() - started) / 1000).toFixed(1);
const adapter = await useNodeWebGPU({
  flags: EXACT_TIMESTAMPS,
});
// Small tensors would otherwise be computed on the CPU.
tf.env().set('WEBGPU_CPU_FORWARD', false);
const backend = tf.backend() as WebGPUBackend;
const {device} = backend;
const limits = limitsOf(device);
console.log(JSON.stringify({adapter, ...limits}));
const pipelines = pipelinesOf(device);
const timer = new GpuTimer(device);

interface Grouped {
  readonly name: string;
  readonly block: Block;
  readonly stage: SpatialStage;
  readonly input: Shape4D;
}

interface Job extends Grouped {
  readonly problem: GroupedProblem;
  readonly macs: number;
  /** The planner's is the first. */
  readonly tiles: readonly GroupedTile[];
  readonly plans: readonly Plan[];
}

/** The distinct grouped convolutions, each by the first network that has it, at one image. */
function stages(): {name: string; stage: SpatialStage; input: Shape4D}[] {
  const size = Number(values.size);
  const found = new Map<string, {name: string; stage: SpatialStage; input: Shape4D}>();
  const add = (name: string, given: SpatialStage, input: Shape4D): void => {
    const stage = {...given, name: 'spatial', bias: true, activation: LINEAR};
    const key = JSON.stringify([stage, input]);
    if (!found.has(key)) found.set(key, {name, stage, input});
  };
  for (const network of values.networks.split(',').filter(Boolean)) {
    const units = traceNetwork(makeNetwork(findArchitecture(network)), [1, size, size, 3]);
    for (const {layer, input} of units.flatMap(({layers}) => layers)) {
      const {stage} = layer;
      if (stage.op === 'spatial' && stage.group !== input[3] && stage.group > 1) add(network, stage, input);
    }
  }
  for (const text of values.more.split(',').filter(Boolean)) {
    const [h = 0, w = 0, c = 0, group = 0, channels = 0, kernel = 0, stride = 0] = text
      .split('.')
      .map(Number);
    add('given', spatialStage('spatial', {kernel, stride, group, channels}), [1, h, w, c]);
  }
  return [...found.values()];
}

function groupedConvolutions(): Grouped[] {
  return stages().flatMap(({name, stage, input: [, h, w, c]}) =>
    values.batches.split(',').map((batch): Grouped => {
      const block: Block = {kind: 'BlockConv', stages: [stage]};
      return {name, block, stage, input: [Number(batch), h, w, c]};
    }),
  );
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

function jobOf(given: Grouped): Job {
  const {block, input} = given;
  const usual = tilingFor(limits);
  let posed: GroupedProblem | undefined;
  const [dispatch] = lowerBlock(block, input, {...usual, grouped: (problem) => usual.grouped((posed = problem))}).dispatches; // prettier-ignore
  if (!posed || !dispatch) throw new Error('The block has a grouped convolution.');
  const problem = posed;
  const tiles = tilesToTry(problem);
  const plans = tiles.map((tile) => lowerBlock(block, input, {...usual, grouped: () => tile}));
  return {...given, problem, macs: dispatch.cost.macs, tiles, plans};
}

/** Largest difference of each plan's output from the reference, over the largest value there. */
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
  const scale = await largestOf(expected);
  const host = new Map([...weights].map(([name, {data}]) => [name, data] as const));
  const packed = new Map<string, tf.Tensor>();
  // Kept to the end, so that none gets a buffer in which the right answer already is.
  const outputs: tf.Tensor[] = [];
  const found: number[] = [];
  for (const plan of plans) {
    const key = JSON.stringify(plan.weights);
    const own = packed.get(key) ?? tf.tensor1d(packOnHost(plan.weights, host));
    packed.set(key, own);
    const y = tf.engine().makeTensorFromTensorInfo(executePlan(backend, plan, {x, weights: own}));
    outputs.push(y);
    const apart = tf.sub(y, expected);
    found.push((await largestOf(apart)) / scale);
    apart.dispose();
  }
  tf.dispose([x, expected, ...outputs, ...packed.values()]);
  return found;
}

const tileText = (tile: GroupedTile): string => Object.values(tile).slice(1).map(Number).join('.');
const rows: Record<string, unknown>[] = [];

async function measure(job: Job): Promise<number> {
  const {name, problem, stage, tiles, plans, macs} = job;
  const apart = await differences(job);
  const timed = values.check ? [] : await timesOf(plans, {device, pipelines, timer});
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
      `${name} [${problem.input.join(', ')}] → [${problem.shape.join(', ')}] group ${stage.group} ${stage.kernel.join('×')} stride ${stage.stride[0]}: worst difference ${worst.toExponential(1)}, chosen ${chosen?.us.toFixed(1)}us`, // prettier-ignore
      ...lineOf(true),
      ...lineOf(false),
    ].join('\n'),
  );
  return worst;
}

const jobs = groupedConvolutions().map(jobOf);
await pipelines.prepare(jobs.flatMap(({plans}) => plans.flatMap(({dispatches}) => dispatches)));
console.log(`${jobs.length} convolutions, compiled after ${seconds()} s`);
if (!values.check) await warmUp(jobs[0]?.plans[0], {device, pipelines, timer});
let worst = 0;
let done = 0;
for (const job of jobs) {
  if (performance.now() - started > 60_000 * Number(values.most)) break;
  worst = Math.max(worst, await measure(job));
  done++;
}
console.log(`${done} of ${jobs.length} after ${seconds()} s; largest difference from the reference ${worst.toExponential(2)}`); // prettier-ignore
if (values.out) writeFileSync(values.out, JSON.stringify({adapter, limits, rows}));
adapter.dispose();
process.exit(worst < 1e-4 ? 0 : 1);
