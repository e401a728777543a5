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

from gan.metrics.nearest import in_blocks


class PRDC(NamedTuple):
    """Shares, all but density in [0, 1]."""

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(real, fake, k: int = 5) -> PRDC:
    """The four numbers of features real (N, d) and fake (M, d). k: 5 is usual here, 3 for precision and recall alone.

    Distances come in blocks, so that memory does not grow with N M. ValueError when a set has not more than k rows."""
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    if k < 1 or min(len(real), len(fake)) <= k:
        raise ValueError(f"prdc: needs k >= 1 and more than k rows in both sets, got k={k}, {len(real)} and {len(fake)} rows")
    balls_real, balls_fake = radii(real, k), radii(fake, k)
    precise, recalled, covered, inside = np.zeros(len(fake), bool), [], [], 0
    for rows, away in in_blocks(real, fake):
        held = away <= balls_real[rows, None]  # y_j in the ball of x_i
        precise |= held.any(0)
        inside += int(held.sum())
        covered.append(held.any(1))
        recalled.append((away <= balls_fake).any(1))
    return PRDC(precision=float(precise.mean()), recall=float(np.concatenate(recalled).mean()), density=inside / (k * len(fake)),
                coverage=float(np.concatenate(covered).mean()))


def radii(features, k: int) -> np.ndarray:
    """The distance from each row to its k-th nearest neighbour among the other rows, (N,)."""
    return np.concatenate([np.partition(away, k - 1, axis=1)[:, k - 1] for _, away in in_blocks(features)])


def expected_coverage(real: int, fake: int, k: int) -> float:
    """Coverage of two sets of the same continuous distribution, on average: a ball holds no fake when the k nearest of all
    real and fake neighbours of its centre are real (Naeem et al. 2020, lemma 2)."""
    steps = np.arange(1, k + 1)
    return float(1 - np.prod((real - steps) / (real + fake - steps)))
