"""The kernel distance between two sets of features: their maximum mean discrepancy (Binkowski et al. 2018, "KID" on Inception).

    x_i, y_j     features (N, d) and (M, d)
    k(a, b)      (a.b / d + 1)^3

    MMD^2 = mean over i != j of k(x_i, x_j) + mean over i != j of k(y_i, y_j) - 2 mean of k(x_i, y_j)

(Gretton et al. 2012, equation 3). Without the terms i = j the estimate is unbiased: its mean is the same for every N, it is 0 for
equal distributions, and single values may lie below 0. So it suits few samples, where the Frechet distance is biased upwards.

Imports: numpy, minigrad.random.
"""

from __future__ import annotations

import numpy as np

from minigrad.random import Stream


def polynomial_kernel(a, b, degree: int = 3, coefficient: float = 1.0) -> np.ndarray:
    """(a_i . b_j / d + coefficient)^degree, (N, M)."""
    base = a @ b.T / a.shape[1] + coefficient
    kernel = base
    for _ in range(degree - 1):  # ** would take a logarithm for each number
        kernel = kernel * base
    return kernel


def mmd2(x, y, kernel=polynomial_kernel) -> float:
    """The unbiased estimate of MMD^2 of features (N, d) and (M, d), in float64; ValueError with fewer than two rows."""
    x, y = _features("mmd2", x, y, 2)
    n, m = len(x), len(y)
    own = sum((k.sum() - np.trace(k)) / (size * (size - 1)) for k, size in ((kernel(x, x), n), (kernel(y, y), m)))
    return float(own - 2 * kernel(x, y).mean())


def kernel_distance(x, y, *, subsets: int = 100, size: int = 1000, seed: int = 0) -> tuple[float, float]:
    """(mean, standard deviation) of MMD^2 over `subsets` random subsets of `size` rows of either set, drawn without replacement.

    100 subsets of 1,000 is the protocol of the paper and of torch-fidelity. A set with fewer rows is taken whole. The number
    belongs to the network that made the features: it is called KID for Inception's only."""
    x, y = _features("kernel_distance", x, y, 2)
    if subsets < 1 or size < 2:
        raise ValueError(f"kernel_distance: needs subsets >= 1 and size >= 2, got {subsets} and {size}")
    stream, found = Stream(seed, "kernel distance"), []
    for _ in range(subsets):
        found.append(mmd2(*(z[stream.permutation(len(z))[:size]] for z in (x, y))))
    return float(np.mean(found)), float(np.std(found))


def _features(name, x, y, least):
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < least:
        raise ValueError(f"{name}: features {x.shape} and {y.shape} must be (N, d) and (M, d) with N, M >= {least}")
    return x, y
