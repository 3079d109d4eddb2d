/** The estimates of matrix products beside what was measured on an H200. */
import {readFileSync} from 'node:fs';
import {H200} from '../kernels/webgpu/device_model.js';
import {estimateMatmul, MATMUL_TILES, type RatedTile} from '../kernels/webgpu/tiling.js';

/** As benchmarks/product_tiles.ts names a tile. */
const nameOf = ({TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N, SPLIT_K, DIRECT, BUFFERS}: RatedTile): string =>
  [
    TILE_M,
    TILE_N,
    TILE_K,
    THREAD_M,
    THREAD_N,
    SPLIT_K,
    ...(DIRECT ? ['direct'] : []),
    ...(BUFFERS ? ['double'] : []),
  ].join('.');

type Row = readonly [m: number, n: number, k: number, tile: string, microseconds: number];

describe('estimates of matrix products', () => {
  it('are within 9 % of 513 measured times on average', () => {
    const file = new URL('../../benchmarks/results/h200_product_tiles.json', import.meta.url); // From dist/test.
    const {rows} = JSON.parse(readFileSync(file, 'utf8')) as {rows: readonly Row[]};
    const tiles = new Map(MATMUL_TILES.map((tile) => [nameOf(tile), tile]));
    const errors = rows.flatMap(([m, n, k, name, microseconds]) => {
      const tile = tiles.get(name);
      if (!tile) return []; // Tried, and not in the list.
      return [Math.abs(Math.log(estimateMatmul(tile, {m, n, k}, H200.limits) / microseconds))];
    });
    expect(errors.length).toBe(513);
    expect(errors.reduce((sum, error) => sum + error, 0) / errors.length).toBeLessThan(0.09);
  });
});
