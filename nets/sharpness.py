"""How sharp are pictures? The mean absolute Laplacian, and its ratio to that of real pictures.

    L(x)[i, j] = x[i-1, j] + x[i+1, j] + x[i, j-1] + x[i, j+1] - 4 x[i, j]         sharpness = mean of |L|, inner pixels only
    ratio = sharpness(fakes) / sharpness(reals)

An average of sharp pictures is less sharp than they are, because |.| is convex: a ratio far below 1 is blur. Above 1 it is noise or
jags: the number knows nothing of what is drawn. Pictures on the two sides must have one scale and one size.

It lies here, because networks of both kinds are measured with it: autoencoders in `nets`, and the generators of `gan`, which may
import `nets` but not the other way round.

Imports: numpy.
"""

from __future__ import annotations

import numpy as np


def sharpness(images) -> np.ndarray:
    """The mean absolute Laplacian of each picture: (N, C, H, W), H and W at least 3, in any unit -> (N,) in that unit, float64."""
    x = np.asarray(images)
    if x.ndim != 4 or min(x.shape[2:]) < 3:
        raise ValueError(f"sharpness: needs pictures (N, C, H, W) of at least 3 x 3 pixels, got {x.shape}")
    x = x.astype(np.float64)
    inner = x[..., 1:-1, 1:-1]
    laplacian = x[..., :-2, 1:-1] + x[..., 2:, 1:-1] + x[..., 1:-1, :-2] + x[..., 1:-1, 2:] - 4 * inner
    return np.abs(laplacian).mean((1, 2, 3))


def sharpness_ratio(fakes, reals) -> float:
    """Mean sharpness of `fakes` over that of `reals`: 1 where they are equally sharp, near 0 for a blur."""
    if np.shape(fakes)[1:] != np.shape(reals)[1:]:
        raise ValueError(f"sharpness_ratio: pictures of one size, got {np.shape(fakes)[1:]} and {np.shape(reals)[1:]}")
    return float(sharpness(fakes).mean() / sharpness(reals).mean())
