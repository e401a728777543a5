"""Maxout: units that are the largest of several linear pieces, the network of the first adversarial examples' tables.

Goodfellow et al. 2013, Maxout Networks, equation 1:   h_i(x) = max_j (x W_ij + b_ij).   A unit is convex and piecewise linear;
it has no threshold of its own, so a network of them is linear over wide regions, and trains well under dropout.

`MaxoutNet` is the permutation-invariant network of digits that Goodfellow et al. 2014, Explaining and Harnessing Adversarial
Examples, measure: two layers of 240 units of 5 pieces, softmax. That paper states neither its dropout nor its constraint; here
they are those of the maxout paper, section 5.1: dropout, and a bound on the norm of each weight vector (`bound_norms_`), whose
numbers are chosen in `MaxoutNet` and `LIMIT`.

Imports: numpy, minigrad.domains, minigrad.functional.common, minigrad.nn.
"""

from __future__ import annotations

import numpy as np

from minigrad import nn
from minigrad.domains import COUNT, POSITIVE, SHARE, check_all
from minigrad.functional.common import integer

LIMIT = 1.9365  # of the norm of a unit's incoming weights: sqrt(3.75)


class Maxout(nn.Module):
    """x (N, inputs) -> (N, units), max_j (x W_j + b_j) over `pieces` linear maps. With one piece it is nn.Linear.

    `linear` holds all of them: its row j * units + i is piece j of unit i. Ties share the gradient.
    """

    def __init__(self, inputs, units, pieces=5, rng=None):
        super().__init__()
        self.units, self.pieces = integer("Maxout: units", units, 1), integer("Maxout: pieces", pieces, 1)
        self.linear = nn.Linear(inputs, self.units * self.pieces, rng=rng)

    def forward(self, x):
        return self.linear(x).reshape(len(x), self.pieces, self.units).amax(1)

    def extra_repr(self):
        return f"units={self.units}, pieces={self.pieces}"


class MaxoutNet(nn.Module):
    """Samples (N, ...) of `inputs` numbers each -> logits (N, classes): maxout, maxout, linear.

    dropout: probabilities before the first layer, and before each of the others; (0, 0) for none.
    """

    def __init__(self, inputs=784, classes=10, units=240, pieces=5, dropout=(0.2, 0.5), rng=None):
        super().__init__()
        check_all("MaxoutNet", COUNT, inputs=inputs, classes=classes, units=units, pieces=pieces)
        first, later = dropout
        check_all("MaxoutNet: dropout", SHARE, first=first, later=later)
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(first, rng=rng),
            Maxout(inputs, units, pieces, rng=rng),
            nn.Dropout(later, rng=rng),
            Maxout(units, units, pieces, rng=rng),
            nn.Dropout(later, rng=rng),
            nn.Linear(units, classes, rng=rng),
        )

    def forward(self, x):
        return self.layers(x)


def bound_norms_(net, limit: float = LIMIT) -> None:
    """Scale each row of each weight matrix to a norm of at most `limit`, in place: after the optimiser's step."""
    POSITIVE.check("bound_norms_: limit", limit)
    for p in net.parameters():
        if p.ndim == 2:
            norm = np.sqrt(np.einsum("ij,ij->i", p.array, p.array))
            long = norm > limit
            if long.any():
                w = p.array.copy()
                w[long] *= (limit / norm[long])[:, None]
                p.assign_(w)
