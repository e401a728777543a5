"""Sums, means, extremes, norms along axes. Forward and derivative side by side.

Argument names are PyTorch's: `dim` (None or () means all) and `keepdim`. Published subgradients: max and min without
`dim`, amax and amin split a tie evenly; max(dim) and min(dim) give it to the index that they return; norm'(0) = 0.

Imports: numpy, minigrad.autograd, common, door, elementwise, indexing, shape.
"""

from __future__ import annotations

import math
from collections import namedtuple

import numpy as np

from minigrad.autograd import Variable, primitive
from minigrad.functional.common import as_array, axis_index, axis_tuple, numpy_names, require_float, require_tensor
from minigrad.functional.door import number
from minigrad.functional.elementwise import abs, exp, log, maximum, minimum, where
from minigrad.functional.elementwise import pow as power
from minigrad.functional.indexing import cat, gather, narrow
from minigrad.functional.shape import expand, flip, reshape, squeeze

ValuesIndices = namedtuple("ValuesIndices", "values indices")


# ---- sum and its adjoint ---------------------------------------------------------------------------------------------


@numpy_names
def sum(x, dim=None, keepdim=False, *, dtype=None):
    """Sum over `dim`; the sum of integers and bools is int64. x is converted to `dtype` first."""
    require_tensor("sum", x=x)
    x = x if dtype is None else x.to(dtype)
    return _sum(x, axes=axis_tuple("sum", dim, x.ndim), keepdims=bool(keepdim))


@primitive
def _sum(x, axes, keepdims):
    """The sum of x over `axes`."""
    kind = None if x.dtype.kind == "f" else np.int64
    out = x.sum(axis=axes, dtype=kind, keepdims=keepdims)
    return np.asarray(out) if type(x) is np.ndarray else out


@_sum.vjp
def _(node, needs, g, axes, keepdims):
    shape = node.specs[0][0]
    return (expand(_restore(g, shape, axes, keepdims), shape),)


def _restore(g, shape, axes, keepdims):
    """g with the reduced axes back as axes of length 1."""
    return g if keepdims else reshape(g, tuple(1 if i in axes else n for i, n in enumerate(shape)))


def sum_to(x, shape):
    """Sum over leading axes and axes of length 1 in `shape`: the adjoint of broadcasting from `shape`."""
    lead = x.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(lead + i for i, n in enumerate(shape) if n == 1 and x.shape[lead + i] != 1)
    return reshape(_sum(x, axes=axes, keepdims=True), shape)


@numpy_names
def mean(x, dim=None, keepdim=False, *, dtype=None):
    """Mean over `dim`, of x converted to `dtype`. Raises ValueError where there is nothing to average."""
    x = x if dtype is None else x.to(dtype)
    require_float("mean", x=x)
    axes = axis_tuple("mean", dim, x.ndim)
    return _sum(x, axes=axes, keepdims=bool(keepdim)) * (1.0 / _count("mean", x, axes))


def _count(name, x, axes):
    count = math.prod(x.shape[a] for a in axes)
    if count == 0:
        raise ValueError(f"{name}: there is nothing to average over dim {axes} of shape {x.shape}")
    return count


def _freedom(name, dim, correction, unbiased):
    """(dim, correction) from PyTorch's arguments of all times: x.var(0, False) and x.var(False) mean unbiased=False."""
    if isinstance(dim, bool):
        dim, correction = None, dim
    return dim, number(f"{name}: correction", correction if unbiased is None else bool(unbiased))


@numpy_names
def var(x, dim=None, correction=1, keepdim=False, *, unbiased=None):
    """sum((x - mean)^2) / (count - correction) over `dim`; correction 1 is the unbiased estimate, as is unbiased=True."""
    require_float("var", x=x)
    dim, correction = _freedom("var", dim, correction, unbiased)
    axes = axis_tuple("var", dim, x.ndim)
    centred = x - mean(x, axes, keepdim=True)
    freedom = _count("var", x, axes) - correction
    if freedom <= 0:
        return sum(centred * centred, axes, keepdim) * (math.nan if freedom == 0 else math.inf)
    return sum(centred * centred, axes, keepdim) * (1.0 / freedom)


@numpy_names
def std(x, dim=None, correction=1, keepdim=False, *, unbiased=None):
    """Square root of `var`; the derivative where all values are equal is 0 (as a norm's)."""
    require_float("std", x=x)
    dim, correction = _freedom("std", dim, correction, unbiased)
    axes = axis_tuple("std", dim, x.ndim)
    freedom = _count("std", x, axes) - correction
    scale = 1.0 / math.sqrt(freedom) if freedom > 0 else math.nan
    return norm(x - mean(x, axes, keepdim=True), dim=axes, keepdim=keepdim) * scale


# ---- norms -----------------------------------------------------------------------------------------------------------


@numpy_names
def norm(x, p=2, dim=None, keepdim=False):
    """(sum |x|^p)^(1/p) over `dim`, for p in (0, inf], -inf, or 0 (count of non-zeros). The derivative at 0 is 0."""
    require_float("norm", x=x)
    axes = axis_tuple("norm", dim, x.ndim)
    if p == "fro" or p == 2:
        return _norm2(x, axes=axes, keepdims=bool(keepdim))
    if p == math.inf:
        return amax(abs(x), axes, keepdim)
    if p == -math.inf:
        return amin(abs(x), axes, keepdim)
    if p == 1:
        return sum(abs(x), axes, keepdim)
    if p == 0:
        return sum((x != 0).to(x.dtype), axes, keepdim)
    p, size = number("norm: p", p), abs(x)
    # scaled by the largest element, a constant that cancels in the derivative: no power overflows where the norm is finite
    top = np.max(size.array, axis=axes, keepdims=True, initial=0.0)
    top = np.where((top == 0) | ~np.isfinite(top), np.ones_like(top), top)
    size = size / top
    total = sum(power(where(size.array == 0, 1.0, size), p) * (size != 0).to(x.dtype), axes, keepdim)
    zero = total.array == 0
    return where(zero, 0.0, power(where(zero, 1.0, total), 1.0 / p)) * (top if keepdim else top.reshape(total.shape))


@primitive(saves=((0,),), saves_out=(0,))
def _norm2(x, axes, keepdims):
    """sqrt(sum of x^2 over `axes`); its derivative is x / norm, and 0 at 0."""
    # scaled by the largest element, so that neither 1e30 nor 1e-30 is lost in float32
    scale = np.max(np.abs(x), axis=axes, keepdims=True, initial=0.0)
    safe = np.where((scale == 0) | ~np.isfinite(scale), np.ones_like(scale), scale)
    out = safe * np.sqrt(np.sum(np.square(x / safe), axis=axes, keepdims=True))
    return as_array(out if keepdims else out.reshape([n for i, n in enumerate(x.shape) if i not in axes]))


@_norm2.vjp
def _(node, needs, g, axes, keepdims):
    x = node.inputs[0]  # d||x|| = x / ||x||, and 0 at 0
    size = _restore(node.output(), x.shape, axes, keepdims)
    zero = size.array == 0
    return (_restore(g, x.shape, axes, keepdims) * where(zero, 0.0, x / where(zero, 1.0, size)),)


# ---- extremes --------------------------------------------------------------------------------------------------------


@numpy_names
def amax(x, dim=None, keepdim=False):
    """Largest value over `dim`; ties share the gradient evenly. NaN propagates."""
    require_tensor("amax", x=x)
    return _extreme(x, axes=non_empty_axes("amax", x, dim), keepdims=bool(keepdim), largest=True)


@numpy_names
def amin(x, dim=None, keepdim=False):
    """Smallest value over `dim`; ties share the gradient evenly. NaN propagates."""
    require_tensor("amin", x=x)
    return _extreme(x, axes=non_empty_axes("amin", x, dim), keepdims=bool(keepdim), largest=False)


def non_empty_axes(name, x, dim):
    axes = axis_tuple(name, dim, x.ndim)
    if any(x.shape[a] == 0 for a in axes):
        raise ValueError(f"{name}: there is no extreme over dim {axes} of the empty shape {x.shape}")
    return axes


@primitive(saves=((0,),), saves_out=(0,))
def _extreme(x, axes, keepdims, largest):
    """The largest or smallest value over `axes`; ties share the gradient evenly."""
    return np.asarray((np.max if largest else np.min)(x, axis=axes, keepdims=keepdims))


@_extreme.vjp
def _(node, needs, g, axes, keepdims, largest):
    x = node.inputs[0]
    y = node.outputs[0].reshape([1 if i in axes else n for i, n in enumerate(x.shape)])
    ties = x.array == y  # constant almost everywhere
    share = ties / np.maximum(ties.sum(axis=axes, keepdims=True), 1)
    return (_restore(g, x.shape, axes, keepdims) * share.astype(x.array.dtype),)


@numpy_names
def max(x, dim=None, keepdim=False):
    """Without `dim` the largest value of all. With it (values, indices); the gradient goes to the index returned. max(x, y) of two
    tensors is `maximum`."""
    if isinstance(dim, Variable) and (dim.ndim or x.ndim == 0):
        return maximum(x, dim)
    return amax(x) if dim is None else _with_index("max", np.argmax, x, dim, keepdim)


@numpy_names
def min(x, dim=None, keepdim=False):
    """Without `dim` the smallest value of all. With it (values, indices); the gradient goes to the index returned. min(x, y) of two
    tensors is `minimum`."""
    if isinstance(dim, Variable) and (dim.ndim or x.ndim == 0):
        return minimum(x, dim)
    return amin(x) if dim is None else _with_index("min", np.argmin, x, dim, keepdim)


def _with_index(name, find, x, dim, keepdim):
    require_tensor(name, x=x)
    axis = axis_index(name, dim, x.ndim)
    non_empty_axes(name, x, axis)
    index = np.expand_dims(find(x.array, axis=axis), axis) if x.ndim else np.zeros_like(x.array, dtype=np.int64)
    values = gather(x, axis, index) if x.ndim else x + 0
    indices = x.result_type.wrap(index)
    if not keepdim and x.ndim:
        values, indices = squeeze(values, axis), squeeze(indices, axis)
    return ValuesIndices(values, indices)


@numpy_names
def argmax(x, dim=None, keepdim=False):
    """Index of the first largest value, over all elements or along `dim`; int64, no gradient."""
    return _argument("argmax", np.argmax, x, dim, keepdim)


@numpy_names
def argmin(x, dim=None, keepdim=False):
    """Index of the first smallest value, over all elements or along `dim`; int64, no gradient."""
    return _argument("argmin", np.argmin, x, dim, keepdim)


def _argument(name, find, x, dim, keepdim):
    require_tensor(name, x=x)
    non_empty_axes(name, x, dim)
    axis = None if dim is None else axis_index(name, dim, x.ndim)
    if x.ndim == 0:
        return x.result_type.wrap(np.zeros((), np.int64))
    return x.result_type.wrap(np.asarray(find(x.array, axis=axis, keepdims=bool(keepdim))))


# ---- log-sum-exp, products, running sums -----------------------------------------------------------------------------


@numpy_names
def logsumexp(x, dim=None, keepdim=False):
    """log(sum(e^x)) over `dim`, shifted by the largest value so that nothing overflows."""
    require_float("logsumexp", x=x)
    axes = non_empty_axes("logsumexp", x, dim)
    top = np.max(x.array, axis=axes, keepdims=True)
    top = np.where(np.isfinite(top), top, 0).astype(x.array.dtype)  # a constant: the shift cancels in the derivative
    total = sum(exp(x - top), axes, keepdim=True)
    none = total.array == 0  # every score is -inf
    out = where(none, -math.inf, log(where(none, 1.0, total)) + top)
    return out if keepdim else squeeze(out, axes)


@numpy_names
def prod(x, dim=None, keepdim=False, *, dtype=None):
    """Product over all or along one `dim`, multiplied pairwise: the derivative is right with zeros too. Of integers int64."""
    require_tensor("prod", x=x)
    x = x if dtype is None else x.to(dtype)
    if x.dtype.kind != "f":
        axis = axis_tuple("prod", dim, x.ndim)
        return x.result_type.wrap(np.asarray(np.prod(x.array, axis=axis, dtype=np.int64, keepdims=bool(keepdim))))
    if dim is None:
        return reshape(prod(reshape(x, (-1,)), 0), (1,) * x.ndim if keepdim else ())
    axis = axis_index("prod", dim, x.ndim)
    if x.ndim == 0:
        return x + 0
    if x.shape[axis] == 0:
        return sum(x, axis, keepdim) + 1
    while x.shape[axis] > 1:
        half = x.shape[axis] // 2
        pairs = narrow(x, axis, 0, half) * narrow(x, axis, half, half)
        x = cat([pairs, narrow(x, axis, 2 * half, 1)], axis) if x.shape[axis] % 2 else pairs
    return x if keepdim else squeeze(x, axis)


@numpy_names
def cumprod(x, dim, *, dtype=None):
    """Running product along `dim`. Each of log2(n) rounds multiplies by what stands 1, 2, 4, ... places before."""
    require_tensor("cumprod", x=x)
    x = x if dtype is None else x.to(dtype)
    axis, reach = axis_index("cumprod", dim, x.ndim), 1
    x = x + 0
    while x.ndim and reach < x.shape[axis]:
        rest = x.shape[axis] - reach
        x = cat([narrow(x, axis, 0, reach), narrow(x, axis, reach, rest) * narrow(x, axis, 0, rest)], axis)
        reach *= 2
    return x if x.dtype.kind == "f" else x.long()


@numpy_names
def cumsum(x, dim, *, dtype=None):
    """Running sum along `dim`; of integers and bools int64. x is converted to `dtype` first."""
    require_tensor("cumsum", x=x)
    x = x if dtype is None else x.to(dtype)
    return _cumsum(x, axis=axis_index("cumsum", dim, x.ndim)) if x.ndim else x + 0


@primitive
def _cumsum(x, axis):
    """y[i] = x[0] + ... + x[i] along `axis`."""
    return np.cumsum(x, axis=axis, dtype=None if x.dtype.kind == "f" else np.int64)


@_cumsum.vjp
def _(node, needs, g, axis):
    return (flip(_cumsum(flip(g, (axis,)), axis=axis), (axis,)),)
