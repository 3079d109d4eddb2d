/**
 * Runs of stages in one dispatch (wgsl/fused.ts) against the same stages apart, for every distinct block of the networks that
 * has such a run: GPU time of the whole block, each result compared with that of the plan apart first.
 *   node dist/benchmarks/fused_tiles.js [--batches=1,8,32] [--networks=mobilenetv2,convnext_tiny,efficientnet_b0] [--tiles=4]
 *     [--blocks=TEXT] [--seconds=200] [--out=FILE]
 * --tiles: candidates a run, the best by estimate of each geometry. --blocks: only those with TEXT in their name. No block is begun
 * after --seconds.
 */
import {writeFileSync} from 'node:fs';
import {parseArgs} from 'node:util';
import type {Constants, Plan} from '../kernels/plan.js';
import {candidatesOf, rowOf} from '../kernels/webgpu/candidates.js';
import {decidedBy, problemKey} from '../kernels/webgpu/choices.js';
import {PipelineCache} from '../kernels/webgpu/compile.js';
import {H200} from '../kernels/webgpu/device_model.js';
import {APART, FUSED_RATES} from '../kernels/webgpu/fused_tiling.js';
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {tilingFor} from '../kernels/webgpu/tiling.js';
import {packOnHost} from '../kernels/webgpu/weights.js';
import {type Block, type Shape4D, traceBlock} from '../ops/index.js';
import {GpuClock, type TimedStep} from '../src/tune/gpu_clock.js';
import {seededRandom} from '../test/support/random.js';
import {atBatch, type NetworkBlock, NETWORKS} from './networks.js';
import {differenceOf, openBench, outputOf} from './tile_bench.js';
import {PlanBuffers, recordedOf} from './timing.js';

const {values} = parseArgs({
  options: {
    batches: {type: 'string', default: '1,8,32'},
    networks: {type: 'string', default: 'mobilenetv2,convnext_tiny,efficientnet_b0'},
    blocks: {type: 'string', default: ''},
    tiles: {type: 'string', default: '4'},
    seconds: {type: 'string', default: '200'},
    out: {type: 'string'},
  },
});
const deadline = performance.now() + 1000 * Number(values.seconds);
const {adapter, device, limits} = await openBench();
const model = {...H200, limits};
const clock = new GpuClock(device);
console.log(JSON.stringify({timer: clock.timer}));

const KERNELS = ['feedForward', 'depthwiseProject'] as const;
type FusedKernel = (typeof KERNELS)[number];
const isFused = (kernel: string): kernel is FusedKernel => (KERNELS as readonly string[]).includes(kernel);

interface Candidate {
  readonly kernel: FusedKernel;
  readonly problem: unknown;
  readonly tile: Constants;
  readonly plan: Plan;
  /** Microseconds of the run by estimate, in one dispatch and apart. */
  readonly estimate: number;
  readonly estimateApart: number;
}

interface Job extends NetworkBlock {
  readonly network: string;
  readonly apart: Plan;
  readonly candidates: readonly Candidate[];
}

interface Row {
  readonly network: string;
  readonly batch: number;
  readonly block: string;
  readonly count: number;
  readonly input: readonly number[];
  readonly apart: string;
  readonly apartMicroseconds: number;
  readonly kernel: FusedKernel;
  readonly problem: unknown;
  readonly tile: Constants;
  readonly microseconds: number;
  readonly estimate: number;
  readonly estimateApart: number;
  /** Largest difference of the outputs, relative to the largest output. */
  readonly difference: number;
}

const base = tilingFor(limits);

/** The block's plan with `tile` for one run of stages and nothing else fused. */
const planWith = (block: Block, input: Shape4D, key?: string, tile?: Constants): Plan =>
  lowerBlock(
    block,
    input,
    decidedBy(base, (kernel, problem, chosen) => {
      if (!isFused(kernel)) return chosen();
      return tile && problemKey(kernel, problem) === key ? tile : {...APART};
    }),
  );

/** The best tile of each geometry by estimate, then of each number of parts, until there are enough. */
function variedTiles(tiles: readonly Constants[], count: number): readonly Constants[] {
  const seen = new Set<string>();
  const varied = tiles.filter(({TILE_M, TILE_H, TILE_W, HIDDEN_CHUNK}) => {
    const names = [`pixels ${String(TILE_M)} ${String(TILE_H)} ${String(TILE_W)}`, `chunk ${String(HIDDEN_CHUNK)}`]; // prettier-ignore
    const isNew = names.some((name) => !seen.has(name));
    names.forEach((name) => seen.add(name));
    return isNew;
  });
  return varied.slice(0, count);
}

function jobOf(network: string, one: NetworkBlock, batch: number): Job {
  const input = atBatch(one.input, batch);
  const posed = new Map<string, {kernel: FusedKernel; problem: unknown}>();
  lowerBlock(
    one.block,
    input,
    decidedBy(base, (kernel, problem, chosen) => {
      if (!isFused(kernel)) return chosen();
      posed.set(problemKey(kernel, problem), {kernel, problem});
      return {...APART};
    }),
  );
  const candidates = [...posed].flatMap(([key, {kernel, problem}]) => {
    const estimateOf = (tile: Constants): number =>
      FUSED_RATES.launch + rowOf(kernel).estimate(tile, problem, {device: model, cost: {macs: 0, bytes: 0}});
    const fused = candidatesOf({kernel, problem}, limits).filter((tile) => tile['FUSED'] === true);
    const ranked = [...fused].sort((a, b) => estimateOf(a) - estimateOf(b));
    return variedTiles(ranked, Number(values.tiles)).map((tile) => ({
      kernel,
      problem,
      tile,
      plan: planWith(one.block, input, key, tile),
      estimate: estimateOf(tile),
      estimateApart: estimateOf({...APART}),
    }));
  });
  return {...one, input, network, apart: planWith(one.block, input), candidates};
}

/** Random numbers whose period, a prime, meets no row length. */
function randomValues(length: number, seed: number, scale: number): Float32Array {
  const next = seededRandom(seed);
  const period = Float32Array.from({length: 65521}, () => scale * (2 * next() - 1));
  const filled = new Float32Array(length);
  for (let at = 0; at < length; at += period.length) filled.set(period.subarray(0, length - at), at);
  return filled;
}

const product = (shape: readonly number[]): number => shape.reduce((all, size) => all * size, 1);

/** Of such a scale that activations stay of order one. */
function weightsOf({block, input}: NetworkBlock): ReadonlyMap<string, Float32Array> {
  const named = traceBlock(block, input).weights.map(({name, shape}, at) => {
    const fanIn = shape.length > 1 ? product(shape.slice(0, -1)) : 1;
    return [name, randomValues(product(shape), at + 1, Math.sqrt(3 / fanIn))] as const;
  });
  return new Map(named);
}

/** What no kernel gives: shows which outputs were not written. */
const SENTINEL = 1e30;

/** A plan on buffers of its own, and the output of its first run. */
interface Opened {
  readonly out: Float32Array;
  readonly steps: readonly TimedStep[];
  readonly close: () => void;
}

class Runner {
  readonly #pipelines: PipelineCache;
  readonly #x: Float32Array;
  readonly #weights: ReadonlyMap<string, Float32Array>;

  constructor(pipelines: PipelineCache, job: Job) {
    this.#pipelines = pipelines;
    this.#x = randomValues(product(job.input), 99, 1);
    this.#weights = weightsOf(job);
  }

  async open(plan: Plan): Promise<Opened> {
    const weights = packOnHost(plan.weights, this.#weights);
    const sentinels = new Float32Array(product(plan.output)).fill(SENTINEL);
    const buffers = new PlanBuffers(device, plan, {x: this.#x, weights, out: sentinels});
    const sequence = plan.dispatches.map((dispatch) =>
      recordedOf(device, this.#pipelines, dispatch, buffers),
    );
    const out = await outputOf(device, sequence, buffers.get('out'), 4 * product(plan.output));
    const steps = sequence.map(({pipeline, bindGroup, workgroups}): TimedStep => ({kind: 'dispatch', pipeline, groups: [bindGroup], workgroups})); // prettier-ignore
    return {out, steps, close: () => buffers.destroy()};
  }
}

const TOLERANCE = 1e-4;
const tileText = (tile: Constants): string =>
  Object.entries(tile)
    .filter(([name]) => name !== 'FUSED')
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');

/** Clocks of an idle GPU are a third of a busy one's. */
const WARM_UP_MS = 150;

async function measure(job: Job, pipelines: PipelineCache): Promise<readonly Row[]> {
  const runner = new Runner(pipelines, job);
  const apart = await runner.open(job.apart);
  const opened: {candidate: Candidate; one: Opened; difference: number}[] = [];
  for (const candidate of job.candidates) {
    const one = await runner.open(candidate.plan);
    opened.push({candidate, one, difference: differenceOf(apart.out, one.out)});
  }
  // From here on without gaps.
  await clock.warmUp(apart.steps, WARM_UP_MS);
  const before = await clock.microseconds(apart.steps);
  const timed: {candidate: Candidate; microseconds: number; difference: number}[] = [];
  for (const {candidate, one, difference} of opened)
    timed.push({candidate, difference, microseconds: await clock.microseconds(one.steps)});
  const apartMicroseconds = Math.min(before, await clock.microseconds(apart.steps));
  for (const {close} of [apart, ...opened.map(({one}) => one)]) close();
  const {network, name, count, input} = job;
  console.log(
    `${network} b${input[0]} ${name} ×${count}: apart ${apartMicroseconds.toFixed(1)} us (${job.apart.name})`,
  );
  timed.sort((a, b) => a.microseconds - b.microseconds);
  return timed.map(({candidate, microseconds, difference}) => {
    const {kernel, problem, tile, estimate, estimateApart} = candidate;
    const gain = (100 * (1 - microseconds / apartMicroseconds)).toFixed(0);
    const verdict = difference <= TOLERANCE ? '' : '  WRONG';
    console.log(
      `    ${microseconds.toFixed(1)} us, ${gain} % gained, difference ${difference.toExponential(1)}${verdict}; ` +
        `estimate ${estimate.toFixed(1)} of ${estimateApart.toFixed(1)}: ${candidate.plan.name} ${tileText(tile)}`,
    );
    const row = {
      network,
      batch: input[0],
      block: name,
      count,
      input,
      apart: job.apart.name,
      apartMicroseconds,
    };
    return {...row, kernel, problem, tile, microseconds, estimate, estimateApart, difference};
  });
}

/** What the blocks of a network take apart, and with the fastest right candidate where that is faster. */
function summary(network: string, batch: number, rows: readonly Row[]): string {
  const blocks = new Map<string, {count: number; apart: number; best: number}>();
  for (const {block, count, apartMicroseconds, microseconds, difference} of rows) {
    const known = blocks.get(block) ?? {count, apart: apartMicroseconds, best: apartMicroseconds};
    const isRight = difference <= TOLERANCE;
    blocks.set(block, {...known, best: isRight ? Math.min(known.best, microseconds) : known.best});
  }
  const sum = (of: 'apart' | 'best'): number =>
    [...blocks.values()].reduce((all, block) => all + block.count * block[of], 0);
  return `== ${network} batch ${batch}: ${blocks.size} blocks with a run, apart ${sum('apart').toFixed(1)} us, with the best ${sum('best').toFixed(1)} us`;
}

/** The job with those of its candidates that the device takes; all compile side by side. */
async function compiling(job: Job, pipelines: PipelineCache): Promise<Job> {
  const ended = await Promise.allSettled(job.candidates.map(({plan}) => pipelines.prepare(plan.dispatches)));
  const candidates = job.candidates.filter((candidate, at) => {
    const one = ended[at];
    if (one?.status === 'rejected') console.log(`REFUSED ${job.name} ${tileText(candidate.tile)}: ${String(one.reason)}`); // prettier-ignore
    return one?.status === 'fulfilled';
  });
  return {...job, candidates};
}

const rows: Row[] = [];
const leftOut: string[] = [];
for (const network of values.networks.split(',')) {
  for (const batch of values.batches.split(',').map(Number)) {
    const all = (NETWORKS[network] ?? [])
      .filter(({name}) => name.includes(values.blocks))
      .map((one) => jobOf(network, one, batch));
    const jobs = all.filter(({candidates}) => candidates.length > 0);
    if (performance.now() > deadline) {
      leftOut.push(`${network} b${batch}`);
      continue;
    }
    const pipelines = new PipelineCache(device);
    const start = performance.now();
    await pipelines.prepare(jobs.flatMap(({apart}) => apart.dispatches));
    const compiled = await Promise.all(jobs.map((job) => compiling(job, pipelines)));
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    console.log(`${network} b${batch}: ${all.length - jobs.length} blocks have no such run; compiled in ${seconds} s`); // prettier-ignore
    const own: Row[] = [];
    for (const job of compiled) {
      if (performance.now() > deadline) leftOut.push(`${network} b${batch} ${job.name}`);
      else own.push(...(await measure(job, pipelines)));
    }
    console.log(summary(network, batch, own));
    rows.push(...own);
  }
}
if (leftOut.length > 0) console.log(`no time for ${leftOut.join('; ')}`);
if (values.out) writeFileSync(values.out, JSON.stringify({adapter, timer: clock.timer, limits, leftOut, rows}, null, 1)); // prettier-ignore
clock.destroy();
adapter.dispose();
process.exit(0);
