"""Rates matrix tiles from measurements: the records of MATMUL_TILES in kernels/webgpu/tiling.ts.

    python3 benchmarks/fit_tiles.py [benchmarks/results/h200_matmul.json ...]     needs numpy and scipy

A file holds {"rows": [[m, n, k, "TILE_M.TILE_N.TILE_K.THREAD_M.THREAD_N.SPLIT_K", microseconds], ...]}, or is what
`kernels.js matmul --out=DIR`, `product_tiles.js --out=FILE` or `convolution_tiles.js --out=FILE` writes. Per tile it fits the model of estimateMatmul (slots, latency,
work, fixed, overhead) to the logarithms of the times, and prints the mean error; then how much slower than the best measured tile
the tile of least estimate is.
"""
import json
import math
import sys
from collections import defaultdict

import numpy as np
from scipy.optimize import least_squares

PROCESSORS = 132  # of an H200
LAUNCH = 2.0  # microseconds
BANDWIDTH = 4.1e6  # bytes a microsecond
FLOAT_BYTES = 4
SLOTS = (1, 2, 3, 4, 5, 6, 8)
STARTS = ((-0.5, -1.5, 0.2, -1.5), (-1, -0.5, 0, -1))


def read(path):
    for row in json.load(open(path))['rows']:
        if isinstance(row, dict) and row.get('form', 'implicit') != 'implicit':
            continue  # its `us` are of three dispatches
        m, n, k, tile, us = row if isinstance(row, list) else (row[key] for key in ('m', 'n', 'k', 'tile', 'us'))
        parts = tile.split('.')
        if len(parts) == 6 or parts[6] in ('1', 'direct'):
            yield (m, n, k), tile.removesuffix('.1') if len(parts) > 6 else tile, us


def shape(problem, tile):
    m, n, k = problem
    tile_m, tile_n, tile_k, _, _, split_k = map(int, tile.split('.')[:6])
    workgroups = math.ceil(m / tile_m) * math.ceil(n / tile_n)
    steps = math.ceil(math.ceil(k / tile_k) / split_k)
    return workgroups, steps, FLOAT_BYTES * (m * k + m * n + k * n) / BANDWIDTH


def estimate(rates, slots, workgroups, steps, memory):
    latency, work, fixed, overhead = rates
    waiting = math.ceil(workgroups / (PROCESSORS * slots)) * (steps * latency + fixed)
    working = math.ceil(workgroups / PROCESSORS) * (steps * work + overhead)
    return LAUNCH + max(waiting, working, memory)


def fit(shapes, times):
    def residuals(logs, slots):
        rates = np.exp(logs)
        errors = [math.log(estimate(rates, slots, *s) / us) for s, us in zip(shapes, times)]
        # Where nothing tells fixed and overhead, they stay near what they usually are.
        return errors + [0.05 * (logs[2] - math.log(1.5)), 0.05 * (logs[3] - math.log(0.3))]

    best = None
    for slots in SLOTS:
        for start in STARTS:
            found = least_squares(residuals, start, args=(slots,), loss='soft_l1', f_scale=0.1)
            error = np.mean(np.abs(residuals(found.x, slots)[:-2]))
            if best is None or error < 0.98 * best[0]:
                best = (error, slots, np.exp(found.x))
    return best


def main(paths):
    by_tile, by_problem = defaultdict(list), defaultdict(dict)
    for path in paths:
        for problem, tile, us in read(path):
            by_tile[tile].append((problem, us))
            by_problem[problem][tile] = us
    rated = {}
    for tile, rows in by_tile.items():
        if len(rows) >= 4:
            rated[tile] = fit([shape(problem, tile) for problem, _ in rows], [us for _, us in rows])
            error, slots, (latency, work, fixed, overhead) = rated[tile]
            print(f'rated([{tile.replace(".", ", ")}], {slots}, [{latency:.3g}, {work:.3g}], [{fixed:.3g}, {overhead:.3g}]),'
                  f'  // {len(rows)} products, error {100 * error:.1f} %')
    regrets = []
    for problem, times in by_problem.items():
        known = [tile for tile in times if tile in rated]
        chosen = min(known, key=lambda tile: estimate(rated[tile][2], rated[tile][1], *shape(problem, tile)))
        regrets.append(times[chosen] / min(times.values()) - 1)
    print(f'{len(regrets)} products: the tile of least estimate is {100 * np.mean(regrets):.1f} % slower than the best')


main(sys.argv[1:] or ['benchmarks/results/h200_matmul.json'])
