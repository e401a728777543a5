"""Losses of attacks: loss(logits, goal) -> (N,) Tensor, larger = better for the attacker, one value for each sample.

They look at `goal.labels` (the true class y, or the target t) and `goal.targeted` only; targeted DLR also at `goal.y`.
z_j is the logit of class j, p_j its softmax, and z_(1) >= z_(2) >= ... are the logits in order:

    ce       -log p_y                      targeted   log p_t
    margin   max_{j != y} z_j - z_y        targeted   z_t - max_{j != t} z_j
    dlr      -(z_y - max_{j != y} z_j) / (z_(1) - z_(3))            targeted   -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2)

Cross-entropy is written as softplus(logsumexp_{j != y} z_j - z_y). The gradient of the textbook form holds p_y - 1, which rounds
to exactly 0 in float32 at a margin of 17: an attack stands still there (gradient masking by temperature). This form goes on to 88.

Imports: numpy, minigrad.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import minigrad as mg
from minigrad import functional as F


def _one_hot(logits, labels):
    return np.asarray(labels, like=logits.array)[:, None] == np.arange(logits.shape[1], like=logits.array)


def pick(logits, labels):
    """(N,) z_label."""
    return mg.gather(logits, 1, np.asarray(labels, like=logits.array)[:, None]).squeeze(1)


def strongest_other(logits, labels):
    """(N,) max of z_j over j != label; ties share the gradient. The excluded class counts as -inf, not as 0."""
    return mg.where(_one_hot(logits, labels), -np.inf, logits).amax(1)


def cross_entropy(logits, goal):
    """-log p_y, or log p_t when targeted."""
    others = mg.where(_one_hot(logits, goal.labels), -np.inf, logits).logsumexp(1)
    value = F.softplus(others - pick(logits, goal.labels), threshold=np.inf)
    return -value if goal.targeted else value


def margin(logits, goal):
    """max_{j != y} z_j - z_y, or z_t - max_{j != t} z_j: positive where the attack has succeeded."""
    value = strongest_other(logits, goal.labels) - pick(logits, goal.labels)
    return -value if goal.targeted else value


def clipped_margin(confidence: float = 0.0) -> Callable:
    """-f of Carlini & Wagner 2017, equation for f_6: min(margin - confidence, 0). It pulls no further than needed."""

    def loss(logits, goal):
        return -F.relu(confidence - margin(logits, goal))

    return loss


def dlr(logits, goal):
    """Difference of logits ratio (Croce & Hein 2020, section 4): unchanged when logits are shifted or multiplied.

    Needs 3 classes; targeted 4 (there y is goal.y if given, else the strongest class but t). Raises ValueError.
    """
    need = 4 if goal.targeted else 3
    if logits.shape[1] < need:
        kind = "targeted" if goal.targeted else "untargeted"
        raise ValueError(f"dlr: the {kind} form needs at least {need} classes, the victim has {logits.shape[1]}; "
                         "use loss='margin'")
    order = np.argsort(-logits.array, axis=1, kind="stable")
    top = [pick(logits, order[:, i]) for i in range(need)]
    if not goal.targeted:
        return margin(logits, goal) / (top[0] - top[2] + 1e-12)
    true = strongest_other(logits, goal.labels) if goal.y is None else pick(logits, goal.y)
    return (pick(logits, goal.labels) - true) / (top[0] - (top[2] + top[3]) * 0.5 + 1e-12)


LOSSES: dict[str, Callable] = {"ce": cross_entropy, "margin": margin, "dlr": dlr}


def get(loss) -> Callable:
    """The loss of that name, or the callable itself."""
    if callable(loss):
        return loss
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(map(repr, LOSSES))} or a callable loss(logits, goal) -> (N,), "
                         f"got {loss!r}")
    return LOSSES[loss]
