"""Which modes does a generator reach, and how much of what it draws lies in one? Counting as VEEGAN and PacGAN do.

    c_k, s    centres and standard deviation of the modes of a mixture of equal Gaussians in the plane
    x_i       N samples
    d_i       the distance from x_i to its nearest centre

A sample is of high quality where d_i < 3 s. A mode is found when at least one such sample has it as its nearest (VEEGAN,
Srivastava et al. 2017, section 5.1; PacGAN, Lin et al. 2018, section 4.1, counts alike, with N = 2,500). The reverse
Kullback-Leibler divergence is taken over the modes: each sample, good or not, counts for its nearest; q_k is its share there and
p_k = 1/K the truth:

    KL(q || p) = sum_k q_k log(q_k K)

Beside each number stands what the truth itself scores: of true samples 1 - exp(-4.5) = 98.89 % are of high quality (`HIGHEST`), and
KL of N true samples is (K - 1)/(2 N) on average (`floor`). More than 98.89 % means that the modes are drawn too small.

Imports: numpy.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

WITHIN = 3.0  # standard deviations
HIGHEST = 1 - math.exp(-(WITHIN**2) / 2)


class Modes(NamedTuple):
    """What `count_modes` found. All but `found` and `of` are shares or nats."""

    found: int
    of: int
    high_quality: float
    reverse_kl: float
    spread: float  # of high-quality samples around their mode's centre, as a multiple of the true std; NaN for a curve
    histogram: np.ndarray  # q_k (K,)

    def __str__(self):
        return f"{self.found} of {self.of} modes, {100 * self.high_quality:.1f} % high quality, reverse KL {self.reverse_kl:.4f}"


def count_modes(samples, centres, std: float, within: float = WITHIN) -> Modes:
    """Modes of samples (N, 2) against the mixture of equal Gaussians at `centres` (K, 2). ValueError without a finite sample."""
    samples, centres = np.asarray(samples, np.float64), np.asarray(centres, np.float64)
    if samples.ndim != 2 or centres.ndim != 2 or samples.shape[1] != centres.shape[1] or not len(samples) or std <= 0:
        raise ValueError(f"count_modes: samples {samples.shape} and centres {centres.shape} must be (N, D) and (K, D), N >= 1, and "
                         f"std > 0, got {std}")
    if not np.isfinite(samples).all():
        raise ValueError("count_modes: the samples hold NaN or infinity")
    away = np.sqrt(((samples[:, None] - centres) ** 2).sum(-1))
    nearest, good = away.argmin(1), away.min(1) < within * std
    spreads = [np.sqrt((away[good & (nearest == k), k] ** 2).mean() / samples.shape[1]) / std for k in np.unique(nearest[good])]
    return _report(nearest, good, len(centres), float(np.mean(spreads)) if spreads else math.nan)


def count_pieces(samples, curve, std: float, pieces: int = 25, within: float = WITHIN) -> Modes:
    """The same for data along a curve, given as points (K, 2) of equal share: pieces of equally many points take the place of
    modes, and a sample is of high quality within 3 std of the curve. (Across a straight line 99.73 % of true samples are.)"""
    samples, curve = np.asarray(samples, np.float64), np.asarray(curve, np.float64)
    nearest, away = np.empty(len(samples), np.int64), np.empty(len(samples))
    for i in range(0, len(samples), 500):
        squares = ((samples[i : i + 500, None] - curve) ** 2).sum(-1)
        nearest[i : i + 500], away[i : i + 500] = squares.argmin(1), np.sqrt(squares.min(1))
    return _report(nearest * pieces // len(curve), away < within * std, pieces, math.nan)


def _report(nearest, good, count, spread) -> Modes:
    share = np.bincount(nearest, minlength=count) / len(nearest)
    return Modes(len(np.unique(nearest[good])), count, float(good.mean()), kl_from_uniform(share), spread, share)


def kl_from_uniform(share) -> float:
    """KL(share || uniform) = sum_k q_k log(q_k K), in nats: 0 for equal shares, log K when all is one mode."""
    share = np.asarray(share, np.float64)
    some = share[share > 0]
    return max(0.0, float((some * np.log(some * share.size)).sum()))


def floor(count: int, modes: int) -> float:
    """What `reverse_kl` of `count` true samples is on average: (K - 1)/(2 N), to first order in 1/N."""
    return (modes - 1) / (2 * count)


def stacked_modes(labels, classes: int = 10) -> tuple[int, float]:
    """(modes found, KL from uniform in nats) of stacked digits: labels (N, C), a classifier's answer for each of the C channels.

    A mode is a combination of digits: classes**C of them, 1,000 for three channels (Metz et al. 2017, section 3.3.1). It is found
    when at least one sample shows it. The floor of the divergence for N true samples is `floor(N, classes**C)`."""
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.dtype.kind not in "iu" or not len(labels):
        raise ValueError(f"stacked_modes: labels must be integers (N, channels) with N >= 1, got {labels.dtype} {labels.shape}")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"stacked_modes: labels must lie in [0, {classes}), got {labels.min()} to {labels.max()}")
    mode = labels @ (classes ** np.arange(labels.shape[1]))
    count = np.bincount(mode, minlength=classes ** labels.shape[1])
    return int((count > 0).sum()), kl_from_uniform(count / len(labels))
