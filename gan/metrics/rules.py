"""Do the pictures keep the rule of `shapes`? Decided from the picture alone, because nobody knows what a sample was meant to be.

Every picture of `minigrad.data` "shapes" keeps four rules:

    number   it has one of the allowed numbers of parts (8-connected, `parts`)
    border   no part touches the border
    form     every part is a disc, or an upright bar that stands on one line with the others; none too small or too large
    grey     what is not a part's soft edge is black or white

    broken = share of pictures that break at least one of them: 0 for the data itself

A disc has the least second moment of all forms of its area A. With r the distance from its centre, weighted by brightness,

    roundness = 2 pi mean(r^2) / A  >= 1,  and 1 for a disc only

so one number finds a dent, a hole, an ellipse and two discs grown together. A bar fills its box, which its moments give:
12 sqrt(var_x var_y) / A = 1, cov_xy = 0. The soft edge of one pixel adds 1/12 to either variance, and is taken off.

`number` is the global rule, the one that a critic that sees patches only cannot teach; `form` and `grey` are local ones.

Imports: numpy, minigrad.data.synthetic, minigrad.domains, minigrad.pictures.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minigrad.data.synthetic import label_parts
from minigrad.domains import COUNT, check_all
from minigrad.pictures import to_uint8

LEAST = 20        # pixels: in smaller pictures a part is too coarse to have a form
ROUND = 1.08      # roundness at most; of 20,000 pictures of the data at 28 and 32 pixels it is 1.04 at most, at 20 pixels 1.07
UPRIGHT = 0.15    # |cov_xy| / sqrt(var_x var_y) at most
LEVEL = 1.5       # pixels between the feet of bars that stand on one line
SOFT = 1 / 12     # what a soft edge of one pixel adds to the second moment along each axis
GREY = 0.10       # of the bright mass: light that no bright pixel touches, and what is missing inside of parts
WHITE = {"discs": 0.9, "bars": 0.7}  # the brightest pixel of a part at least; thin bars lie between two columns


class Parts(NamedTuple):
    """One row for each part of each picture: which picture it is in, its area in pixels (the sum of brightness, 1 for white), its
    centre, the second moments around it, its lowest row, whether it touches the border, and how bright it is at most."""

    picture: np.ndarray  # (P,)
    area: np.ndarray
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    yy: np.ndarray
    xy: np.ndarray
    foot: np.ndarray
    border: np.ndarray
    white: np.ndarray


class Broken(NamedTuple):
    """For each picture whether a rule is broken, (N,) bool each."""

    number: np.ndarray
    border: np.ndarray
    form: np.ndarray
    grey: np.ndarray

    @property
    def any(self) -> np.ndarray:
        """Whether at least one is."""
        return self.number | self.border | self.form | self.grey

    def shares(self) -> dict:
        """{'any', 'number', 'border', 'form', 'grey': share of pictures}."""
        return {"any": float(self.any.mean()), **{name: float(value.mean()) for name, value in self._asdict().items()}}


def broken(images, *, part: str = "discs", count: int | None = None, most: int = 5) -> float:
    """The share of pictures (N, 1, H, W), uint8 or floats in [-1, 1], that break the rule of `shapes` with these options."""
    return float(check(images, part=part, count=count, most=most).any.mean())


def check(images, *, part: str = "discs", count: int | None = None, most: int = 5) -> Broken:
    """Which pictures break which rule. part, count, most: as of `minigrad.data.synthetic.shapes`. ValueError for no pictures."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[1] != 1 or not len(images) or images.shape[2] != images.shape[3]:
        raise ValueError(f"rules: images must be (N, 1, size, size) with N >= 1, got {images.shape}")
    check_all("rules", COUNT, most=most, **({} if count is None else {"count": count}))
    if images.shape[2] < LEAST:
        raise ValueError(f"rules: parts have a form from {LEAST} pixels on, got pictures of {images.shape[2]}")
    if part not in ("discs", "bars"):
        raise ValueError(f"rules: part must be 'discs' or 'bars', got {part!r}")
    white = to_uint8(images)[:, 0] / np.float32(255)  # (N, size, size) in [0, 1]
    n, size = len(white), white.shape[1]
    found = parts(white)
    number = np.bincount(found.picture, minlength=n)
    wrong = number != count if count is not None else (number < 1) | (number > most)
    bad = not_discs(found, size) if part == "discs" else not_bars(found, size, n)
    inside = _inside(white)
    pierced = (inside & (white < 0.5)).any((1, 2))
    return Broken(wrong, _in_any(found.picture, found.border, n), _in_any(found.picture, bad, n) | pierced,
                  smeared(white, inside) | _in_any(found.picture, found.white < WHITE[part], n))


def options_of(name: str) -> dict:
    """part, count and most in the name of a data set, "shapes:part=bars,count=3" -> {"part": "bars", "count": 3}."""
    words = [word.partition("=") for word in name.partition(":")[2].split(",") if word]
    return {key: value if key == "part" else int(value) for key, _, value in words if key in ("part", "count", "most")}


# ---- forms


def not_discs(found: Parts, size: int) -> np.ndarray:
    """Which parts are no disc of a radius that the data has, (P,)."""
    roundness = 2 * np.pi * (found.xx + found.yy) / found.area
    smallest, largest = size / 3 * 0.20 - 0.5, size / 3 * 0.40 + 0.5
    radius = np.sqrt(found.area / np.pi)
    return (roundness > ROUND) | (radius < smallest) | (radius > largest)


def not_bars(found: Parts, size: int, n: int) -> np.ndarray:
    """Which parts are no upright bar that stands on the line of its picture, (P,). The line is the foot of the lowest bar."""
    both = np.sqrt(np.maximum(found.xx * found.yy, 1e-9))
    lowest = np.zeros(n)
    np.maximum.at(lowest, found.picture, found.foot)
    height = np.sqrt(12 * found.yy)
    loose = 0.02 + 1.3 * (height / found.area) ** 2  # the width of a thin bar is sampled coarsely
    bad = (np.abs(12 * both / found.area - 1) > loose) | (np.abs(found.xy) > UPRIGHT * both) \
        | (lowest[found.picture] - found.foot > LEVEL)
    return bad | (height < 0.35 * size - 1.5) | (height > 0.73 * size + 1.5)


def smeared(white, inside) -> np.ndarray:
    """Which pictures (N, H, W) in [0, 1] have grey where the data has none: light far from any part, or a lack of it inside."""
    around = np.max(_neighbours(white), axis=0)
    lost = np.where((around <= 0.5) & (white <= 0.5), white, 0).sum((1, 2))
    dim = np.where(inside, 1 - white, 0).sum((1, 2))
    return lost + dim > GREY * np.maximum(white.sum((1, 2)), 1)


def _inside(white):
    """The pixels whose eight neighbours all belong to a part."""
    return np.min(_neighbours(white), axis=0) > 0.5


def _neighbours(white):
    wide, (_, height, width) = np.pad(white, ((0, 0), (1, 1), (1, 1))), white.shape
    return [wide[:, i : i + height, j : j + width] for i in range(3) for j in range(3) if (i, j) != (1, 1)]


# ---- parts


def parts(white) -> Parts:
    """The 8-connected parts brighter than a half of pictures (N, H, W) in [0, 1]. A part's soft edge counts to its mass."""
    white = np.asarray(white, np.float64)
    n, height, width = white.shape
    label = label_parts(white[:, None], 0.5)
    # the pixels at the rim of a part are those of the part with the largest number among the neighbours
    rim = np.where(label > 0, label, _around(label)).astype(np.int64)
    where = np.nonzero(rim)
    key = where[0] * (height * width + 1) + rim[where]
    keys, part = np.unique(key, return_inverse=True)
    mass, y, x = white[where], where[1].astype(np.float64), where[2].astype(np.float64)
    total = lambda values: np.bincount(part, mass * values, minlength=len(keys))  # noqa: E731
    area = total(1.0)
    cx, cy = total(x) / area, total(y) / area
    dx, dy = x - cx[part], y - cy[part]
    xx, yy, xy = total(dx * dx) / area - SOFT, total(dy * dy) / area - SOFT, total(dx * dy) / area
    own = label[where] > 0  # not the rim
    foot, border, most = np.zeros(len(keys)), np.zeros(len(keys), bool), np.zeros(len(keys))
    np.maximum.at(most, part, mass)
    np.maximum.at(foot, part[own], y[own])
    edge = own & ((y == 0) | (x == 0) | (y == height - 1) | (x == width - 1))
    border[part[edge]] = True
    return Parts(keys // (height * width + 1), area, cx, cy, xx, yy, xy, foot, border, most)


def _around(label):
    wide = np.pad(label, ((0, 0), (1, 1), (1, 1)))
    rows = np.maximum(np.maximum(wide[:, :-2], wide[:, 2:]), wide[:, 1:-1])
    return np.maximum(np.maximum(rows[..., :-2], rows[..., 2:]), rows[..., 1:-1])


def _in_any(picture, flag, n):
    return np.bincount(picture[flag], minlength=n) > 0
