"""Rates matrix tiles from measurements: the records of MATMUL_TILES in kernels/webgpu/matmul_tiling.ts, and what a merge costs.

    python3 benchmarks/fit_tiles.py [FILE ...]     needs numpy and scipy; the files below unless others are named

A file holds {"rows": [[m, n, k, "TILE_M.TILE_N.TILE_K.THREAD_M.THREAD_N.SPLIT_K[.direct|.double][/PARTS]", microseconds, …], ...]}, where with PARTS
the microseconds without the merge follow, or is what `kernels.js matmul --out=DIR`, `product_tiles.js --out=FILE` or
`convolution_tiles.js --out=FILE` writes. Per tile it fits the model of estimateMatmul (slots, latency, work, fixed, overhead) to the
logarithms of the times, and prints the mean error; then how much slower than the best measured tile the tile of least estimate is.
- `isBare`: products alone in a loop, which find operands of small tiles in the processors' caches: only larger tiles count, and half below 20,000 rows.
- `since`: what staged kernels have taken since of the times there, by the rows of a stack or the tile; other tiles of stacks of four are left out.
- `isCold`: other kernels ran in between. What all tiles of a problem wait for, instructions and memory, is taken off: the median of what
  their times exceed the estimates by, found by turns with the rates.
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
LARGE = 20000  # rows from which on only bare products were measured often
TURNS = 4
FEWEST_DIRECT = 32  # channels
FEWEST = 4  # products of a tile that is rated
RESULTS = 'benchmarks/results/h200_'
FILES = [
    RESULTS + name
    for name in (
        'product_tiles.json',
        'product_tiles_large.json',
        'product_tiles_square.json',
        'product_tiles_cold.json',
        'product_tiles_between.json',
        'product_tiles_others.json',
        'matmul.json',
    )
]


def read(content):
    """Yields problem, tile, parts, microseconds, and those without the merge."""
    for row in content['rows']:
        if isinstance(row, dict):
            if row.get('form', 'implicit') != 'implicit':
                continue  # its `us` are of three dispatches
            row = [row.get(key) for key in ('m', 'n', 'k', 'tile', 'us', 'productUs')]
        m, n, k, text, us, *product = row
        tile, _, parts = text.partition('/')
        fields = tile.split('.')
        if len(fields) == 7 and fields[6] not in ('direct', 'double'):
            tile, parts = '.'.join(fields[:6]), fields[6]
        parts = int(parts or 1)
        product = [us] if parts == 1 else [one for one in product if one]
        share = share_since(content.get('since'), tile)
        if product and share:
            yield (m, n, k), tile, parts, us - (1 - share) * product[0], share * product[0]


def share_since(since, tile):
    """Of the times of a tile; nothing where it is not known."""
    if since is None or tile.endswith('direct'):
        return 1
    thread_m, thread_n = map(int, tile.split('.')[3:5])
    return since.get(tile) or since.get('2' if thread_m * thread_n < 64 else '4')


def shape(problem, tile, parts):
    m, n, k = problem
    tile_m, tile_n, tile_k, _, _, split_k = map(int, tile.split('.')[:6])
    workgroups = math.ceil(m / tile_m) * math.ceil(n / tile_n) * parts
    # What a direct tile reads beyond K is in the cache.
    steps = max(k, FEWEST_DIRECT) / (tile_k * split_k) if tile.endswith('direct') else math.ceil(math.ceil(k / tile_k) / (split_k * parts))
    return workgroups, steps, FLOAT_BYTES * (m * k + parts * m * n + k * n) / BANDWIDTH


def estimate(rates, slots, workgroups, steps, memory):
    latency, work, fixed, overhead = rates
    waiting = steps * latency + fixed
    working = steps * work + overhead
    full, rest = divmod(math.ceil(workgroups / PROCESSORS), slots)
    together = lambda count: math.hypot(count * working, waiting)  # noqa: E731
    return LAUNCH + max(full * together(slots) + (together(rest) if rest else 0), memory)


def fit(rows, start=None):
    """Slots and rates for pairs of a shape and its microseconds, with their weights; `start` at those of the turn before."""
    def residuals(logs, slots):
        rates = np.exp(logs)
        errors = [weight * math.log(estimate(rates, slots, *s) / us) for s, us, weight in rows]
        # Where nothing tells fixed and overhead, they stay near what they usually are.
        return errors + [0.05 * logs[2], 0.05 * (logs[3] - math.log(0.3))]

    best = None
    for slots in SLOTS:
        for at in STARTS if start is None else (np.log(start[2]), STARTS[0]):
            found = least_squares(residuals, at, args=(slots,), loss='soft_l1', f_scale=0.1)
            error = np.mean(np.abs(residuals(found.x, slots)[:-2]))
            if best is None or error < 0.98 * best[0]:
                best = (error, slots, np.exp(found.x))
    return best


def rate(files):
    """Rates of every tile that enough products were measured with."""
    rows, cold = defaultdict(list), defaultdict(list)
    for path, content in files.items():
        for problem, tile, parts, _, us in read(content):
            tile_m, tile_n = map(int, tile.split('.')[:2])
            is_bare = content.get('isBare', False)
            if content.get('isCold'):
                cold[path, problem].append((tile, parts, us))
            elif not is_bare or (tile_m * tile_n > 2048 and problem[0] >= 300):
                rows[tile].append((shape(problem, tile, parts), us, 0.5 if is_bare and problem[0] < LARGE else 1))
    rated = {tile: fit(those) for tile, those in rows.items() if len(those) >= FEWEST}
    for _ in range(TURNS if cold else 0):
        less = defaultdict(list)
        for (_, problem), those in cold.items():
            over = sorted(us - of(rated[tile], problem, tile, parts) for tile, parts, us in those if tile in rated)
            wait = over[len(over) // 2] if over else 0
            wait = min(max(wait, 0), 0.7 * min(us for *_, us in those))
            for tile, parts, us in those:
                less[tile].append((shape(problem, tile, parts), us - wait, 1))
        for tile in {*rows, *less}:
            if len(rows[tile] + less[tile]) >= FEWEST:
                rated[tile] = fit(rows[tile] + less[tile], rated.get(tile))
    return rated, {tile: len(rows[tile]) + sum(tile == one for those in cold.values() for one, *_ in those) for tile in rated}


def of(rates, problem, tile, parts):
    return estimate(rates[2], rates[1], *shape(problem, tile, parts))


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
    files = {path: json.load(open(path)) for path in paths}
    merges, by_problem = [], defaultdict(dict)
    for path, content in files.items():
        for problem, tile, parts, us, product in read(content):
            by_problem[path, problem][tile, parts] = us
            if parts > 1:
                merges.append((problem, parts, us - product))
    launch, speed = fit_merge(merges)
    rated, counts = rate(files)
    for tile, (error, slots, (latency, work, fixed, overhead)) in rated.items():
        print(f'rated([{tile.replace(".", ", ")}], {slots}, [{latency:.3g}, {work:.3g}], [{fixed:.3g}, {overhead:.3g}]),'
              f'  // {counts[tile]} products, error {100 * error:.1f} %')

    def total(problem, tile, parts):
        m, n, _ = problem
        return of(rated[tile], problem, tile, parts) + (launch + FLOAT_BYTES * (parts + 1) * m * n / speed if parts > 1 else 0)

    for path in paths:
        ratios = []
        for (at, problem), times in by_problem.items():
            known = [choice for choice in times if choice[0] in rated]
            if at == path and known:
                ratios.append(times[min(known, key=lambda choice: total(problem, *choice))] / min(times.values()))
        print(f'{path}, {len(ratios)} products: the tile of least estimate is {100 * np.mean(ratios) - 100:.1f} % slower than the best')


main(sys.argv[1:] or FILES)
