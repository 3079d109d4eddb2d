"""Rates matrix tiles from measurements: the records of MATMUL_TILES in kernels/webgpu/matmul_tiling.ts, and what a merge costs.

    python3 benchmarks/fit_tiles.py [benchmarks/results/h200_matmul.json ...]     needs numpy and scipy

A file holds {"rows": [[m, n, k, "TILE_M.TILE_N.TILE_K.THREAD_M.THREAD_N.SPLIT_K[.direct][/PARTS]", microseconds, …], ...]}, where with PARTS
the microseconds without the merge follow, or is what `kernels.js matmul --out=DIR`, `product_tiles.js --out=FILE` or
`convolution_tiles.js --out=FILE` writes. Per tile it fits the model of estimateMatmul (slots, latency, work, fixed, overhead) to the
logarithms of the times, and prints the mean error; then how much slower than the best measured tile the tile of least estimate is.
A problem of two files counts as two.
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
    """Yields problem, tile, parts, microseconds, and those without the merge."""
    for row in json.load(open(path))['rows']:
        if isinstance(row, dict):
            if row.get('form', 'implicit') != 'implicit':
                continue  # its `us` are of three dispatches
            row = [row.get(key) for key in ('m', 'n', 'k', 'tile', 'us', 'productUs')]
        m, n, k, text, us, *product = row
        tile, _, parts = text.partition('/')
        fields = tile.split('.')
        if len(fields) == 7 and fields[6] != 'direct':
            tile, parts = '.'.join(fields[:6]), fields[6]
        parts = int(parts or 1)
        product = [us] if parts == 1 else [one for one in product if one]
        if product:
            yield (m, n, k), tile, parts, us, product[0]


def shape(problem, tile, parts):
    m, n, k = problem
    tile_m, tile_n, tile_k, _, _, split_k = map(int, tile.split('.')[:6])
    workgroups = math.ceil(m / tile_m) * math.ceil(n / tile_n) * parts
    # What a direct tile reads beyond K is in the cache.
    steps = k / (tile_k * split_k) if tile.endswith('direct') else math.ceil(math.ceil(k / tile_k) / (split_k * parts))
    return workgroups, steps, FLOAT_BYTES * (m * k + parts * m * n + k * n) / BANDWIDTH


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


def fit_merge(merges):
    """Microseconds of its launch, bytes a microsecond."""
    if len(merges) < 4:
        return 0, math.inf
    megabytes = np.array([FLOAT_BYTES * (parts + 1) * m * n / 1e6 for (m, n, _), parts, _ in merges])
    times = np.array([us for *_, us in merges])
    found = least_squares(lambda x: (x[0] + megabytes * x[1]) / times - 1, (2, 0.25), loss='soft_l1', f_scale=0.1)
    launch, slope = found.x
    error = np.mean(np.abs(found.fun))
    print(f'merge: {launch:.3g} us and {1e6 / slope:.3g} bytes a us  // {len(merges)} merges, error {100 * error:.1f} %')
    return launch, 1e6 / slope


def main(paths):
    by_tile, by_problem, merges = defaultdict(list), defaultdict(dict), []
    for path in paths:
        for problem, tile, parts, us, product in read(path):
            by_tile[tile].append((problem, parts, product))
            by_problem[path, problem][tile, parts] = us
            if parts > 1:
                merges.append((problem, parts, us - product))
    launch, speed = fit_merge(merges)
    rated = {}
    for tile, rows in by_tile.items():
        if len(rows) >= 4:
            rated[tile] = fit([shape(problem, tile, parts) for problem, parts, _ in rows], [us for *_, us in rows])
            error, slots, (latency, work, fixed, overhead) = rated[tile]
            print(f'rated([{tile.replace(".", ", ")}], {slots}, [{latency:.3g}, {work:.3g}], [{fixed:.3g}, {overhead:.3g}]),'
                  f'  // {len(rows)} products, error {100 * error:.1f} %')

    def total(problem, tile, parts):
        m, n, _ = problem
        merge = launch + FLOAT_BYTES * (parts + 1) * m * n / speed if parts > 1 else 0
        return estimate(rated[tile][2], rated[tile][1], *shape(problem, tile, parts)) + merge

    regrets = []
    for (_, problem), times in by_problem.items():
        known = [choice for choice in times if choice[0] in rated]
        chosen = min(known, key=lambda choice: total(problem, *choice))
        regrets.append(times[chosen] / min(times.values()) - 1)
    print(f'{len(regrets)} products: the tile of least estimate is {100 * np.mean(regrets):.1f} % slower than the best')


main(sys.argv[1:] or ['benchmarks/results/h200_matmul.json'])
