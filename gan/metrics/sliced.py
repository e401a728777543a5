"""The sliced Wasserstein distance: two sets looked at from many directions (Rabin et al. 2011; Bonneel et al. 2015).

    u          a random direction, ||u|| = 1;     X_u, Y_u  the sorted projections of N rows each

    W_1 = mean over directions of  mean_i |X_u(i) - Y_u(i)|

In one dimension the optimal transport is to join in sorted order, so no network and no plan is needed. As `laplacian_descriptors`
and `sliced_wasserstein` it is ProGAN's measure: patches of 7 x 7 pixels of each level of a Laplacian pyramid, normalised for each
colour, 512 directions, times 1,000 (Karras et al. 2018, section 5).

Imports: numpy, minigrad.random.
"""

from __future__ import annotations

import numpy as np

from minigrad.random import Stream

KERNEL = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16  # Burt & Adelson 1983


def sliced_wasserstein(a, b, *, directions: int = 512, power: int = 1, seed: int = 0) -> float:
    """W_p over random directions of a (N, d) and b (N, d), equally many rows: (mean |X_u - Y_u|^power)^(1/power).

    For two points x, y in d dimensions and power 2 it is ||x - y|| / sqrt(d) on average over the sphere."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or a.shape != b.shape or not len(a):
        raise ValueError(f"sliced_wasserstein: needs two sets of one shape (N, d), got {a.shape} and {b.shape}")
    if directions < 1 or power < 1:
        raise ValueError(f"sliced_wasserstein: needs directions >= 1 and power >= 1, got {directions} and {power}")
    stream, total = Stream(seed, "directions"), 0.0
    for first in range(0, directions, 128):
        u = stream.normal((a.shape[1], min(128, directions - first)), np.float64)
        u /= np.linalg.norm(u, axis=0)
        total += (np.abs(np.sort(a @ u, axis=0) - np.sort(b @ u, axis=0)) ** power).mean(0).sum()
    return float((total / directions) ** (1 / power))


def laplacian_pyramid(images, smallest: int = 16) -> list[np.ndarray]:
    """Levels (N, C, H, W), finest first: what each scale adds, and last the smallest picture itself. Summed up again, they are the
    images. The sides must halve without rest down to `smallest` (or the last even side above it)."""
    x, levels = np.asarray(images, np.float64), []
    while min(x.shape[2:]) >= 2 * smallest and not (x.shape[2] % 2 or x.shape[3] % 2):
        small = _blurred(x, 1.0)[:, :, ::2, ::2]
        levels.append(x - _enlarged(small))
        x = small
    return [*levels, x]


def laplacian_descriptors(images, *, patches: int = 128, size: int = 7, smallest: int = 16, seed: int = 0) -> list[np.ndarray]:
    """For each level of the pyramid random patches as rows (N * patches, C * size * size), each colour with mean 0 and std 1."""
    found = []
    for number, level in enumerate(laplacian_pyramid(images, smallest)):
        n, channels, height, width = level.shape
        if min(height, width) < size:
            raise ValueError(f"laplacian_descriptors: patches of {size} do not fit into {height} x {width} pixels")
        stream = Stream(seed, f"patches {number}")
        top, left = (stream.integers(side - size + 1, size=(n * patches, 1, 1)) for side in (height, width))
        rows, columns = top + np.arange(size)[:, None], left + np.arange(size)
        which = np.repeat(np.arange(n), patches)[:, None, None]
        cut = level.transpose(0, 2, 3, 1)[which, rows, columns]  # (P, size, size, C)
        cut = cut - cut.mean((0, 1, 2))
        spread = cut.std((0, 1, 2))
        found.append((cut / np.where(spread > 0, spread, 1.0)).reshape(len(cut), -1))
    return found


def pyramid_distance(real, fake, *, seed: int = 0, **options) -> list[float]:
    """ProGAN's numbers for pictures (N, C, H, W): 1,000 times the sliced distance of each level's descriptors, finest first."""
    pairs = zip(laplacian_descriptors(real, seed=seed, **options), laplacian_descriptors(fake, seed=seed, **options), strict=True)
    return [1000 * sliced_wasserstein(a, b, seed=seed) for a, b in pairs]


def _blurred(x, gain):
    """Each axis with the kernel [1 4 6 4 1]/16, mirrored at the border."""
    for axis in (2, 3):
        wide = np.pad(x, [(2, 2) if i == axis else (0, 0) for i in range(4)], mode="reflect")
        side = x.shape[axis]
        x = sum(weight * np.take(wide, range(k, k + side), axis) for k, weight in enumerate(KERNEL * gain))
    return x


def _enlarged(x):
    """Zeros between the pixels, then blurred with twice the weight along each axis."""
    large = np.zeros((*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3]))
    large[:, :, ::2, ::2] = x
    return _blurred(large, 2.0)
