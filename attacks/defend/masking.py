"""Gradient masking: defenses that only take the attacker's gradient away. They fail against an attack that needs none.

`Quantised`   rounds the input: the derivative is 0 almost everywhere. BPDA, the identity on the way back, restores it.
`Tempered`    divides logits by a temperature. Defensive distillation (Papernot et al. 2016) trains at a temperature of 100
              and answers at 1: logits 100 times as large, and in float32 the textbook cross-entropy has a gradient of 0.
              p_y - 1 rounds to 0 at a margin of 17, the other p_j underflow at about 100. The losses margin and DLR are not
              affected, and attacks.core.loss.cross_entropy works up to a margin of 88.
`Hidden`      gives the same logits without any derivative: it falls to attacks without gradients (Square) or with a substitute.

Neither changes where the decision boundary is.

Imports: numpy, attacks.core.arrays, attacks.core.loss, minigrad.nn, base.
"""

from __future__ import annotations

import numpy as np

from attacks.core.arrays import real, whole
from attacks.core.loss import pick
from attacks.defend.base import positive, straight_through
from minigrad import nn


def quantise(x, levels: int, low: float = 0.0, high: float = 1.0, gradient: str = "identity"):
    """x (Tensor) rounded to the nearest of `levels` equidistant values in [low, high], and clipped to it.

    gradient: 'identity' (BPDA) or 'zero', which is the derivative almost everywhere.
    """
    steps = whole("quantise", least=2, levels=levels) - 1
    low, high = real("quantise", "(-inf, inf)", low=low, high=high)
    if not low < high:
        raise ValueError(f"quantise: needs low < high, got {low!r} and {high!r}")
    if gradient not in ("identity", "zero"):
        raise ValueError(f"quantise: gradient must be 'identity' or 'zero', got {gradient!r}")
    share = np.clip((x.array - low) / (high - low), 0, 1)
    value = (low + np.rint(share * steps) * ((high - low) / steps)).astype(x.dtype)
    return straight_through(x if gradient == "identity" else x * 0.0, x.wrap(value))


class Quantised(nn.Module):
    """net(round(x)): the input is reduced to `levels` values in [low, high]; 2 levels are 1 bit, 8 are 3 bits.

    gradient  'zero': the defense as built, which shows no gradient;  'identity': as the attacker sees through it
    """

    def __init__(self, net, levels=2, low=0.0, high=1.0, gradient="zero"):
        super().__init__()
        if gradient not in ("identity", "zero"):
            raise ValueError(f"Quantised: gradient must be 'identity' or 'zero', got {gradient!r}")
        self.net, self.levels, self.gradient = net, whole("Quantised", least=2, levels=levels), gradient
        self.low, self.high = real("Quantised", "(-inf, inf)", low=low, high=high)

    def bpda(self) -> Quantised:
        """The same network (shared) with the identity as the derivative of rounding."""
        return Quantised(self.net, self.levels, self.low, self.high, "identity").train(self.training)

    def forward(self, x):
        return self.net(quantise(x, self.levels, self.low, self.high, self.gradient))


class Tempered(nn.Module):
    """net(x) / temperature. A temperature of 0.01 stands for what distillation at 100 does to logits: same decisions."""

    def __init__(self, net, temperature):
        super().__init__()
        self.net, self.temperature = net, positive("Tempered: temperature", temperature)

    def forward(self, x):
        return self.net(x) / self.temperature


class Hidden(nn.Module):
    """The logits of net with a derivative of exactly 0."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        logits = self.net(x)
        return straight_through(logits * 0.0, logits.detach())


def distillation(student_logits, teacher_logits, temperature: float):
    """Mean over the batch of -sum_k q_k log p_k, with q = softmax(teacher / T), p = softmax(student / T). A Tensor ().

    Papernot et al. 2016, section IV: the teacher is trained at temperature T itself (divide its logits by T in its
    cross-entropy), the student on these soft labels at T, and the student answers at T = 1. Logits (N, classes); the teacher's
    are constants.
    """
    t = positive("distillation: temperature", temperature)
    if student_logits.shape != teacher_logits.shape:
        raise ValueError(f"distillation: logits of student {student_logits.shape} and teacher {teacher_logits.shape} must agree")
    q = (teacher_logits.detach() / t).softmax(1)
    return -(q * (student_logits / t).log_softmax(1)).sum() / len(student_logits)


def textbook_cross_entropy(logits, goal):
    """-log p_y (targeted: log p_t) with the gradient p - onehot, as most libraries compute it; for attacks' loss=.

    In float32 it is exactly 0 once the other probabilities underflow: an attack stands still there and reports robustness.
    """
    value = -pick(logits.log_softmax(1), goal.labels)
    return -value if goal.targeted else value


def levels_of(bits: int) -> int:
    """2^bits, the levels of an image with `bits` bits per channel."""
    return 2 ** whole("levels_of", bits=bits)
