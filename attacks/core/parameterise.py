"""What is trained: the parameters that the adversarial input is made of.

    Additive(x)    x' = x + delta                                the perturbation itself
    TanhBox(x)     x' = mid + half * tanh(w)                     the box without clipping (Carlini & Wagner 2017, section V)
    Shared(x)      x' = clip(x + delta), one delta for all x     universal perturbations

A parameterisation plays the part that a network plays in training: `params` are leaf Tensors for an optimiser, and calling it
gives x' with its graph. `optimise` drives it by

    begin(x, x0, box)  make the parameters so that p() is x0 (x is the clean batch)
    project(threat, box)   after each step, in place
    keep(rows)         go on with some of the samples only (rows of the current batch); parameters and optimiser state shrink

Anything with these five works: a patch, a texture, a warp. `per_sample` says whether parameters have one row per sample.

Imports: numpy, minigrad, arrays.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from attacks.core.arrays import flat, rows_of
from minigrad.tensor import Tensor


class Parameterisation:
    """Base class. x: the batch (N, ...), an array, a Tensor, or what a victim has `Taken`."""

    per_sample = True

    def __init__(self, x):
        self.given, self.x, self.params = x, None, []

    def begin(self, x, x0, box) -> None:
        """Make `params` so that calling gives x0 (N, ...), for the clean batch x in box = (lo, hi)."""
        raise NotImplementedError

    def __call__(self) -> Tensor:
        """x' (N, ...), differentiable in `params`."""
        raise NotImplementedError

    def reference(self):
        """x' of the unperturbed parameters: x, up to rounding. Penalties measure from here."""
        return self.x

    def project(self, threat, box) -> None:
        """Put x' back into ball and box by changing the parameters."""
        raise NotImplementedError

    def keep(self, rows) -> None:
        """Drop all samples but `rows`."""
        self.x = self.x[rows]
        for p in self.params:
            assign(p, p.array[rows])


def assign(parameter: Tensor, array) -> None:
    """Give a leaf a new array (of any number of rows) and tell the sweep that it changed."""
    parameter.array = array
    parameter.version_cell[0] += 1


def leaf(array) -> Tensor:
    """A parameter around a copy of `array`, in its memory layout."""
    return Tensor.wrap(array.copy(order="K")).requires_grad_()


class Additive(Parameterisation):
    """x' = x + delta. project: ball, then box, on x'."""

    def begin(self, x, x0, box):
        self.x = x
        self.params = [leaf(x0 - x)]

    @property
    def delta(self) -> Tensor:
        return self.params[0]

    def __call__(self):
        return self.delta + self.x

    def project(self, threat, box):
        assign(self.delta, threat.project(self.x + self.delta.array, self.x, box) - self.x)


class Direct(Parameterisation):
    """x' itself is the parameter; `at(x, x')` sets it. For attacks that move the point by rules of their own."""

    def begin(self, x, x0, box):
        self.at(x, x0)

    def at(self, x, x0) -> None:
        """Stand at x0, an attempt on the clean x."""
        self.x, self.params = x, [Tensor.wrap(x0).requires_grad_()]

    def __call__(self):
        return self.params[0]

    def project(self, threat, box):
        assign(self.params[0], threat.project(self.params[0].array, self.x, box))


class TanhBox(Parameterisation):
    """x' = mid + half * tanh(w) for the box [mid - half, mid + half]: any w is allowed.

    w starts at artanh(shrink * (x - mid) / half). With shrink = 0.999999 black and white pixels start at |w| = 7.25, and an
    optimiser needs lr * steps of 8 or so to move them. With shrink = 1 they would start at |w| = inf, without any gradient.
    For a bounded threat x' is projected, and w follows.
    """

    def __init__(self, x, shrink: float = 0.999999):
        super().__init__(x)
        if not 0 < shrink < 1:
            raise ValueError(f"TanhBox: shrink must lie in (0, 1), got {shrink}: at 1 black and white pixels cannot move")
        self.shrink, self.box, self._anchor = shrink, None, None

    def begin(self, x, x0, box):
        self.x, self.box = x, box
        self.params = [leaf(self._inverse(x0))]
        self._anchor = self._image(self._inverse(x))

    def _ends(self):
        lo, hi = self.box
        return (lo + hi) / 2, (hi - lo) / 2

    def _inverse(self, x):
        mid, half = self._ends()
        return np.arctanh(np.clip((x.astype(np.float64) - mid) / half, -1, 1) * self.shrink).astype(x.dtype)

    def _image(self, w):
        mid, half = self._ends()
        return np.tanh(w) * np.asarray(half, w.dtype) + np.asarray(mid, w.dtype)

    def __call__(self):
        mid, half = self._ends()
        return mg.tanh(self.params[0]) * half + mid

    def reference(self):
        return self._anchor

    def project(self, threat, box):
        if np.isinf(threat.epsilon).all():
            return
        x = self._image(self.params[0].array)
        inside = threat.project(x, self.x, box)
        moved = flat(inside != x).any(axis=1)
        assign(self.params[0], np.where(rows_of(moved, x) > 0, self._inverse(inside), self.params[0].array))

    def keep(self, rows):
        super().keep(rows)
        self._anchor = self._anchor[rows]


class Shared(Parameterisation):
    """x' = clip(x + delta, box) with one delta (1, ...) for every sample; it survives from one batch to the next.

    The gradient passes where x + delta lies in the box. p.delta is what was learnt; `on(batch)` sets the next batch.
    """

    per_sample = False

    def __init__(self, x, delta=None):
        super().__init__(x)
        self.box = None
        self.params = [] if delta is None else [leaf(delta.array if isinstance(delta, Tensor) else np.asarray(delta))]

    def on(self, x) -> Shared:
        """The same delta for another batch."""
        self.given = x
        return self

    @property
    def delta(self) -> Tensor:
        return self.params[0]

    def begin(self, x, x0, box):
        self.x, self.box = x, box
        if not self.params:
            start = (x0 - x)[:1] if len(x) else np.zeros_like(x, shape=(1, *x.shape[1:]))
            self.params = [leaf(start)]
        elif self.delta.shape != (1, *x.shape[1:]):
            raise ValueError(f"Shared: delta {self.delta.shape} does not fit samples {x.shape[1:]}; it must be "
                             f"{(1, *x.shape[1:])}")

    def __call__(self):
        return mg.clamp(self.delta + self.x, *self.box)

    def project(self, threat, box):
        d = self.delta.array
        assign(self.delta, threat.project(d, np.zeros_like(d), None))

    def keep(self, rows):
        self.x = self.x[rows]
