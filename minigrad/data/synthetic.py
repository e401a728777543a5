"""Sources that are made, not loaded: Gaussian mixtures in the plane, a swiss roll, and pictures with countable parts.

All are functions of (seed, train) alone, with the training and the test set from different streams.
Ring and grid follow the protocol of VEEGAN (Srivastava et al. 2017) and PacGAN (Lin et al. 2018): ring of 8 modes,
radius 1, std 0.01; grid of 25 modes at {-4, -2, 0, 2, 4}^2, std 0.05. A sample is "high quality" within 3 std of one;
of the true mixture 1 - exp(-4.5) = 98.89 % are.

Imports: numpy, minigrad.domains, minigrad.random, dataset.
"""

from __future__ import annotations

import numpy as np

from minigrad.data.dataset import Dataset
from minigrad.domains import COUNT, POSITIVE, WEIGHT, check_all
from minigrad.random import Stream

__all__ = ["count_parts", "grid", "label_parts", "ring", "shapes", "swissroll"]


def ring(*, train=True, limit=None, seed=0, modes=8, radius=1.0, std=0.01) -> Dataset:
    """`modes` Gaussians evenly on a circle; x float32 (N, 2), y the mode. N = limit or 100,000 (test: 10,000)."""
    COUNT.check("ring: modes", modes)
    POSITIVE.check("ring: radius", radius)
    WEIGHT.check("ring: std", std)
    angle = 2 * np.pi * np.arange(modes) / modes  # the end is the beginning and is left out
    centres = radius * np.stack([np.cos(angle), np.sin(angle)], 1)
    return _mixture("ring", centres, std, train, limit, seed)


def grid(*, train=True, limit=None, seed=0, modes=25, spacing=2.0, std=0.05) -> Dataset:
    """Gaussians on a square lattice around 0, `modes` a square number; x float32 (N, 2), y the mode."""
    COUNT.check("grid: modes", modes)
    POSITIVE.check("grid: spacing", spacing)
    WEIGHT.check("grid: std", std)
    side = round(np.sqrt(modes))
    if side * side != modes:
        raise ValueError(f"grid: modes must be a square number such as 16 or 25, got {modes}")
    axis = spacing * (np.arange(side) - (side - 1) / 2)
    centres = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    return _mixture("grid", centres, std, train, limit, seed)


def _mixture(name, centres, std, train, limit, seed) -> Dataset:
    count, stream = _count_and_stream(name, train, limit, seed, 100_000)
    y = stream.child("mode").integers(len(centres), size=count)
    x = centres[y] + std * stream.child("noise").normal((count, 2), np.float64)
    return Dataset(x.astype(np.float32), y, classes=[f"mode {k}" for k in range(len(centres))], name=name,
                   source=f"{len(centres)} Gaussians of std {std}, seed {seed}", centres=centres, std=float(std))


def swissroll(*, train=True, limit=None, seed=0, noise=0.25) -> Dataset:
    """The spiral of Gulrajani et al. 2017: ((t cos t, t sin t) + noise) / 7.5 for t uniform in [1.5 pi, 4.5 pi]."""
    WEIGHT.check("swissroll: noise", noise)
    count, stream = _count_and_stream("swissroll", train, limit, seed, 100_000)
    t = stream.child("angle").uniform(1.5 * np.pi, 4.5 * np.pi, count, np.float64)
    x = np.stack([t * np.cos(t), t * np.sin(t)], 1) + noise * stream.child("noise").normal((count, 2), np.float64)
    return Dataset((x / 7.5).astype(np.float32), name="swissroll", source=f"noise {noise / 7.5:.3g}, seed {seed}")


# ---- pictures with countable parts


def shapes(*, train=True, size=32, limit=None, seed=0, part="discs", count=None, most=5) -> Dataset:
    """White parts on black, uint8 (N, 1, size, size): does a network that has only seen exactly k parts draw exactly k?

    part: "discs", scattered, or "bars", side by side like fingers. No two touch, none touches the border.
    count: the exact number in every picture; None: 1 to `most`, equally often (at most 9 discs, size // 5 bars).
    y: the number of parts minus 1 (its name is in classes). `count_parts` reads the number off a picture again."""
    check_all("shapes", COUNT, size=size, most=most, **({} if count is None else {"count": count}))
    if not 16 <= size <= 256:
        raise ValueError(f"shapes: size must lie between 16 and 256, got {size}")
    limits = {"discs": 9, "bars": size // 5}
    if part not in limits:
        raise ValueError(f"shapes: part must be 'discs' or 'bars', got {part!r}")
    highest = most if count is None else count
    if not 1 <= highest <= limits[part]:
        raise ValueError(f"shapes: between 1 and {limits[part]} {part} fit into {size} px, got {highest}")
    rows, stream = _count_and_stream(f"shapes/{part}", train, limit, seed, 20_000)
    u = stream.child("draws").uniform(size=(rows, 1 + 9 + 4 * limits[part]))
    number = np.full(rows, count) if count is not None else 1 + (u[:, 0] * most).astype(np.int64)
    x = np.zeros((rows, size, size), np.uint8)
    draw = _discs if part == "discs" else _bars
    for start in range(0, rows, 1000):
        block = slice(start, start + 1000)
        x[block] = np.rint(255 * draw(number[block], u[block, 1:10], u[block, 10:], size))
    names = [f"{k} {part if k > 1 else part[:-1]}" for k in range(1, highest + 1)]
    return Dataset(x[:, None], number - 1, classes=names, name="shapes",
                   source=f"{part}, {count or f'1 to {most}'} in a picture, seed {seed}")


def _discs(number, order, u, size):
    """Discs in `number` of the nine cells of a 3 x 3 board, each with its own radius and place inside its cell."""
    cell, pixel = size / 3, np.arange(size, dtype=np.float32)
    rank = order.argsort(1).argsort(1)  # the cells in a random order: the first `number` are used
    picture = np.zeros((len(number), size, size), np.float32)
    for k in range(9):
        radius = cell * (0.20 + 0.20 * u[:, 4 * k])
        # half a pixel of soft edge on each side and a dark pixel between neighbours
        room = np.maximum(0, cell / 2 - radius - 1.0)
        x = cell * (k % 3 + 0.5) + room * (2 * u[:, 4 * k + 1] - 1) - 0.5
        y = cell * (k // 3 + 0.5) + room * (2 * u[:, 4 * k + 2] - 1) - 0.5
        radius = np.minimum(radius, cell / 2 - 1.0)
        away = np.hypot(pixel - x[:, None, None], pixel[:, None] - y[:, None, None])
        disc = np.clip(radius[:, None, None] - away + 0.5, 0, 1)
        picture = np.maximum(picture, disc * (rank[:, k] < number)[:, None, None])
    return picture


def _bars(number, order, u, size):
    """Upright bars in `number` slots of equal width, of different lengths, standing near one line."""
    pixel = np.arange(size, dtype=np.float32)
    slot = (size - 2.0) / np.maximum(number, 3)  # a single bar is not a slab
    left = 1.0 + (size - 2.0 - slot * number) * order[:, 0]
    floor = np.minimum(size * (0.80 + 0.14 * order[:, 1]), size - 1.5)
    picture = np.zeros((len(number), size, size), np.float32)
    for k in range(int(number.max(initial=0))):
        width = np.clip(slot * (0.35 + 0.25 * u[:, 4 * k]), 1.5, slot - 2.0)
        middle = left + slot * (k + 0.5) + (slot - 2.0 - width) / 2 * (2 * u[:, 4 * k + 1] - 1) - 0.5
        top = floor - size * (0.35 + 0.38 * u[:, 4 * k + 2])
        across = np.clip((width / 2)[:, None] - np.abs(pixel - middle[:, None]) + 0.5, 0, 1)
        along = np.clip(np.minimum(pixel - top[:, None] + 0.5, floor[:, None] - pixel + 0.5), 0, 1)
        picture = np.maximum(picture, along[:, :, None] * (across * (k < number)[:, None])[:, None, :])
    return picture


def count_parts(images, threshold: float | None = None) -> np.ndarray:
    """The number of bright 8-connected parts in every picture (N, C, H, W), int64 (N,).

    threshold: brighter is part of something; default the middle of the range, 127.5 for uint8, 0 for floats in [-1, 1]."""
    labels = label_parts(images, threshold)
    born = np.arange(1, labels[0].size + 1, dtype=np.int32).reshape(labels.shape[1:]) if len(labels) else labels
    return (labels == born).sum(axis=(1, 2)).astype(np.int64)  # a part is counted where its number was born


def label_parts(images, threshold: float | None = None) -> np.ndarray:
    """int32 (N, H, W): 0 in the dark, elsewhere a number that all pixels of one bright 8-connected part share, and no other part of
    the picture has: 1 + the place, row by row, of the part's last pixel. threshold as in `count_parts`.

    Each part takes the largest number found in it: neighbours exchange numbers until nothing changes."""
    images = np.asarray(images)
    if images.ndim != 4:
        raise ValueError(f"label_parts: images must be (N, C, H, W), got {images.shape}")
    if threshold is None:
        threshold = 127.5 if images.dtype == np.uint8 else 0.0
    mask = images.max(axis=1, initial=-np.inf if images.dtype.kind == "f" else 0) > threshold
    n, height, width = mask.shape
    own = np.arange(1, height * width + 1, dtype=np.int32).reshape(height, width) * mask
    padded = np.zeros((n, height + 2, width + 2), np.int32)
    inner = padded[:, 1:-1, 1:-1]
    inner[...] = own
    while True:
        before = inner.copy()
        rows = np.maximum(np.maximum(padded[:, :-2], padded[:, 2:]), padded[:, 1:-1])
        np.maximum(np.maximum(rows[..., :-2], rows[..., 2:]), rows[..., 1:-1], out=inner, where=mask)
        if np.array_equal(before, inner):
            return before


def _count_and_stream(name, train, limit, seed, default):
    count = (default if train else 10_000) if limit is None else COUNT.check(f"{name}: limit", limit)
    return count, Stream(seed, f"{name}/{'train' if train else 'test'}")
