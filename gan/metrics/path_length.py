"""Perceptual path length: how far does the picture move when the latent moves a little? (Karras et al. 2019, section 4.1)

    z1, z2   two latents, t uniform in [0, 1),  z(t) between them: on the great circle (`slerp`) or the straight line (`lerp`)
    g, f     the generator, and the features of a network that stands for the eye
    e        a small step, 1e-4

    length = mean of ||f(g(z(t + e))) - f(g(z(t)))||^2 / e^2

The smallest and the largest hundredth of the terms are left out of the mean, as in the authors' programs. The paper takes VGG16
with the weights of LPIPS; here f is the judge's features, so a length belongs to the judge and is no PPL of the literature.

What is a large number? Along a path of any shape the mean of the squared speed is at least the square of the straight way from its
beginning to its end. `of_real` divides by the mean squared distance of two real pictures: below 1 the samples vary less than the
data, and far above 1 the pictures on the way make detours that no real difference asks for. Everything is computed in float64:
e^2 is 1e-8, and in float32 the difference of two features that are nearly equal is rounding.

Imports: numpy, gan.generate, minigrad.domains.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gan.generate import interpolate
from minigrad.domains import LEVEL, SHARE

EPSILON, TRIM = 1e-4, 0.01


class PathLength(NamedTuple):
    """The mean of the terms that were kept, its standard error, and how many they are."""

    mean: float
    error: float
    kept: int


def path_length(features, z1, z2, t, *, epsilon: float = EPSILON, trim: float = TRIM, spherical: bool = True,
                batch: int = 100) -> PathLength:
    """The length of paths between rows of z1 and z2 (N, z), at t (N,) in [0, 1 - epsilon], one term for each row.

    features: latents float64 (n, z) -> features of their pictures float64 (n, d), one row from one row (no batch statistics).
    spherical: for normal latents; False: straight lines, for codes that are no normal draw. ValueError for features that are not
    float64, because differences of 1e-4 drown in float32."""
    z1, z2, t = (np.asarray(x, np.float64) for x in (z1, z2, t))
    LEVEL.check("path_length: epsilon", epsilon)
    SHARE.check("path_length: trim", trim)
    if z1.ndim != 2 or z1.shape != z2.shape or t.shape != z1.shape[:1] or not len(t):
        raise ValueError(f"path_length: z1 and z2 must be (N, z) and t (N,), N >= 1, got {z1.shape}, {z2.shape}, {t.shape}")
    if t.min() < 0 or t.max() > 1 - epsilon:
        raise ValueError(f"path_length: t must lie in [0, 1 - epsilon], got {t.min():.6g} to {t.max():.6g}")
    terms = []
    for i in range(0, len(t), batch):
        rows = slice(i, i + batch)
        here, there = (features(_between(z1[rows], z2[rows], s, spherical)) for s in (t[rows], t[rows] + epsilon))
        if here.dtype != np.float64:
            raise ValueError(f"path_length: features must be float64, got {here.dtype}, in which a step of {epsilon:g} drowns")
        terms.append(((there - here) ** 2).sum(1) / epsilon**2)
    terms = np.concatenate(terms)
    low, high = np.quantile(terms, trim, method="lower"), np.quantile(terms, 1 - trim, method="higher")
    kept = terms[(low <= terms) & (terms <= high)]
    return PathLength(float(kept.mean()), float(kept.std() / np.sqrt(len(kept))), len(kept))


def of_real(length: float, features) -> float:
    """A length as a multiple of the mean squared distance of two real pictures, by their features (M, d): twice the sum of the
    variances. ValueError when they do not vary."""
    spread = 2 * float(np.asarray(features, np.float64).var(0, ddof=1).sum())
    if not spread > 0:
        raise ValueError("of_real: the features of the real pictures do not vary")
    return length / spread


def _between(z1, z2, t, spherical):
    return interpolate(z1, z2, t[:, None]) if spherical else z1 + t[:, None] * (z2 - z1)
