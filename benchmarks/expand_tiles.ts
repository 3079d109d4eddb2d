/**
 * Expansions and the depth-wise convolutions behind them, in one dispatch by many tiles and in two, as they stand in the networks'
 * blocks, a gate's sums included. Copies of all buffers take turns, so that no run finds the one before's operands in a cache,
 * as in a network. Checks each tile's map against that of the two dispatches first.
 *   node dist/benchmarks/expand_tiles.js [--networks=a,b] [--batches=1,8,32] [--most=CHANNELS] [--tiles=12] [--blocks=TEXT]
 *     [--constants=NAME=VALUE,…] [--seconds=50] [--out=FILE]
 * --tiles: how many a problem, the best by estimate of each strip, rows a step, number of threads and lanes. No
 * problem is begun after --seconds. --constants: of the one dispatch, in the place of its own.
 */
import {writeFileSync} from 'node:fs';
import {parseArgs} from 'node:util';
import type {Dispatch, Plan} from '../kernels/plan.js';
import {boundBuffers, PipelineCache} from '../kernels/webgpu/compile.js';
import {
  estimateExpandRows,
  type ExpandRowsTile,
  expandRowsTiles,
  threadsOf,
} from '../kernels/webgpu/expand_rows_tiling.js';
import type {ExpandProblem} from '../kernels/webgpu/expand_apart.js';
import {APART} from '../kernels/webgpu/fused_tiling.js';
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {apartMicroseconds, tilingFor} from '../kernels/webgpu/tiling.js';
import {packOnHost} from '../kernels/webgpu/weights.js';
import {type Block, type Shape4D, traceBlock} from '../ops/index.js';
import {NETWORKS} from './networks.js';
import {drawn, openBench, outputOf} from './tile_bench.js';
import type {Recorded} from './timing.js';

const {values} = parseArgs({
  options: {
    networks: {type: 'string', default: 'mobilenetv2,efficientnet_b0'},
    batches: {type: 'string', default: '1,8,32'},
    blocks: {type: 'string', default: ''},
    most: {type: 'string', default: '40'},
    tiles: {type: 'string', default: '12'},
    constants: {type: 'string', default: ''},
    seconds: {type: 'string', default: '50'},
    out: {type: 'string'},
  },
});
const start = performance.now();
const elapsed = (): number => (performance.now() - start) / 1000;
const {adapter, device, limits, timer} = await openBench();

const MOST_COPIES = 8;
/** Bytes by which turns are taken: beyond, a run has driven its operands out of the caches by itself. */
const COLD_BYTES = 300e6;
const TOLERANCE = 1e-4;

/** Buffers by name for all plans of a problem, weights by their layout. */
class Copies {
  readonly #buffers = new Map<string, GPUBuffer>();
  readonly #plans: readonly Plan[];
  readonly #named: ReadonlyMap<string, Float32Array>;
  readonly #x: Float32Array;

  constructor(plans: readonly Plan[], named: ReadonlyMap<string, Float32Array>, x: Float32Array) {
    this.#plans = plans;
    this.#named = named;
    this.#x = x;
  }

  #filled(key: string, floats: number, content?: Float32Array): GPUBuffer {
    const known = this.#buffers.get(key);
    if (known) return known;
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    const buffer = device.createBuffer({size: Math.max(16, 4 * floats), usage});
    if (content) device.queue.writeBuffer(buffer, 0, content as Float32Array<ArrayBuffer>);
    this.#buffers.set(key, buffer);
    return buffer;
  }

  get(plan: Plan, name: string): GPUBuffer {
    if (name === 'x') return this.#filled('x', this.#x.length, this.#x);
    if (name === 'weights') {
      const key = JSON.stringify(plan.weights);
      const known = this.#buffers.get(key);
      return known ?? this.#filled(key, plan.weights.size, packOnHost(plan.weights, this.#named));
    }
    const sizes = this.#plans.map(({output, scratch}) =>
      name === 'out' ? output.reduce((a, b) => a * b, 1) : (scratch[name as keyof typeof scratch] ?? 0),
    );
    return this.#filled(name, Math.max(...sizes));
  }

  destroy(): void {
    for (const buffer of this.#buffers.values()) buffer.destroy();
  }
}

const recorded = (plan: Plan, dispatch: Dispatch, buffers: Copies, cache: PipelineCache): Recorded => {
  const {pipeline, layout} = cache.get(dispatch);
  const entries = boundBuffers(dispatch).map(({binding, buffer}) => ({
    binding,
    resource: {buffer: buffers.get(plan, buffer)},
  }));
  return {pipeline, bindGroup: device.createBindGroup({layout, entries}), workgroups: dispatch.workgroups};
};

/** Up to the depth-wise convolution. */
const ownOf = ({dispatches}: Plan): readonly Dispatch[] =>
  dispatches.slice(0, dispatches.findIndex(({kernel}) => /^(expandRows|depthwise)/.test(kernel)) + 1);

async function mapOf(plan: Plan, buffers: Copies, cache: PipelineCache): Promise<Float32Array> {
  const own = ownOf(plan);
  const out = buffers.get(plan, own.at(-1)?.buffers['out'] ?? 'out');
  const size = own.at(-1)?.buffers['out'] ? out.size : 0;
  const encoder = device.createCommandEncoder();
  encoder.clearBuffer(out); // What another tile left would hide what this one does not write.
  device.queue.submit([encoder.finish()]);
  const sequence = own.map((dispatch) => recorded(plan, dispatch, buffers, cache));
  return outputOf(device, sequence, out, size);
}

/** The largest difference of the first `length`, over the largest value; infinite where one is no number. */
function differenceOf(want: Float32Array, got: Float32Array, length: number): number {
  let [most, worst] = [1e-30, 0];
  for (let i = 0; i < length; i++) {
    const [a, b] = [want[i] as number, got[i] as number]; // of that length
    most = Math.max(most, Math.abs(a));
    worst = Math.max(worst, Number.isNaN(a - b) ? Infinity : Math.abs(a - b));
  }
  return worst / most;
}

const {feedForward, depthwiseProject} = {feedForward: () => APART, depthwiseProject: () => APART};
const changed = values.constants.split(',').filter(Boolean).map((text) => text.split('=') as [string, string]); // prettier-ignore
const ownConstants = Object.fromEntries(changed.map(([name, value]) => [name, Number(value)]));

function planWith(block: Block, input: Shape4D, tile?: ExpandRowsTile): Plan {
  const plan = lowerBlock(block, input, {
    ...tilingFor(limits),
    feedForward,
    depthwiseProject,
    expandDepthwise: () => tile ?? APART,
  });
  const dispatches = plan.dispatches.map(
    (dispatch) =>
    dispatch.kernel.startsWith('expand') ? {...dispatch, constants: {...dispatch.constants, ...ownConstants}} : dispatch, // prettier-ignore
  );
  return {...plan, dispatches};
}

function problemOf(block: Block, input: Shape4D): ExpandProblem | undefined {
  let posed: ExpandProblem | undefined;
  lowerBlock(block, input, {
    ...tilingFor(limits),
    feedForward,
    depthwiseProject,
    expandDepthwise: (problem) => {
      posed = problem;
      return APART;
    },
  });
  return posed;
}

const textOf = ({TILE_H, TILE_W, STRIP_H, STRIP_W, STEP_ROWS, LANES, STAGED}: ExpandRowsTile): string =>
  `${TILE_H}×${TILE_W}/${STRIP_H}×${STRIP_W}.${STEP_ROWS}·${LANES}${STAGED ? 's' : ''}`;

/** Of all that fit, the first by estimate that bring something new. */
function varied(problem: ExpandProblem, count: number): readonly ExpandRowsTile[] {
  const rated = [...expandRowsTiles(problem, limits)]
    .map((tile) => ({tile, us: estimateExpandRows(tile, problem)}))
    .sort((a, b) => a.us - b.us);
  const seen = new Set<string>();
  const chosen = rated.filter(({tile}, at) => {
    const {STRIP_H, STRIP_W, STEP_ROWS, LANES, STAGED} = tile;
    const threads = Math.round(Math.log2(threadsOf(tile)));
    const names = [`strip ${STRIP_H} ${STRIP_W} ${STEP_ROWS} ${STAGED}`, `threads ${threads} ${STAGED}`, `lanes ${LANES} ${STAGED}`]; // prettier-ignore
    const isNew = at < 2 || names.some((name) => !seen.has(name));
    if (isNew) names.forEach((name) => seen.add(name));
    return isNew;
  });
  return chosen.slice(0, count).map(({tile}) => tile);
}

interface Row {
  readonly network: string;
  readonly block: string;
  readonly batch: number;
  readonly problem: ExpandProblem;
  readonly gated: boolean;
  readonly apart: number;
  readonly apartEstimate: number;
  readonly tile: ExpandRowsTile;
  readonly us: number;
  readonly estimate: number;
}

const rows: Row[] = [];

async function measure(
  network: string,
  name: string,
  block: Block,
  input: Shape4D,
  batches: readonly number[],
): Promise<void> {
  // prettier-ignore
  const cache = new PipelineCache(device);
  const shapes = batches.map((batch): Shape4D => [batch, input[1], input[2], input[3]]);
  const jobs = shapes.map((shape) => {
    const problem = problemOf(block, shape) as ExpandProblem; // asked for before
    const tiles = varied(problem, Number(values.tiles));
    return {problem, two: planWith(block, shape), ones: tiles.map((tile) => ({tile, plan: planWith(block, shape, tile)}))}; // prettier-ignore
  });
  await cache.prepare(jobs.flatMap(({two, ones}) => [two, ...ones.map(({plan}) => plan)].flatMap(ownOf)));
  console.log(`${network} ${name}: compiled at ${elapsed().toFixed(1)} s`);
  const named = new Map(
    traceBlock(block, input).weights.map(({name: weight, shape}, at) => {
      const fanIn = shape.length > 1 ? shape.slice(0, -1).reduce((a, b) => a * b, 1) : 1;
      return [weight, drawn(shape, at + 1, Math.sqrt(3 / fanIn))] as const;
    }),
  );
  for (const {problem, two, ones} of jobs) {
    const batch = problem.input[0];
    const plans = [two, ...ones.map(({plan}) => plan)];
    const x = drawn(problem.input, 99, 1);
    const length = problem.shape.reduce((a, b) => a * b, 1);
    const bytes = 4 * (x.length + length);
    const count = Math.max(2, Math.min(MOST_COPIES, Math.ceil(COLD_BYTES / bytes)));
    const copies = Array.from({length: count}, () => new Copies(plans, named, x));
    const [first] = copies as [Copies];
    const time = async (plan: Plan, milliseconds = 1): Promise<number> => {
      const turns = copies.flatMap((one) => ownOf(plan).map((dispatch) => recorded(plan, dispatch, one, cache))); // prettier-ignore
      return (await timer.microseconds(turns, {samples: 3, milliseconds})) / count;
    };
    const want = await mapOf(two, first, cache);
    const isRight = new Map<Plan, boolean>();
    for (const {tile, plan} of ones) {
      const difference = differenceOf(want, await mapOf(plan, first, cache), length);
      isRight.set(plan, difference <= TOLERANCE);
      if (difference > TOLERANCE) console.log(`WRONG ${name} b${batch} ${textOf(tile)}: ${difference}`);
    }
    await time(two, 40); // An idle GPU's clock is a third of a busy one's.
    const before = await time(two);
    const found: Row[] = [];
    const shared = {network, block: name, batch, problem, gated: two.dispatches.some(({constants}) => constants['HAS_SUMS'] === true)}; // prettier-ignore
    const timed: {tile: ExpandRowsTile; us: number}[] = [];
    for (const {tile, plan} of ones) if (isRight.get(plan)) timed.push({tile, us: await time(plan)});
    const apart = Math.min(before, await time(two));
    const apartEstimate = apartMicroseconds.expandDepthwise(problem, limits);
    for (const {tile, us} of timed)
      found.push({...shared, apart, apartEstimate, tile, us, estimate: estimateExpandRows(tile, problem)});
    copies.forEach((one) => one.destroy());
    rows.push(...found);
    found.sort((a, b) => a.us - b.us);
    console.log(`b${batch} apart ${apart.toFixed(1)} (estimate ${apartEstimate.toFixed(1)}): ${found.slice(0, 5).map(({tile, us, estimate}) => `${textOf(tile)} ${us.toFixed(1)} (${estimate.toFixed(1)})`).join(' | ')}`); // prettier-ignore
    if (values.out) writeFileSync(values.out, JSON.stringify({adapter, limits, rows}));
  }
}

const batches = values.batches.split(',').map(Number);
for (const network of values.networks.split(','))
  for (const {name, block, input} of NETWORKS[network] ?? []) {
    if (!name.includes(values.blocks) || input[3] > Number(values.most) || !problemOf(block, input)) continue;
    if (elapsed() > Number(values.seconds)) console.log(`no time for ${network} ${name}`);
    else await measure(network, name, block, input, batches);
  }
console.log(`ended at ${elapsed().toFixed(1)} s`);
adapter.dispose();
process.exit(0);
