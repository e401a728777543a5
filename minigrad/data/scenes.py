"""Landscapes made here, as a photograph (a) and as a frame of a cartoon (b) would show them: two domains for `gan cartoon`.

Both are drawn from the same numbers: hills, a lake or a meadow, a house, trees, the sun. What differs is how:

    photographs   edges as soft as a lens makes them, light that falls from one side, texture in everything, haze far away
    cartoons      one flat colour in each part, and a dark line around it

So the true cartoon of each test photograph is known: the test set is `Paired`. No training photograph has its partner among the
training cartoons.

Imports: numpy, minigrad.domains, minigrad.random, dataset.
"""

from __future__ import annotations

import numpy as np

from minigrad.data.dataset import Dataset, Pair, Paired
from minigrad.domains import COUNT
from minigrad.random import Stream

TESTED, TRAINED = 256, 1000  # scenes of each kind
NUMBERS = 22  # that a scene is drawn from
INK = np.array([0.10, 0.08, 0.12], np.float32)


def scenes(*, train=True, size=32, limit=None, seed=0) -> Pair:
    """Photographs (a) and cartoons (b) of landscapes, uint8 (N, 3, size, size): 1,000 of each to train on, 256 drawn twice to test.

    size: from 16 to 256. ValueError for others."""
    COUNT.check("scenes: size", size)
    if not 16 <= size <= 256:
        raise ValueError(f"scenes: size must lie between 16 and 256, got {size}")
    rows = (TRAINED if train else TESTED) if limit is None else COUNT.check("scenes: limit", limit)
    sides = []
    for name, inked in (("photographs", False), ("cartoons", True)):
        stream = Stream(seed, f"scenes/{name if train else 'test'}")
        numbers = stream.uniform(size=(rows, NUMBERS)).astype(np.float32)
        grain = None if inked else texture(Stream(seed, f"scenes/grain/{train}"), rows, size)
        x = np.rint(255 * drawn(numbers, size, grain)).astype(np.uint8)
        sides.append(Dataset(x, name=name, source=f"{name} of scenes, made here, seed {seed}"))
    return (Pair if train else Paired)(*sides)


def texture(stream, rows: int, size: int) -> np.ndarray:
    """(rows, size, size) float32 of mean 0 and standard deviation about 1: noise at three scales, as leaves and waves have."""
    total = np.zeros((rows, size, size), np.float32)
    for step, weight in ((1, 0.7), (2, 0.6), (4, 0.45)):
        side = -(-size // step)
        total += weight * stream.normal((rows, side, side)).repeat(step, 1).repeat(step, 2)[:, :size, :size].astype(np.float32)
    return total


def drawn(u, size: int, grain=None) -> np.ndarray:
    """u (N, NUMBERS) in [0, 1] -> pictures (N, 3, size, size) in [0, 1]: photographs with the texture `grain`, cartoons without."""
    pixel = (np.arange(size, dtype=np.float32) + 0.5) / size
    y, x = pixel[None, :, None], pixel[None, None, :]
    u = u.T[:, :, None, None]  # u[k] is one number of every scene: (N, 1, 1)
    soft, line = (1.0 if grain is None else 2.2) / size, 0.008 - 0.1 / size  # a line of 1.2 pixels at 32, of 1.8 at 64
    picture = np.zeros((u.shape[1], 3, size, size), np.float32)

    def paint(distance, colour, rough=0.0, light=0.0, outline=True):
        """A part: where distance < 0. colour (3 of (N, 1, 1)); rough: how much texture a photograph shows on it, light: from the
        left to the right."""
        colour = np.stack(np.broadcast_arrays(*colour), 1) + np.zeros_like(picture)
        if grain is not None:
            colour = colour * (1 + 0.7 * rough * grain + light * (0.5 - x + 0.4 * (0.5 - y)))[:, None]
        inside = np.clip(0.5 - distance / soft, 0, 1)[:, None]
        picture[...] = picture * (1 - inside) + colour * inside
        if grain is None and outline:
            ink = np.clip(1 - (np.abs(distance) - line) * size, 0, 1)[:, None]
            picture[...] = picture * (1 - ink) + INK[:, None, None] * ink

    everywhere = np.full((u.shape[1], size, size), -1, np.float32)
    paint(everywhere, (0.45 + 0.3 * u[0] + 0.25 * y * (grain is not None), 0.62 + 0.2 * u[0] + 0.1 * y * (grain is not None),
                       0.88 + 0 * y), 0.015, outline=False)
    paint(np.hypot(x - u[1], y - 0.08 - 0.15 * u[2]) - 0.06 - 0.03 * u[3], (0.98 + 0 * y, 0.9 + 0 * y, 0.55 + 0.3 * u[4]), 0.01)
    far = 0.34 + 0.12 * u[5] + 0.07 * np.sin(6.3 * (x * (1 + u[6]) + u[7])) + 0.03 * np.sin(17 * x + 6.3 * u[8])
    paint(far - y + 0 * x, (0.38 + 0.2 * u[9], 0.45 + 0.12 * u[9], 0.55 + 0.1 * u[9]), 0.10, 0.5)
    near = 0.55 + 0.12 * u[10] + 0.05 * np.sin(6.3 * (x * (0.6 + u[11]) + u[12]))
    paint(near - y + 0 * x, (0.22 + 0.25 * u[13], 0.45 + 0.2 * u[13], 0.16 + 0.1 * u[13]), 0.20, 0.5)
    shore = 0.82 + 0.12 * u[14]
    paint(shore + 0.02 * np.sin(9 * x + 6.3 * u[12]) - y, (0.25 + 0.1 * u[0], 0.45 + 0.15 * u[0], 0.62 + 0.2 * u[0]), 0.09, 0.3)

    left, wide, tall = 0.1 + 0.55 * u[15], 0.11 + 0.06 * u[16], 0.10 + 0.05 * u[17]
    ground = near + 0.10 + 0.04 * u[10]
    ground = ground.mean((1, 2), keepdims=True)
    wall = np.maximum(np.abs(x - left - wide) - wide, np.abs(y - ground + tall) - tall)
    paint(wall, (0.85 - 0.25 * u[18], 0.78 - 0.3 * u[18], 0.66 - 0.3 * u[18]), 0.10, 0.9)
    slope = (np.abs(x - left - wide) * tall / (wide + 0.03) + (ground - 2 * tall) - y - tall) * 0.75
    roof = np.maximum(slope, y - (ground - 2 * tall))
    paint(roof, (0.62 + 0.2 * u[19], 0.26 + 0 * y, 0.2 + 0 * y), 0.16, 0.9)
    for side, number in ((0.12, 20), (0.88, 21)):
        middle, crown = side + 0.1 * (u[number] - 0.5), 0.09 + 0.06 * u[number]
        foot = 0.72 + 0.12 * u[number]
        trunk = np.maximum(np.abs(x - middle) - 0.016, np.abs(y - foot + 0.1) - 0.1)
        paint(trunk, (0.36 + 0 * y, 0.24 + 0 * y, 0.14 + 0 * y), 0.2, 0.5)
        paint(np.hypot(x - middle, (y - foot + 0.2 + crown * 0.5) * 0.85) - crown,
              (0.12 + 0.15 * u[4], 0.36 + 0.2 * u[4], 0.12 + 0 * y), 0.32, 0.9)
    return np.clip(picture, 0, 1)
