/**
 * Times the pointwise convolutions of networks as they stand in their blocks, gate, LayerNorm and epilogue included, with tiles of both
 * kernels: staged in workgroup memory, and straight from memory. Eight copies of all buffers take turns, so that no run finds
 * the one before's operands in a processor's cache, as in a network. Checks each tile's results against the planner's choice first.
 *   node dist/benchmarks/product_tiles.js [--networks=a,b] [--batches=1,8] [--tiles=M.N.K.THREAD_M.THREAD_N.SPLIT_K[.direct],…]
 *     [--most=ROWS] [--out=FILE]
 */
import {writeFileSync} from 'node:fs';
import {parseArgs} from 'node:util';
import type {Dispatch, Plan} from '../kernels/plan.js';
import {APART} from '../kernels/webgpu/fused_tiling.js';
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {
  estimateMatmul,
  MATMUL_TILES,
  matmulIsLegal,
  type MatmulTile,
  matmulTileOf,
  tilingFor,
} from '../kernels/webgpu/tiling.js';
import {atBatch, type NetworkBlock, NETWORKS} from './networks.js';
import {openBench, outputOf} from './tile_bench.js';
import {PlanBuffers, recordedOf} from './timing.js';

const {values} = parseArgs({
  options: {
    networks: {type: 'string', default: 'efficientnet_b0,mobilenetv2,convnext_tiny'},
    batches: {type: 'string', default: '1,8'},
    tiles: {type: 'string', default: ''},
    most: {type: 'string', default: '4000'},
    out: {type: 'string'},
  },
});
const COPIES = 8;
const WARM_UP_MS = 40;
const {adapter, device, limits, pipelines, timer} = await openBench();

function tileFrom(text: string): MatmulTile {
  const [TILE_M = 0, TILE_N = 0, TILE_K = 0, THREAD_M = 0, THREAD_N = 0, SPLIT_K = 0] = text
    .split('.')
    .map(Number);
  const tile = {TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N, SPLIT_K, PARTS: 1};
  return text.endsWith('direct') ? {...tile, DIRECT: true} : tile;
}

const textOf = ({TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N, SPLIT_K, DIRECT}: MatmulTile): string =>
  [TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N, SPLIT_K, ...(DIRECT ? ['direct'] : [])].join('.');

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
    expandDepthwise: () => undefined,
    matmul: (problem) =>
      tile && keyOf(problem) === key ? tile : tilingFor(limits).matmul({...problem, canPart: false}),
  });

const productOf = (plan: Plan, key: string): Dispatch | undefined =>
  plan.dispatches.find((dispatch) => isProduct(dispatch) && keyOfDispatch(dispatch) === key);

const resultOf = (dispatch: Dispatch, buffers: PlanBuffers): Promise<Float32Array> =>
  outputOf(
    device,
    [recordedOf(device, pipelines, dispatch, buffers)],
    buffers.get(dispatch.buffers['out'] ?? 'out'),
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

async function time(dispatch: Dispatch, copies: readonly PlanBuffers[], milliseconds = 1): Promise<number> {
  const turns = copies.map((buffers) => recordedOf(device, pipelines, dispatch, buffers));
  return (await timer.microseconds(turns, {samples: 5, milliseconds})) / copies.length;
}

interface Row {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly tile: string;
  readonly us: number;
  readonly isGated: boolean;
  readonly isNormed: boolean;
}

const extra = values.tiles.split(',').filter(Boolean).map(tileFrom);
const rows: Row[] = [];
const seen = new Set<string>();
for (const network of values.networks.split(',')) {
  for (const batch of values.batches.split(',').map(Number)) {
    for (const one of NETWORKS[network] ?? []) {
      const block = {...one, input: atBatch(one.input, batch)};
      for (const product of planWith(block).dispatches.filter(isProduct)) {
        const key = keyOfDispatch(product);
        const [m, n, k] = key.split('×').map(Number) as [number, number, number];
        const [isGated, isNormed] = [product.constants['HAS_SCALES'] === true, product.constants['HAS_NORM'] === true]; // prettier-ignore
        const id = `${key} ${isGated} ${isNormed}`;
        if (m > Number(values.most) || seen.has(id)) continue;
        seen.add(id);
        const problem = {m, n, k, canPart: false, isPointwise: true};
        const rated = MATMUL_TILES.map((tile) => ({tile, us: estimateMatmul(tile, problem, limits)})).sort((a, b) => a.us - b.us); // prettier-ignore
        const tiles = [...rated.slice(0, 5).map(({tile}) => matmulTileOf(tile)), ...extra].filter((tile) => matmulIsLegal(tile, limits)); // prettier-ignore
        await pipelines.prepare(tiles.flatMap((tile) => productOf(planWith(block, key, tile), key) ?? []));
        const copies = Array.from({length: COPIES}, () => new PlanBuffers(device, planWith(block)));
        const [first] = copies as [PlanBuffers];
        const want = await resultOf(product, first);
        await time(product, copies, WARM_UP_MS); // An idle GPU's clock is a third of a busy one's.
        const found: Row[] = [];
        for (const tile of tiles) {
          const dispatch = productOf(planWith(block, key, tile), key) ?? product;
          const error = difference(want, await resultOf(dispatch, first));
          if (error > 1e-4) throw new Error(`${key} ${textOf(tile)}: differs by ${error}`);
          found.push({m, n, k, tile: textOf(tile), us: await time(dispatch, copies), isGated, isNormed});
        }
        copies.forEach((buffers) => buffers.destroy());
        rows.push(...found);
        found.sort((a, b) => a.us - b.us);
        console.log(`${id}: ${found.slice(0, 6).map(({tile, us}) => `${tile} ${us.toFixed(1)}`).join(' | ')} || first by estimate ${textOf(rated[0]?.tile as MatmulTile)}`); // prettier-ignore
        if (values.out) writeFileSync(values.out, JSON.stringify({adapter, rows}));
      }
    }
  }
}
adapter.dispose();
process.exit(0);
