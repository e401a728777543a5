"""How near does a translation come to the truth? On domains whose pairs are known, unpaired training can be judged by them.

    error      mean absolute difference of translation i and its true partner i
    identity   the same of the picture itself, untranslated: what a translator that does nothing would have
    rank       the place of the true partner among all candidates, nearest first: 1 is best, (N + 1) / 2 is chance

Imports: numpy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Oracle(NamedTuple):
    """`error` and `identity` in the pictures' own units, `rank` the median over pictures, `of` candidates."""

    error: float
    identity: float
    rank: float
    of: int

    @property
    def better(self) -> float:
        """By what share the error lies below the identity's: 0.3 for 30 %; below 0 for a translation that is worse than none."""
        return 1 - self.error / self.identity if self.identity else 0.0


def oracle(translated, partners, originals) -> Oracle:
    """All (N, C, H, W) of one scale; row i of each belongs together."""
    shapes = {np.shape(x) for x in (translated, partners, originals)}
    if len(shapes) > 1 or not len(partners):
        raise ValueError(f"oracle: needs three sets of one shape, got {sorted(shapes)}")
    x, y, z = (np.asarray(a, np.float64).reshape(len(partners), -1) for a in (translated, partners, originals))
    away = np.stack([np.abs(row - y).mean(1) for row in x])  # (N, N): translation i from candidate j
    own = np.diagonal(away)
    ranks = 1 + (away < own[:, None]).sum(1) + ((away == own[:, None]).sum(1) - 1) / 2  # ties share their places
    return Oracle(float(own.mean()), float(np.abs(z - y).mean()), float(np.median(ranks)), len(y))
