"""Parts of a tensor, and tensors joined from parts. Each operation is linear, and its rule is its adjoint:
getitem <-> add at, cat <-> slices, pad <-> slice, gather <-> scatter.

Names and arguments are PyTorch's. Results may share memory with their argument (views); nothing here mutates.

Imports: numpy, minigrad.autograd, minigrad.kernels, common, door, shape.
"""

from __future__ import annotations

import math
import operator

import numpy as np

from minigrad import kernels
from minigrad.autograd import Variable, primitive
from minigrad.functional.common import axis_index, integer, numpy_names, require_tensor
from minigrad.functional.door import array_of, plain
from minigrad.functional.shape import unsqueeze

# ---- parts -----------------------------------------------------------------------------------------------------------


def getitem(x, index):
    """x[index] with PyTorch's rule: integers, slices, ..., None, and arrays of integers or bools (arrays, lists or Tensors).

    1. An integer takes its place and the axis goes; that counts also for NumPy's integers and integer Tensors without axes. A slice
       keeps the axis, None adds one, ... stands for all axes not named.
    2. Then the arrays, broadcast against each other, pick elements. A mask stands for as many arrays as it has axes, True and
       False for an array of length 1 or 0 on a new axis. Their axes stand where the first array stood if the arrays are
       neighbours, else in front.
    NumPy differs in one point: it counts the integer of x[0, :, [1, 2]] as an array, so that its arrays are no neighbours.
    Slices may have negative steps, which PyTorch's may not. uint8 is refused: PyTorch reads a mask there, NumPy places.
    """
    require_tensor("getitem", x=x)
    if type(index) is int:  # the common case
        basic, advanced = (index,), None
    else:
        basic, advanced = split_index(x.array.shape, index)
    try:
        if advanced is None:
            return _getitem(x, index=basic)
        if any(i != _ALL for i in basic):
            x = _getitem(x, index=basic)
        return _take(x, index=advanced)
    except IndexError as error:
        raise IndexError(f"indexing a tensor of shape {x.shape}: {error}") from None


_ALL = slice(None)


def split_index(shape, index):
    """(basic, advanced) with x[index] = x[basic][advanced]: integers, slices and None first, then arrays of integers, or None."""
    items = [_index_item(i) for i in (index if isinstance(index, tuple) else (index,))]
    named = sum(i.ndim if getattr(i, "dtype", None) == np.bool_ else i is not None and i is not ... and type(i) is not bool
                for i in items)
    if sum(i is ... for i in items) > 1 or named > len(shape):
        what = "two ellipses in one index" if named <= len(shape) else f"too many indices: {named} for {len(shape)} axes"
        raise IndexError(f"indexing a tensor of shape {shape}: {what}")
    if not any(i is ... for i in items):
        items.append(...)
    basic, arrays, at, axis = [], {}, 0, 0  # at: the axis of x[basic]; axis: that of x
    for item in items:
        if item is ...:
            basic += [_ALL] * (len(shape) - named)
            at, axis = at + len(shape) - named, axis + len(shape) - named
        elif item is None or type(item) is bool:
            if item is not None:
                arrays[at] = np.zeros(int(item), np.int64)
            basic.append(None)
            at += 1
        elif hasattr(item, "dtype"):
            parts = _places(item, shape[axis : axis + item.ndim]) if item.dtype == np.bool_ else (item,)
            for part in parts:
                arrays[at] = part
                basic.append(_ALL)
                at, axis = at + 1, axis + 1
        else:
            basic.append(item)
            at, axis = at + isinstance(item, slice), axis + 1
    advanced = tuple(arrays.get(k, _ALL) for k in range(max(arrays) + 1)) if arrays else None
    return tuple(basic), advanced


def _places(mask, shape):
    if mask.shape != shape:
        raise IndexError(f"a mask of shape {mask.shape} does not fit the axes {shape} that it indexes")
    return mask.nonzero()


def _index_item(item):
    if item is None or item is ... or type(item) in (int, bool, slice):
        return item
    if isinstance(item, Variable):
        item = item.array
    if isinstance(item, (list, tuple, range)):
        item = np.asarray([i.array if isinstance(i, Variable) else i for i in item])
        item = item.astype(np.int64) if item.size == 0 else item
    if isinstance(item, np.generic) or getattr(item, "shape", None) == ():
        item = item.item()
    if hasattr(item, "dtype"):
        item = plain(item, "a tensor is indexed by integers or bools")
        if item.dtype == np.uint8:
            raise TypeError("an index of uint8 is a mask to PyTorch and places to NumPy; write .bool() or .long()")
        if item.dtype.kind not in "iub":
            raise TypeError(f"a tensor is indexed by integers or bools, got {item.dtype}")
        return item if item.dtype == np.bool_ or item.dtype == np.int64 else item.astype(np.int64)
    if isinstance(item, (bool, slice)):
        return item
    try:
        return operator.index(item)
    except TypeError:
        raise TypeError(f"a tensor is indexed by integers, slices or masks, got {item!r}") from None


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
    if not unique and len(index) == 1 and math.prod(shape):  # rows, as of an embedding
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


@numpy_names
def narrow(x, dim, start, length):
    """x[start : start + length] along `dim`."""
    require_tensor("narrow", x=x)
    axis, start = axis_index("narrow", dim, x.ndim), integer("narrow: start", start)
    start += x.shape[axis] if start < 0 else 0
    length = integer("narrow: length", length, 0)
    if not 0 <= start <= start + length <= x.shape[axis]:
        raise ValueError(f"narrow: {start}..{start + length} lies outside dim {dim} of length {x.shape[axis]}")
    return _getitem(x, index=(slice(None),) * axis + (slice(start, start + length),))


@numpy_names
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


@numpy_names
def chunk(x, chunks, dim=0):
    """At most `chunks` parts along `dim`, all but the last of equal size."""
    require_tensor("chunk", x=x)
    axis = axis_index("chunk", dim, x.ndim)
    return split(x, max(1, math.ceil(x.shape[axis] / integer("chunk: chunks", chunks, 1))), axis)


@numpy_names
def unbind(x, dim=0):
    """The slices of x along `dim`, without that axis."""
    require_tensor("unbind", x=x)
    axis = axis_index("unbind", dim, x.ndim)
    return tuple(_getitem(x, index=(slice(None),) * axis + (i,)) for i in range(x.shape[axis]))


# ---- joining ---------------------------------------------------------------------------------------------------------


@numpy_names
def cat(tensors, dim=0):
    """Tensors joined along an existing axis; they agree in every other one."""
    tensors = list(tensors)
    if not tensors:
        raise ValueError("cat: nothing to join; give at least one tensor")
    require_tensor("cat", **{f"tensors[{i}]": t for i, t in enumerate(tensors)})
    if any(t.shape == (0,) for t in tensors):  # PyTorch skips these, whatever the shape of the others
        tensors = [t for t in tensors if t.shape != (0,)] or tensors[:1]
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


@numpy_names
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


@numpy_names
def gather(x, dim, index):
    """out[i, j, k] = x[i, index[i, j, k], k] for dim 1; `index` holds integers in [0, length)."""
    require_tensor("gather", x=x)
    axis, index = axis_index("gather", dim, x.ndim), array_of(index, "gather: index", "i")
    if index.ndim != x.ndim or any(a > b for i, (a, b) in enumerate(zip(index.shape, x.shape, strict=True)) if i != axis):
        raise ValueError(f"gather: index {index.shape} must have the axes of {x.shape}, none longer but dim {dim}")
    in_range("gather", index, x.shape[axis])
    return _gather(x, axis=axis, index=index)


def in_range(name, index, length):
    """Raise ValueError unless all of `index` lie in [0, length)."""
    if index.size and (int(index.min()) < 0 or int(index.max()) >= length):
        raise ValueError(f"{name}: indices must lie in [0, {length}), got {int(index.min())}..{int(index.max())}")


def open_grid(index, axis):
    """`index` along `axis` and, for every other axis, the place in index itself: what gather and scatter index with."""
    grid = list(np.indices(index.shape, sparse=True))
    grid[axis] = index
    return tuple(grid)


@primitive
def _gather(x, axis, index):
    """y[i, j, k] = x[i, index[i, j, k], k] for axis 1."""
    return x[open_grid(index, axis)]


@_gather.vjp
def _(node, needs, g, axis, index):
    return (scatter_sum(g, axis=axis, index=index, shape=node.specs[0][0]),)


@primitive
def scatter_sum(g, axis, index, shape):
    """Zeros of `shape` with g added at index along `axis`: the adjoint of gather."""
    out = np.zeros_like(g, shape=shape)
    np.add.at(out, open_grid(index, axis), g)
    return out


@scatter_sum.vjp
def _(node, needs, g, axis, index, shape):
    return (_gather(g, axis=axis, index=index),)
