"""How sharp are the pictures? The mean strength of their edges, generated over real.

    L(x) = x_left + x_right + x_up + x_down - 4 x        (the Laplacian at each inner pixel)
    sharpness(X) = mean |L|,    ratio = sharpness(fake) / sharpness(real)

1 for pictures as sharp as the data, below 1 for blurred ones (an autoencoder's), above 1 for noise. It knows nothing of what the
pictures show.

Imports: numpy.
"""

from __future__ import annotations

import numpy as np


def sharpness(images) -> float:
    """mean |Laplacian| of pictures (N, C, H, W) over their inner pixels, in the units of the pixels."""
    x = np.asarray(images, np.float64)
    if x.ndim != 4 or min(x.shape[2:]) < 3 or not len(x):
        raise ValueError(f"sharpness: images must be (N, C, H, W) with sides of at least 3, got {x.shape}")
    around = x[:, :, :-2, 1:-1] + x[:, :, 2:, 1:-1] + x[:, :, 1:-1, :-2] + x[:, :, 1:-1, 2:]
    return float(np.abs(around - 4 * x[:, :, 1:-1, 1:-1]).mean())


def sharpness_ratio(fake, real) -> float:
    """sharpness(fake) / sharpness(real), of pictures in one range. ValueError when the real ones have no edge at all."""
    truth = sharpness(real)
    if truth == 0:
        raise ValueError("sharpness_ratio: the real pictures are flat")
    return sharpness(fake) / truth
