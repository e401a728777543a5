"""The table of public operations that drives tests/test_cases.py: here those of Tensors, in cases_functional.py those of networks.

Every public differentiable name of `minigrad`, `minigrad.functional` and `Tensor` has a record; a test fails where one lacks.
References are written in plain NumPy, from the definition.
"""

from __future__ import annotations

import math

import cases_functional
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
    Case("add", lambda a, b: a + b, binary(), np.add, covers=(e.add, T["__radd__"]),
         errors=((lambda: X + mg.ones(2), ValueError, r"broadcast"), (lambda: X + "a", TypeError, "not with str"))),
    Case("sub", lambda a, b: a - b, binary(), np.subtract, covers=(e.sub,)),
    Case("rsub", lambda a: 2.5 - a, unary(), lambda a: 2.5 - a, covers=(T["__rsub__"],)),
    Case("radd", lambda a: 2.5 + a, unary(), lambda a: 2.5 + a, covers=(T["__radd__"],)),
    Case("mul", lambda a, b: a * b, binary(), np.multiply, covers=(e.mul,)),
    Case("rmul", lambda a: np.full((), 2.5) * a, unary(), lambda a: 2.5 * a, covers=(T["__rmul__"],)),
    Case("div", lambda a, b: a / b, binary(second=(0.3, 2.0)), np.divide, order=3, covers=(e.div,)),
    Case("rdiv", lambda a: 2.5 / a, unary(0.3, 2.0), lambda a: 2.5 / a, covers=(T["__rtruediv__"],)),
    Case("neg", lambda a: -a, unary(), np.negative, covers=(e.neg,)),
    Case("pow", mg.pow, binary((0.2, 2.0), (-2.0, 2.0)), np.power, order=3),
    Case("pow of a number", lambda a, p: a**p, unary(-2, 2, (0,), p=st.sampled_from([0, 1, 2, 3, -1, 2.0, 4])),
         lambda a, p: np.power(a, float(p)), order=3, covers=(e.pow,)),
    Case("power of a number", lambda a, base: base**a, unary(base=st.sampled_from([0.5, 2, 3.0])),
         lambda a, base: np.power(float(base), a), covers=(T["__rpow__"],)),
    Case("square", lambda a: a.square(), unary(), np.square, covers=(T["square"],)),
    Case("exp", mg.exp, unary(), np.exp, order=3, errors=((lambda: mg.exp(1.0), TypeError, "exp: expected a Tensor, got float"),)),
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
    Case("where", lambda a, b, condition: mg.where(condition, a, b),
         sampler(lambda draw, rng: (lambda sh: Call(tuple(uniform(rng, x) for x in sh[:2]),
                                                    {"condition": rng.random(sh[2]) < 0.5}))(broadcastable(draw, 3))),
         lambda a, b, condition: np.where(condition, a, b), covers=(mg.where,)),
    Case("maximum", mg.maximum, untied(), np.maximum, nan=()),  # a NaN has no winner; its derivative is tested on its own
    Case("minimum", mg.minimum, untied(), np.minimum, nan=()),
    Case("clamp", mg.clamp, unary(avoid=(-1, 0.5), min=st.sampled_from([None, -1.0]), max=st.just(0.5)),
         lambda a, min, max: np.clip(a, min, max),
         errors=((lambda: mg.clamp(X), ValueError, "clamp: give min, max or both"),)),
    Case("clamp between tensors", lambda a, lo, hi: mg.clamp(a, lo, hi),
         sampler(lambda draw, rng: Call((uniform(rng, (2, 3), avoid=(-1, 1)), np.full((3,), -1.0), np.full((2, 1), 1.0)))),
         lambda a, lo, hi: np.minimum(np.maximum(a, lo), hi), covers=(mg.clamp,), nan=()),
    Case("relu", mg.relu, unary(avoid=(0,)), lambda a: np.maximum(a, 0),
         errors=((lambda: mg.relu(mg.tensor([1, 2])), TypeError, "relu: input must hold floating-point numbers, got int64"),)),
    Case("to float64 and back", lambda a: (a.double() * 2).to(a.dtype), unary(), lambda a: a * 2,
         covers=(s.astype, T["to"], T["float"], T["double"])),
    Case("clone", lambda a: a.clone(), unary(), lambda a: a, covers=(s.clone,)),
    Case("contiguous", lambda a: a.contiguous() * 1.0, unary(), lambda a: a, covers=(s.contiguous,)),
    Case("contiguous of a transpose", lambda a: a.T.contiguous(), unary(), lambda a: a.T, covers=(s.contiguous,)),
]  # fmt: skip


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
    return sampler(lambda draw, rng: (lambda x: Call((x,), {"dim": one_axis(draw, x.ndim)}))(values(rng, draw(shapes(1, 3, min_side)))))


def two_or_more(rng, shape):
    """At least two values along every axis, so that variances have something to vary."""
    return distinct(rng, tuple(max(2, n) for n in shape) or (2,))


REDUCTIONS = [
    Case("sum", mg.sum, reduction(), reducer(np.sum),
         errors=((lambda: X.sum(2), ValueError, "sum: dim 2 is out of range for 2 dimensions"),
                 (lambda: X.sum((0, -2)), ValueError, "names an axis twice"),
                 (lambda: X.sum(1.5), TypeError, "sum: dim must be an integer, got 1.5"))),
    Case("sum_to", lambda x, shape: x.sum_to(shape),
         sampler(lambda draw, rng: Call((uniform(rng, (2, 3, 2)),),
                                        {"shape": draw(st.sampled_from([(3, 2), (1, 3, 1), (2, 3, 2), (), (2,), (1, 1)]))})),
         lambda x, shape: x.sum(axis=tuple(range(3 - len(shape))) + tuple(3 - len(shape) + i for i, n in enumerate(shape) if n == 1),
                                keepdims=True).reshape(shape), covers=(T["sum_to"],)),
    Case("mean", mg.mean, reduction(min_side=1), reducer(np.mean),
         errors=((lambda: mg.zeros(0, 3).mean(), ValueError, r"mean: there is nothing to average over .*\(0, 3\)"),
                 (lambda: mg.tensor([1, 2]).mean(), TypeError, "mean: x must hold floating-point numbers, got int64"))),
    Case("var", mg.var, reduction(two_or_more, correction=st.sampled_from([0, 1])),
         lambda x, dim, keepdim, correction: reducer(np.var)(x, dim, keepdim, ddof=correction)),
    Case("std", mg.std, reduction(two_or_more, correction=st.sampled_from([0, 1])),
         lambda x, dim, keepdim, correction: reducer(np.std)(x, dim, keepdim, ddof=correction)),
    Case("norm", mg.norm, reduction(positive_distinct, min_side=1, p=st.sampled_from([2, "fro"])),
         lambda x, dim, keepdim, p: norm(x, p, dim, keepdim), order=3),
    Case("norm of every p", mg.norm, reduction(positive_distinct, min_side=1,
                                               p=st.sampled_from([1, 3, 1.5, 0.5, math.inf, -math.inf])),
         lambda x, dim, keepdim, p: norm(x, p, dim, keepdim)),
    Case("norm 0", mg.norm, reduction(positive_distinct, p=st.just(0)),
         lambda x, dim, keepdim, p: norm(x, p, dim, keepdim), order=1),
    Case("amax", mg.amax, reduction(distinct, min_side=1), reducer(np.max),
         errors=((lambda: mg.zeros(0, 3).amax(0), ValueError, r"amax: there is no extreme over dim .* shape \(0, 3\)"),)),
    Case("amin", mg.amin, reduction(distinct, min_side=1), reducer(np.min)),
    Case("max", lambda x: mg.max(x), sampler(lambda draw, rng: Call((distinct(rng, draw(shapes(0, 3, 1))),))), lambda x: np.max(x, keepdims=False).reshape(()),
         covers=(mg.max,)),
    Case("max along an axis", mg.max, reduction(distinct, min_side=1, min_dims=1, single=True), extreme_with_index(np.max, np.argmax)),
    Case("min", lambda x: mg.min(x), sampler(lambda draw, rng: Call((distinct(rng, draw(shapes(0, 3, 1))),))), lambda x: np.min(x).reshape(()),
         covers=(mg.min,)),
    Case("min along an axis", mg.min, reduction(distinct, min_side=1, min_dims=1, single=True), extreme_with_index(np.min, np.argmin)),
    Case("argmax", mg.argmax, reduction(distinct, min_side=1, min_dims=1, single=True),
         lambda x, dim, keepdim: np.argmax(x, axis=dim, keepdims=keepdim), order=0,
         errors=((lambda: mg.zeros(0).argmax(), ValueError, "argmax: there is no extreme"),)),
    Case("argmin", mg.argmin, reduction(distinct, min_side=1, min_dims=1, single=True),
         lambda x, dim, keepdim: np.argmin(x, axis=dim, keepdims=keepdim), order=0),
    Case("logsumexp", mg.logsumexp, reduction(min_side=1), logsumexp, order=3),
    Case("prod", mg.prod, reduction(min_dims=1, single=True), reducer(np.prod)),
    Case("prod of all", lambda x: mg.prod(x), unary(), lambda x: np.asarray(np.prod(x)), covers=(mg.prod,)),
    Case("cumsum", mg.cumsum, matrix_like(min_side=0), lambda x, dim: np.cumsum(x, axis=dim),
         errors=((lambda: X.cumsum(5), ValueError, "cumsum: dim 5 is out of range"),)),
    Case("softmax", mg.softmax, matrix_like(), lambda x, dim: np.exp(x) / np.exp(x).sum(dim, keepdims=True)),
    Case("log_softmax", lambda x, dim: x.log_softmax(dim), matrix_like(),
         lambda x, dim: x - np.log(np.exp(x).sum(dim, keepdims=True)), order=3, covers=(T["log_softmax"],)),
]  # fmt: skip


# ---- elements moved --------------------------------------------------------------------------------------------------


def fixed(*shapes_, **options):
    """Arrays of fixed shapes; options are strategies, or values."""
    return sampler(lambda draw, rng: Call(tuple(uniform(rng, sh) for sh in shapes_),
                                          {k: draw(o) if isinstance(o, st.SearchStrategy) else o for k, o in options.items()}))


def choose(shape, *options):
    """One array and one of the option dicts."""
    return sampler(lambda draw, rng: Call((uniform(rng, shape),), dict(draw(st.sampled_from(options)))))


MASK = np.array([[True, False, True, False], [False, True, True, False], [False, False, False, True]])
INDICES = [0, -1, slice(None), slice(0, 2), slice(None, None, -1), slice(2, 0, -1), slice(3, 1), ..., None, (1, 2), (..., 1),
           (None, slice(1, None), None, 0), (slice(None, None, 2), slice(None, None, -2)), [0, 2, 2], np.array([[0, 1], [2, 0]]),
           (slice(None), [0, 3, 3, 1]), ([0, 1, 1], [3, 2, 2]), ([[0], [2]], [1, 3]), MASK, MASK[:, 0], (slice(None), MASK[0]),
           mg.tensor([2, 0]), (1, mg.tensor([0, 0])), np.int64(1), np.array([], dtype=int), (slice(1, 2), ..., [1, 1])]  # fmt: skip


def numpy_index(i):
    return tuple(map(numpy_index, i)) if isinstance(i, tuple) else i.array if isinstance(i, Tensor) else i


def gather_call(draw, rng):
    shape = draw(shapes(1, 3, 1))
    dim = one_axis(draw, len(shape))
    index_shape = tuple(int(rng.integers(0, n + 1)) for n in shape)
    index = rng.integers(0, shape[dim], index_shape[: dim % len(shape)] + (3,) + index_shape[dim % len(shape) + 1 :])
    return Call((uniform(rng, shape),), {"dim": dim, "index": index})


def gather(x, dim, index):
    out = np.empty(index.shape)
    for at in np.ndindex(index.shape):
        where = list(at)
        where[dim] = index[at]
        out[at] = x[tuple(where)]
    return out


def cat_call(draw, rng, equal=False):
    shape = list(draw(shapes(0 if equal else 1, 3)))
    dim = one_axis(draw, len(shape) + equal)
    arrays = []
    for _ in range(draw(st.integers(1, 3))):
        if not equal:
            shape[dim] = draw(st.integers(0, 3))
        arrays.append(uniform(rng, shape))
    return Call(tuple(arrays), {"dim": dim})


def parts(f):
    """A function to a tuple of tensors, under the generic properties."""
    return f


PERMUTATIONS = st.permutations(range(3)).map(tuple)
ROLLS = ({"shifts": 1, "dims": 0}, {"shifts": -4, "dims": 1}, {"shifts": (1, 2), "dims": (0, -1)}, {"shifts": 3, "dims": None},
         {"shifts": (1, 1), "dims": (0, 0)})  # fmt: skip

MOVES = [
    Case("reshape", lambda x, shape: mg.reshape(x, shape), choose((2, 3, 2), *({"shape": v} for v in [(12,), (-1, 4), (2, -1), (1, 12, 1), (3, 2, 2)])),
         lambda x, shape: x.reshape(shape),
         errors=((lambda: X.reshape(4), ValueError, r"reshape: shape \(2, 3\) has 6 elements but \(4,\) has 4"),
                 (lambda: X.reshape(-1, 4), ValueError, "do not divide"),
                 (lambda: X.reshape(-1, -1), ValueError, "may hold one -1"),
                 (lambda: X.reshape(2.0, 3), TypeError, "reshape: size must be an integer, got 2.0")),
         covers=(mg.reshape, T["view"], T["view_as"])),
    Case("view_as", lambda x, y: x.view_as(y) * y, fixed((2, 3), (3, 2)), lambda x, y: x.reshape(3, 2) * y, covers=(T["view_as"],)),
    Case("flatten", mg.flatten, choose((2, 3, 2), {}, {"start_dim": 1}, {"start_dim": 0, "end_dim": 1}, {"start_dim": -2}),
         lambda x, start_dim=0, end_dim=-1: x.reshape(x.shape[: start_dim % 3] + (-1,) + x.shape[end_dim % 3 + 1 :]),
         errors=((lambda: X.flatten(1, 0), ValueError, "flatten: start_dim 1 lies behind end_dim 0"),)),
    Case("unflatten", lambda x, dim, sizes: x.unflatten(dim, sizes), choose((2, 6), {"dim": 1, "sizes": (2, 3)}, {"dim": -1, "sizes": (-1, 2)},
                                                                          {"dim": 0, "sizes": (1, 2)}),
         lambda x, dim, sizes: x.reshape((2, *((2, 3) if sizes == (2, 3) else (3, 2))) if dim else (1, 2, 6)), covers=(T["unflatten"],)),
    Case("squeeze", mg.squeeze, choose((1, 3, 1), {}, {"dim": 0}, {"dim": -1}, {"dim": 1}, {"dim": (0, 2)}),
         lambda x, dim=None: x.reshape({None: (3,), 0: (3, 1), -1: (1, 3), 1: (1, 3, 1), (0, 2): (3,)}[dim])),
    Case("unsqueeze", mg.unsqueeze, choose((2, 3), {"dim": 0}, {"dim": 1}, {"dim": 2}, {"dim": -1}, {"dim": -3}),
         lambda x, dim: np.expand_dims(x, dim), errors=((lambda: X.unsqueeze(4), ValueError, "unsqueeze: dim 4 is out of range"),)),
    Case("permute", lambda x, dims: x.permute(dims), sampler(lambda draw, rng: Call((uniform(rng, (2, 3, 4)),), {"dims": draw(PERMUTATIONS)})),
         lambda x, dims: x.transpose(dims), covers=(mg.permute,),
         errors=((lambda: X.permute(0, 0), ValueError, r"permute: dims \(0, 0\) must name each of the 2 axes"),
                 (lambda: X.permute(0), ValueError, "must name each of the 2 axes"))),
    Case("transpose", mg.transpose, choose((2, 3, 4), *({"dim0": a, "dim1": b} for a in (0, -1) for b in (1, 2, 0))),
         lambda x, dim0, dim1: np.swapaxes(x, dim0, dim1)),
    Case("movedim", lambda x, source, destination: x.movedim(source, destination),
         choose((2, 3, 4), *({"source": a, "destination": b} for a in (0, 1, -1) for b in (0, 1, -1))),
         lambda x, source, destination: np.moveaxis(x, source, destination), covers=(T["movedim"],)),
    Case("T, mT and t", lambda x, y: (x.T, x.mT, y.t()), fixed((2, 3, 4), (2, 3)),
         lambda x, y: (x.T, np.swapaxes(x, -1, -2), y.T), covers=(T["T"], T["mT"], T["t"])),
    Case("flip", mg.flip, choose((2, 3), {"dims": 0}, {"dims": (1,)}, {"dims": (0, -1)}), lambda x, dims: np.flip(x, dims)),
    Case("roll", mg.roll, choose((2, 3), *ROLLS), lambda x, shifts, dims: np.roll(x, shifts, dims),
         errors=((lambda: mg.roll(X, (1, 2), 0), ValueError, "roll: 2 shifts for 1 dims"),)),
    Case("expand", lambda x, shape: x.expand(shape), choose((3, 1), {"shape": (3, 4)}, {"shape": (2, 3, 1)}, {"shape": (-1, 2)}, {"shape": (0, 3, 1)}),
         lambda x, shape: np.broadcast_to(x, (3, 2) if shape == (-1, 2) else shape), covers=(mg.expand,),
         errors=((lambda: X.expand(2, 4), ValueError, r"expand: shape \(2, 3\) does not broadcast to \(2, 4\)"),
                 (lambda: X.expand(3), ValueError, "has fewer axes"))),
    Case("expand_as", lambda x, y: x.expand_as(y) * y, fixed((3, 1), (2, 3, 2)), lambda x, y: x * y, covers=(T["expand_as"],)),
    Case("repeat", lambda x, sizes: x.repeat(sizes), choose((2, 3), {"sizes": (2, 1)}, {"sizes": (1, 2)}, {"sizes": (2, 1, 3)}, {"sizes": (0, 1)}),
         lambda x, sizes: np.tile(x, sizes), covers=(T["repeat"],),
         errors=((lambda: X.repeat(2), ValueError, r"repeat: \(2,\) must give a count >= 0 for each of the 2 axes"),)),
    Case("getitem", lambda x, index: x[index], choose((3, 4), *({"index": i} for i in INDICES)),
         lambda x, index: x[numpy_index(index)], covers=(T["__getitem__"],), examples=40,
         errors=((lambda: X[5], IndexError, r"indexing a tensor of shape \(2, 3\): index 5 is out of bounds"),
                 (lambda: X[0, 0, 0], IndexError, "too many indices"),
                 (lambda: X[1.0], TypeError, "indexed by integers, slices or masks, got 1.0"),
                 (lambda: X[mg.ones(2)], TypeError, "indexed by integers or bools, got float32"))),
    Case("narrow", lambda x, **o: x.narrow(**o), choose((3, 4), {"dim": 1, "start": 1, "length": 2}, {"dim": 0, "start": -2, "length": 2}, {"dim": 0, "start": 0, "length": 0}),
         lambda x, dim, start, length: np.take(x, range(start % x.shape[dim], start % x.shape[dim] + length), dim), covers=(T["narrow"],),
         errors=((lambda: X.narrow(1, 2, 2), ValueError, r"narrow: 2..4 lies outside dim 1 of length 3"),)),
    Case("split", mg.split, choose((5, 2), {"split_size": 2}, {"split_size": [1, 4]}, {"split_size": 1, "dim": 1}, {"split_size": [0, 5]}),
         lambda x, split_size, dim=0: tuple(np.split(x, np.cumsum(split_size)[:-1] if isinstance(split_size, list) else range(split_size, x.shape[dim], split_size), dim)),
         errors=((lambda: X.split([1, 1], 1), ValueError, r"split: sizes \[1, 1\] must sum to 3"),
                 (lambda: X.split(0), ValueError, "split: split_size must be at least 1, got 0"))),
    Case("chunk", mg.chunk, choose((5, 2), {"chunks": 2}, {"chunks": 3}, {"chunks": 7}, {"chunks": 2, "dim": 1}),
         lambda x, chunks, dim=0: tuple(np.split(x, range(-(-x.shape[dim] // chunks), x.shape[dim], -(-x.shape[dim] // chunks)), dim))),
    Case("unbind", mg.unbind, choose((2, 3), {}, {"dim": 1}, {"dim": -1}), lambda x, dim=0: tuple(np.moveaxis(x, dim, 0))),
    Case("iteration", lambda x: tuple(x), fixed((3, 2)), lambda x: tuple(x), covers=(T["__iter__"],)),
    Case("cat", lambda *xs, dim: mg.cat(xs, dim), sampler(cat_call), lambda *xs, dim: np.concatenate(xs, dim), covers=(mg.cat,),
         errors=((lambda: mg.cat([]), ValueError, "cat: nothing to join"),
                 (lambda: mg.cat([X, mg.ones(2, 2)]), ValueError, r"cat: tensors\[1\] has shape \(2, 2\) but tensors\[0\] \(2, 3\)"),
                 (lambda: mg.cat([X, 1.0]), TypeError, r"cat: tensors\[1\] must be a Tensor, got float"))),
    Case("stack", lambda *xs, dim: mg.stack(xs, dim), sampler(lambda draw, rng: cat_call(draw, rng, True)),
         lambda *xs, dim: np.stack(xs, dim), covers=(mg.stack,),
         errors=((lambda: mg.stack([X, mg.ones(3)]), ValueError, r"stack: tensors\[1\] has shape \(3,\)"),)),
    Case("gather", mg.gather, sampler(gather_call), gather,
         errors=((lambda: X.gather(1, mg.tensor([[3]])), ValueError, r"gather: indices must lie in \[0, 3\), got 3..3"),
                 (lambda: X.gather(1, mg.ones(1, 1)), TypeError, "gather: index must hold integers, got float32"))),
    Case("tril", mg.tril, choose((2, 3, 3), {}, {"diagonal": 1}, {"diagonal": -1}), lambda x, diagonal=0: np.tril(x, diagonal), nan=()),
    Case("triu", mg.triu, choose((2, 3), {}, {"diagonal": 1}, {"diagonal": -1}), lambda x, diagonal=0: np.triu(x, diagonal), nan=()),
]  # fmt: skip


# ---- products --------------------------------------------------------------------------------------------------------

PRODUCTS_OF = [((2, 3), (3, 2)), ((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((2, 2, 3), (3, 2)), ((2, 1, 2, 3), (3, 3, 2)),
               ((2, 2, 3), (2, 3, 1)), ((2, 3), (4, 3, 2)), ((0, 3), (3, 2)), ((2, 0), (0, 2)), ((2, 2, 3), (3,)), ((1, 1), (1, 1))]  # fmt: skip
EQUATIONS = [("ij,jk->ik", (2, 3), (3, 2)), ("bik,bkj->bij", (2, 2, 3), (2, 3, 1)), ("ii->i", (3, 3)), ("ii", (3, 3)), ("ij->ji", (2, 3)),
             ("ij->", (2, 3)), ("i,j->ij", (2,), (3,)), ("...ij->...ji", (2, 2, 3)), ("i,i,i->", (3,), (3,), (3,)), ("ij,j", (2, 3), (3,)),
             ("...i,i->...", (2, 2, 3), (3,)), ("ij,kj->k", (2, 3), (2, 3)), ("iij->j", (2, 2, 3)), ("ab,bc,cd->ad", (1, 2), (2, 3), (3, 2))]  # fmt: skip


def product_call(draw, rng):
    return Call(tuple(uniform(rng, sh) for sh in draw(st.sampled_from(PRODUCTS_OF))))


def einsum_call(draw, rng):
    equation, *sh = draw(st.sampled_from(EQUATIONS))
    return Call(tuple(uniform(rng, x) for x in sh), {"equation": equation})


PRODUCTS = [
    Case("matmul", mg.matmul, sampler(product_call), np.matmul, order=3, examples=25,
         errors=((lambda: X @ X, ValueError, r"matmul: shapes \(2, 3\) @ \(2, 3\): the last axis of the first \(3\) must equal"),
                 (lambda: mg.matmul(X, mg.tensor(2.0)), ValueError, "a number is no matrix"),
                 (lambda: mg.matmul(X, 2.0), TypeError, "matmul: b must be a Tensor, got float"),
                 (lambda: mg.ones(2, 2, 3) @ mg.ones(3, 3, 2), ValueError, "batch axes .* do not broadcast"))),
    Case("@", lambda a, b: a @ b, sampler(product_call), np.matmul, order=1, covers=(T["__matmul__"],)),
    Case("array @", lambda a: np.ones((2, 3), np.float32) @ a, fixed((3, 2)), lambda a: np.ones((2, 3)) @ a, order=1, covers=(T["__rmatmul__"],)),
    Case("einsum", lambda *xs, equation: mg.einsum(equation, *xs), sampler(einsum_call),
         lambda *xs, equation: np.asarray(np.einsum(equation, *xs)), covers=(mg.einsum,), examples=30,
         errors=((lambda: mg.einsum("ij,jk", X), ValueError, "names 2 operands, 1 were given"),
                 (lambda: mg.einsum("ij,jk", X, X), ValueError, "axis 'j' has length 3 and 2"),
                 (lambda: mg.einsum("ijk", X), ValueError, r"does not fit operand 0 of shape \(2, 3\)"),
                 (lambda: mg.einsum("ij->ik", X), ValueError, "must name distinct axes of the operands"))),
]  # fmt: skip

CASES = ELEMENTWISE + REDUCTIONS + MOVES + PRODUCTS + cases_functional.CASES
