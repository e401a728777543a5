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
    found = {kind: np.zeros(len(images), bool) for kind in KINDS}
    for i, picture in enumerate(labels):
        parts = [np.nonzero(picture == k) for k in np.unique(picture[picture > 0])]
        found["count"][i] = len(parts) != count
        for rows, columns in parts:
            height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
            wrong = _wrong_disc if part == "discs" else _wrong_bar
            shape, extent = wrong(height, width, len(rows), size)
            found["shape"][i] |= shape
            found["size"][i] |= extent
            found["border"][i] |= min(rows.min(), columns.min()) == 0 or max(rows.max(), columns.max()) == size - 1
    return found


def rule_breaking(images, part: str, count: int) -> dict[str, float]:
    """{kind: share of the pictures that break it, "any": share that break one at least}, as `broken_rules` finds them."""
    found = broken_rules(images, part, count)
    shares = {kind: float(broken.mean()) for kind, broken in found.items()}
    return {**shares, "any": float(np.any(list(found.values()), 0).mean())}


def _wrong_disc(height, width, area, size):
    """(whether it is no disc, whether it is smaller or larger than one) of a part with a bounding box and an area in pixels.

    Radii are 0.20 to 0.40 of a cell of a third of the picture, and a pixel less than half of it at most. The area is that of an
    ellipse in the box up to a share of the outline, which the pixels cost; so below 7 pixels a square passes for a disc."""
    cell, away = size / 3, (area - np.pi / 4 * height * width) / (height + width)
    return abs(height - width) > 1 or not -1.0 <= away <= 0.7, \
        not 2 * 0.20 * cell - 1.5 <= max(height, width) <= min(2 * 0.40 * cell, cell - 2) + 1.5


def _wrong_bar(height, width, area, size):
    """The same of an upright bar: 0.35 to 0.73 of the picture high, at most 0.6 of a third of it wide."""
    return area < 0.82 * height * width or height < 1.5 * width, \
        not 0.35 * size - 1.5 <= height <= 0.73 * size + 1.5 or width > 0.6 * (size - 2) / 3 + 1.5
