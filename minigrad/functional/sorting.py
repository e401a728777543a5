"""Elements in order, and elements picked by a mask or an index; counts and draws. Names, arguments and results are PyTorch's.

The order of equal elements is that of their places (a stable sort); NaN counts as the largest. The derivative of a sorted value
goes to the element that it was. Written twice by `scatter`, an element has the last value; the others get the gradient 0.

Imports: numpy, minigrad.autograd, minigrad.random, common, door, elementwise, indexing, reduction, shape.
"""

from __future__ import annotations

import numpy as np

from minigrad.autograd import Variable, primitive
from minigrad.functional.common import axis_index, integer, numpy_names, require_tensor
from minigrad.functional.door import array_of, number, plain
from minigrad.functional.elementwise import where
from minigrad.functional.indexing import gather, getitem, in_range, open_grid, scatter_sum
from minigrad.functional.reduction import ValuesIndices
from minigrad.functional.shape import expand, reshape, squeeze
from minigrad.random import as_stream

# ---- order -----------------------------------------------------------------------------------------------------------


def _order(x, axis, descending):
    """The places of the elements in order along `axis`; int64."""
    if not descending:
        return np.argsort(x, axis=axis, kind="stable")
    n = x.shape[axis]  # the sort of the elements read backwards, itself read backwards: equal elements keep their order
    return np.flip(n - 1 - np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)


@numpy_names
def argsort(input, dim=-1, descending=False, stable=False):
    """The places of the elements in rising (or falling) order along `dim`."""
    require_tensor("argsort", input=input)
    if input.ndim == 0:
        return input.wrap(np.zeros((), np.int64))
    return input.wrap(np.ascontiguousarray(_order(input.array, axis_index("argsort", dim, input.ndim), bool(descending))))


@numpy_names
def sort(input, dim=-1, descending=False, stable=False):
    """(values, indices): the elements in rising (or falling) order along `dim`, and their places before."""
    index = argsort(input, dim, descending)
    return ValuesIndices(gather(input, dim, index) if input.ndim else input + 0, index)


@numpy_names
def topk(input, k, dim=-1, largest=True, sorted=True):
    """(values, indices) of the k largest (or smallest) elements along `dim`, in order."""
    require_tensor("topk", input=input)
    axis, k = axis_index("topk", dim, input.ndim), integer("topk: k", k, 0)
    if k > (input.shape[axis] if input.ndim else 1):
        raise ValueError(f"topk: k = {k} is more than dim {dim} of shape {input.shape} holds")
    index = argsort(input, dim, bool(largest))
    if input.ndim:
        index = getitem(index, (slice(None),) * axis + (slice(0, k),))
    return ValuesIndices(gather(input, dim, index) if input.ndim else input + 0, index)


@numpy_names
def kthvalue(input, k, dim=-1, keepdim=False):
    """(values, indices) of the k-th smallest element along `dim`, k from 1."""
    require_tensor("kthvalue", input=input)
    axis, k = axis_index("kthvalue", dim, input.ndim), integer("kthvalue: k", k, 1)
    if k > input.shape[axis]:
        raise ValueError(f"kthvalue: k = {k} is more than dim {dim} of shape {input.shape} holds")
    index = getitem(argsort(input, dim), (slice(None),) * axis + (slice(k - 1, k),))
    values = gather(input, dim, index)
    return ValuesIndices(values, index) if keepdim else ValuesIndices(squeeze(values, axis), squeeze(index, axis))


@numpy_names
def median(input, dim=None, keepdim=False):
    """The middle element, of an even count the lower of the two; with `dim` (values, indices). NaN if there is one."""
    require_tensor("median", input=input)
    if dim is None:
        return kthmedian(reshape(input, (-1,)), 0, False)[0]
    return kthmedian(input, dim, keepdim)


def kthmedian(x, dim, keepdim):
    axis = axis_index("median", dim, x.ndim)
    if x.ndim == 0:
        return ValuesIndices(x + 0, x.wrap(np.zeros((), np.int64)))
    n = x.shape[axis]
    if n == 0:
        raise ValueError(f"median: there is no middle of dim {dim} of the empty shape {x.shape}")
    order = _order(x.array, axis, False)
    middle = np.take(order, [(n - 1) // 2], axis)
    if x.array.dtype.kind == "f":  # NaN sorts last
        last = np.take(order, [n - 1], axis)
        middle = np.where(np.isnan(np.take_along_axis(x.array, last, axis)), last, middle)
    values, index = gather(x, axis, middle), x.wrap(middle)
    return ValuesIndices(values, index) if keepdim else ValuesIndices(squeeze(values, axis), squeeze(index, axis))


def unique(input, sorted=True, return_inverse=False, return_counts=False):
    """The distinct elements in rising order; also the place of each element among them, and how often each stands there."""
    require_tensor("unique", input=input)
    values, inverse, counts = np.unique(input.array, return_inverse=True, return_counts=True)
    results = [values] + [inverse.reshape(input.shape)] * bool(return_inverse) + [counts] * bool(return_counts)
    results = tuple(input.wrap(np.asarray(r)) for r in results)
    return results if len(results) > 1 else results[0]


def bincount(input, weights=None, minlength=0):
    """How often each integer 0, 1, ... stands in a vector, or the sum of its weights."""
    counted = np.bincount(array_of(input, "bincount: input", "i"), None if weights is None else array_of(weights), minlength)
    return input.wrap(counted if weights is None else counted.astype(array_of(weights).dtype))


# ---- picked and written ----------------------------------------------------------------------------------------------


def _mask(name, mask):
    mask = plain(mask.array if isinstance(mask, Variable) else np.asarray(mask), name)
    if mask.dtype != np.bool_ and mask.dtype != np.uint8:
        raise TypeError(f"{name}: mask must hold bools, got {mask.dtype}; write mask.bool()")
    return mask.astype(bool, copy=False)


def masked_fill(input, mask, value):
    """`value` (a number, or a Tensor without axes) where the mask, which broadcasts, holds."""
    require_tensor("masked_fill", input=input)
    value = value if isinstance(value, Variable) else number("masked_fill: value", value)
    if isinstance(value, Variable) and value.ndim:
        raise ValueError(f"masked_fill: value must be a number or a Tensor without axes, got shape {value.shape}")
    if not isinstance(value, Variable) and input.dtype.kind != "f":
        return input.wrap(np.where(_mask("masked_fill", mask), input.dtype.type(value), input.array))
    return where(_mask("masked_fill", mask), value, input)


def masked_select(input, mask):
    """The elements where the mask holds, as a vector; both broadcast."""
    require_tensor("masked_select", input=input)
    mask = _mask("masked_select", mask)
    shape = np.broadcast_shapes(input.shape, mask.shape)
    return getitem(expand(input, shape), np.broadcast_to(mask, shape)) if shape else getitem(input, bool(mask))


@numpy_names
def index_select(input, dim, index):
    """The slices of `input` along `dim` that a vector of integers names."""
    require_tensor("index_select", input=input)
    axis, index = axis_index("index_select", dim, input.ndim), array_of(index, "index_select: index", "i")
    if index.ndim > 1:
        raise ValueError(f"index_select: index must be a vector, got shape {index.shape}")
    in_range("index_select", index, input.shape[axis])
    return getitem(input, (slice(None),) * axis + (index.reshape(-1),))


def take(input, index):
    """The elements at the places `index` of the flattened input."""
    require_tensor("take", input=input)
    return getitem(reshape(input, (-1,)), array_of(index, "take: index", "i"))


def nonzero(input, as_tuple=False):
    """The places of the elements that are not 0, one row each, or as a tuple with one vector for each axis."""
    require_tensor("nonzero", input=input)
    places = np.nonzero(input.array) if input.ndim else ()
    if as_tuple:
        return tuple(input.wrap(p) for p in places)
    rows = np.stack(places, 1) if input.ndim else np.zeros((int(bool(input.array)), 0), np.int64)
    return input.wrap(np.ascontiguousarray(rows))


def scatter_places(name, x, dim, index, src):
    """(what to index an array like x with, values): the places that a scatter writes, and the array or number written there."""
    axis, index = axis_index(name, dim, x.ndim), array_of(index, f"{name}: index", "i")
    if index.ndim != x.ndim or any(i > n for a, (i, n) in enumerate(zip(index.shape, x.shape, strict=True)) if a != axis):
        raise ValueError(f"{name}: index {index.shape} must have the axes of {x.shape}, none longer but dim {dim}")
    in_range(name, index, x.shape[axis])
    if not hasattr(src, "shape") or src.shape == () and x.ndim:
        return open_grid(index, axis), number(f"{name}: src", src)
    if src.ndim != index.ndim or any(i > n for i, n in zip(index.shape, src.shape, strict=True)):
        raise ValueError(f"{name}: src {tuple(src.shape)} must have the axes of index {index.shape}, none shorter")
    values = array_of(src)[tuple(slice(0, n) for n in index.shape)]
    return open_grid(index, axis), values


@numpy_names
def scatter(input, dim, index, src=None, *, value=None):
    """A copy of input with y[i, index[i, j]] = src[i, j] for dim 1; src is a Tensor of index's shape or larger, or a number."""
    require_tensor("scatter", input=input)
    src = value if src is None else src
    places, values = scatter_places("scatter", input, dim, index, src)
    if not isinstance(src, Variable) or not src.requires_grad:
        return _written(input, values, places=places)
    return _written(input, getitem(src, tuple(slice(0, n) for n in values.shape)), places=places)


@primitive
def _written(x, src, places):
    """x with src at `places`; where a place is named twice, the last wins."""
    out = x.copy(order="K")
    out[places] = src
    return out


@_written.vjp
def _(node, needs, g, places):
    written = np.zeros(g.shape, bool)
    written[places] = True
    dsrc = None
    if needs[1]:
        shape = node.specs[1][0]
        turn, last = np.arange(np.prod(shape, dtype=int)).reshape(shape), np.zeros(g.shape, np.int64)
        last[places] = turn
        dsrc = where(last[places] == turn, getitem(g, places), 0.0)
    return where(written, 0.0, g) if needs[0] else None, dsrc


@numpy_names
def scatter_add(input, dim, index, src):
    """A copy of input with src[i, j] added at [i, index[i, j]] for dim 1."""
    require_tensor("scatter_add", input=input, src=src)
    scatter_places("scatter_add", input, dim, index, src)
    index = array_of(index, "scatter_add: index", "i")
    part = getitem(src, tuple(slice(0, n) for n in index.shape))
    return input + scatter_sum(part, axis=axis_index("scatter_add", dim, input.ndim), index=index, shape=input.shape)


@numpy_names
def index_add(input, dim, index, source, *, alpha=1):
    """A copy of input with the slices of `source` along `dim` added to those that `index` names."""
    require_tensor("index_add", input=input, source=source)
    axis, index = axis_index("index_add", dim, input.ndim), array_of(index, "index_add: index", "i")
    wide = np.broadcast_to(index.reshape((-1,) + (1,) * (input.ndim - axis - 1)), source.shape)
    return scatter_add(input, axis, wide, source * alpha)


# ---- draws -----------------------------------------------------------------------------------------------------------


def multinomial(input, num_samples, replacement=False, *, rng=None):
    """num_samples places for each row of weights (rows need not sum to 1), drawn from `rng` (None: the default stream); int64.

    input (C,) or (N, C). Without replacement no place comes twice.
    """
    weights, count = array_of(input).astype(np.float64), integer("multinomial: num_samples", num_samples, 1)
    rows = weights.reshape(1, -1) if weights.ndim == 1 else weights
    if rows.ndim != 2 or not np.isfinite(rows).all() or (rows < 0).any() or (rows.sum(1) <= 0).any():
        raise ValueError(f"multinomial: input {weights.shape} must be (C,) or (N, C) weights, finite, >= 0, and not all 0 in a row")
    if not replacement and count > (rows > 0).sum(1).min():
        raise ValueError(f"multinomial: {count} samples without replacement from fewer weights that are not 0")
    draw = as_stream(rng)
    if replacement:
        edges = np.cumsum(rows, 1)
        points = draw.uniform(size=(len(rows), count), dtype=np.float64) * edges[:, -1:]
        places = (points[:, :, None] >= edges[:, None, :]).sum(2)
        last = rows.shape[1] - 1 - np.argmax(rows[:, ::-1] > 0, 1)  # a point that rounding put on the last edge
        places = np.minimum(places, last[:, None])
    else:  # the first arrivals of processes with these rates (Efraimidis & Spirakis 2006)
        with np.errstate(all="ignore"):
            arrivals = -np.log1p(-draw.uniform(size=rows.shape, dtype=np.float64)) / rows
        arrivals = np.where(rows > 0, arrivals, np.inf)
        places = np.argsort(arrivals, axis=1, kind="stable")[:, :count]
    return input.wrap(np.ascontiguousarray(places[0] if weights.ndim == 1 else places).astype(np.int64))


def bernoulli(input, p=None, *, rng=None):
    """1 with the probability that stands in input (or p), else 0; in input's shape and dtype, drawn from `rng`."""
    chance = input.array if p is None else number("bernoulli: p", p)
    return input.wrap(np.asarray(as_stream(rng).bernoulli(chance, input.shape), input.dtype))
