/**
 * Times the pointwise convolutions of networks as they stand in their blocks, gate, LayerNorm and epilogue included, with tiles of both
 * kernels: staged in workgroup memory, and straight from memory; where workgroups share K, the merge behind them included. Copies of
 * all buffers take turns, so that no run finds the one before's operands in a processor's cache, as in a network. Checks each tile's results
 * against the planner's choice first. Measured are the tiles whose estimate is near the least, and of those given the same.
 *   node dist/benchmarks/product_tiles.js [--networks=a,b] [--batches=1,8] [--least=ROWS] [--most=ROWS] [--within=1.6] [--keep=20]
 *     [--tiles=M.N.K.THREAD_M.THREAD_N.SPLIT_K[.direct|.double][/PARTS],…] [--cold] [--out=FILE]
 * With --cold eight other kernels run before each run of a tile, so that its instructions and operands have left the processors' own
 * caches, not the one they share; their time without the tile is taken off.
 */
import {writeFileSync} from 'node:fs';
import {parseArgs} from 'node:util';
import type {Dispatch, Plan} from '../kernels/plan.js';
import {APART} from '../kernels/webgpu/fused_tiling.js';
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {
  estimateMatmul,
  FLOAT_BYTES,
  MATMUL_TILES,
  matmulCandidates,
  matmulIsLegal,
  type MatmulProblem,
  type MatmulTile,
  matmulTileOf,
  type RatedTile,
  tilingFor,
} from '../kernels/webgpu/tiling.js';
import type {Block} from '../ops/index.js';
import {pointwiseStage} from '../ops/stages/make.js';
import {blocksOf} from './network_blocks.js';
import {atBatch, type NetworkBlock} from './networks.js';
import {openBench, outputOf} from './tile_bench.js';
import {tileFrom, tileText} from './tile_text.js';
import {PlanBuffers, type Recorded, recordedOf} from './timing.js';

const {values} = parseArgs({
  options: {
    networks: {type: 'string', default: 'efficientnet_b0,mobilenetv2,convnext_tiny'},
    batches: {type: 'string', default: '1,8'},
    tiles: {type: 'string', default: ''},
    least: {type: 'string', default: '0'},
    most: {type: 'string', default: '4000'},
    within: {type: 'string', default: '1.6'},
    keep: {type: 'string', default: '20'},
    cold: {type: 'boolean', default: false},
    out: {type: 'string'},
  },
});
/** Of all buffers; fewer where each is larger than half of an H200's second-level cache. */
const [COPIES, LARGE_COPIES, LARGE] = [8, 3, 25e6];
/** Where other kernels run in between; these leave operands where the kernel before left them, in that cache. */
const [COLD_COPIES, LARGE_COLD_COPIES, LARGE_COLD] = [2, 1, 8e6];
const WARM_UP_MS = 40;
const {adapter, device, limits, pipelines, timer} = await openBench();

/** A tile that is not rated, with the rates of the one most like it: good enough to leave hopeless ones out. */
function ratedLike(tile: MatmulTile): RatedTile {
  const area = (t: MatmulTile): number => t.TILE_M * t.TILE_N;
  const distance = (t: MatmulTile): number =>
    Math.abs(Math.log(area(t) / area(tile))) + Math.abs(Math.log((t.TILE_M * t.SPLIT_K) / (tile.TILE_M * tile.SPLIT_K))); // prettier-ignore
  const like = MATMUL_TILES.filter(({DIRECT}) => DIRECT === tile.DIRECT).reduce((a, b) => (distance(b) < distance(a) ? b : a)); // prettier-ignore
  const deeper = tile.TILE_K / like.TILE_K;
  const work = (like.work * deeper * area(tile) * tile.SPLIT_K) / (area(like) * like.SPLIT_K);
  return {...like, ...tile, latency: like.latency * deeper, work};
}

const keyOf = (d: {m: number; n: number; k: number}): string => `${d.m}×${d.n}×${d.k}`;
const keyOfDispatch = ({constants: {M, N, K}}: Dispatch): string => `${M}×${N}×${K}`;
const isProduct = ({kernel}: Dispatch): boolean =>
  kernel === 'pointwise.vector' || kernel === 'directPointwise.vector';

/** The block's plan without fused runs or split products, that product made with that tile. */
const planWith = ({block, input}: NetworkBlock, key?: string, tile?: MatmulTile): Plan =>
  lowerBlock(block, input, {
    ...tilingFor(limits),
    feedForward: () => APART,
    depthwiseProject: () => APART,
    expandDepthwise: () => APART,
    // A product that makes its gate is another kernel.
    gate: ({batch, channels, reduced, sums}) =>
      tilingFor(limits).gate({batch, channels, reduced, ...(sums && {sums})}),
    matmul: (problem) =>
      tile && keyOf(problem) === key ? tile : tilingFor(limits).matmul({...problem, canPart: false}),
  });

/** The product and, where it is parted, its merge; empty where the plan does not have it. */
function dispatchesOf(plan: Plan, key: string): readonly Dispatch[] {
  const at = plan.dispatches.findIndex((dispatch) => isProduct(dispatch) && keyOfDispatch(dispatch) === key);
  if (at < 0) return [];
  return plan.dispatches.slice(at, at + (plan.dispatches[at + 1]?.kernel === 'merge.vector' ? 2 : 1));
}

const resultOf = (
  dispatches: readonly Dispatch[],
  buffers: PlanBuffers,
  elements: number,
): Promise<Float32Array> =>
  outputOf(
    device,
    dispatches.map((dispatch) => recordedOf(device, pipelines, dispatch, buffers)),
    buffers.get(dispatches.at(-1)?.buffers['out'] ?? 'out'),
    FLOAT_BYTES * elements,
  );

/** The largest difference over the largest value; values that neither can compute from random statistics do not count. */
function difference(want: Float32Array, got: Float32Array): number {
  let [most, worst, count] = [1e-30, 0, 0];
  want.forEach((value, i) => {
    const other = got[i] ?? NaN;
    if (Number.isNaN(value) && Number.isNaN(other)) return;
    count++;
    most = Math.max(most, Math.abs(value));
    worst = Math.max(worst, Number.isNaN(other - value) ? Infinity : Math.abs(other - value));
  });
  return count === 0 ? NaN : worst / most;
}

/** Kernels of some 18 KB of instructions each, on every processor, that touch 6 MB of memory between them. */
function othersOf(): readonly Recorded[] {
  const tile: MatmulTile = {
    TILE_M: 64,
    TILE_N: 128,
    TILE_K: 16,
    THREAD_M: 8,
    THREAD_N: 8,
    SPLIT_K: 1,
    PARTS: 1,
  };
  const block: Block = {kind: 'BlockConv', stages: [pointwiseStage('project', 128)]};
  const plans = [32, 28, 24, 20, 16, 12, 8, 4].map((channels) =>
    lowerBlock(block, [1, 64, limits.processors, channels], {...tilingFor(limits), matmul: () => tile}),
  );
  const [largest] = plans as [Plan];
  const buffers = new PlanBuffers(device, largest);
  return plans
    .flatMap(({dispatches}) => dispatches)
    .map((dispatch) => recordedOf(device, pipelines, dispatch, buffers));
}

const others = values.cold ? othersOf() : [];

async function time(
  dispatches: readonly Dispatch[],
  copies: readonly PlanBuffers[],
  milliseconds = 1,
): Promise<number> {
  const turns = copies.flatMap((buffers) => [
    ...others,
    ...dispatches.map((dispatch) => recordedOf(device, pipelines, dispatch, buffers)),
  ]);
  return (await timer.microseconds(turns, {samples: 5, milliseconds})) / copies.length;
}

interface Row {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly tile: string;
  /** Microseconds, the merge included. */
  readonly us: number;
  /** Without the merge, where there is one. */
  readonly productUs?: number;
  readonly isGated: boolean;
  readonly isNormed: boolean;
}

interface Posed extends Pick<Row, 'm' | 'n' | 'k' | 'isGated' | 'isNormed'> {
  readonly key: string;
  readonly problem: MatmulProblem;
}

const extra = values.tiles.split(',').filter(Boolean).map(tileFrom).filter((tile) => matmulIsLegal(tile, limits)); // prettier-ignore

/** The planner's choice, then what is estimated to take little longer, given tiles included. */
function tilesToTry(problem: MatmulProblem): readonly MatmulTile[] {
  const cost = (tile: RatedTile): number => estimateMatmul(tile, problem, limits);
  const rated = matmulCandidates(problem, limits);
  const given = extra.filter(({PARTS}) => problem.canPart || PARTS === 1).map(ratedLike);
  const known = new Map([...given, ...rated].map((tile) => [tileText(tile), tile]));
  const sorted = [...known.values()].sort((a, b) => cost(a) - cost(b));
  const least = Math.min(...rated.map(cost));
  return [tilingFor(limits).matmul(problem), ...sorted.filter((tile) => cost(tile) <= Number(values.within) * least).slice(0, Number(values.keep))].map(matmulTileOf); // prettier-ignore
}

function posedBy(product: Dispatch): Posed {
  const key = keyOfDispatch(product);
  const [m, n, k] = key.split('×').map(Number) as [number, number, number];
  const {HAS_SCALES, HAS_NORM} = product.constants;
  const problem = {m, n, k, canPart: HAS_NORM !== true, isPointwise: true};
  return {key, m, n, k, isGated: HAS_SCALES === true, isNormed: HAS_NORM === true, problem};
}

/** Times of all tiles worth it, best first. */
async function measure(block: NetworkBlock, {key, problem, ...posed}: Posed): Promise<readonly Row[]> {
  const tiles = new Map(tilesToTry(problem).map((tile) => [tileText(tile), tile]));
  const planOf = (tile?: MatmulTile): Plan => planWith(block, key, tile);
  await pipelines.prepare([...tiles.values()].flatMap((tile) => dispatchesOf(planOf(tile), key)));
  // The plan with most parts has the largest buffers, and the same names before the product.
  const most = [...tiles.values()].reduce((a, b) => (b.PARTS > a.PARTS ? b : a));
  const bytes = FLOAT_BYTES * posed.m * (posed.k + posed.n);
  const warm = bytes > LARGE ? LARGE_COPIES : COPIES;
  const cold = bytes > LARGE_COLD ? LARGE_COLD_COPIES : COLD_COPIES;
  const count = values.cold ? cold : warm;
  const copies = Array.from({length: count}, () => new PlanBuffers(device, planOf(most))); // prettier-ignore
  const [first] = copies as [PlanBuffers];
  const plain = dispatchesOf(planOf(), key);
  const want = await resultOf(plain, first, posed.m * posed.n);
  await time(plain, copies, WARM_UP_MS); // An idle GPU's clock is a third of a busy one's.
  const besides = others.length > 0 ? await time([], copies) : 0;
  const found: Row[] = [];
  for (const [tile, constants] of tiles) {
    const dispatches = dispatchesOf(planOf(constants), key);
    const error = difference(want, await resultOf(dispatches, first, posed.m * posed.n));
    if (error > 1e-4) throw new Error(`${key} ${tile}: differs by ${error}`);
    const us = (await time(dispatches, copies)) - besides;
    const product = dispatches.slice(0, -1);
    found.push({...posed, tile, us, ...(product.length > 0 && {productUs: (await time(product, copies)) - besides})}); // prettier-ignore
  }
  copies.forEach((buffers) => buffers.destroy());
  return found.sort((a, b) => a.us - b.us);
}

const rows: Row[] = [];
const seen = new Set<string>();
const began = performance.now();
for (const network of values.networks.split(',')) {
  const blocks = await blocksOf(network);
  for (const batch of values.batches.split(',').map(Number)) {
    for (const one of blocks) {
      const block = {...one, input: atBatch(one.input, batch)};
      for (const product of planWith(block).dispatches.filter(isProduct)) {
        const posed = posedBy(product);
        const id = `${posed.key} ${posed.isGated} ${posed.isNormed}`;
        if (posed.m > Number(values.most) || posed.m < Number(values.least) || seen.has(id)) continue;
        seen.add(id);
        const found = await measure(block, posed);
        rows.push(...found);
        const chosen = tileText(tilingFor(limits).matmul(posed.problem));
        const best = found.slice(0, 6).map(({tile, us}) => `${tile} ${us.toFixed(1)}`);
        const own = found.find(({tile}) => tile === chosen)?.us.toFixed(1);
        console.log(`${id}: ${best.join(' | ')} || chosen ${chosen} ${own} of ${found.length}, ${((performance.now() - began) / 1000).toFixed(1)} s`); // prettier-ignore
        if (values.out) writeFileSync(values.out, JSON.stringify({adapter, isCold: values.cold, rows}));
      }
    }
  }
}
adapter.dispose();
process.exit(0);
