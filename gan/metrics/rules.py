"""Does a picture keep the rule of its data? For `shapes`, where the rule can be read off the picture: exactly k parts, all whole.

    count     the number of bright parts is not k
    shape     a part is not of its kind: a disc is as high as wide and fills pi/4 of that box, a bar is upright and fills its box
    size      a part is smaller or larger than any that the data draws
    border    a part touches the border of the picture

Each is decided on the picture cut at half brightness, and the limits are set so that of the data's own pictures none breaks a
rule; a test holds that for every number of parts, and that each sort of violation is found.

Imports: numpy, minigrad.data.synthetic, minigrad.domains.
"""

from __future__ import annotations

import numpy as np

from minigrad.data.synthetic import label_parts
from minigrad.domains import COUNT

KINDS = ("count", "shape", "size", "border")


def broken_rules(images, part: str, count: int) -> dict[str, np.ndarray]:
    """{kind: bool (N,), whether the picture breaks the rule of that kind} for pictures (N, 1, S, S), uint8 or floats in [-1, 1].

    part: "discs" or "bars"; count: how many each picture must show. A picture without any part breaks the count alone."""
    if part not in ("discs", "bars"):
        raise ValueError(f"broken_rules: part must be 'discs' or 'bars', got {part!r}")
    COUNT.check("broken_rules: count", count)
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[1] != 1 or images.shape[2] != images.shape[3]:
        raise ValueError(f"broken_rules: images must be square and of one channel (N, 1, S, S), got {images.shape}")
    labels, size = label_parts(images), images.shape[2]
    picture, rows, columns = np.nonzero(labels)
    names, of = np.unique(picture * (size * size + 1) + labels[picture, rows, columns], return_inverse=True)
    owner, area = names // (size * size + 1), np.bincount(of, minlength=len(names))
    (top, bottom), (left, right) = (_extremes(of, axis, len(names)) for axis in (rows, columns))
    wrong = _wrong_disc if part == "discs" else _wrong_bar
    shape, extent = wrong(bottom - top + 1, right - left + 1, area, size)
    border = (top == 0) | (left == 0) | (bottom == size - 1) | (right == size - 1)
    found = {"count": np.bincount(owner, minlength=len(images)) != count}
    for kind, parts in (("shape", shape), ("size", extent), ("border", border)):
        found[kind] = np.bincount(owner[parts], minlength=len(images)) > 0
    return found


def _extremes(of, values, count):
    """(smallest, largest) of `values` for each of `count` parts; of: the part that each value belongs to."""
    low, high = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
    np.minimum.at(low, of, values)
    np.maximum.at(high, of, values)
    return low, high


def rule_breaking(images, part: str, count: int) -> dict[str, float]:
    """{kind: share of the pictures that break it, "any": share that break one at least}, as `broken_rules` finds them."""
    found = broken_rules(images, part, count)
    shares = {kind: float(broken.mean()) for kind, broken in found.items()}
    return {**shares, "any": float(np.any(list(found.values()), 0).mean())}


def _wrong_disc(height, width, area, size):
    """(whether it is no disc, whether it is smaller or larger than one) of parts with bounding boxes and areas in pixels.

    Radii are 0.20 to 0.40 of a cell of a third of the picture, and a pixel less than half of it at most. The area is that of an
    ellipse in the box up to a share of the outline, which the pixels cost; so below 7 pixels a square passes for a disc."""
    cell, away = size / 3, (area - np.pi / 4 * height * width) / (height + width)
    side = np.maximum(height, width)
    return ((abs(height - width) > 1) | (away < -1.0) | (away > 0.7),
            (side < 2 * 0.20 * cell - 1.5) | (side > min(2 * 0.40 * cell, cell - 2) + 1.5))


def _wrong_bar(height, width, area, size):
    """The same of upright bars: 0.35 to 0.73 of the picture high, at most 0.6 of a third of it wide."""
    return ((area < 0.82 * height * width) | (height < 1.5 * width),
            (height < 0.35 * size - 1.5) | (height > 0.73 * size + 1.5) | (width > 0.6 * (size - 2) / 3 + 1.5))
