"""Fits the polynomials of gelu in kernels/webgpu/wgsl/activation.ts.    python3 scripts/fit_gelu.py     needs numpy and scipy

gelu(x) = x·Φ(x) = max(x, 0) − u·½ erfc(u/√2), u = |x|, and erfc(u/√2) = 2^(u · P(u)). P is fitted to log2(erfc(u/√2))/u on 0 ≤ u ≤ 4√2 by
least squares whose weights grow where the error is largest, until it is level: that of erfc for the P of degree 7 that f32 takes, that of
gelu for the P of degree 2 whose error f16 hides. Of degrees whose leading coefficient is positive none will do: 2^(u · P(u)) would grow
without bound. Prints P from the constant on, and the largest error of gelu in float32 over |x| ≤ 8.
"""
import numpy as np
from scipy.special import erfc

REACH = 4 * np.sqrt(2)
NODES = 4000
ROUNDS = 300

u = 0.5 * REACH * (1 - np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES))
tail = erfc(u / np.sqrt(2))
target = np.log2(tail)


def fit(degree, scale):
    """Coefficients of u · P(u); an error of the logarithm counts as much as scale says."""
    powers = np.stack([u**k for k in range(1, degree + 1)], 1)
    weight = scale.copy()
    for _ in range(ROUNDS):
        coefficients, *_ = np.linalg.lstsq(powers * weight[:, None], target * weight, rcond=None)
        error = np.abs((powers @ coefficients - target) * scale)
        weight = weight * np.sqrt(0.3 + error / error.max())
        weight /= weight.max()
    return coefficients.astype(np.float32)


def report(name, p):
    x = np.linspace(-8, 8, 400001).astype(np.float32)
    series = np.full_like(x, p[-1])
    for coefficient in [*p[-2::-1], np.float32(-1)]:
        series = (series * np.abs(x) + coefficient).astype(np.float32)
    got = np.maximum(x, 0) - np.abs(x) * np.exp2(series).astype(np.float32)
    want = x.astype(np.float64) * 0.5 * erfc(-x.astype(np.float64) / np.sqrt(2))
    print(name, [float(f'{value:.9g}') for value in p], 'largest error', np.abs(got - want).max())


report('f32', fit(8, np.maximum(tail, 1e-3)))
report('f16', fit(3, np.maximum(u * tail, 1e-6)))
