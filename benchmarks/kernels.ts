/**
 * GPU time of each dispatch of each block of the networks, against the measured peaks; and sweeps of tiles over the matrix
 * products and the depth-wise convolutions of the networks.
 *   node dist/benchmarks/kernels.js [blocks|matmul|depthwise|epilogues] [--batches=1,8,32] [--networks=a,b] [--out=DIR]
 *     [--tiles=M.N.K.THREAD_M.THREAD_N.SPLIT_K[.direct|.double][/PARTS],…] matrix tiles to try beside those in use
 *     [--problems=MxNxK[:norm],…] products to try just these tiles with instead of those of the networks; with `norm` behind a LayerNorm and with GELU
 * Products and their merges all run on the same buffers, by turns in three rounds, of which the fastest counts: kernels whose buffers are made
 * between two measurements find the GPU's clock down.
 */
import {writeFileSync} from 'node:fs';
import {parseArgs} from 'node:util';
import type {Dispatch, Plan} from '../kernels/plan.js';
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {
  depthwiseCandidates,
  depthwiseTile,
  type DepthwiseTile,
  estimateMatmul,
  matmulCandidates,
  type MatmulProblem,
  matmulTileOf,
  type RatedTile,
  tilingFor,
} from '../kernels/webgpu/tiling.js';
import type {Stage} from '../ops/index.js';
import {pointwiseStage} from '../ops/stages/make.js';
import {bufferSizes} from '../src/tune/plan_steps.js';
import {ScratchBuffers} from '../src/tune/scratch_buffers.js';
import {atBatch, NETWORKS} from './networks.js';
import {openBench, recordedIn} from './tile_bench.js';
import {tileFrom, tileText} from './tile_text.js';
import {PlanBuffers, type Recorded, recordedOf} from './timing.js';

const {values, positionals} = parseArgs({
  allowPositionals: true,
  options: {
    batches: {type: 'string', default: '1,32'},
    networks: {type: 'string', default: Object.keys(NETWORKS).join()},
    tiles: {type: 'string', default: ''},
    problems: {type: 'string', default: ''},
    out: {type: 'string'},
  },
});
const {adapter, device, limits, pipelines, timer} = await openBench();
const networks = values.networks.split(',');
const batches = values.batches.split(',').map(Number);
const rows: Record<string, number | string>[] = [];

const tileOf = ({constants}: Dispatch): string =>
  [
    'TILE_M',
    'TILE_N',
    'TILE_K',
    'THREAD_M',
    'THREAD_N',
    'SPLIT_K',
    'PARTS',
    'TILE_H',
    'TILE_W',
    'STRIP_H',
    'STRIP_W',
    'LANES',
    'PIXELS',
  ]
    .filter((name) => name in constants)
    .map((name) => Number(constants[name]))
    .join('.');

async function blocks(): Promise<void> {
  const plans = networks.flatMap((network) =>
    batches.flatMap((batch) =>
      (NETWORKS[network] ?? []).map(({block, input}) =>
        lowerBlock(block, atBatch(input, batch), tilingFor(limits)),
      ),
    ),
  );
  await pipelines.prepare(plans.flatMap(({dispatches}) => dispatches));
  await warmUp();
  for (const network of networks) {
    for (const batch of batches) {
      let total = 0;
      const perKernel = new Map<string, number>();
      for (const {name, block, input, count} of NETWORKS[network] ?? []) {
        const plan = lowerBlock(block, atBatch(input, batch), tilingFor(limits));
        const buffers = new PlanBuffers(device, plan);
        const sequence = plan.dispatches.map((dispatch) => recordedOf(device, pipelines, dispatch, buffers));
        const whole = await timer.microseconds(sequence);
        total += whole * count;
        const parts: string[] = [];
        for (const [i, dispatch] of plan.dispatches.entries()) {
          const us = await timer.microseconds([sequence[i] as Recorded]);
          const tflops = (2 * dispatch.cost.macs) / us / 1e6;
          const tbps = dispatch.cost.bytes / us / 1e6;
          perKernel.set(dispatch.kernel, (perKernel.get(dispatch.kernel) ?? 0) + us * count);
          parts.push(
            `${dispatch.kernel.replace('.vector', '')}[${tileOf(dispatch)}] ${us.toFixed(1)}us ${tflops.toFixed(1)}T ${tbps.toFixed(2)}TB/s`,
          );
          rows.push({
            network,
            batch,
            block: name,
            count,
            kernel: dispatch.kernel,
            tile: tileOf(dispatch),
            us,
            tflops,
            tbps,
          });
        }
        console.log(`${network} b${batch} ${name} ×${count}: ${whole.toFixed(1)} us = ${parts.join(' | ')}`);
        buffers.destroy();
      }
      const split = [...perKernel].map(([kernel, us]) => `${kernel} ${(us / 1000).toFixed(3)}`).join(', ');
      console.log(`== ${network} batch ${batch}: blocks ${(total / 1000).toFixed(3)} ms (${split})`);
    }
  }
}

/** Clocks of an idle GPU are a third of a busy one's: keep it busy for half a second before the first measurement. */
async function warmUp(milliseconds = 100): Promise<void> {
  const plan = lowerBlock(
    {kind: 'BlockSeparable', stages: [pointwiseStage('project', 1024)]},
    [1, 64, 64, 1024],
    tilingFor(limits),
  );
  const buffers = new PlanBuffers(device, plan);
  const sequence = plan.dispatches.map((dispatch) => recordedOf(device, pipelines, dispatch, buffers));
  await timer.microseconds(sequence, {samples: 5, milliseconds});
  buffers.destroy();
}

function matmulProblems(): MatmulProblem[] {
  const problems = new Map<string, MatmulProblem>();
  for (const network of networks) {
    for (const batch of batches) {
      for (const {block, input} of NETWORKS[network] ?? []) {
        lowerBlock(block, atBatch(input, batch), {
          ...tilingFor(limits),
          matmul: (problem) => {
            problems.set(`${problem.m} ${problem.n} ${problem.k}`, problem);
            return tilingFor(limits).matmul(problem);
          },
        });
      }
    }
  }
  return [...problems.values()];
}

/** A tile nothing is known of. */
const unratedTile = (text: string): RatedTile => ({
  ...tileFrom(text),
  ...{slots: 1, latency: Infinity, work: 0, fixed: 0, overhead: 0},
});

interface Product {
  readonly problem: MatmulProblem;
  readonly isNormed: boolean;
  readonly tiles: readonly RatedTile[];
}

const given = values.tiles.split(',').filter(Boolean).map(unratedTile);

/** Candidates whose estimate is within `factor` of the best, and those of --tiles. */
function tilesToTry(problem: MatmulProblem, factor: number): RatedTile[] {
  const rated = matmulCandidates(problem, limits);
  const estimates = rated.map((tile) => estimateMatmul(tile, problem, limits));
  const least = Math.min(...estimates);
  return [...rated.filter((_, i) => (estimates[i] ?? Infinity) <= factor * least), ...given];
}

function productOf(text: string): Product {
  const [m = 0, n = 0, k = 0] = text.split(':')[0]?.split('x').map(Number) ?? [];
  return {
    problem: {m, n, k, isPointwise: true},
    isNormed: text.endsWith(':norm'),
    tiles: given.filter(({PARTS}) => PARTS === 1 || !text.endsWith(':norm')),
  };
}

/** The product and, in parts, its merge, without what stands before them. */
function dispatchesOf({problem: {m, n, k}, isNormed}: Product, tile: RatedTile): readonly [Plan, Dispatch[]] {
  const norm: Stage = {op: 'layernorm', name: 'norm', epsilon: 1e-6, affine: true};
  const stages = isNormed ? [norm, pointwiseStage('project', n, 'gelu')] : [pointwiseStage('project', n)];
  const tiling = {...tilingFor(limits), matmul: () => matmulTileOf(tile)};
  const plan = lowerBlock({kind: 'BlockSeparable', stages}, [1, 1, m, k], tiling);
  const at = plan.dispatches.findIndex(({constants}) => 'TILE_M' in constants);
  return [plan, plan.dispatches.slice(at)];
}

const ROUNDS = 3;

async function matmul(): Promise<void> {
  const asked = values.problems.split(',').filter(Boolean).map(productOf);
  const products = asked.length > 0 ? asked : matmulProblems().map((problem): Product => ({problem, isNormed: false, tiles: tilesToTry(problem, 1.6)})); // prettier-ignore
  const jobs = products.flatMap((product) =>
    product.tiles.map((tile) => {
      const [plan, dispatches] = dispatchesOf(product, tile);
      return {product, tile, plan, dispatches, times: [] as number[]};
    }),
  );
  await pipelines.prepare(jobs.flatMap(({dispatches}) => dispatches));
  const buffers = new ScratchBuffers(device);
  const bench = {device, pipelines, buffers, sizes: bufferSizes(jobs.map(({plan}) => plan))};
  const sequences = jobs.map(({dispatches}) => dispatches.map((dispatch) => recordedIn(dispatch, bench)));
  await timer.microseconds(sequences[0] ?? [], {samples: 5, milliseconds: 200});
  for (let round = 0; round < ROUNDS; round++)
    for (const [at, {times}] of jobs.entries())
      times.push(await timer.microseconds(sequences[at] ?? [], {milliseconds: 3}));
  for (const product of products) {
    const {m, n, k} = product.problem;
    const timed = jobs
      .filter((job) => job.product === product)
      .map(({tile, times}) => ({
        tile: tileText(tile),
        us: Math.min(...times),
        estimate: estimateMatmul(tile, product.problem, limits),
      }));
    const chosen = [...timed].sort((a, b) => a.estimate - b.estimate)[0];
    timed.sort((a, b) => a.us - b.us);
    const rate = (us: number): string => ((2 * m * n * k) / us / 1e6).toFixed(1);
    const best = timed.slice(0, 4).map(({tile, us}) => `${tile} ${us.toFixed(1)}us ${rate(us)}T`);
    console.log(`${m}×${n}×${k}${product.isNormed ? ' normed' : ''}: ${best.join(' | ')} || chosen ${chosen?.tile ?? ''} ${(chosen?.us ?? NaN).toFixed(1)}us`); // prettier-ignore
    for (const row of timed) rows.push({m, n, k, ...row});
  }
  buffers.destroy();
}

/** Every strip and workgroup shape over the depth-wise convolutions of the networks. */
async function depthwise(): Promise<void> {
  for (const network of networks) {
    for (const batch of batches) {
      for (const {name, block, input} of NETWORKS[network] ?? []) {
        const chosen = lowerBlock(block, atBatch(input, batch), tilingFor(limits));
        const tiles: DepthwiseTile[] = [];
        lowerBlock(block, atBatch(input, batch), {
          ...tilingFor(limits),
          depthwise: ({shape, stage}) => {
            tiles.push(...depthwiseCandidates(shape, stage, limits));
            return depthwiseTile({shape, stage}, limits);
          },
        });
        const plans = tiles.map((tile) =>
          lowerBlock(block, atBatch(input, batch), {...tilingFor(limits), depthwise: () => tile}),
        );
        const own = [chosen, ...plans].map((plan) => ({plan, dispatch: plan.dispatches.find(({kernel}) => kernel.startsWith('depthwise'))})); // prettier-ignore
        await pipelines.prepare(own.flatMap(({dispatch}) => dispatch ?? []));
        await warmUp(20);
        const timed: {tile: string; us: number}[] = [];
        for (const {plan, dispatch} of own) {
          if (!dispatch) continue;
          const buffers = new PlanBuffers(device, plan);
          const us = await timer.microseconds([recordedOf(device, pipelines, dispatch, buffers)]);
          timed.push({tile: tileOf(dispatch), us});
          buffers.destroy();
        }
        const [now, ...others] = timed;
        others.sort((a, b) => a.us - b.us);
        const best = others.slice(0, 5).map(({tile, us}) => `${tile} ${us.toFixed(1)}`).join(' | '); // prettier-ignore
        console.log(
          `${network} b${batch} ${name}: now ${now?.tile ?? ''} ${now?.us.toFixed(1) ?? ''} || ${best}`,
        );
        for (const row of timed) rows.push({network, batch, block: name, ...row});
      }
    }
  }
}

async function epilogues(): Promise<void> {
  const variants: readonly (readonly [string, Stage[]])[] = (
    ['linear', 'relu6', 'swish', 'gelu'] as const
  ).map((activation) => [activation, [pointwiseStage('project', 384, activation)]]);
  const norm: Stage = {op: 'layernorm', name: 'norm', epsilon: 1e-6, affine: true};
  const all = [
    ...variants,
    ['norm', [norm, pointwiseStage('project', 384)]] as const,
    ['norm gelu', [norm, pointwiseStage('project', 384, 'gelu')]] as const,
  ];
  const plans = all.map(([name, stages]) => ({
    name,
    plan: lowerBlock({kind: 'BlockSeparable', stages}, [32, 56, 56, 96], tilingFor(limits)),
  }));
  await pipelines.prepare(plans.flatMap(({plan}) => plan.dispatches));
  await warmUp();
  for (const {name, plan} of plans) {
    const buffers = new PlanBuffers(device, plan);
    for (const dispatch of plan.dispatches)
      console.log(
        name,
        dispatch.kernel,
        (await timer.microseconds([recordedOf(device, pipelines, dispatch, buffers)])).toFixed(1),
        'us',
      );
    buffers.destroy();
  }
}

const programs: Readonly<Record<string, () => Promise<void>>> = {
  blocks,
  matmul,
  depthwise,
  epilogues,
};
const program = programs[positionals[0] ?? 'blocks'];
if (!program)
  throw new Error(`There is no '${positionals[0] ?? ''}'; use ${Object.keys(programs).join(', ')}.`);
await program();
const isBare = program === matmul; // See fit_tiles.py.
if (values.out)
  writeFileSync(
    `${values.out}/${positionals[0] ?? 'blocks'}.json`,
    JSON.stringify({adapter, limits, ...(isBare && {isBare}), rows}),
  );
adapter.dispose();
process.exit(0);
