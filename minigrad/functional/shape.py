"""The same elements in another shape or order. Each operation is linear, and its rule is its adjoint:
reshape <-> reshape, permute <-> inverse permute, expand <-> sum, roll <-> roll back.

Names and arguments are PyTorch's. Results may share memory with their argument (views); nothing here mutates.

Imports: cupy (when called), numpy, minigrad.autograd, common.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad.autograd import primitive
from minigrad.functional.common import axis_index, axis_tuple, integer, numpy_names, require_tensor, size_tuple

# ---- the same elements in the same order -----------------------------------------------------------------------------


def reshape(x, *shape):
    """The elements of x in C order in another shape; one size may be -1."""
    require_tensor("reshape", x=x)
    return _reshape(x, shape=_resolve("reshape", x.shape, size_tuple("reshape", shape)))


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


@numpy_names
def unflatten(x, dim, sizes):
    """Axis `dim` split into `sizes`, one of which may be -1."""
    require_tensor("unflatten", x=x)
    axis = axis_index("unflatten", dim, x.ndim)
    sizes = _resolve("unflatten", (x.shape[axis],), size_tuple("unflatten", (tuple(sizes),)))
    return reshape(x, x.shape[:axis] + sizes + x.shape[axis + 1 :])


@numpy_names
def squeeze(x, dim=None):
    """Axes of length 1 removed: all of them, or those named by `dim` that have length 1."""
    require_tensor("squeeze", x=x)
    axes = range(x.ndim) if dim is None else () if dim == () else axis_tuple("squeeze", dim, x.ndim)
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if not (i in axes and n == 1)))


def view(x, *shape):
    """reshape, in PyTorch's stricter name; view(dtype) is not supported."""
    if len(shape) == 1 and not isinstance(shape[0], (int, tuple, list)) and not hasattr(shape[0], "__index__"):
        raise TypeError(f"view: sizes must be integers, got {shape[0]!r}; another dtype is .to(dtype)")
    return reshape(x, *shape)


def sizes(name, size) -> tuple[int, ...]:
    """(2, 3) from f(2, 3) or f((2, 3)); ValueError for negative ones."""
    shape = size_tuple(name, size)
    if any(n < 0 for n in shape):
        raise ValueError(f"{name}: sizes must be >= 0, got {shape}")
    return shape


@numpy_names
def unsqueeze(x, dim):
    """A new axis of length 1 at position `dim`."""
    require_tensor("unsqueeze", x=x)
    axis = axis_index("unsqueeze", dim, x.ndim + 1)
    return reshape(x, x.shape[:axis] + (1,) + x.shape[axis:])


# ---- axes in another order -------------------------------------------------------------------------------------------


def permute(x, *order, dims=None, axes=None):
    """Axis i of the result is axis dims[i] of x: permute(x, 1, 0), or dims=(1, 0), or NumPy's axes=(1, 0)."""
    require_tensor("permute", x=x)
    given = [d for d in (order or None, dims, axes) if d is not None]
    if len(given) > 1:
        raise TypeError("permute: dims and axes are two names of one argument; give it once")
    dims = tuple(axis_index("permute", d, x.ndim) for d in size_tuple("permute", tuple(given[0]) if given else ()))
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


@numpy_names
def transpose(x, dim0, dim1):
    """Axes dim0 and dim1 exchanged."""
    require_tensor("transpose", x=x)
    dims = list(range(x.ndim))
    if x.ndim:
        i, j = axis_index("transpose", dim0, x.ndim), axis_index("transpose", dim1, x.ndim)
        dims[i], dims[j] = j, i
    return _permute(x, dims=tuple(dims))


def t(x):
    """The two axes of a matrix exchanged; a vector or a number as it is."""
    require_tensor("t", x=x)
    if x.ndim > 2:
        raise ValueError(f"t: shape {x.shape} has more than two axes; use transpose or permute")
    return transpose(x, 0, 1) if x.ndim == 2 else x


def movedim(x, source, destination):
    """Axis `source` moved to position `destination`; the others keep their order."""
    require_tensor("movedim", x=x)
    i, j = axis_index("movedim", source, x.ndim), axis_index("movedim", destination, x.ndim)
    dims = [d for d in range(x.ndim) if d != i]
    dims.insert(j, i)
    return _permute(x, dims=tuple(dims))


@numpy_names
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


@numpy_names
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
    shape = size_tuple("expand", shape)
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
    sizes = size_tuple("repeat", sizes)
    if len(sizes) < x.ndim or any(n < 0 for n in sizes):
        raise ValueError(f"repeat: {sizes} must give a count >= 0 for each of the {x.ndim} axes of shape {x.shape}")
    shape = (1,) * (len(sizes) - x.ndim) + x.shape
    inner = tuple(n for s in shape for n in (1, s))
    outer = tuple(n for r, s in zip(sizes, shape, strict=True) for n in (r, s))
    return reshape(expand(reshape(x, inner), outer), tuple(r * s for r, s in zip(sizes, shape, strict=True)))


# ---- triangles, copies, conversions ----------------------------------------------------------------------------------


def tril(x, diagonal=0):
    """The lower triangle of the last two axes; the rest is 0."""
    return _triangle("tril", x, integer("tril: diagonal", diagonal), True)


def triu(x, diagonal=0):
    """The upper triangle of the last two axes; the rest is 0."""
    return _triangle("triu", x, integer("triu: diagonal", diagonal) - 1, False)


def _triangle(name, x, diagonal, lower):
    require_tensor(name, x=x)
    if x.ndim < 2:
        raise ValueError(f"{name}: the tensor must have two axes or more, got shape {x.shape}")
    return _masked(x, keep=np.tri(*x.shape[-2:], k=diagonal, dtype=bool) == lower)


@primitive
def _masked(x, keep):
    """x where `keep` holds, else 0, also for infinite x."""
    return np.where(keep, x, x.dtype.type(0))


@_masked.vjp
def _(node, needs, g, keep):
    return (_masked(g, keep=keep),)


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
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite
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
