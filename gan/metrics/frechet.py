"""The Frechet distance between normal distributions (Heusel et al. 2017, equation 6).

    m1, m2    means of two sets of features, (d,)
    S1, S2    their covariances, (d, d)

    ||m1 - m2||^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))

Imports: numpy.
"""

from __future__ import annotations

import numpy as np


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance between normal distributions fitted to the rows of a (N, d) and b (M, d), in float64.

    Raises ValueError with fewer than two rows. Below about 10 d rows the estimate is biased upwards noticeably.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"frechet_distance: features {a.shape} and {b.shape} must be (N, d) and (M, d) with N, M >= 2")
    s1, s2 = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    # the eigenvalues of S1 S2 are real and not negative up to rounding; their roots sum to tr (S1 S2)^(1/2)
    roots = np.sqrt(np.maximum(np.linalg.eigvals(s1 @ s2).real, 0.0)).sum()
    distance = float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(s1) + np.trace(s2) - 2 * roots)
    return max(0.0, distance)  # it is none below 0; rounding may be


def disjoint(order: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two equally large parts of an order (N,) of images, the reference and the floor: its beginning and its end, `count` of each,
    or half of N where that is less, so that no image is in both. ValueError with fewer than four images."""
    size = min(count, len(order) // 2)
    if size < 2:
        raise ValueError(f"a Frechet distance and its floor need two disjoint sets of at least 2 real images each; there are "
                         f"{len(order)} images, and a count of {count}. Take data with more, or a larger --count")
    return order[:size], order[-size:]
