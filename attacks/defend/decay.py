"""Weight decay as a defense. It fails, and a linear model tells why.

For logits 0 and w x + b, the worst perturbation of size epsilon lowers the margin by epsilon ||w||_dual exactly, so small
weights are robust. Adversarial training adds that term inside the loss, where it vanishes for samples with room to spare. Weight
decay adds it outside, where it never vanishes: it over-estimates the damage. Goodfellow et al. 2014, section 5: with an L1
coefficient of 0.0025 on the first layer a maxout network stops at 5 % error on the training set, without any gain in
robustness. Deep networks undo the decay of one layer in the next. Nothing is masked: the attack that breaks it is plain PGD.

Imports: numpy, attacks.core.arrays, minigrad.tensor.
"""

from __future__ import annotations

import numpy as np

from attacks.core.arrays import real
from minigrad.tensor import Tensor

DUAL = {"linf": 1, "l2": 2, "l1": np.inf}  # order of the norm that bounds <w, delta> for delta in the unit ball


def weights(net) -> list:
    """The weight matrices and kernels of a network, first layer first: parameters of two axes or more."""
    return [p for p in net.parameters() if p.ndim >= 2]


def penalty(net, l1: float = 0.0, l2: float = 0.0, first: bool = False) -> Tensor:
    """l1 * sum |w| + l2 / 2 * sum w^2 over the weights (not biases and norms) of all layers, or of the first one only.

    A Tensor (), to be added to the loss. Its L2 gradient l2 * w is what optim.SGD(weight_decay=l2) adds. ValueError for a
    negative coefficient or a network without weights.
    """
    l1, l2 = real("penalty", "[0, inf)", l1=l1, l2=l2)
    chosen = weights(net)[: 1 if first else None]
    if not chosen:
        raise ValueError(f"penalty: {type(net).__name__} has no weights (parameters of two axes or more)")
    total = 0.0
    for w in chosen:
        if l1:
            total = total + l1 * w.abs().sum()
        if l2:
            total = total + 0.5 * l2 * (w * w).sum()
    return total if isinstance(total, Tensor) else (chosen[0] * 0.0).sum()


def linear_reach(weight, epsilon: float, norm: str = "linf") -> np.ndarray:
    """(K, K) largest change of z_i - z_j by a perturbation of size epsilon, for z = weight x: epsilon ||w_i - w_j||_dual.

    weight: array (K, d). Two classes are robust at x exactly where their difference of logits exceeds it.
    """
    if norm not in DUAL:
        raise ValueError(f"linear_reach: norm must be one of {', '.join(map(repr, DUAL))}, got {norm!r}")
    w, epsilon = np.asarray(weight, np.float64), real("linear_reach", "[0, inf)", epsilon=epsilon)
    return epsilon * np.linalg.norm(w[:, None] - w[None], DUAL[norm], axis=2)
