"""Numbers from nearest neighbours: can the sets be told apart, does the generator repeat itself, does it copy?

    two_sample      1-nearest-neighbour test: 1/2 for equal distributions       (Lopez-Paz & Oquab 2017; Xu et al. 2018)
    birthday        duplicates in a batch, and the size of the support they imply   (Arora & Zhang 2018)
    nearest         the training image next to each sample, and how near
    memorisation    are samples nearer to the training set than held-out images are?

All take features or pixels (N, d) and compare by Euclidean distance in float64. In pixels, distances say little of what a picture
shows; in a classifier's features they do. No function holds all N x M distances: they come in blocks of `BLOCK` numbers.

Imports: numpy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

BLOCK = 1 << 22  # distances at once: 32 MB, and a few times that while they are made


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


def in_blocks(a, b=None) -> Iterator[tuple[slice, np.ndarray]]:
    """(rows of a, their distances to all of b): `distances` in parts of about BLOCK numbers. Without b the rows of a among
    themselves, each infinitely far from itself."""
    a = np.asarray(a, np.float64)
    other = a if b is None else np.asarray(b, np.float64)
    step = max(1, BLOCK // max(1, len(other)))
    for i in range(0, len(a), step):
        away = distances(a[i : i + step], other)
        if b is None:
            own = np.arange(len(away))
            away[own, i + own] = np.inf
        yield slice(i, i + len(away)), away


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
    neighbour = np.concatenate([away.argmin(1) for _, away in in_blocks(both)])
    right = (neighbour < len(real)) == (np.arange(len(both)) < len(real))
    return TwoSample(float(right.mean()), float(right[: len(real)].mean()), float(right[len(real) :].mean()))


class Birthday(NamedTuple):
    """`pairs` closer than the limit among `count` samples; `support` about so many different ones, infinite without a pair."""

    pairs: int
    count: int
    nearest: np.ndarray  # (P, 2): the closest pairs, to be looked at
    away: np.ndarray     # (P,): how far apart they are
    support: float


def birthday(samples, limit: float, show: int = 10) -> Birthday:
    """Duplicates among samples: pairs at most `limit` apart, and what they say of the number of different samples.

    A generator that draws evenly from S different samples gives C(N, 2)/S pairs in N draws on average; uneven draws give more, so
    N (N - 1)/(2 pairs) estimates S from below. (The paper asks at which N a pair appears with probability 1/2: about sqrt(S).)
    limit: below it two pictures count as one; look at the pairs in `nearest` before believing the number."""
    pairs, close = 0, np.empty((0, 3))
    for rows, away in in_blocks(samples):
        away[np.arange(away.shape[1]) <= np.arange(rows.start, rows.stop)[:, None]] = np.inf  # each pair once
        pairs += int((away <= limit).sum())
        near = np.argpartition(away, min(show, away.size - 1), axis=None)[:show] if show else np.empty(0, np.int64)
        i, j = np.unravel_index(near, away.shape)
        close = np.concatenate([close, np.stack([away[i, j], rows.start + i, j], 1)])
        close = close[np.lexsort(close.T[::-1])][:show]
    close = close[np.isfinite(close[:, 0])]
    count = len(samples)
    return Birthday(pairs, count, close[:, 1:].astype(np.int64), close[:, 0],
                    count * (count - 1) / 2 / pairs if pairs else math.inf)


def nearest(samples, training) -> tuple[np.ndarray, np.ndarray]:
    """(index of the nearest training row, its distance) for each sample, (N,) and (N,)."""
    parts = [(away.argmin(1), away.min(1)) for _, away in in_blocks(samples, training)]
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def memorisation(samples, training, held_out) -> float:
    """Median distance from a sample to its nearest training image, as a share of the same for held-out images.

    About 1 for new samples of the same distribution; 0 for copies. Below 0.5 is suspicious."""
    usual = float(np.median(nearest(held_out, training)[1]))
    if usual == 0:
        raise ValueError("memorisation: most held-out images lie in the training set themselves")
    return float(np.median(nearest(samples, training)[1])) / usual
