"""Numbers from nearest neighbours: can the sets be told apart, does the generator repeat itself, does it copy?

    two_sample      1-nearest-neighbour test: 1/2 for equal distributions       (Lopez-Paz & Oquab 2017; Xu et al. 2018)
    birthday        duplicates in a batch, and the size of the support they imply   (Arora & Zhang 2018)
    nearest         the training image next to each sample, and how near
    memorisation    are samples nearer to the training set than held-out images are?

All take features or pixels (N, d) and compare by Euclidean distance in float64. In pixels, distances say little of what a picture
shows; in a classifier's features they do.

Imports: numpy.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


def distances(a, b) -> np.ndarray:
    """||a_i - b_j|| (N, M), from ||a||^2 + ||b||^2 - 2 a.b around the mean of b, which keeps the digits that cancel few.

    Pairs that come out below 1e-6 of the norms are computed anew from their difference, so that a duplicate is at 0 exactly."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not len(a) or not len(b):
        raise ValueError(f"distances: {a.shape} and {b.shape} must be (N, d) and (M, d), none empty")
    middle = b.mean(0)
    a, b = a - middle, b - middle
    norm_a, norm_b = (a * a).sum(1), (b * b).sum(1)
    squares = norm_a[:, None] + norm_b - 2 * (a @ b.T)
    for i, j in np.argwhere(squares <= 1e-12 * (norm_a[:, None] + norm_b)):
        squares[i, j] = ((a[i] - b[j]) ** 2).sum()
    return np.sqrt(np.maximum(squares, 0.0))


class TwoSample(NamedTuple):
    """Shares of leave-one-out answers that were right: of all, of the real, of the fake."""

    accuracy: float
    real: float
    fake: float


def two_sample(real, fake) -> TwoSample:
    """How often the nearest neighbour of a row, among all the others, is of its own set; both sets of equal size.

    1/2 for equal distributions (with standard deviation about 0.5 / sqrt(2N) and more), 1 when the sets lie apart, near 0 when each
    fake copies a real one. The two shares tell what their mean hides: with collapse onto real images `real` falls, `fake` rises.
    """
    real, fake = np.asarray(real), np.asarray(fake)
    if len(real) != len(fake) or len(real) < 2:
        raise ValueError(f"two_sample: needs two sets of equally many rows, two at least, got {len(real)} and {len(fake)}")
    both = np.concatenate([real, fake])
    away = distances(both, both)
    np.fill_diagonal(away, np.inf)
    right = (away.argmin(1) < len(real)) == (np.arange(len(both)) < len(real))
    return TwoSample(float(right.mean()), float(right[: len(real)].mean()), float(right[len(real) :].mean()))


class Birthday(NamedTuple):
    """`pairs` closer than the limit among `count` samples; `support` about so many different ones, infinite without a pair."""

    pairs: int
    count: int
    nearest: np.ndarray  # (P, 2): the closest pairs, to be looked at
    support: float


def birthday(samples, limit: float, show: int = 10) -> Birthday:
    """Duplicates among samples: pairs at most `limit` apart, and what they say of the number of different samples.

    A generator that draws evenly from S different samples gives C(N, 2)/S pairs in N draws on average; uneven draws give more, so
    N (N - 1)/(2 pairs) estimates S from below. (The paper asks at which N a pair appears with probability 1/2: about sqrt(S).)
    limit: below it two pictures count as one; look at the pairs in `nearest` before believing the number."""
    away = distances(samples, samples)
    count = len(away)
    i, j = np.triu_indices(count, 1)
    order = np.argsort(away[i, j], kind="stable")[:show]
    pairs = int((away[i, j] <= limit).sum())
    return Birthday(pairs, count, np.stack([i[order], j[order]], 1), count * (count - 1) / 2 / pairs if pairs else math.inf)


def nearest(samples, training, block: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """(index of the nearest training row, its distance) for each sample, (N,) and (N,)."""
    samples = np.asarray(samples)
    index, away = np.empty(len(samples), np.int64), np.empty(len(samples))
    for i in range(0, len(samples), block):
        part = distances(samples[i : i + block], training)
        index[i : i + block], away[i : i + block] = part.argmin(1), part.min(1)
    return index, away


def memorisation(samples, training, held_out) -> float:
    """Median distance from a sample to its nearest training image, as a share of the same for held-out images.

    About 1 for new samples of the same distribution; 0 for copies. Below 0.5 is suspicious."""
    usual = float(np.median(nearest(held_out, training)[1]))
    if usual == 0:
        raise ValueError("memorisation: most held-out images lie in the training set themselves")
    return float(np.median(nearest(samples, training)[1])) / usual
