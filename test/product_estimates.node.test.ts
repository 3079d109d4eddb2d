/** The estimates of matrix products beside what was measured on an H200. */
import {readFileSync} from 'node:fs';
import {tileText} from '../benchmarks/tile_text.js';
import {H200} from '../kernels/webgpu/device_model.js';
import {estimateMatmul, MATMUL_TILES} from '../kernels/webgpu/tiling.js';

type Row = readonly [m: number, n: number, k: number, tile: string, microseconds: number];

describe('estimates of matrix products', () => {
  for (const [name, count] of [
    ['product_tiles', 513],
    ['product_tiles_large', 452],
    ['product_tiles_square', 129],
  ] as const) {
    it(`are within 9 % of ${count} measured times on average: ${name}`, () => {
      const file = new URL(`../../benchmarks/results/h200_${name}.json`, import.meta.url); // From dist/test.
      const {rows} = JSON.parse(readFileSync(file, 'utf8')) as {rows: readonly Row[]};
      const tiles = new Map(MATMUL_TILES.map((tile) => [tileText(tile), tile]));
      const errors = rows.flatMap(([m, n, k, text, microseconds]) => {
        const tile = tiles.get(text);
        if (!tile) return []; // Tried, and not in the list; or in parts.
        return [Math.abs(Math.log(estimateMatmul(tile, {m, n, k}, H200.limits) / microseconds))];
      });
      expect(errors.length).toBe(count);
      expect(errors.reduce((sum, error) => sum + error, 0) / errors.length).toBeLessThan(0.09);
    });
  }
});
