"""The table of cases: the functions that scripts written for PyTorch name. See tests/cases.py."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st
from samplers import Call, Case, binary, distinct, one_axis, reduction, sampler, shapes, unary, uniform

import minigrad as mg
from minigrad import Tensor

T = vars(Tensor)
X = mg.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def fixed(*shapes_, **options):
    return sampler(
        lambda draw, rng: Call(
            tuple(uniform(rng, sh) for sh in shapes_),
            {k: draw(o) if isinstance(o, st.SearchStrategy) else o for k, o in options.items()},
        )
    )


def off_steps(rng, shape):
    """Values that no step of floor, round, trunc or a remainder by 0.75 is near."""
    return np.asarray(rng.integers(-6, 6, shape) * 0.25 + rng.uniform(0.06, 0.19, shape))


def steps(**options):
    return sampler(lambda draw, rng: Call((off_steps(rng, draw(shapes())),), {k: draw(s) for k, s in options.items()}))


def quotients():
    """Dividends and divisors whose quotient is not near an integer."""

    def build(draw, rng):
        shape = draw(shapes())
        b = rng.uniform(0.5, 2.0, shape) * rng.choice([-1.0, 1.0], shape)
        return Call((np.asarray((rng.integers(-4, 4, shape) + rng.uniform(0.2, 0.8, shape)) * b), np.asarray(b)))

    return sampler(build)


def sorted_call(draw, rng):
    x = distinct(rng, draw(shapes(1, 3, 1)))
    return Call((x,), {"dim": one_axis(draw, x.ndim)})


def ordered(x, dim, descending=False):
    order = np.argsort(-x if descending else x, axis=dim, kind="stable")
    return np.take_along_axis(x, order, dim), order


def topk_call(draw, rng):
    x = distinct(rng, draw(shapes(1, 3, 1)))
    dim = one_axis(draw, x.ndim)
    return Call((x,), {"k": draw(st.integers(1, x.shape[dim])), "dim": dim, "largest": draw(st.booleans())})


def topk(x, k, dim, largest):
    values, order = ordered(x, dim, largest)
    return np.take(values, range(k), dim), np.take(order, range(k), dim)


def kth(x, k, dim):
    values, order = ordered(x, dim)
    return np.take(values, k - 1, dim), np.take(order, k - 1, dim)


def scatter_call(draw, rng, two=True):
    shape = draw(shapes(1, 3, 1))
    dim = one_axis(draw, len(shape))
    index_shape = [int(rng.integers(1, n + 1)) for n in shape]
    index = rng.permuted(np.indices(shape)[dim % len(shape)], axis=dim)[tuple(slice(0, n) for n in index_shape)]
    src = uniform(rng, [n + 1 for n in index_shape])
    return Call((uniform(rng, shape), src) if two else (uniform(rng, shape),), {"dim": dim, "index": index})


def scatter(x, src, dim, index, add=False):
    out = x.copy()
    for at in np.ndindex(index.shape):
        to = list(at)
        to[dim] = index[at]
        out[tuple(to)] = src[at] + (out[tuple(to)] if add else 0)
    return out


def masked(draw, rng):
    sh = draw(shapes(0, 3, 1))
    return Call((uniform(rng, sh),), {"mask": rng.random(sh) < 0.5})


def one(name, reference, low=-2.0, high=2.0, order=2, avoid=(), covers=()):
    """An operation on each element, as function and as method."""
    return Case(name, getattr(mg, name), unary(low, high, avoid), reference, order, covers=covers or (getattr(mg, name), T[name]))


CASES = [
    Case(
        "add alpha",
        lambda a, b, alpha: mg.add(a, b, alpha=alpha),
        fixed((2, 3), (3,), alpha=st.sampled_from([1, 2, -0.5])),
        lambda a, b, alpha: a + alpha * b,
        covers=(mg.add, T["add"]),
    ),
    Case(
        "sub alpha",
        lambda a, b, alpha: mg.sub(a, b, alpha=alpha),
        fixed((2, 3), (3,), alpha=st.sampled_from([1, 2, -0.5])),
        lambda a, b, alpha: a - alpha * b,
        covers=(mg.sub, T["sub"]),
    ),
    Case("div named", lambda a, b: mg.div(a, b), binary(second=(0.3, 2.0)), np.divide, covers=(mg.div, T["div"])),
    Case(
        "div floor",
        lambda a, b: mg.div(a, b, rounding_mode="floor"),
        quotients(),
        lambda a, b: np.floor(a / b),
        order=1,
        nan=(),
        covers=(mg.div,),
        errors=((lambda: mg.div(X, X, rounding_mode="up"), ValueError, "rounding_mode must be"),),
    ),
    Case(
        "div trunc",
        lambda a, b: mg.div(a, b, rounding_mode="trunc"),
        quotients(),
        lambda a, b: np.trunc(a / b),
        order=1,
        covers=(mg.div,),
    ),
    Case(
        "floor_divide",
        mg.floor_divide,
        quotients(),
        lambda a, b: np.floor(a / b),
        order=1,
        covers=(mg.floor_divide, T["floor_divide"], T["__floordiv__"]),
    ),
    Case(
        "rfloordiv",
        lambda a: 5.0 // a,
        unary(0.52, 0.98),
        lambda a: np.floor(5.0 / a),
        order=0,
        nan=(),
        covers=(T["__rfloordiv__"],),
    ),
    Case("remainder", mg.remainder, quotients(), np.mod, covers=(mg.remainder, T["remainder"], T["__mod__"])),
    Case("rmod", lambda a: 5.2 % a, unary(5.5, 6.0), lambda a: np.mod(5.2, a), covers=(T["__rmod__"],)),
    Case("fmod", mg.fmod, quotients(), np.fmod, covers=(mg.fmod, T["fmod"])),
    Case(
        "addcmul",
        lambda a, b, c: mg.addcmul(a, b, c, value=0.5),
        fixed((2, 3), (3,), (2, 1)),
        lambda a, b, c: a + 0.5 * b * c,
        covers=(mg.addcmul, T["addcmul"]),
    ),
    Case(
        "addcdiv",
        lambda a, b, c: mg.addcdiv(a, b, c + 3, value=2),
        fixed((2, 3), (3,), (2, 1)),
        lambda a, b, c: a + 2 * b / (c + 3),
        covers=(mg.addcdiv, T["addcdiv"]),
    ),
    Case("lerp", mg.lerp, fixed((2, 3), (3,), (2, 1)), lambda a, b, w: a + w * (b - a), covers=(mg.lerp, T["lerp"])),
    Case("clamp_min", lambda a: a.clamp_min(0.5), unary(avoid=(0.5,)), lambda a: np.maximum(a, 0.5), covers=(T["clamp_min"],)),
    Case("clamp_max", lambda a: a.clamp_max(0.5), unary(avoid=(0.5,)), lambda a: np.minimum(a, 0.5), covers=(T["clamp_max"],)),
    Case("square named", mg.square, unary(), np.square, covers=(mg.square, T["square"])),
    one("reciprocal", lambda x: 1 / x, 0.3),
    one("rsqrt", lambda x: 1 / np.sqrt(x), 0.3),
    Case("floor", mg.floor, steps(), np.floor, covers=(mg.floor, T["floor"])),
    Case("ceil", mg.ceil, steps(), np.ceil, covers=(mg.ceil, T["ceil"])),
    Case("trunc", mg.trunc, steps(), np.trunc, covers=(mg.trunc, T["trunc"])),
    Case("frac", mg.frac, steps(), lambda x: x - np.trunc(x), covers=(mg.frac, T["frac"])),
    Case(
        "round",
        mg.round,
        sampler(lambda draw, rng: Call((off_steps(rng, (3, 2)) * 4 + 0.25,))),
        np.round,
        covers=(mg.round, T["round"]),
    ),
    Case(
        "round to decimals",
        lambda x, decimals: mg.round(x, decimals),
        fixed((2,), decimals=st.sampled_from([1, 2, -1])),
        lambda x, decimals: np.round(x, decimals),
        order=0,
        covers=(mg.round,),
    ),
    one("log2", np.log2, 0.3),
    one("log10", np.log10, 0.3),
    one("exp2", np.exp2),
    one("sinh", np.sinh),
    one("cosh", np.cosh),
    one("tan", np.tan, -1.2, 1.2),
    one("asin", np.arcsin, -0.9, 0.9),
    one("acos", np.arccos, -0.9, 0.9),
    one("atan", np.arctan),
    Case("atan2", mg.atan2, binary((0.3, 2.0)), np.arctan2, covers=(mg.atan2, T["atan2"])),
    Case("logit", mg.logit, unary(0.1, 0.9), lambda x: np.log(x / (1 - x))),
    Case(
        "logit eps",
        lambda x: mg.logit(x, 0.2),
        unary(0.01, 0.99, avoid=(0.2, 0.8)),
        lambda x: (lambda c: np.log(c / (1 - c)))(np.clip(x, 0.2, 0.8)),
        covers=(mg.logit,),
    ),
    Case("logaddexp", mg.logaddexp, binary(), np.logaddexp),
    Case("weigh", mg.functional.elementwise.weigh, binary(), np.multiply),
    # products
    Case(
        "mm",
        mg.mm,
        fixed((2, 3), (3, 4)),
        np.matmul,
        covers=(mg.mm, T["mm"]),
        errors=((lambda: mg.mm(X, X[0]), ValueError, "mm: shapes .* matmul takes any"),),
    ),
    Case(
        "bmm",
        mg.bmm,
        fixed((2, 2, 3), (2, 3, 4)),
        np.matmul,
        covers=(mg.bmm, T["bmm"]),
        errors=((lambda: mg.bmm(mg.ones(2, 1, 3), mg.ones(1, 3, 1)), ValueError, "bmm: .* must agree in the first axis"),),
    ),
    Case("mv", mg.mv, fixed((2, 3), (3,)), np.matmul, covers=(mg.mv, T["mv"])),
    Case("dot", mg.dot, fixed((3,), (3,)), lambda a, b: np.asarray(a @ b), covers=(mg.dot, T["dot"])),
    Case("outer", mg.outer, fixed((2,), (3,)), np.outer, covers=(mg.outer, T["outer"])),
    Case(
        "addmm",
        lambda a, b, c: mg.addmm(a, b, c, beta=0.5, alpha=2),
        fixed((4,), (2, 3), (3, 4)),
        lambda a, b, c: 0.5 * a + 2 * (b @ c),
        covers=(mg.addmm, T["addmm"]),
    ),
    Case(
        "baddbmm", mg.baddbmm, fixed((2, 2, 4), (2, 2, 3), (2, 3, 4)), lambda a, b, c: a + b @ c, covers=(mg.baddbmm, T["baddbmm"])
    ),
    Case("cross", mg.cross, fixed((2, 3), (2, 3)), np.cross, covers=(mg.cross, T["cross"])),
    Case(
        "diag of a vector",
        lambda x, k: mg.diag(x, k),
        fixed((3,), k=st.integers(-2, 2)),
        np.diag,
        nan=(),
        covers=(mg.diag, T["diag"]),
    ),
    Case("diag of a matrix", lambda x, k: mg.diag(x, k), fixed((3, 4), k=st.integers(-2, 2)), np.diag, covers=(mg.diag,)),
    Case(
        "diagonal",
        lambda x, k: x.diagonal(k, 0, 2),
        fixed((3, 2, 4), k=st.integers(-2, 2)),
        lambda x, k: x.diagonal(k, 0, 2),
        covers=(mg.diagonal, T["diagonal"]),
    ),
    Case("trace", mg.trace, fixed((3, 4)), lambda x: np.asarray(np.trace(x)), covers=(mg.trace, T["trace"])),
    Case(
        "dist", mg.dist, fixed((2, 3), (2, 3)), lambda a, b: np.asarray(np.sqrt(((a - b) ** 2).sum())), covers=(mg.dist, T["dist"])
    ),
    # order, picked, written
    Case(
        "sort",
        lambda x, dim, descending: mg.sort(x, dim, descending),
        sampler(
            lambda draw, rng: (lambda c, d: Call(c.arrays, {**c.options, "descending": d}))(
                sorted_call(draw, rng), draw(st.booleans())
            )
        ),
        ordered,
        nan=(),
        covers=(mg.sort, T["sort"]),
    ),
    Case(
        "argsort",
        mg.argsort,
        sampler(sorted_call),
        lambda x, dim: np.argsort(x, axis=dim),
        order=0,
        covers=(mg.argsort, T["argsort"]),
    ),
    Case(
        "topk",
        mg.topk,
        sampler(topk_call),
        topk,
        nan=(),
        covers=(mg.topk, T["topk"]),
        errors=((lambda: mg.topk(X, 4), ValueError, "topk: k = 4 is more than dim -1"),),
    ),
    Case(
        "kthvalue",
        lambda x, dim: mg.kthvalue(x, 1, dim),
        sampler(sorted_call),
        lambda x, dim: kth(x, 1, dim),
        nan=(),
        covers=(mg.kthvalue, T["kthvalue"]),
    ),
    Case(
        "median",
        lambda x, dim: mg.median(x, dim),
        sampler(sorted_call),
        lambda x, dim: kth(x, (x.shape[dim] + 1) // 2, dim),
        nan=(),
        covers=(mg.median, T["median"]),
    ),
    Case(
        "median of all",
        lambda x: mg.median(x),
        sampler(lambda draw, rng: Call((distinct(rng, draw(shapes(0, 3, 1))),))),
        lambda x: np.sort(x.reshape(-1))[(x.size - 1) // 2],
        nan=(),
        covers=(mg.median,),
    ),
    Case(
        "masked_fill",
        lambda x, mask: mg.masked_fill(x, mask, -1.5),
        sampler(masked),
        lambda x, mask: np.where(mask, -1.5, x),
        covers=(mg.masked_fill, T["masked_fill"]),
    ),
    Case(
        "masked_fill with a tensor",
        lambda x, v, mask: mg.masked_fill(x, mask, v),
        fixed((2, 2), (), mask=np.array([True, False])),
        lambda x, v, mask: np.where(mask, v, x),
        covers=(mg.masked_fill,),
    ),
    Case(
        "masked_select",
        mg.masked_select,
        sampler(masked),
        lambda x, mask: x[mask] if x.ndim else x[None][mask[None]],
        covers=(mg.masked_select, T["masked_select"]),
    ),
    Case(
        "index_select",
        lambda x, dim: mg.index_select(x, dim, mg.tensor([1, 0, 1])),
        fixed((2, 3, 2), dim=st.sampled_from([0, 1, -1])),
        lambda x, dim: np.take(x, [1, 0, 1], dim),
        covers=(mg.index_select, T["index_select"]),
    ),
    Case(
        "take",
        lambda x: mg.take(x, mg.tensor([[3, 0], [3, 1]])),
        fixed((2, 3)),
        lambda x: x.reshape(-1)[[[3, 0], [3, 1]]],
        covers=(mg.take, T["take"]),
    ),
    Case(
        "scatter",
        lambda x, s, dim, index: mg.scatter(x, dim, index, s),
        sampler(scatter_call),
        scatter,
        covers=(mg.scatter, T["scatter"]),
    ),
    Case(
        "scatter of a number",
        lambda x, dim, index: mg.scatter(x, dim, index, value=2.5),
        sampler(lambda draw, rng: scatter_call(draw, rng, False)),
        lambda x, dim, index: scatter(x, np.full(index.shape, 2.5), dim, index),
        covers=(mg.scatter,),
    ),
    Case(
        "scatter_add",
        lambda x, s: mg.scatter_add(x, 0, mg.tensor([[0, 1, 0], [0, 1, 1]]), s),
        fixed((2, 3), (2, 3)),
        lambda x, s: scatter(x, s, 0, np.array([[0, 1, 0], [0, 1, 1]]), True),
        covers=(mg.scatter_add, T["scatter_add"]),
    ),
    Case(
        "index_add",
        lambda x, s: mg.index_add(x, 1, mg.tensor([2, 0, 2]), s, alpha=2),
        fixed((2, 3), (2, 3)),
        lambda x, s: scatter(x, 2 * s, 1, np.array([[2, 0, 2], [2, 0, 2]]), True),
        covers=(mg.index_add, T["index_add"]),
    ),
    Case(
        "cumprod",
        mg.cumprod,
        sampler(lambda draw, rng: (lambda x: Call((x,), {"dim": one_axis(draw, x.ndim)}))(uniform(rng, draw(shapes(1, 3, 1))))),
        lambda x, dim: np.cumprod(x, axis=dim),
        covers=(mg.cumprod, T["cumprod"]),
    ),
    Case("t", mg.t, fixed((2, 3)), np.transpose, covers=(mg.t, T["t"])),
    Case(
        "sum dtype",
        lambda x, dim, keepdim: mg.sum(x, dim, keepdim, dtype=x.dtype),
        reduction(),
        lambda x, dim, keepdim: np.asarray(x.sum(axis=None if dim in (None, ()) else dim, keepdims=keepdim)),
        covers=(mg.sum,),
    ),
    Case("var unbiased", lambda x: mg.var(x, 0, unbiased=False), fixed((3, 2)), lambda x: x.var(0), covers=(mg.var,)),
    Case("std biased by place", lambda x: x.std(1, False), fixed((3, 2)), lambda x: x.std(1), covers=(mg.std,)),
    Case("max of two", mg.max, fixed((2, 3), (2, 3)), np.maximum, nan=(), covers=(mg.max,)),
    Case("min of two", mg.min, fixed((2, 3), (2, 3)), np.minimum, nan=(), covers=(mg.min,)),
    Case(
        "norm of large numbers",
        lambda x: mg.norm(x, 3),
        fixed((3,)),
        lambda x: np.asarray((np.abs(x) ** 3).sum() ** (1 / 3)),
        covers=(mg.norm,),
    ),
    Case(
        "huber with an infinite delta",
        lambda x, y: mg.functional.huber_loss(x, y, delta=math.inf),
        fixed((3,), (3,)),
        lambda x, y: np.asarray(((x - y) ** 2).mean() / 2),
        covers=(mg.functional.huber_loss,),
    ),
]
