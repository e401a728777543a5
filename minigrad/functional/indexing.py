"""Parts of a tensor, and tensors joined from parts. Each operation is linear, and its rule is its adjoint:
getitem <-> add at, cat <-> slices, pad <-> slice, gather <-> scatter.

Names and arguments are PyTorch's. Results may share memory with their argument (views); nothing here mutates.

Imports: numpy, minigrad.autograd, minigrad.kernels, common, shape.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad import kernels
from minigrad.autograd import Variable, primitive
from minigrad.functional.common import array_of, axis_index, integer, require_tensor
from minigrad.functional.shape import unsqueeze

# ---- parts -----------------------------------------------------------------------------------------------------------


def getitem(x, index):
    """x[index] with NumPy's rules: integers, slices, ..., None, integer or bool arrays and Tensors."""
    require_tensor("getitem", x=x)
    items = index if isinstance(index, tuple) else (index,)
    items = tuple(_index_item(i) for i in items)
    basic = all(not hasattr(i, "dtype") for i in items)
    try:
        return _getitem(x, index=items) if basic else _take(x, index=items)
    except IndexError as error:
        raise IndexError(f"indexing a tensor of shape {x.shape}: {error}") from None


def _index_item(item):
    if isinstance(item, Variable):
        item = item.array
    if isinstance(item, list):
        item = np.asarray(item)
        item = item.astype(np.int64) if item.size == 0 else item
    if hasattr(item, "dtype") and not isinstance(item, np.generic) and item.dtype.kind not in "iub":
        raise TypeError(f"a tensor is indexed by integers or bools, got {item.dtype}")
    if isinstance(item, np.generic):
        item = item.item()
    if isinstance(item, float):
        raise TypeError(f"a tensor is indexed by integers, slices or masks, got {item!r}")
    return item


@primitive(view=True)
def _getitem(x, index):
    """x[index] for integers and slices."""
    out = x[index]
    return out if isinstance(out, np.ndarray) or hasattr(out, "get") else np.asarray(out)


@_getitem.vjp
def _(node, needs, g, index):
    return (_put(g, index=index, shape=node.specs[0][0], unique=True),)


@primitive
def _take(x, index):
    """x[index] for arrays of indices or a mask; an element may be taken more than once."""
    return np.ascontiguousarray(x[index])


@_take.vjp
def _(node, needs, g, index):
    return (_put(g, index=index, shape=node.specs[0][0], unique=False),)


@primitive
def _put(g, index, shape, unique):
    """Zeros of `shape` with g added at `index`: the adjoint of x[index]."""
    if not unique and len(index) == 1 and index[0].dtype.kind in "iu" and math.prod(shape):  # rows, as of an embedding
        rows = index[0].reshape(-1) % shape[0]
        return kernels.add_rows(g.reshape(rows.size, math.prod(shape[1:])), rows, shape[0]).reshape(shape)
    out = np.zeros_like(g, shape=shape)
    if unique:
        out[index] = g
    else:
        np.add.at(out, index, g)
    return out


@_put.vjp
def _(node, needs, g, index, shape, unique):
    return ((_getitem if unique else _take)(g, index=index),)


def narrow(x, dim, start, length):
    """x[start : start + length] along `dim`."""
    require_tensor("narrow", x=x)
    axis, start = axis_index("narrow", dim, x.ndim), integer("narrow: start", start)
    start += x.shape[axis] if start < 0 else 0
    length = integer("narrow: length", length, 0)
    if not 0 <= start <= start + length <= x.shape[axis]:
        raise ValueError(f"narrow: {start}..{start + length} lies outside dim {dim} of length {x.shape[axis]}")
    return _getitem(x, index=(slice(None),) * axis + (slice(start, start + length),))


def split(x, split_size, dim=0):
    """Parts of `split_size` along `dim` (the last may be smaller), or of the sizes in a list that sums to the length."""
    require_tensor("split", x=x)
    axis = axis_index("split", dim, x.ndim)
    n = x.shape[axis]
    if isinstance(split_size, (tuple, list)):
        sizes = [integer("split: size", s, 0) for s in split_size]
        if math.fsum(sizes) != n:
            raise ValueError(f"split: sizes {sizes} must sum to {n}, the length of dim {dim}")
    else:
        step = integer("split: split_size", split_size, 1)
        sizes = [min(step, n - i) for i in range(0, n, step)] or [0]
    starts = np.cumsum([0] + sizes[:-1])
    return tuple(narrow(x, axis, int(i), s) for i, s in zip(starts, sizes, strict=True))


def chunk(x, chunks, dim=0):
    """At most `chunks` parts along `dim`, all but the last of equal size."""
    require_tensor("chunk", x=x)
    axis = axis_index("chunk", dim, x.ndim)
    return split(x, max(1, math.ceil(x.shape[axis] / integer("chunk: chunks", chunks, 1))), axis)


def unbind(x, dim=0):
    """The slices of x along `dim`, without that axis."""
    require_tensor("unbind", x=x)
    axis = axis_index("unbind", dim, x.ndim)
    return tuple(_getitem(x, index=(slice(None),) * axis + (i,)) for i in range(x.shape[axis]))


# ---- joining ---------------------------------------------------------------------------------------------------------


def cat(tensors, dim=0):
    """Tensors joined along an existing axis; they agree in every other one."""
    tensors = list(tensors)
    if not tensors:
        raise ValueError("cat: nothing to join; give at least one tensor")
    require_tensor("cat", **{f"tensors[{i}]": t for i, t in enumerate(tensors)})
    axis = axis_index("cat", dim, tensors[0].ndim)
    for i, t in enumerate(tensors):
        a, b = list(tensors[0].shape), list(t.shape)
        if t.ndim == 0 or len(a) != len(b) or a[:axis] + a[axis + 1 :] != b[:axis] + b[axis + 1 :]:
            raise ValueError(f"cat: tensors[{i}] has shape {t.shape} but tensors[0] {tensors[0].shape}; "
                             f"they must agree in every axis but {dim}")
    return _cat(*tensors, axis=axis, sizes=tuple(t.shape[axis] for t in tensors))


@primitive
def _cat(*arrays, axis, sizes):
    """The arrays one behind another along `axis`."""
    return np.concatenate(arrays, axis)


@_cat.vjp
def _(node, needs, g, axis, sizes):
    starts = np.cumsum((0,) + sizes[:-1])
    return [narrow(g, axis, int(start), size).to(spec[1]) if need else None
            for need, start, size, spec in zip(needs, starts, sizes, node.specs, strict=True)]


def stack(tensors, dim=0):
    """Tensors of one shape joined along a new axis."""
    tensors = list(tensors)
    if not tensors:
        raise ValueError("stack: nothing to join; give at least one tensor")
    require_tensor("stack", **{f"tensors[{i}]": t for i, t in enumerate(tensors)})
    for i, t in enumerate(tensors):
        if t.shape != tensors[0].shape:
            raise ValueError(f"stack: tensors[{i}] has shape {t.shape} but tensors[0] {tensors[0].shape}")
    axis = axis_index("stack", dim, tensors[0].ndim + 1)
    return cat([unsqueeze(t, axis) for t in tensors], axis)


# ---- padding ---------------------------------------------------------------------------------------------------------


def pad_constant(x, widths, value=0.0):
    """x with widths[i] = (before, after) new elements of `value` along axis i; negative widths cut."""
    keep = tuple(slice(max(0, -a), n - max(0, -b)) for (a, b), n in zip(widths, x.shape, strict=True))
    if any(s.start > s.stop for s in keep):
        raise ValueError(f"pad: {widths} cuts more than the shape {x.shape} holds")
    if any(a < 0 or b < 0 for a, b in widths):
        x = _getitem(x, index=keep)
    widths = tuple((max(0, a), max(0, b)) for a, b in widths)
    return _pad(x, widths=widths, value=value) if any(a or b for a, b in widths) else x


@primitive
def _pad(x, widths, value):
    """`value` around x: widths[k] = (before, after) along axis k."""
    shape = tuple(n + a + b for n, (a, b) in zip(x.shape, widths, strict=True))
    out = _like_layout(x, shape)
    out[...] = value
    out[tuple(slice(a, a + n) for n, (a, _) in zip(x.shape, widths, strict=True))] = x
    return out


def _like_layout(x, shape):
    """An empty array that keeps channels-last images channels-last."""
    if len(shape) == 4:
        n, c, h, w = shape
        return np.zeros_like(x, shape=(n, h, w, c), order="C").transpose(0, 3, 1, 2)
    return np.zeros_like(x, shape=shape, order="C")


@_pad.vjp
def _(node, needs, g, widths, value):
    shape = node.specs[0][0]
    return (_getitem(g, index=tuple(slice(a, a + n) for n, (a, _) in zip(shape, widths, strict=True))),)


# ---- gathering along one axis ----------------------------------------------------------------------------------------


def gather(x, dim, index):
    """out[i, j, k] = x[i, index[i, j, k], k] for dim 1; `index` holds integers in [0, length)."""
    require_tensor("gather", x=x)
    axis, index = axis_index("gather", dim, x.ndim), array_of(index, "gather: index", "i")
    if index.ndim != x.ndim or any(a > b for i, (a, b) in enumerate(zip(index.shape, x.shape, strict=True)) if i != axis):
        raise ValueError(f"gather: index {index.shape} must have the axes of {x.shape}, none longer but dim {dim}")
    _in_range("gather", index, x.shape[axis])
    return _gather(x, axis=axis, index=index)


def _in_range(name, index, length):
    if index.size and (int(index.min()) < 0 or int(index.max()) >= length):
        raise ValueError(f"{name}: indices must lie in [0, {length}), got {int(index.min())}..{int(index.max())}")


def _open(index, axis):
    grid = list(np.indices(index.shape, sparse=True))
    grid[axis] = index
    return tuple(grid)


@primitive
def _gather(x, axis, index):
    """y[i, j, k] = x[i, index[i, j, k], k] for axis 1."""
    return x[_open(index, axis)]


@_gather.vjp
def _(node, needs, g, axis, index):
    return (_scatter_add(g, axis=axis, index=index, shape=node.specs[0][0]),)


@primitive
def _scatter_add(g, axis, index, shape):
    """Zeros of `shape` with g added at index along `axis`: the adjoint of gather."""
    out = np.zeros_like(g, shape=shape)
    np.add.at(out, _open(index, axis), g)
    return out


@_scatter_add.vjp
def _(node, needs, g, axis, index, shape):
    return (_gather(g, axis=axis, index=index),)
