"""Fits the polynomial of gelu in kernels/webgpu/wgsl/activation.ts.    python3 scripts/fit_gelu.py     needs numpy and scipy

gelu(x) = x·Φ(x), Φ(−u) = ½ erfc(u/√2) = ½ · 2^(u · P(u)). P, of degree 7, is fitted to log2(erfc(u/√2))/u on 0 ≤ u ≤ 4√2 by least squares
whose weights grow where the error of erfc is largest, until it is level. Prints P from the constant on, and the largest
error of gelu in float32 over |x| ≤ 8.
"""
import numpy as np
from scipy.special import erfc

DEGREE = 8  # of u · P(u)
REACH = 4 * np.sqrt(2)
NODES = 4000
ROUNDS = 60

u = 0.5 * REACH * (1 - np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES))
target = np.log2(erfc(u / np.sqrt(2)))
powers = np.stack([u**k for k in range(1, DEGREE + 1)], 1)
scale = np.maximum(erfc(u / np.sqrt(2)), 1e-3)  # an error of the logarithm counts as much as it changes erfc
weight = scale.copy()
for _ in range(ROUNDS):
    coefficients, *_ = np.linalg.lstsq(powers * weight[:, None], target * weight, rcond=None)
    error = np.abs((powers @ coefficients - target) * scale)
    weight = weight * np.sqrt(1 + error / error.max())
    weight /= weight.max()

p = coefficients.astype(np.float32)
x = np.linspace(-8, 8, 400001).astype(np.float32)
series = np.full_like(x, p[-1])
for coefficient in p[-2::-1]:
    series = (series * np.abs(x) + coefficient).astype(np.float32)
tail = (0.5 * x * np.exp2(np.abs(x) * series)).astype(np.float32)
got = np.where(x > 0, x - tail, tail)
want = x.astype(np.float64) * 0.5 * erfc(-x.astype(np.float64) / np.sqrt(2))
print([float(f'{value:.9g}') for value in p])
print('largest error', np.abs(got - want).max())
