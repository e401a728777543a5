"""`check_grads`: are the derivatives of a function right, at every order?

The derivative that the graph computes is held against central differences of the function itself, in float64. A random
cotangent u and a random direction v turn the Jacobian J into one number,

    u^T J v  =  <grad(f, x, u), v>  ~  <u, f(x + h v) - f(x - h v)> / 2h

which an error anywhere in J changes with probability 1 (HIPS autograd and JAX check the same way).
Small problems are also checked entry by entry. A second order is a first order of (x, u) -> grad(f, x, u), and so on:
the cotangents are inputs too, so that the rule of a rule is checked with respect to everything that it reads (as in
Chainer's `check_double_backward` and PyTorch's `gradgradcheck`; JAX holds the cotangent fixed and sees less).

Keep x away from kinks (|x| at 0, ties of a maximum) by more than the step: a difference across a kink is no derivative.

Imports: numpy, autograd, tensor.
"""

from __future__ import annotations

import numpy as np

from minigrad import autograd
from minigrad.autograd import Variable
from minigrad.tensor import Tensor

FULL_LIMIT = 12  # inputs and outputs with at most this many elements are checked entry by entry


class GradientError(AssertionError):
    """A derivative is wrong, or not what one must be: deterministic, linear in its cotangent, of its input's shape."""


def check_grads(f, inputs, order=2, *, eps=1e-6, rtol=1e-6, atol=1e-7, rng=None, full="auto") -> None:
    """Raise GradientError unless every derivative of f up to `order` agrees with central differences at `inputs`.

    f         maps len(inputs) Tensors to a Tensor or a tuple of them; integer outputs are ignored. Smooth near `inputs`
    inputs    a float64 Tensor or array, or a sequence of them, of any shape; they are copied
    order     1 checks the gradient; 2 also the gradient of that, with respect to inputs and cotangents; and so on
    eps       the step of the differences; element x moves by eps * max(1, |x|) * v
    rtol atol a difference is allowed up to atol + rtol * magnitude + the rounding error of the difference quotient
    rng       where directions and cotangents come from: a numpy Generator, a minigrad Stream, or a seed (None is 0)
    full      True compares the whole Jacobian, False a random projection only, 'auto' the whole up to 12 x 12 elements

    At each order it also demands that the gradient has its input's shape and dtype, is the same to the bit when it is
    computed again, is linear in the cotangent and exactly 0 for the cotangent 0, does not depend on the cotangent's
    memory layout, and that neither inputs nor cotangents are written to. The message names the order, the input, the
    position and both values. Raises TypeError for anything but float64 (differences in float32 say nothing).
    """
    if isinstance(order, bool) or not isinstance(order, int) or order < 1:
        raise ValueError(f"check_grads: order must be an integer >= 1, got {order!r}")
    if not 0 < eps < 1:
        raise ValueError(f"check_grads: eps must lie in (0, 1), got {eps}")
    if full not in (True, False, "auto"):
        raise ValueError(f"check_grads: full must be True, False or 'auto', got {full!r}")
    arrays = _float64(inputs)
    names = [f"input {i}" for i in range(len(arrays))]
    rng = _generator(rng)
    with autograd.enable_grad():
        for n in range(1, order + 1):
            check = _Check(f, arrays, names, n, eps, rtol, atol, rng)
            check.run(full)
            f, arrays = _derivative(f, len(arrays)), arrays + check.cotangents
            names = names + [f"the order-{n} cotangent of output {i}" for i in range(len(check.cotangents))]


def _generator(rng) -> np.random.Generator:
    """A seed is mixed with a key. Without it the cotangents u could be the very numbers that the caller drew for x from
    default_rng(0), and u = x hides errors: for a function that scaling leaves unchanged, x^T J is 0 whatever else is wrong."""
    if rng is None or isinstance(rng, int):
        return np.random.default_rng([*b"check_grads", rng or 0])
    return getattr(rng, "generator", rng)


def _float64(inputs) -> list[np.ndarray]:
    if isinstance(inputs, (Variable, np.ndarray)):
        inputs = [inputs]
    arrays = []
    for i, x in enumerate(inputs):
        array = x.array if isinstance(x, Variable) else np.asarray(x)
        if array.dtype != np.float64:
            raise TypeError(
                f"check_grads: input {i} is {array.dtype}; central differences need float64 "
                "(convert with .to(minigrad.float64), or close over what is not differentiated)"
            )
        arrays.append(array.copy(order="K"))
    if not arrays:
        raise ValueError("check_grads: there is nothing to differentiate; give at least one input")
    return arrays


def _wrap(array) -> Tensor:
    return Tensor.wrap(np.asarray(array))  # NumPy's arithmetic turns arrays without axes into scalars


def _leaves(arrays):
    return [_wrap(a).requires_grad_() for a in arrays]


def _outputs(f, leaves) -> list[Variable]:
    """The floating-point outputs of f; those that are joined to no input have the derivative 0."""
    out = f(*leaves)
    out = list(out) if isinstance(out, (tuple, list)) else [out]
    for i, y in enumerate(out):
        if not isinstance(y, Variable):
            raise TypeError(f"check_grads: f returned a {type(y).__name__} as output {i}, not a Tensor")
    return [y for y in out if y.differentiable(y.array)]


def _pull(f, leaves, cotangents, create_graph=False) -> list:
    """The gradient of <cotangents, f(leaves)> for every leaf, or None where f does not depend on it."""
    pairs = [(y, u) for y, u in zip(_outputs(f, leaves), cotangents, strict=True) if y.requires_grad]
    if not pairs:
        return [None] * len(leaves)
    outputs, joined = zip(*pairs, strict=True)
    return list(autograd.grad(outputs, leaves, joined, create_graph=create_graph, allow_unused=True))


def _derivative(f, count: int):
    """(inputs..., cotangents...) -> the gradients that f has there: the function that the next order checks."""

    def gradient_of_f(*args):
        return [g for g in _pull(f, args[:count], args[count:], create_graph=True) if g is not None]

    return gradient_of_f


class _Check:
    """All demands on one order: f at `arrays`, against `cotangents` drawn here."""

    def __init__(self, f, arrays, names, order, eps, rtol, atol, rng):
        self.f, self.arrays, self.names, self.order = f, arrays, names, order
        self.eps, self.rtol, self.atol, self.rng = eps, rtol, atol, rng
        self.outputs = self.values()
        for i, y in enumerate(self.outputs):
            if y.dtype != np.float64:
                raise TypeError(
                    f"check_grads: at order {order} output {i} of f is {y.dtype}: f rounded its float64 inputs"
                )
            if not np.isfinite(y).all():
                raise GradientError(
                    f"check_grads: at order {order} output {i} is not finite at this point, at "
                    f"{_where(~np.isfinite(y))}; choose inputs inside the domain"
                )
        self.cotangents = [self.random(y.shape) for y in self.outputs]

    def random(self, shape) -> np.ndarray:
        """Of either sign and of a size in [0.5, 1.5): no element is so small that its error could hide."""
        return np.asarray(self.rng.choice([-1.0, 1.0], shape) * self.rng.uniform(0.5, 1.5, shape))

    def values(self, arrays=None) -> list[np.ndarray]:
        return [y.array for y in _outputs(self.f, _leaves(self.arrays if arrays is None else arrays))]

    def pull(self, cotangents) -> list[np.ndarray]:
        """The gradients as arrays, 0 where f does not depend on an input."""
        gradients = _pull(self.f, _leaves(self.arrays), [_wrap(u) for u in cotangents])
        return [np.zeros_like(x) if g is None else g.array for x, g in zip(self.arrays, gradients, strict=True)]

    def run(self, full) -> None:
        before = [a.tobytes() for a in self.arrays + self.cotangents]
        gradients = self.pull(self.cotangents)
        again, values = self.pull(self.cotangents), self.values()
        for name, a, b in zip(self.names + self.cotangent_names(), before, self.arrays + self.cotangents, strict=True):
            if a != b.tobytes():
                self.fail(f"{name} was written to during the computation; operations and rules must not mutate")
        for i, (a, b) in enumerate(zip(self.outputs, values, strict=True)):
            if a.tobytes() != b.tobytes():
                self.fail(f"output {i} differs when f runs twice on the same input; fix its rng")
        for name, x, g, h in zip(self.names, self.arrays, gradients, again, strict=True):
            if (g.shape, g.dtype) != (x.shape, x.dtype):
                self.fail(f"the gradient for {name} is {g.shape} {g.dtype}, but the input {x.shape} {x.dtype}")
            if g.tobytes() != h.tobytes():
                self.fail(f"the gradient for {name} differs when it is computed twice: the rule is not deterministic")
        self.projection(gradients)
        self.linearity(gradients)
        self.layouts(gradients)
        small = sum(a.size for a in self.arrays) <= FULL_LIMIT and sum(y.size for y in self.outputs) <= FULL_LIMIT
        if full is True or (full == "auto" and small):
            self.jacobian()

    def cotangent_names(self) -> list[str]:
        return [f"the cotangent of output {i}" for i in range(len(self.outputs))]

    def fail(self, what: str) -> None:
        raise GradientError(f"check_grads: at order {self.order}, {what}")

    # ---- against differences -------------------------------------------------------------------------------------

    def difference(self, i: int, direction: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """(f(x + step) - f(x - step)) / 2 eps for input i, output by output, and the direction that rounding left."""
        x = self.arrays[i]
        step = self.eps * np.maximum(1.0, np.abs(x)) * direction
        up, down = x + step, x - step
        ends = [self.values([*self.arrays[:i], moved, *self.arrays[i + 1 :]]) for moved in (up, down)]
        return [(a - b) / (2 * self.eps) for a, b in zip(*ends, strict=True)], (up - down) / (2 * self.eps)

    def allowed(self, analytic, numeric, magnitude) -> np.ndarray:
        """atol + rtol * size, and what rounding does to a difference quotient of values of that magnitude."""
        rounding = 16 * np.finfo(np.float64).eps / self.eps * magnitude
        return self.atol + self.rtol * np.maximum(np.abs(analytic), np.abs(numeric)) + rounding

    def projection(self, gradients) -> None:
        """<gradient, v> against <u, difference along v>, one random v for each input."""
        magnitude = sum(float(np.abs(u * y).sum()) for u, y in zip(self.cotangents, self.outputs, strict=True))
        for i, g in enumerate(gradients):
            change, direction = self.difference(i, self.random(g.shape))
            numeric = sum(float((u * d).sum()) for u, d in zip(self.cotangents, change, strict=True))
            analytic = float((g * direction).sum())
            if not abs(analytic - numeric) <= self.allowed(analytic, numeric, magnitude):
                self.locate(i, g, analytic, numeric, magnitude)

    def locate(self, i, gradient, analytic, numeric, magnitude) -> None:
        """The projection disagrees: find the element of the gradient that is off most, and report it."""
        worst, most = None, 0.0
        for at in list(np.ndindex(gradient.shape))[:4096]:
            direction = np.zeros_like(gradient)
            direction[at] = 1.0
            change, moved = self.difference(i, direction)
            a = float(gradient[at] * moved[at])
            n = sum(float((u * d).sum()) for u, d in zip(self.cotangents, change, strict=True))
            excess = abs(a - n) / self.allowed(a, n, magnitude)
            if not excess <= most:  # NaN counts
                worst, most = (at, a / moved[at], n / moved[at]), excess
        at, a, n = worst if worst else ("(spread over all)", analytic, numeric)
        self.fail(
            f"the gradient for {self.names[i]} (shape {gradient.shape}) is wrong at position {at}: "
            f"analytic {a:.10g}, numeric {n:.10g} (along a random direction {analytic:.10g} and {numeric:.10g}). "
            f"Is the rule wrong, or the point within {self.eps} of a kink?"
        )

    def jacobian(self) -> None:
        """Every entry of d(outputs)/d(inputs): rows from the graph, columns from differences."""
        for i, x in enumerate(self.arrays):
            for at in np.ndindex(x.shape):
                direction = np.zeros_like(x)
                direction[at] = 1.0
                change, moved = self.difference(i, direction)
                for k, column in enumerate(change):
                    row = self.rows(k)[i][(..., *at)] * moved[at]
                    wrong = ~(np.abs(row - column) <= self.allowed(row, column, np.abs(self.outputs[k])))
                    if wrong.any():
                        j = _where(wrong)
                        self.fail(
                            f"the derivative of output {k} at position {j} for {self.names[i]} at {at} is wrong: "
                            f"analytic {row[j] / moved[at]:.10g}, numeric {column[j] / moved[at]:.10g}. "
                            f"Is the rule wrong, or the point within {self.eps} of a kink?"
                        )

    def rows(self, k: int) -> list[np.ndarray]:
        """d(output k)/d(input) for each input, with the axes of the output in front; computed once."""
        cache = self.__dict__.setdefault("_rows", {})
        if k not in cache:
            rows = [np.empty(self.outputs[k].shape + x.shape) for x in self.arrays]
            for at in np.ndindex(self.outputs[k].shape):
                basis = [np.zeros_like(y) for y in self.outputs]
                basis[k][at] = 1.0
                for row, g in zip(rows, self.pull(basis), strict=True):
                    row[at] = g
            cache[k] = rows
        return cache[k]

    # ---- what a derivative must be -------------------------------------------------------------------------------

    def linearity(self, gradients) -> None:
        """pull(2 u - 3 w) = 2 pull(u) - 3 pull(w), and pull(0) = 0 to the bit."""
        others = [self.random(u.shape) for u in self.cotangents]
        parts = self.pull(others)
        mixed = self.pull([2 * u - 3 * w for u, w in zip(self.cotangents, others, strict=True)])
        for name, a, b, c in zip(self.names, gradients, parts, mixed, strict=True):
            self.same(
                c,
                2 * a - 3 * b,
                3 * (np.abs(a) + np.abs(b)),
                f"the gradient for {name} is not linear in the cotangent: pull(2u - 3w) != 2 pull(u) - 3 pull(w)",
            )
        for name, g in zip(self.names, self.pull([np.zeros_like(u) for u in self.cotangents]), strict=True):
            if g.any():
                self.fail(
                    f"the gradient for {name} is {g[_where(g != 0)]} at position {_where(g != 0)} for the cotangent 0"
                )

    def layouts(self, gradients) -> None:
        """The same cotangent with gaps, with negative strides, and the cotangent 1 with stride 0."""
        for layout, arranged in (("strided", _strided), ("reversed", _reversed)):
            for name, a, b in zip(self.names, gradients, self.pull(list(map(arranged, self.cotangents))), strict=True):
                self.same(b, a, np.abs(a), f"the gradient for {name} changes when the cotangent is {layout} in memory")
        constant = self.pull([np.ones_like(u) for u in self.cotangents])
        for name, a, b in zip(
            self.names, constant, self.pull([np.broadcast_to(1.0, u.shape) for u in self.cotangents]), strict=True
        ):
            self.same(b, a, np.abs(a), f"the gradient for {name} changes when the cotangent has stride 0")

    def same(self, a, b, scale, what) -> None:
        scale = scale + max([float(np.abs(u).max(initial=0.0)) for u in self.cotangents], default=0.0)
        wrong = ~(np.abs(a - b) <= 1e-9 * (scale + float(np.abs(b).max(initial=0.0))))
        if wrong.any():
            at = _where(wrong)
            self.fail(f"{what} at position {at}: {a[at]:.10g} against {b[at]:.10g}")


def _where(mask: np.ndarray) -> tuple[int, ...]:
    """The first position where mask holds."""
    return tuple(int(i[0]) for i in np.nonzero(np.atleast_1d(mask)))[: mask.ndim]


def _strided(u: np.ndarray) -> np.ndarray:
    return np.repeat(u[..., None], 2, axis=-1)[..., 0]


def _reversed(u: np.ndarray) -> np.ndarray:
    flip = (slice(None, None, -1),) * u.ndim
    return np.ascontiguousarray(u[flip])[flip].reshape(u.shape) if u.ndim else u
