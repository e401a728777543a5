"""Precision, recall, density, coverage: are the samples good, and is everything there? (PRDC)

    x_i, y_j   features of N real images and M generated ones
    R_i, S_j   distance from x_i to its k-th nearest neighbour among the other x; the same for y_j among the other y

    precision   share of y_j that lie in the ball of at least one x_i             (Kynkaanniemi et al. 2019, equation 1 to 3)
    recall      share of x_i that lie in the ball of at least one y_j
    density     1/(k M) sum_j #{i: y_j in the ball of x_i}: may exceed 1          (Naeem et al. 2020, equations 4 and 5)
    coverage    share of x_i whose ball holds at least one y_j

A ball holds what is at most R_i away. One outlier makes precision high, because its ball is large; density and coverage were
made against that. For equal distributions density is 1 on average, and coverage is `expected_coverage`:

    1 - (N-1)...(N-k) / ((M+N-1)...(M+N-k))

Imports: numpy, nearest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gan.metrics.nearest import distances


class PRDC(NamedTuple):
    """Shares, all but density in [0, 1]."""

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(real, fake, k: int = 5) -> PRDC:
    """The four numbers of features real (N, d) and fake (M, d). k: 5 is usual here, 3 for precision and recall alone.

    Memory for N x M distances. ValueError when a set has not more than k rows."""
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    if k < 1 or min(len(real), len(fake)) <= k:
        raise ValueError(f"prdc: needs k >= 1 and more than k rows in both sets, got k={k}, {len(real)} and {len(fake)} rows")
    between = distances(real, fake)
    balls_real, balls_fake = radii(real, k), radii(fake, k)
    inside = between <= balls_real[:, None]  # y_j in the ball of x_i
    return PRDC(precision=float(inside.any(0).mean()), recall=float((between <= balls_fake).any(1).mean()),
                density=float(inside.sum() / (k * len(fake))), coverage=float(inside.any(1).mean()))


def radii(features, k: int) -> np.ndarray:
    """The distance from each row to its k-th nearest neighbour among the other rows, (N,)."""
    away = distances(features, features)
    np.fill_diagonal(away, np.inf)
    return np.partition(away, k - 1, axis=1)[:, k - 1]


def expected_coverage(real: int, fake: int, k: int) -> float:
    """Coverage of two sets of the same continuous distribution, on average: a ball holds no fake when the k nearest of all
    real and fake neighbours of its centre are real (Naeem et al. 2020, lemma 2)."""
    steps = np.arange(1, k + 1)
    return float(1 - np.prod((real - steps) / (real + fake - steps)))
