"""Operations that move elements without changing them. Each is linear, and each rule is the operation's adjoint:
reshape <-> reshape, permute <-> inverse permute, expand <-> sum, getitem <-> add at, cat <-> slices, gather <-> scatter.

Names and arguments are PyTorch's. Results may share memory with their argument (views); nothing here mutates.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad import kernels
from minigrad.autograd import Variable, primitive
from minigrad.functional.common import array_of, axis_index, axis_tuple, integer, require_tensor


def _sizes(name, sizes):
    """reshape(2, 3) or reshape((2, 3)) as a tuple of ints."""
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = sizes[0]
    return tuple(integer(f"{name}: size", n) for n in sizes)


# ---- the same elements in the same order -----------------------------------------------------------------------------


def reshape(x, *shape):
    """The elements of x in C order in another shape; one size may be -1."""
    require_tensor("reshape", x=x)
    return _reshape(x, shape=_resolve("reshape", x.shape, _sizes("reshape", shape)))


def _resolve(name, old, new):
    total, known = math.prod(old), math.prod(n for n in new if n != -1)
    unknown = new.count(-1)
    if unknown > 1 or any(n < -1 for n in new):
        raise ValueError(f"{name}: shape {new} may hold one -1 and otherwise sizes >= 0")
    if unknown and (known == 0 or total % known):
        raise ValueError(f"{name}: {total} elements of shape {old} do not divide into {new}")
    new = tuple(total // known if n == -1 else n for n in new) if unknown else new
    if math.prod(new) != total:
        raise ValueError(f"{name}: shape {old} has {total} elements but {new} has {math.prod(new)}")
    return new


@primitive(view=True)
def _reshape(x, shape):
    """The elements of x in C order as `shape`."""
    return x.reshape(shape)


@_reshape.vjp
def _(node, needs, g, shape):
    return (_reshape(g, shape=node.specs[0][0]),)


def flatten(x, start_dim=0, end_dim=-1):
    """Axes start_dim..end_dim (inclusive) joined into one."""
    require_tensor("flatten", x=x)
    first, last = axis_index("flatten", start_dim, x.ndim), axis_index("flatten", end_dim, x.ndim)
    if first > last:
        raise ValueError(f"flatten: start_dim {start_dim} lies behind end_dim {end_dim}")
    return reshape(x, x.shape[:first] + (math.prod(x.shape[first : last + 1]),) + x.shape[last + 1 :])


def unflatten(x, dim, sizes):
    """Axis `dim` split into `sizes`, one of which may be -1."""
    require_tensor("unflatten", x=x)
    axis = axis_index("unflatten", dim, x.ndim)
    sizes = _resolve("unflatten", (x.shape[axis],), _sizes("unflatten", (tuple(sizes),)))
    return reshape(x, x.shape[:axis] + sizes + x.shape[axis + 1 :])


def squeeze(x, dim=None):
    """Axes of length 1 removed: all of them, or those named by `dim` that have length 1."""
    require_tensor("squeeze", x=x)
    axes = range(x.ndim) if dim is None else axis_tuple("squeeze", dim, x.ndim)
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if not (i in axes and n == 1)))


def unsqueeze(x, dim):
    """A new axis of length 1 at position `dim`."""
    require_tensor("unsqueeze", x=x)
    axis = axis_index("unsqueeze", dim, x.ndim + 1)
    return reshape(x, x.shape[:axis] + (1,) + x.shape[axis:])


# ---- axes in another order -------------------------------------------------------------------------------------------


def permute(x, *dims):
    """Axis i of the result is axis dims[i] of x."""
    require_tensor("permute", x=x)
    dims = tuple(axis_index("permute", d, x.ndim) for d in _sizes("permute", dims))
    if sorted(dims) != list(range(x.ndim)):
        raise ValueError(f"permute: dims {dims} must name each of the {x.ndim} axes of shape {x.shape} once")
    return _permute(x, dims=dims)


@primitive(view=True)
def _permute(x, dims):
    """Axis k of the result is axis dims[k] of x."""
    return x.transpose(dims)


@_permute.vjp
def _(node, needs, g, dims):
    inverse = [0] * len(dims)
    for i, d in enumerate(dims):
        inverse[d] = i
    return (_permute(g, dims=tuple(inverse)),)


def transpose(x, dim0, dim1):
    """Axes dim0 and dim1 exchanged."""
    require_tensor("transpose", x=x)
    dims = list(range(x.ndim))
    if x.ndim:
        i, j = axis_index("transpose", dim0, x.ndim), axis_index("transpose", dim1, x.ndim)
        dims[i], dims[j] = j, i
    return _permute(x, dims=tuple(dims))


def movedim(x, source, destination):
    """Axis `source` moved to position `destination`; the others keep their order."""
    require_tensor("movedim", x=x)
    i, j = axis_index("movedim", source, x.ndim), axis_index("movedim", destination, x.ndim)
    dims = [d for d in range(x.ndim) if d != i]
    dims.insert(j, i)
    return _permute(x, dims=tuple(dims))


def flip(x, dims):
    """The order of elements reversed along `dims`."""
    require_tensor("flip", x=x)
    dims = (dims,) if not isinstance(dims, (tuple, list)) else dims
    return _flip(x, axes=tuple(axis_index("flip", d, x.ndim) for d in dims))


@primitive(view=True)
def _flip(x, axes):
    """y[i] = x[n - 1 - i] along each of `axes`."""
    return np.flip(x, axes)


@_flip.vjp
def _(node, needs, g, axes):
    return (_flip(g, axes=axes),)


def roll(x, shifts, dims=None):
    """Elements moved by `shifts` places along `dims`; those pushed over the end come in again at the start."""
    require_tensor("roll", x=x)
    if dims is None:
        return reshape(roll(reshape(x, (-1,)), shifts, 0), x.shape)
    shifts = (shifts,) if not isinstance(shifts, (tuple, list)) else tuple(shifts)
    dims = (dims,) if not isinstance(dims, (tuple, list)) else tuple(dims)
    if len(shifts) != len(dims):
        raise ValueError(f"roll: {len(shifts)} shifts for {len(dims)} dims; give one for each")
    axes = tuple(axis_index("roll", d, x.ndim) for d in dims)
    return _roll(x, shifts=tuple(integer("roll: shift", s) for s in shifts), axes=axes)


@primitive
def _roll(x, shifts, axes):
    """y[(i + shift) mod n] = x[i] along each of `axes`."""
    return np.roll(x, shifts, axes)


@_roll.vjp
def _(node, needs, g, shifts, axes):
    return (_roll(g, shifts=tuple(-s for s in shifts), axes=axes),)


# ---- repetition ------------------------------------------------------------------------------------------------------


def expand(x, *shape):
    """x broadcast to `shape` without copying; -1 keeps a size."""
    require_tensor("expand", x=x)
    shape = _sizes("expand", shape)
    lead = len(shape) - x.ndim
    if lead < 0:
        raise ValueError(f"expand: {shape} has fewer axes than the tensor's shape {x.shape}")
    full = tuple(x.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(shape))
    for i, n in enumerate(full):
        if n < 0 or (i >= lead and x.shape[i - lead] not in (1, n)):
            raise ValueError(f"expand: shape {x.shape} does not broadcast to {shape}; an axis must have length 1 to grow")
    return _expand(x, shape=full)


@primitive(view=True)
def _expand(x, shape):
    """x repeated along new axes and axes of length 1 up to `shape`, without copying."""
    return np.broadcast_to(x, shape)


@_expand.vjp
def _(node, needs, g, shape):
    return (g.sum_to(node.specs[0][0]),)


def repeat(x, *sizes):
    """x tiled sizes[i] times along axis i, new axes in front (PyTorch's repeat, NumPy's tile)."""
    require_tensor("repeat", x=x)
    sizes = _sizes("repeat", sizes)
    if len(sizes) < x.ndim or any(n < 0 for n in sizes):
        raise ValueError(f"repeat: {sizes} must give a count >= 0 for each of the {x.ndim} axes of shape {x.shape}")
    shape = (1,) * (len(sizes) - x.ndim) + x.shape
    inner = tuple(n for s in shape for n in (1, s))
    outer = tuple(n for r, s in zip(sizes, shape, strict=True) for n in (r, s))
    return reshape(expand(reshape(x, inner), outer), tuple(r * s for r, s in zip(sizes, shape, strict=True)))


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


# ---- triangles, copies, conversions ----------------------------------------------------------------------------------


def tril(x, diagonal=0):
    """The lower triangle of the last two axes; the rest is 0."""
    require_tensor("tril", x=x)
    return x * np.tri(*x.shape[-2:], k=diagonal).astype(x.dtype)


def triu(x, diagonal=0):
    """The upper triangle of the last two axes; the rest is 0."""
    require_tensor("triu", x=x)
    return x * (1 - np.tri(*x.shape[-2:], k=diagonal - 1)).astype(x.dtype)


@primitive
def clone(x):
    """A copy in its own memory."""
    return x.copy(order="K")


@clone.vjp
def _(node, needs, g):
    return (g,)


@primitive
def astype(x, dtype):
    """x in another floating-point type; the gradient comes back in x's."""
    return x.astype(dtype)


@astype.vjp
def _(node, needs, g, dtype):
    return (astype(g, dtype=node.specs[0][1]),)


@primitive
def to_device(x, device):
    """x as an array of `device`: 'cpu' (NumPy) or 'cuda' (CuPy)."""
    if device == "cpu":
        return x.get() if hasattr(x, "get") else x
    import cupy

    return cupy.asarray(x)


@to_device.vjp
def _(node, needs, g, device):
    return (to_device(g, device="cpu" if device == "cuda" else "cuda"),)


def contiguous(x):
    """x in C order in memory, copied only where it is not."""
    require_tensor("contiguous", x=x)
    return x if x.array.flags.c_contiguous else _contiguous(x)


@primitive
def _contiguous(x):
    """x copied into C order."""
    return np.ascontiguousarray(x).reshape(x.shape)


@_contiguous.vjp
def _(node, needs, g):
    return (g,)
