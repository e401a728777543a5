"""Products of matrices and vectors under their own names, and diagonals. Each is made of `matmul` and of moved elements.

Unlike `matmul` they take one shape each and refuse the others, as PyTorch's do.

Imports: numpy, common, elementwise, indexing, linear, reduction, shape.
"""

from __future__ import annotations

import numpy as np

from minigrad.functional.common import axis_index, integer, numpy_names, require_tensor
from minigrad.functional.elementwise import where
from minigrad.functional.indexing import getitem
from minigrad.functional.linear import matmul
from minigrad.functional.reduction import norm
from minigrad.functional.reduction import sum as sum_over
from minigrad.functional.shape import expand, movedim, reshape, roll, unsqueeze


def _product(name, a, b, *dims):
    require_tensor(name, input=a, other=b)
    if (a.ndim, b.ndim) != dims:
        raise ValueError(f"{name}: shapes {a.shape} and {b.shape}: it takes {dims[0]} and {dims[1]} axes; matmul takes any")
    if name == "bmm" and a.shape[0] != b.shape[0]:
        raise ValueError(f"bmm: shapes {a.shape} and {b.shape} must agree in the first axis, the batch")
    return matmul(a, b)


def mm(input, mat2):
    """(M, K) @ (K, N) -> (M, N)"""
    return _product("mm", input, mat2, 2, 2)


def bmm(input, mat2):
    """(B, M, K) @ (B, K, N) -> (B, M, N)"""
    return _product("bmm", input, mat2, 3, 3)


def mv(input, vec):
    """(M, K) @ (K,) -> (M,)"""
    return _product("mv", input, vec, 2, 1)


def dot(input, tensor):
    """The sum of products of two vectors of the same length."""
    return _product("dot", input, tensor, 1, 1)


def outer(input, vec2):
    """input[i] * vec2[j]: (M,), (N,) -> (M, N)"""
    require_tensor("outer", input=input, vec2=vec2)
    if input.ndim != 1 or vec2.ndim != 1:
        raise ValueError(f"outer: shapes {input.shape} and {vec2.shape} must both be vectors")
    return unsqueeze(input, 1) * vec2


def addmm(input, mat1, mat2, *, beta=1, alpha=1):
    """beta * input + alpha * mat1 @ mat2"""
    return input * beta + mm(mat1, mat2) * alpha


def baddbmm(input, batch1, batch2, *, beta=1, alpha=1):
    """beta * input + alpha * bmm(batch1, batch2)"""
    return input * beta + bmm(batch1, batch2) * alpha


@numpy_names
def cross(input, other, dim=-1):
    """The vector product along `dim`, which has length 3."""
    require_tensor("cross", input=input, other=other)
    shape = np.broadcast_shapes(input.shape, other.shape)
    axis = axis_index("cross", dim, len(shape))
    if not shape or shape[axis] != 3:
        raise ValueError(f"cross: dim {dim} of {shape} must have length 3")
    a, b = expand(input, shape), expand(other, shape)
    return roll(a, -1, axis) * roll(b, -2, axis) - roll(a, -2, axis) * roll(b, -1, axis)


@numpy_names
def diagonal(input, offset=0, dim1=0, dim2=1):
    """The diagonal of two axes, `offset` places above the main one, as the last axis."""
    require_tensor("diagonal", input=input)
    i, j = axis_index("diagonal", dim1, input.ndim), axis_index("diagonal", dim2, input.ndim)
    if i == j:
        raise ValueError(f"diagonal: dim1 and dim2 are both axis {i}")
    offset = integer("diagonal: offset", offset)
    x = movedim(movedim(input, i, 0), j if j > i else j + 1, 1)
    rows = np.arange(max(0, -offset), min(x.shape[0], x.shape[1] - offset))
    return movedim(getitem(x, (rows, rows + offset)), 0, -1)


def diag(input, diagonal=0):
    """A vector becomes the diagonal of a matrix of zeros; of a matrix it takes the diagonal."""
    require_tensor("diag", input=input)
    if input.ndim == 2:
        return _diagonal_of(input, diagonal)
    if input.ndim != 1:
        raise ValueError(f"diag: input must be a vector or a matrix, got {input.shape}")
    n, offset = input.shape[0], integer("diag: diagonal", diagonal)
    size = n + abs(offset)
    if n == 0:
        return input.wrap(np.zeros_like(input.array, shape=(size, size)))
    column = np.clip(np.arange(size) - max(offset, 0), 0, n - 1)
    return where(np.eye(size, k=offset, dtype=bool), getitem(input, column), 0.0 if input.dtype.kind == "f" else 0)


_diagonal_of = diagonal


def trace(input):
    """The sum of the diagonal of a matrix."""
    require_tensor("trace", input=input)
    if input.ndim != 2:
        raise ValueError(f"trace: input must be a matrix, got {input.shape}")
    return sum_over(diagonal(input))


def dist(input, other, p=2):
    """norm(input - other, p) of all elements."""
    d = input - other
    return norm(reshape(d, (-1,)), p)
