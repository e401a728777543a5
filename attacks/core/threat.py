"""What the attacker may change: a norm with a radius, as an object.

    threat.size(d)              (N,) norms of perturbations d (N, ...)
    threat.project(x, x0, box)  x moved into the ball around x0 (the nearest point of the ball), then into the box
    threat.nearest(x, x0, box)  the nearest point to x that lies in ball and box: exact, where `project` need not be
    threat.random(x0, rng)      a perturbation drawn uniformly from the ball
    threat.steepest(g)          argmax <g, u> over the unit ball: one step of steepest ascent; 0 where g is 0
    threat.dual(g)              that maximum: how fast the objective can rise per unit of norm

`epsilon` is a number or one number for each sample (N,); `threat[rows]` is the threat for some samples. Arrays in, arrays of
the same kind and dtype out (NumPy or CuPy), each sample for itself. Both steps of `project`
move towards x0, so its result lies in ball and box. In Linf it equals `nearest`; in L2 and L1 it may lie farther away.

Imports: numpy, arrays, projections, streams.
"""

from __future__ import annotations

import math

import numpy as np

from attacks.core.arrays import flat, real, rows_of
from attacks.core.projections import onto_l1_ball_in_box, onto_l2_ball_in_box
from attacks.core.streams import sample_streams


def _axes(d):
    return tuple(range(1, d.ndim))


class Threat:
    """Base class. epsilon: radius in input units, at least 0; a number or (N,). With inf it is a norm to measure by, no ball for an
    attack (`check`): for no limit but the bounds there is Box().
    """

    name, order = "", math.nan

    def __init__(self, epsilon):
        self.epsilon = real(type(self).__name__, "[0, inf]", each=True, epsilon=epsilon)

    def __repr__(self):
        eps = self.epsilon if np.ndim(self.epsilon) == 0 else f"{self.epsilon.min():g}..{self.epsilon.max():g}"
        return f"{type(self).__name__}({eps})"

    def with_epsilon(self, epsilon) -> Threat:
        """The same norm with another radius."""
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        new.epsilon = type(self)(epsilon).epsilon
        return new

    def __getitem__(self, rows) -> Threat:
        return self if np.ndim(self.epsilon) == 0 else self.with_epsilon(self.epsilon[rows])

    def check(self, n: int, name: str) -> Threat:
        """self, if it is a ball for n samples, with finite radii (or Box); else ValueError."""
        if not isinstance(self, Box):
            real(f"{name}: {type(self).__name__}", "[0, inf)", each=True, epsilon=self.epsilon)
        return self.fits(n, name)

    def fits(self, n: int, name: str) -> Threat:
        """self, if it has a radius for each of n samples, or one for all; else ValueError."""
        if np.ndim(self.epsilon) and len(self.epsilon) != n:
            raise ValueError(f"{name}: {self!r} has {len(self.epsilon)} radii for {n} samples; give one each, or a number")
        return self

    def scale(self, box):
        """A length to measure steps by: epsilon."""
        return self.epsilon

    def project(self, x, x0, box=None):
        """The point of the ball around x0 nearest to x, then clipped to box = (lo, hi); box None: the ball only."""
        x = x0 + self.ball(x - x0)
        return x if box is None else np.clip(x, *box)

    def settle(self, x, x0):
        """x in the ball to the last digit: undoes what rounding x0 + delta added to the norm."""
        for attempt in range(8):
            size = self.size(x - x0)
            eps = np.asarray(self.epsilon, like=size)
            over = size > eps
            if not over.any():
                break
            shrink = np.where(over, np.maximum(eps / np.where(over, size, 1.0) - 1e-6 * 8.0**attempt, 0.0), 1.0)
            x = np.where(rows_of(over, x) > 0, x0 + (x - x0) * rows_of(shrink, x), x)
        return x

    # what a norm says about itself
    def size(self, d):
        """(N,) norms, float64."""
        raise NotImplementedError

    def ball(self, d):
        """The nearest perturbation within the radius."""
        raise NotImplementedError

    def random(self, x0, rng=0, box=(0.0, 1.0)):
        """A perturbation (N, ...) drawn uniformly from the ball, each sample from its own stream (attacks.core.streams)."""
        raise NotImplementedError

    def steepest(self, g):
        """argmax of <g, u> over ||u|| <= 1."""
        raise NotImplementedError

    def dual(self, g):
        """(N,) max of <g, u> over ||u|| <= 1: the dual norm."""
        raise NotImplementedError


class Linf(Threat):
    """max |d_i| <= epsilon."""

    name, order = "linf", math.inf

    def size(self, d):
        return np.max(np.abs(d), axis=_axes(d), initial=0.0).astype(np.float64)

    def ball(self, d):
        eps = rows_of(self.epsilon, d)
        return np.clip(d, -eps, eps)

    def project(self, x, x0, box=None):
        eps = rows_of(self.epsilon, x)
        x = np.clip(x, x0 - eps, x0 + eps)
        return x if box is None else np.clip(x, *box)

    nearest = project  # the order of the two clips makes no difference

    def settle(self, x, x0):
        x = self.project(x, x0)
        return np.where(np.abs(x - x0) > rows_of(self.epsilon, x), np.nextafter(x, x0), x)

    def random(self, x0, rng=0, box=(0.0, 1.0)):
        u = sample_streams(rng, x0, "linf").uniform(-1.0, 1.0, x0.shape[1:], dtype=x0.dtype)
        return np.asarray(u, like=x0) * rows_of(self.epsilon, x0)

    def steepest(self, g):
        return np.sign(g)

    def dual(self, g):
        return np.sum(np.abs(g), axis=_axes(g), dtype=np.float64)


class L2(Threat):
    """sqrt(sum d_i^2) <= epsilon."""

    name, order = "l2", 2

    def size(self, d):
        return np.sqrt(np.sum(np.square(d, dtype=np.float64), axis=_axes(d)))

    dual = size

    def ball(self, d):
        size = self.size(d)
        return d * rows_of(np.minimum(1.0, np.asarray(self.epsilon, like=size) / np.maximum(size, 1e-12)), d)

    def nearest(self, x, x0, box):
        """The exact projection on ball and box: |d_i| = min(|x - x0|_i / (1 + mu), room_i), mu >= 0 by sorting."""
        return onto_l2_ball_in_box(x, x0, box, self.epsilon)

    def random(self, x0, rng=0, box=(0.0, 1.0)):
        # n coordinates of a uniform point on the sphere of n + 2 dimensions are uniform in the ball (Voelker et al. 2017)
        n = math.prod(x0.shape[1:])
        g = sample_streams(rng, x0, "l2").normal((n + 2,), dtype=x0.dtype)
        g /= np.maximum(np.linalg.norm(g, axis=1, keepdims=True), 1e-12)
        return np.asarray(g[:, :n].reshape(x0.shape), like=x0) * rows_of(self.epsilon, x0)

    def steepest(self, g):
        # by the largest first: the square of 1e-30 is lost in float32, and masked gradients are that small
        top = np.max(np.abs(g), axis=_axes(g), keepdims=True, initial=0.0)
        g = g / np.where(top > 0, top, 1)
        return g / np.maximum(np.sqrt(np.sum(g * g, axis=_axes(g), keepdims=True)), 1e-12)


class L1(Threat):
    """sum |d_i| <= epsilon.

    top: the share of coordinates that one step of steepest ascent may move, by the same amount each (SLIDE, Tramer & Boneh
    2019); None: only the largest, ties split, which is the exact maximiser.
    """

    name, order = "l1", 1

    def __init__(self, epsilon, top: float | None = None):
        super().__init__(epsilon)
        self.top = None if top is None else real("L1", "(0, 1]", top=top)

    def size(self, d):
        return np.sum(np.abs(d), axis=_axes(d), dtype=np.float64)

    def ball(self, d):
        """soft(d, theta) = sign(d) max(|d| - theta, 0), with theta >= 0 from the sorted |d| (Duchi et al. 2008)."""
        size = flat(np.abs(d))
        eps = np.broadcast_to(np.asarray(self.epsilon, np.float64, like=size), (len(d),))
        down = -np.sort(-size, axis=1)
        total = np.cumsum(down, axis=1, dtype=np.float64) - eps[:, None]
        count = np.arange(1, size.shape[1] + 1, like=total)
        active = np.maximum(np.sum(down * count > total, axis=1), 1)  # how many coordinates survive
        theta = np.take_along_axis(total, active[:, None] - 1, axis=1)[:, 0] / active
        theta = np.where(size.sum(axis=1, dtype=np.float64) > eps, theta, 0.0)
        kept = np.sign(d) * np.maximum(np.abs(d) - rows_of(theta, d), 0)
        return np.where(rows_of(eps, d) > 0, kept, np.zeros_like(d))

    def nearest(self, x, x0, box):
        """The exact projection on ball and box: |d_i| = min(max(|x - x0|_i - theta, 0), room_i), theta by sorting."""
        return onto_l1_ball_in_box(x, x0, box, self.epsilon)

    def random(self, x0, rng=0, box=(0.0, 1.0)):
        # d of d + 1 exponentials over their sum are uniform in the simplex; signs make it the ball
        n, streams = math.prod(x0.shape[1:]), sample_streams(rng, x0, "l1")
        e = streams.exponential((n + 1,), dtype=x0.dtype)
        d = e[:, :n] / e.sum(axis=1, keepdims=True) * streams.signs((n,), dtype=x0.dtype)
        return np.asarray(d.reshape(x0.shape), like=x0) * rows_of(self.epsilon, x0)

    def steepest(self, g):
        size = flat(np.abs(g))
        if self.top is None:
            least = size.max(axis=1, keepdims=True, initial=0.0)
        else:
            k = max(1, math.ceil(self.top * size.shape[1]))
            least = -np.partition(-size, k - 1, axis=1)[:, k - 1 : k]
        chosen = (size >= least) & (size > 0)
        share = chosen / np.maximum(chosen.sum(axis=1, keepdims=True), 1)
        return np.sign(g) * share.reshape(g.shape).astype(g.dtype)

    def dual(self, g):
        return np.max(np.abs(g), axis=_axes(g), initial=0.0).astype(np.float64)


class L0(Threat):
    """At most epsilon changed coordinates (a whole number), by any amount. pixels=True counts places (H, W), not channels."""

    name, order = "l0", 0

    def __init__(self, epsilon, pixels: bool = False):
        super().__init__(epsilon)
        if np.any(np.asarray(self.epsilon) != np.floor(self.epsilon)):
            raise ValueError(f"L0: epsilon must be a whole number of coordinates, got {epsilon!r}")
        self.pixels = bool(pixels)

    def _weights(self, d):
        """(N, places) how much of d each place holds."""
        if self.pixels:
            if d.ndim < 3:
                raise ValueError(f"L0: pixels=True needs samples (C, H, W), got a batch of shape {d.shape}")
            return flat(np.sqrt(np.sum(np.square(d), axis=1)))
        return flat(np.abs(d))

    def scale(self, box):
        return box[1] - box[0]

    def size(self, d):
        return np.sum(self._weights(d) > 0, axis=1).astype(np.float64)

    def _largest(self, d):
        """A mask of the epsilon places where d is largest (the first of equals)."""
        weights = self._weights(d)
        rank = np.argsort(np.argsort(-weights, axis=1, kind="stable"), axis=1, kind="stable")
        mask = rank < np.broadcast_to(np.asarray(self.epsilon, like=weights), (len(d),))[:, None]
        return mask.reshape((len(d), 1, *d.shape[2:]) if self.pixels else d.shape)

    def ball(self, d):
        return np.where(self._largest(d), d, np.zeros_like(d))

    def settle(self, x, x0):
        return np.where(x == x0, x0, x)

    def random(self, x0, rng=0, box=(0.0, 1.0)):
        """epsilon places, uniformly chosen, with values uniform in the box."""
        streams = sample_streams(rng, x0, "l0")
        value = streams.uniform(box[0], box[1], x0.shape[1:], dtype=x0.dtype)
        places = np.asarray(streams.uniform(0.0, 1.0, x0.shape[1:], dtype=x0.dtype) + 1, like=x0)
        if self.pixels:
            places = np.broadcast_to(places[:, :1], x0.shape)
        return np.where(self._largest(places), np.asarray(value, like=x0) - x0, np.zeros_like(x0))

    def steepest(self, g):
        """The sign of g on its epsilon largest places."""
        return np.sign(self.ball(g))

    def dual(self, g):
        return np.sum(np.abs(self.ball(g)), axis=_axes(g), dtype=np.float64)


class Box(Threat):
    """No limit but the bounds of the input. `size` is L2, for reports; a step of steepest ascent is the sign."""

    name, order = "box", math.inf

    def __init__(self):
        super().__init__(math.inf)

    def __repr__(self):
        return "Box()"

    def scale(self, box):
        return box[1] - box[0]

    size = L2.size

    def ball(self, d):
        return d

    def nearest(self, x, x0, box):
        return np.clip(x, *box)

    def settle(self, x, x0):
        return x

    def random(self, x0, rng=0, box=(0.0, 1.0)):
        """Uniform in the box."""
        value = sample_streams(rng, x0, "box").uniform(box[0], box[1], x0.shape[1:], dtype=x0.dtype)
        return np.asarray(value, like=x0) - x0

    steepest, dual = Linf.steepest, Linf.dual
