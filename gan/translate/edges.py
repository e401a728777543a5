"""Cartoons whose edges are smoothed, as CartoonGAN's discriminator is shown them among the fakes (Chen, Lai & Liu
2018, section 3.2.1).

A cartoon lives from clear edges, yet they are few pixels: a discriminator that never sees a cartoon without them need not ask for
them. So: find the edges (Canny 1986), widen them, and put in the place of these pixels those of a blurred picture. All on 8 bits.

    grey          (299 R + 587 G + 114 B) / 1000, then blurred as below, so that texture is no edge
    gradient      Sobel: gx = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]] * grey, gy its transpose, the border repeated; size |gx| + |gy|
    thin          a pixel stays if it is larger than its neighbour down the slope and no smaller than the one up the slope; "slope"
                  is one of 8 directions, the nearest to the gradient's. Outside of the picture the size is 0
    linked        sizes above `high`, and sizes above `low` that hang together with them over sides and corners (hysteresis)
    widened       every pixel with an edge in the 5 x 5 around it
    blurred       Gaussian of 5 x 5, sigma 1.1, reflected at the border; its weights are k / 256, so sums are exact

Everything is whole numbers, so turning or mirroring a picture turns or mirrors what comes out, to the bit.

Imports: numpy, minigrad.domains.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad.domains import WEIGHT

LOW, HIGH = 100, 200  # of |gx| + |gy| for grey from 0 to 255, as the re-implementations have it; a step of 255 gives 1020
REACH = 2  # pixels to each side: windows of 5 x 5
SIGMA = 1.1  # 0.3 ((5 - 1) / 2 - 1) + 0.8: what a Gaussian of five taps has where nobody says
ROWS = 64  # pictures that are worked on at once


def smooth_edges(images, low: float = LOW, high: float = HIGH) -> np.ndarray:
    """uint8 (N, C, H, W) -> the same with smoothed edges; pixels that are 3 or more away from each edge are unchanged."""
    images = _checked("smooth_edges", images)
    out = images.copy()  # in the memory order of images
    for start in range(0, len(images), ROWS):
        part = images[start : start + ROWS]
        wide = dilate(canny(grey(part), low, high))[:, None]
        out[start : start + ROWS] = np.where(wide, gaussian(part), part)
    return out


def canny(grey, low: float = LOW, high: float = HIGH) -> np.ndarray:
    """uint8 (N, H, W) -> bool (N, H, W), true at edges of one pixel's width. ValueError unless 0 <= low <= high."""
    if not WEIGHT.check("canny: low", low) <= WEIGHT.check("canny: high", high):
        raise ValueError(f"canny: needs low <= high, got {low} and {high}")
    size = thin(*sobel(gaussian(grey[:, None])[:, 0]))
    return linked(size > low, size > high)


def grey(images) -> np.ndarray:
    """uint8 (N, 1 or 3, H, W) -> uint8 (N, H, W)."""
    if images.shape[1] == 1:
        return images[:, 0]
    r, g, b = (images[:, i].astype(np.int32) for i in range(3))
    return ((299 * r + 587 * g + 114 * b + 500) // 1000).astype(np.uint8)


def sobel(grey) -> tuple[np.ndarray, np.ndarray]:
    """(gx, gy), int32 (N, H, W) each: 8 times the derivative to the right and downwards."""
    x = np.pad(np.asarray(grey, np.int32), ((0, 0), (1, 1), (1, 1)), "edge")
    down = x[:, :-2] + 2 * x[:, 1:-1] + x[:, 2:]
    across = x[:, :, :-2] + 2 * x[:, :, 1:-1] + x[:, :, 2:]
    return down[:, :, 2:] - down[:, :, :-2], across[:, 2:] - across[:, :-2]


def thin(gx, gy) -> np.ndarray:
    """|gx| + |gy| where it is the largest along the slope, else 0: ridges of one pixel's width."""
    size = np.abs(gx) + np.abs(gy)
    height, width = size.shape[1:]
    around = np.pad(size, ((0, 0), (1, 1), (1, 1)))
    flat, steep = math.tan(math.pi / 8), math.tan(3 * math.pi / 8)
    dx = np.where(np.abs(gy) > steep * np.abs(gx), 0, np.sign(gx))  # one of the 8 directions, up the slope
    dy = np.where(np.abs(gy) < flat * np.abs(gx), 0, np.sign(gy))
    kept = np.zeros_like(size)
    for right in (-1, 0, 1):
        for below in (-1, 0, 1):
            if right or below:
                up = around[:, 1 + below : 1 + below + height, 1 + right : 1 + right + width]
                down = around[:, 1 - below : 1 - below + height, 1 - right : 1 - right + width]
                here = (dx == right) & (dy == below) & (size > down) & (size >= up)
                kept[here] = size[here]
    return kept


def linked(candidates, sure) -> np.ndarray:
    """bool (N, H, W): the candidates that hang together with a sure one over sides and corners."""
    found = candidates & sure
    while True:
        more = candidates & dilate(found, 1)
        if np.array_equal(more, found):
            return found
        found = more


def dilate(mask, reach: int = REACH) -> np.ndarray:
    """bool (N, H, W): true where the square of 2 * reach + 1 pixels around holds a true one."""
    height, width = mask.shape[1:]
    x = np.pad(mask, ((0, 0), (reach, reach), (reach, reach)))
    x = np.logical_or.reduce([x[:, i : i + height] for i in range(2 * reach + 1)])
    return np.logical_or.reduce([x[:, :, i : i + width] for i in range(2 * reach + 1)])


def gaussian(images) -> np.ndarray:
    """uint8 (N, C, H, W) -> uint8, blurred by 5 x 5 weights of `taps`, rounded once, at the end."""
    weights, (height, width) = taps(), images.shape[2:]
    x = np.pad(images.astype(np.int32), ((0, 0), (0, 0), (REACH, REACH), (REACH, REACH)), "reflect")
    x = sum(int(w) * x[:, :, i : i + height] for i, w in enumerate(weights))
    x = sum(int(w) * x[:, :, :, i : i + width] for i, w in enumerate(weights))
    return ((x + (1 << 15)) >> 16).astype(np.uint8)


def taps(sigma: float = SIGMA) -> np.ndarray:
    """exp(-i^2 / (2 sigma^2)) for i = -2 .. 2 in 256ths; the middle takes what rounding leaves, so that they add up to 256."""
    w = np.exp(-np.arange(-REACH, REACH + 1) ** 2 / (2 * sigma**2))
    w = np.rint(256 * w / w.sum()).astype(int)
    w[REACH] += 256 - w.sum()
    return w


def clear_share(images, low: float = 20, high: float = HIGH) -> float:
    """How sharp edges are: of all pixels that lie on a ridge of the gradient higher than `low`, the share that is higher than
    `high`. uint8 (N, C, H, W). Soft edges and texture make many low ridges, drawn lines few and high ones."""
    low_ones = high_ones = 0
    images = _checked("clear_share", images)
    for start in range(0, len(images), ROWS):
        size = thin(*sobel(grey(images[start : start + ROWS])))
        low_ones, high_ones = low_ones + int((size > low).sum()), high_ones + int((size > high).sum())
    return high_ones / low_ones if low_ones else 0.0


def _checked(name, images):
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3) or min(images.shape[2:]) <= REACH:
        raise ValueError(f"{name}: needs pictures uint8 (N, 1 or 3, H, W) of at least {REACH + 1} pixels, got {images.dtype} "
                         f"{images.shape}")
    return images
