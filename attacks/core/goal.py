"""What the attacker wants: `Untargeted(y)`, any class but y; `Targeted(t)`, class t.

Every attack climbs `goal.objective(logits)`: one value for each sample, larger = better for the attacker. `margin` is the
objective that is positive exactly where the attack has succeeded. Objective and margin take logits (N, classes), as a Tensor
(then they can be differentiated) or as an array. A goal knows nothing of inputs. Whether the attack is where it wants to be:

    reached(said)    by the class that is answered, nothing else. Not to answer (NaN) is wrong, and reaches Untargeted
    success(logits)  the same with a clear margin: what an attack may claim, because it holds in every batch and order

Imports: numpy, minigrad.tensor, arrays, loss.
"""

from __future__ import annotations

import numpy as np

from attacks.core import loss as losses
from attacks.core.arrays import NO_ANSWER, host, raw, said
from minigrad.tensor import Tensor

CLEAR = 64  # rounding errors of the largest logit: a smaller margin may be gone in another batch, or when a sample is seen alone


class Goal:
    """Base class. labels: integers (N,) or one for all samples. `goal[rows]` is the goal for some samples."""

    targeted = False

    def __init__(self, labels):
        self.labels = _labels(type(self).__name__, labels)

    def __len__(self):
        if self.labels.ndim == 0:
            raise TypeError(f"{self!r} is one label for any number of samples; it has no length before goal.on(n, classes)")
        return len(self.labels)

    def __getitem__(self, rows) -> Goal:
        return self if self.labels.ndim == 0 else type(self)(self.labels[rows])

    def on(self, n: int, classes: int | None = None, name: str = "goal") -> Goal:
        """The goal with one label for each of n samples, checked to lie in [0, classes). Raises ValueError."""
        return type(self)(_spread(name, self, self.labels, n, classes))

    def __repr__(self):
        text = np.array2string(self.labels, threshold=6, separator=", ")
        return f"{type(self).__name__}({text})"

    def objective(self, logits, loss="ce"):
        """(N,) what the attack climbs: 'ce', 'margin', 'dlr' or a callable loss(logits, goal) (attacks.core.loss)."""
        loss, pull = losses.get(loss), self._pull()
        return loss(logits, pull) if isinstance(logits, Tensor) else loss(Tensor.wrap(logits), pull).array

    def margin(self, logits):
        """(N,) positive where the attack has succeeded."""
        return losses.margin(logits, self) if isinstance(logits, Tensor) else losses.margin(Tensor.wrap(logits), self).array

    def _pull(self) -> Goal:
        """The goal that the loss sees."""
        return self

    def success(self, logits, confidence: float = 0.0):
        """(N,) bool: whether the attack has succeeded: `reached`, by a margin >= clear(logits), and >= confidence.

        Where the network gives no answer (arrays.said) an untargeted attack has succeeded, and a targeted one has not.
        """
        z = raw(logits)
        answer = said(z)
        with np.errstate(invalid="ignore"):  # -inf less -inf, where there is no answer
            wide = self.margin(z) >= np.maximum(clear(z), confidence)
        return self.reached(answer) & (wide | (answer == NO_ANSWER))

    def reached(self, answer):
        """(N,) bool: whether these classes (N,), or NO_ANSWER, are what the attacker wants."""
        return self._won(answer, np.asarray(self.labels, like=answer))

    def already_wrong(self, logits):
        """(N,) bool: samples that need no attack and are never counted as a success of one."""
        return self.reached(said(raw(logits)))


class Untargeted(Goal):
    """Any class but y. objective: CE(z, y); margin: max_{j != y} z_j - z_y."""

    @property
    def y(self):
        """The true labels (N,)."""
        return self.labels

    def _won(self, prediction, labels):
        return prediction != labels


class Targeted(Goal):
    """Class t. objective: -CE(z, t); margin: z_t - max_{j != t} z_j.

    y, the true labels, is optional: with it samples that the network gets wrong from the start count as already wrong,
    without it only those that it already takes for t; targeted DLR compares with y.
    """

    targeted = True

    def __init__(self, t, y=None):
        super().__init__(t)
        self.y = None if y is None else _labels("Targeted: y", y)
        if self.y is not None and np.any(self.y == self.labels):
            raise ValueError("Targeted: some targets t equal their true label y; choose another target for those samples")

    def __getitem__(self, rows):
        t = self.labels if self.labels.ndim == 0 else self.labels[rows]
        return Targeted(t, self.y if self.y is None or self.y.ndim == 0 else self.y[rows])

    def on(self, n, classes=None, name="goal"):
        y = None if self.y is None else _spread(name, self, self.y, n, classes)
        return Targeted(_spread(name, self, self.labels, n, classes), y)

    def _won(self, prediction, labels):
        return prediction == labels

    def already_wrong(self, logits):
        answer = said(raw(logits))
        wrong = self.reached(answer) | (answer == NO_ANSWER)
        return wrong if self.y is None else wrong | (answer != np.asarray(self.y, like=answer))


class Toward(Untargeted):
    """Any class but y is a success, and the loss pulls towards t. So a targeted loss serves an untargeted attack."""

    def __init__(self, y, t):
        super().__init__(y)
        self.t = _labels("Toward: t", t)

    def __getitem__(self, rows):
        return Toward(*(v if v.ndim == 0 else v[rows] for v in (self.labels, self.t)))

    def on(self, n, classes=None, name="goal"):
        return Toward(_spread(name, self, self.labels, n, classes), _spread(name, self, self.t, n, classes))

    def _pull(self):
        return Targeted(self.t, self.labels)


def clear(logits):
    """(N,) the margin that rounding cannot make: CLEAR units in the last place of the largest finite |logit|. Arrays."""
    size = np.abs(logits)
    top = np.max(np.where(np.isfinite(size), size, 0), axis=1, initial=0.0)
    eps = np.finfo(logits.dtype if logits.dtype.kind == "f" else np.float32).eps
    return top.astype(np.float64) * (CLEAR * float(eps))


def likeliest(logits, labels, count: int | None = None):
    """(N, count) the classes other than `labels` (N,), the most likely first, from logits (N, classes); all of them for None."""
    n, classes = logits.shape
    order = np.argsort(-logits, axis=1, kind="stable")
    return order[order != labels[:, None]].reshape(n, classes - 1)[:, :count]


def _labels(name, labels):
    labels = host(raw(labels))
    if labels.dtype.kind not in "iu" and labels.size:
        raise TypeError(f"{name}: labels must be integers (class numbers), got {labels.dtype}; for one-hot rows take "
                        ".argmax(1)")
    if labels.ndim > 1:
        raise ValueError(f"{name}: labels must be (N,) class numbers, got shape {labels.shape}")
    return labels.astype(np.int64)


def _spread(name, goal, labels, n, classes):
    if labels.ndim == 1 and len(labels) != n:
        raise ValueError(f"{name}: {goal!r} has {len(labels)} labels for {n} samples; they must agree")
    labels = np.broadcast_to(labels, (n,)).copy()
    if classes is not None and labels.size and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(f"{name}: {goal!r}: labels must lie in [0, {classes}), the victim's classes")
    return labels
