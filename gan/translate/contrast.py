"""Does a translation keep light and dark, or turn them round?

    r = sum (x - mean x) (y - mean y) / sqrt(sum (x - mean x)^2 sum (y - mean y)^2)

over all pixels and channels of a picture x and its translation y, each channel with its own mean taken out: 1 where the
translation is a brighter, darker, paler or stronger copy, -1 for a photographic negative, near 0 where the two have nothing to do
with each other.

Imports: numpy.
"""

from __future__ import annotations

import numpy as np


def contrast_kept(before, after) -> np.ndarray:
    """r of each picture and its translation, both (N, C, H, W) -> (N,), float64; 0 where one of the two is plain."""
    before, after = (np.asarray(x, np.float64) for x in (before, after))
    if before.ndim != 4 or before.shape != after.shape:
        raise ValueError("contrast_kept: needs two stacks of pictures of one shape (N, C, H, W), "
                         f"got {before.shape} and {after.shape}")
    x, y = ((pictures - pictures.mean((2, 3), keepdims=True)).reshape(len(pictures), -1) for pictures in (before, after))
    scale = np.sqrt((x * x).sum(1) * (y * y).sum(1))
    return np.divide((x * y).sum(1), scale, out=np.zeros(len(x)), where=scale > 0)
