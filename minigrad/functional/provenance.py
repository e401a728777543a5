"""Where the input of a loss comes from: probabilities where logits are meant, and the reverse, are warned of.

The graph knows which operation made a Tensor; views between are passed over. Where nothing was recorded, values tell
probabilities and their logarithms from logits, because they add up to 1. Whether numbers were made by sigmoid, values do not tell.

Imports: numpy, minigrad.autograd, minigrad.notice.
"""

from __future__ import annotations

import numpy as np

from minigrad.autograd import Node
from minigrad.notice import warn

__all__ = ["expect_log_probabilities", "expect_logits", "expect_logits_of_sigmoid"]

NEAR = 1e-3  # how far from 1 a sum of float32 probabilities may be


def maker(x) -> str | None:
    """"softmax", "log_softmax", "sigmoid", ...: what made x, however it was reshaped since; None for a leaf or a constant."""
    node = x.node
    while node is not None and node.op.view and isinstance(node.parents[0], Node):
        node = node.parents[0]
    if node is None:
        return None
    before = node.parents[0]
    softmax = node.op.name == "exp" and isinstance(before, Node) and before.op.name == "log_softmax"
    return "softmax" if softmax else node.op.name


def expect_logits(name: str, x, axis: int) -> None:
    """Warn where x holds the result of softmax or log_softmax along `axis`."""
    made = maker(x)
    if made is None and not x.tracked:
        made = told_by_values(x.array, axis)
    if made == "softmax":
        warn(f"{name}: the input is the output of softmax, but {name} takes logits and applies log_softmax itself, so the network "
             "learns badly. Leave softmax out of what is trained")
    elif made == "log_softmax":
        warn(f"{name}: the input is the output of log_softmax, which {name} applies itself: twice gives the same and costs time. "
             "Leave it out, or use nll_loss")


def expect_log_probabilities(name: str, x, axis: int) -> None:
    """Warn where x cannot hold logarithms of probabilities: it comes from softmax, or its exponentials add up to more than 1."""
    made = maker(x)
    if made == "log_softmax":
        return
    if made == "softmax":
        warn(f"{name}: the input is the output of softmax, but {name} takes its logarithm. Use log_softmax, or cross_entropy on "
             "the logits")
    elif x.array.size and bool((_total(x.array, axis) > 1 + NEAR).any()):
        warn(f"{name}: the input holds no log-probabilities, because their exponentials add up to more than 1. Use cross_entropy "
             "for logits, or apply log_softmax first")


def expect_logits_of_sigmoid(name: str, x) -> None:
    """Warn where x is the result of sigmoid."""
    if x.node is not None and maker(x) == "sigmoid":
        warn(f"{name}: the input is the output of sigmoid, but {name} takes logits and applies sigmoid itself, so the network "
             "learns badly. Leave sigmoid out, or use binary_cross_entropy")


def told_by_values(a, axis: int) -> str | None:
    """"softmax" or "log_softmax" where rows of several classes can be nothing else; None for logits. Rows that are all 0 and 1 are
    left alone, because scores may be so."""
    if a.size == 0 or a.shape[axis] < 2:
        return None
    low, high = a.min(), a.max()
    if low >= 0 and high <= 1:
        whole = bool(((a == 0) | (a == 1)).all())
        return "softmax" if not whole and bool((np.abs(a.sum(axis=axis) - 1) < NEAR).all()) else None
    return "log_softmax" if high <= 0 and bool((np.abs(_total(a, axis) - 1) < NEAR).all()) else None  # NaN is neither


def _total(a, axis: int):
    """The sum of e^a along an axis, infinite where it overflows, whatever NumPy was told to raise."""
    with np.errstate(all="ignore"):
        return np.exp(a).sum(axis=axis)
