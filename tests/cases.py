"""The table of public operations that drives tests/test_cases.py: here those of Tensors, in cases_*.py those of networks.

Every public differentiable name of `minigrad`, `minigrad.functional` and `Tensor` has a record; a test fails where one lacks.
References are written in plain NumPy, from the definition.
"""

from __future__ import annotations

import math

import cases_functional
import cases_images
import cases_losses
import cases_names
import cases_shape
import numpy as np
from hypothesis import strategies as st
from samplers import (
    Call,
    Case,
    axes_of,
    binary,
    broadcastable,
    distinct,
    one_axis,
    reduction,
    sampler,
    shapes,
    unary,
    uniform,
    untied,
)

import minigrad as mg
from minigrad import Tensor
from minigrad.functional import elementwise as e
from minigrad.functional import shape as s

T = vars(Tensor)  # methods and properties, by name
X = mg.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def erf(x):
    return np.vectorize(math.erf, otypes=[np.float64])(x) if x.size else x


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# ---- element by element ----------------------------------------------------------------------------------------------

ELEMENTWISE = [
    Case(
        "add",
        lambda a, b: a + b,
        binary(),
        np.add,
        covers=(e.add, T["__radd__"]),
        errors=((lambda: X + mg.ones(2), ValueError, r"broadcast"), (lambda: X + "a", TypeError, "not with str")),
    ),
    Case("sub", lambda a, b: a - b, binary(), np.subtract, covers=(e.sub,)),
    Case("rsub", lambda a: 2.5 - a, unary(), lambda a: 2.5 - a, covers=(T["__rsub__"],)),
    Case("radd", lambda a: 2.5 + a, unary(), lambda a: 2.5 + a, covers=(T["__radd__"],)),
    Case("mul", lambda a, b: a * b, binary(), np.multiply, covers=(e.mul,)),
    Case("rmul", lambda a: np.full((), 2.5) * a, unary(), lambda a: 2.5 * a, covers=(T["__rmul__"],)),
    Case("div", lambda a, b: a / b, binary(second=(0.3, 2.0)), np.divide, order=3, covers=(e.div,)),
    Case("rdiv", lambda a: 2.5 / a, unary(0.3, 2.0), lambda a: 2.5 / a, covers=(T["__rtruediv__"],)),
    Case("neg", lambda a: -a, unary(), np.negative, covers=(e.neg,)),
    Case("pow", mg.pow, binary((0.2, 2.0), (-2.0, 2.0)), np.power, order=3),
    Case(
        "pow of a number",
        lambda a, p: a**p,
        unary(-2, 2, (0,), p=st.sampled_from([0, 1, 2, 3, -1, 2.0, 4])),
        lambda a, p: np.power(a, float(p)),
        order=3,
        covers=(e.pow,),
    ),
    Case(
        "power of a number",
        lambda a, base: base**a,
        unary(base=st.sampled_from([0.5, 2, 3.0])),
        lambda a, base: np.power(float(base), a),
        covers=(T["__rpow__"],),
    ),
    Case(
        "exp",
        mg.exp,
        unary(),
        np.exp,
        order=3,
        errors=((lambda: mg.exp(1.0), TypeError, "exp: expected a Tensor, got float"),),
    ),
    Case("log", mg.log, unary(0.2, 3.0), np.log, order=3),
    Case("log1p", mg.log1p, unary(-0.8, 3.0), np.log1p),
    Case("expm1", lambda a: a.expm1(), unary(), np.expm1, covers=(e.expm1,)),
    Case("sqrt", mg.sqrt, unary(0.2, 3.0), np.sqrt, order=3),
    Case("sin", mg.sin, unary(), np.sin, order=3),
    Case("cos", mg.cos, unary(), np.cos, order=3),
    Case("tanh", mg.tanh, unary(), np.tanh, order=3),
    Case("sigmoid", mg.sigmoid, unary(-3, 3), sigmoid, order=3),
    Case("erf", mg.erf, unary(), erf, order=3),
    Case("abs", mg.abs, unary(avoid=(0,)), np.abs),
    Case("sign", mg.sign, unary(avoid=(0,)), np.sign),
    Case(
        "where",
        lambda a, b, condition: mg.where(condition, a, b),
        sampler(
            lambda draw, rng: (
                lambda sh: Call(tuple(uniform(rng, x) for x in sh[:2]), {"condition": rng.random(sh[2]) < 0.5})
            )(broadcastable(draw, 3))
        ),
        lambda a, b, condition: np.where(condition, a, b),
        covers=(mg.where,),
    ),
    Case(
        "maximum", mg.maximum, untied(), np.maximum, nan=()
    ),  # a NaN has no winner; its derivative is tested on its own
    Case("minimum", mg.minimum, untied(), np.minimum, nan=()),
    Case(
        "clamp",
        mg.clamp,
        unary(avoid=(-1, 0.5), min=st.sampled_from([None, -1.0]), max=st.just(0.5)),
        lambda a, min, max: np.clip(a, min, max),
        errors=((lambda: mg.clamp(X), ValueError, "clamp: give min, max or both"),),
    ),
    Case(
        "clamp between tensors",
        lambda a, lo, hi: mg.clamp(a, lo, hi),
        sampler(
            lambda draw, rng: Call((uniform(rng, (2, 3), avoid=(-1, 1)), np.full((3,), -1.0), np.full((2, 1), 1.0)))
        ),
        lambda a, lo, hi: np.minimum(np.maximum(a, lo), hi),
        covers=(mg.clamp,),
        nan=(),
    ),
    Case(
        "relu",
        mg.relu,
        unary(avoid=(0,)),
        lambda a: np.maximum(a, 0),
        errors=(
            (lambda: mg.relu(mg.tensor([1, 2])), TypeError, "relu: input must hold floating-point numbers, got int64"),
        ),
    ),
    Case(
        "to float64 and back",
        lambda a: (a.double() * 2).to(a.dtype),
        unary(),
        lambda a: a * 2,
        covers=(s.astype, Tensor.to, Tensor.float, Tensor.double),
    ),
    Case("clone", lambda a: a.clone(), unary(), lambda a: a, covers=(s.clone,)),
    Case("contiguous", lambda a: a.contiguous() * 1.0, unary(), lambda a: a, covers=(s.contiguous,)),
    Case(
        "contiguous of a transpose",
        lambda a: a.T.contiguous(),
        unary(min_dims=2, min_side=2),
        lambda a: a.T,
        covers=(s.contiguous,),
    ),
]


# ---- reductions ------------------------------------------------------------------------------------------------------


def reducer(f):
    """A NumPy reduction with PyTorch's arguments."""
    return lambda x, dim=None, keepdim=False, **o: np.asarray(f(x, axis=axes_of(dim, x.ndim), keepdims=keepdim, **o))


def norm(x, p, dim, keepdim):
    axes, a = axes_of(dim, x.ndim), np.abs(x)
    if p in (math.inf, -math.inf):
        return np.asarray((np.max if p > 0 else np.min)(a, axis=axes, keepdims=keepdim))
    if p == 0:
        return np.asarray((a != 0).astype(float).sum(axis=axes, keepdims=keepdim))
    p = 2 if p == "fro" else p
    return np.asarray((a**p).sum(axis=axes, keepdims=keepdim) ** (1 / p))


def positive_distinct(rng, shape):
    """|x| away from 0 and from each other, of either sign."""
    return np.asarray(distinct(rng, shape, 0.3, 3.0) * rng.choice([-1.0, 1.0], shape))


def logsumexp(x, dim, keepdim):
    axes = axes_of(dim, x.ndim)
    return np.asarray(np.log(np.exp(x).sum(axis=axes, keepdims=keepdim)))


def extreme_with_index(best, index):
    def reference(x, dim, keepdim):
        if x.ndim == 0:
            return x, np.zeros((), np.int64)
        i = np.expand_dims(index(x, axis=dim), dim)
        values = np.take_along_axis(x, i, dim)
        return (values, i) if keepdim else (values.squeeze(dim), i.squeeze(dim))

    return reference


def matrix_like(values=uniform, min_side=1):
    """An array with an axis: (array, dim)."""
    return sampler(
        lambda draw, rng: (lambda x: Call((x,), {"dim": one_axis(draw, x.ndim)}))(
            values(rng, draw(shapes(1, 3, min_side)))
        )
    )


def two_or_more(rng, shape):
    """At least two values along every axis, so that variances have something to vary."""
    return distinct(rng, tuple(max(2, n) for n in shape) or (2,))


REDUCTIONS = [
    Case(
        "sum",
        mg.sum,
        reduction(),
        reducer(np.sum),
        errors=(
            (lambda: X.sum(2), ValueError, "sum: dim 2 is out of range for 2 dimensions"),
            (lambda: X.sum((0, -2)), ValueError, "names an axis twice"),
            (lambda: X.sum(1.5), TypeError, "sum: dim must be an integer, got 1.5"),
        ),
    ),
    Case(
        "sum_to",
        lambda x, shape: x.sum_to(shape),
        sampler(
            lambda draw, rng: Call(
                (uniform(rng, (2, 3, 2)),),
                {"shape": draw(st.sampled_from([(3, 2), (1, 3, 1), (2, 3, 2), (), (2,), (1, 1)]))},
            )
        ),
        lambda x, shape: x.sum(
            axis=tuple(range(3 - len(shape))) + tuple(3 - len(shape) + i for i, n in enumerate(shape) if n == 1),
            keepdims=True,
        ).reshape(shape),
        covers=(T["sum_to"],),
    ),
    Case(
        "mean",
        mg.mean,
        reduction(min_side=1),
        reducer(np.mean),
        errors=(
            (lambda: mg.zeros(0, 3).mean(), ValueError, r"mean: there is nothing to average over .*\(0, 3\)"),
            (lambda: mg.tensor([1, 2]).mean(), TypeError, "mean: x must hold floating-point numbers, got int64"),
        ),
    ),
    Case(
        "var",
        mg.var,
        reduction(two_or_more, correction=st.sampled_from([0, 1])),
        lambda x, dim, keepdim, correction: reducer(np.var)(x, dim, keepdim, ddof=correction),
    ),
    Case(
        "std",
        mg.std,
        reduction(two_or_more, correction=st.sampled_from([0, 1])),
        lambda x, dim, keepdim, correction: reducer(np.std)(x, dim, keepdim, ddof=correction),
    ),
    Case(
        "norm",
        mg.norm,
        reduction(positive_distinct, min_side=1, p=st.sampled_from([2, "fro"])),
        lambda x, dim, keepdim, p: norm(x, p, dim, keepdim),
        order=3,
    ),
    Case(
        "norm of every p",
        mg.norm,
        reduction(positive_distinct, min_side=1, p=st.sampled_from([1, 3, 1.5, 0.5, math.inf, -math.inf])),
        lambda x, dim, keepdim, p: norm(x, p, dim, keepdim),
    ),
    Case(
        "norm 0",
        mg.norm,
        reduction(positive_distinct, p=st.just(0)),
        lambda x, dim, keepdim, p: norm(x, p, dim, keepdim),
        order=1,
    ),
    Case(
        "amax",
        mg.amax,
        reduction(distinct, min_side=1),
        reducer(np.max),
        errors=((lambda: mg.zeros(0, 3).amax(0), ValueError, r"amax: there is no extreme over dim .* shape \(0, 3\)"),),
    ),
    Case("amin", mg.amin, reduction(distinct, min_side=1), reducer(np.min)),
    Case(
        "max",
        lambda x: mg.max(x),
        sampler(lambda draw, rng: Call((distinct(rng, draw(shapes(0, 3, 1))),))),
        lambda x: np.max(x, keepdims=False).reshape(()),
        covers=(mg.max,),
    ),
    Case(
        "max along an axis",
        mg.max,
        reduction(distinct, min_side=1, min_dims=1, single=True),
        extreme_with_index(np.max, np.argmax),
    ),
    Case(
        "min",
        lambda x: mg.min(x),
        sampler(lambda draw, rng: Call((distinct(rng, draw(shapes(0, 3, 1))),))),
        lambda x: np.min(x).reshape(()),
        covers=(mg.min,),
    ),
    Case(
        "min along an axis",
        mg.min,
        reduction(distinct, min_side=1, min_dims=1, single=True),
        extreme_with_index(np.min, np.argmin),
    ),
    Case(
        "argmax",
        mg.argmax,
        reduction(distinct, min_side=1, min_dims=1, single=True),
        lambda x, dim, keepdim: np.argmax(x, axis=dim, keepdims=keepdim),
        order=0,
        errors=((lambda: mg.zeros(0).argmax(), ValueError, "argmax: there is no extreme"),),
    ),
    Case(
        "argmin",
        mg.argmin,
        reduction(distinct, min_side=1, min_dims=1, single=True),
        lambda x, dim, keepdim: np.argmin(x, axis=dim, keepdims=keepdim),
        order=0,
    ),
    Case("logsumexp", mg.logsumexp, reduction(min_side=1), logsumexp, order=3),
    Case("prod", mg.prod, reduction(min_dims=1, single=True), reducer(np.prod)),
    Case("prod of all", lambda x: mg.prod(x), unary(), lambda x: np.asarray(np.prod(x)), covers=(mg.prod,)),
    Case(
        "cumsum",
        mg.cumsum,
        matrix_like(min_side=0),
        lambda x, dim: np.cumsum(x, axis=dim),
        errors=((lambda: X.cumsum(5), ValueError, "cumsum: dim 5 is out of range"),),
    ),
    Case("softmax", mg.softmax, matrix_like(), lambda x, dim: np.exp(x) / np.exp(x).sum(dim, keepdims=True)),
    Case(
        "log_softmax",
        lambda x, dim: x.log_softmax(dim),
        matrix_like(),
        lambda x, dim: x - np.log(np.exp(x).sum(dim, keepdims=True)),
        order=3,
        covers=(T["log_softmax"],),
    ),
]


CASES = [
    *ELEMENTWISE,
    *REDUCTIONS,
    *cases_shape.CASES,
    *cases_functional.CASES,
    *cases_images.CASES,
    *cases_losses.CASES,
    *cases_names.CASES,
]
