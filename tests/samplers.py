"""What the table of cases is made of: `Case`, `Call`, and strategies that draw shapes with hypothesis and values with NumPy.

Hypothesis chooses shapes, axes and options (they shrink); the values come from a seeded generator, with a margin from kinks
and ties built in, so that no example is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

MARGIN = 0.05  # distance from kinks and between values that must not tie


@dataclass(frozen=True)
class Call:
    """Arguments of one call: float64 arrays, which are differentiated, and constants by keyword."""

    arrays: tuple
    options: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One public operation, and everything that the generic properties need to know about it.

    name        as it is called
    function    function(*tensors, **options)
    sample      strategy of Calls
    reference   the same in plain NumPy: reference(*arrays, **options) -> array or tuple; None where there is none
    order       how often it is differentiated by check_grads; 0 for results without a derivative
    errors      (call, exception, regular expression) triples
    covers      the public objects that it stands for (default: the function)
    nan         which of the arrays are given a NaN: it must reach the places that it reaches in the reference
    rtol32      relative tolerance of float32 against the float64 reference
    examples    how many calls the properties draw
    """

    name: str
    function: Callable
    sample: st.SearchStrategy
    reference: Callable | None
    order: int = 2
    errors: tuple = ()
    covers: tuple = ()
    nan: tuple = (0, 1, 2, 3)
    rtol32: float = 1e-4
    examples: int = 12

    @property
    def objects(self) -> tuple:
        return self.covers or (self.function,)

    def __repr__(self) -> str:
        return self.name


def sampler(build):
    """build(draw, rng) -> Call as a strategy."""

    @st.composite
    def strategy(draw):
        return build(draw, np.random.default_rng(draw(st.integers(0, 2**16))))

    return strategy()


# ---- values ----------------------------------------------------------------------------------------------------------


def uniform(rng, shape, low=-2.0, high=2.0, avoid=()):
    """Values in [low, high], at least MARGIN away from every kink in `avoid`."""
    x = rng.uniform(low, high, shape)
    for kink in avoid:
        x = np.where(
            np.abs(x - kink) < MARGIN, kink + np.where(x < kink, -1, 1) * MARGIN * (1 + rng.uniform(0, 1, shape)), x
        )
    return np.asarray(x)


def distinct(rng, shape, low=-2.0, high=2.0, avoid=()):
    """Values of which no two are close, and whose sizes |x| are not close either."""
    n = int(np.prod(shape))
    span = (high - low) / max(n, 1)
    x = low + span * (rng.permutation(n) + 0.37 + 0.1 * rng.uniform(-1, 1, n))
    x = x.reshape(shape)
    for kink in avoid:
        x = np.where(np.abs(x - kink) < min(MARGIN, span / 8), x + np.where(x < kink, -1, 1) * min(MARGIN, span / 8), x)
    return np.asarray(x)


def shapes(min_dims=0, max_dims=3, min_side=0, max_side=3):
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side)


def broadcastable(draw, count, min_side=0):
    return draw(
        hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=3, max_side=3, min_side=min_side)
    ).input_shapes


def one_axis(draw, ndim):
    """An axis, counted from either end."""
    return draw(st.integers(-ndim, ndim - 1))


def some_axes(draw, ndim, none=True):
    """`dim` of a reduction: None, an axis, or several distinct ones."""
    kinds = (["none"] if none else []) + (["one", "many"] if ndim else [])
    kind = draw(st.sampled_from(kinds or ["none"]))
    if kind == "none":
        return None
    if kind == "one":
        return one_axis(draw, ndim)
    axes = draw(st.lists(st.integers(0, ndim - 1), min_size=1, max_size=ndim, unique=True))
    return tuple(a - ndim if draw(st.booleans()) else a for a in axes)


def axes_of(dim, ndim):
    """PyTorch's dim as NumPy's axis: None and () mean all."""
    if dim is None or dim == ():
        return tuple(range(ndim))
    return tuple(a % ndim for a in (dim if isinstance(dim, tuple) else (dim,)) if ndim)


# ---- calls -----------------------------------------------------------------------------------------------------------


def unary(low=-2.0, high=2.0, avoid=(), min_dims=0, min_side=0, **options):
    """One array of any shape; options are strategies."""
    return sampler(
        lambda draw, rng: Call(
            (uniform(rng, draw(shapes(min_dims, 3, min_side)), low, high, avoid),),
            {k: draw(s) for k, s in options.items()},
        )
    )


def binary(first=(-2.0, 2.0), second=(-2.0, 2.0), avoid=((), ())):
    """Two arrays that broadcast."""
    return sampler(
        lambda draw, rng: Call(
            tuple(
                uniform(rng, s, *b, a) for s, b, a in zip(broadcastable(draw, 2), (first, second), avoid, strict=True)
            )
        )
    )


def untied():
    """Two arrays that broadcast, of which no element of one is near an element of the other."""

    def build(draw, rng):
        a, b = (rng.integers(-8, 8, s) * 0.25 + rng.uniform(-MARGIN, MARGIN, s) for s in broadcastable(draw, 2))
        return Call((np.asarray(a), np.asarray(b + 0.125)))

    return sampler(build)


def reduction(values=uniform, min_side=0, none=True, single=False, min_dims=0, **options):
    """One array, `dim` and `keepdim`. `single`: dim is one axis, never None or several."""

    def build(draw, rng):
        x = values(rng, draw(shapes(min_dims, 3, min_side)))
        dim = one_axis(draw, x.ndim) if single else some_axes(draw, x.ndim, none)
        return Call((x,), {"dim": dim, "keepdim": draw(st.booleans()), **{k: draw(s) for k, s in options.items()}})

    return sampler(build)


def pairs(low, high):
    """An int or a pair of them, as PyTorch takes it."""
    one = st.integers(low, high)
    return st.one_of(one, st.tuples(one, one))


def images(sides=(3, 6), lead=((2, 2), (3,), (1, 1)), values=uniform, **options):
    """Images with options that are strategies."""
    return sampler(
        lambda draw, rng: Call(
            (values(rng, (*draw(st.sampled_from(lead)), draw(st.integers(*sides)), draw(st.integers(*sides)))),),
            {k: draw(s) for k, s in options.items()},
        )
    )
