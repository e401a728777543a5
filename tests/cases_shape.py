"""The table of cases: elements moved, and products of matrices. See tests/cases.py."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st
from samplers import (
    Call,
    Case,
    one_axis,
    sampler,
    shapes,
    uniform,
)

import minigrad as mg
from minigrad import Tensor

T = vars(Tensor)  # methods and properties, by name
X = mg.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def erf(x):
    return np.vectorize(math.erf, otypes=[np.float64])(x) if x.size else x


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# ---- elements moved --------------------------------------------------------------------------------------------------


def fixed(*shapes_, **options):
    """Arrays of fixed shapes; options are strategies, or values."""
    return sampler(
        lambda draw, rng: Call(
            tuple(uniform(rng, sh) for sh in shapes_),
            {k: draw(o) if isinstance(o, st.SearchStrategy) else o for k, o in options.items()},
        )
    )


def choose(shape, *options):
    """One array and one of the option dicts."""
    return sampler(lambda draw, rng: Call((uniform(rng, shape),), dict(draw(st.sampled_from(options)))))


MASK = np.array([[True, False, True, False], [False, True, True, False], [False, False, False, True]])
INDICES = [
    0,
    -1,
    slice(None),
    slice(0, 2),
    slice(None, None, -1),
    slice(2, 0, -1),
    slice(3, 1),
    ...,
    None,
    (1, 2),
    (..., 1),
    (None, slice(1, None), None, 0),
    (slice(None, None, 2), slice(None, None, -2)),
    [0, 2, 2],
    np.array([[0, 1], [2, 0]]),
    (slice(None), [0, 3, 3, 1]),
    ([0, 1, 1], [3, 2, 2]),
    ([[0], [2]], [1, 3]),
    MASK,
    MASK[:, 0],
    (slice(None), MASK[0]),
    mg.tensor([2, 0]),
    (1, mg.tensor([0, 0])),
    np.int64(1),
    np.array([], dtype=int),
    (slice(1, 2), ..., [1, 1]),
]


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


PERMUTATIONS = st.permutations(range(3)).map(tuple)
ROLLS = (
    {"shifts": 1, "dims": 0},
    {"shifts": -4, "dims": 1},
    {"shifts": (1, 2), "dims": (0, -1)},
    {"shifts": 3, "dims": None},
    {"shifts": (1, 1), "dims": (0, 0)},
)

MOVES = [
    Case(
        "reshape",
        lambda x, shape: mg.reshape(x, shape),
        choose((2, 3, 2), *({"shape": v} for v in [(12,), (-1, 4), (2, -1), (1, 12, 1), (3, 2, 2)])),
        lambda x, shape: x.reshape(shape),
        errors=(
            (lambda: X.reshape(4), ValueError, r"reshape: shape \(2, 3\) has 6 elements but \(4,\) has 4"),
            (lambda: X.reshape(-1, 4), ValueError, "do not divide"),
            (lambda: X.reshape(-1, -1), ValueError, "may hold one -1"),
            (lambda: X.reshape(2.0, 3), TypeError, "reshape: size must be an integer, got 2.0"),
        ),
        covers=(mg.reshape, T["view"], T["view_as"]),
    ),
    Case(
        "view_as",
        lambda x, y: x.view_as(y) * y,
        fixed((2, 3), (3, 2)),
        lambda x, y: x.reshape(3, 2) * y,
        covers=(T["view_as"],),
    ),
    Case(
        "flatten",
        mg.flatten,
        choose((2, 3, 2), {}, {"start_dim": 1}, {"start_dim": 0, "end_dim": 1}, {"start_dim": -2}),
        lambda x, start_dim=0, end_dim=-1: x.reshape(x.shape[: start_dim % 3] + (-1,) + x.shape[end_dim % 3 + 1 :]),
        errors=((lambda: X.flatten(1, 0), ValueError, "flatten: start_dim 1 lies behind end_dim 0"),),
    ),
    Case(
        "unflatten",
        lambda x, dim, sizes: x.unflatten(dim, sizes),
        choose((2, 6), {"dim": 1, "sizes": (2, 3)}, {"dim": -1, "sizes": (-1, 2)}, {"dim": 0, "sizes": (1, 2)}),
        lambda x, dim, sizes: x.reshape((2, *((2, 3) if sizes == (2, 3) else (3, 2))) if dim else (1, 2, 6)),
        covers=(T["unflatten"],),
    ),
    Case(
        "squeeze",
        mg.squeeze,
        choose((1, 3, 1), {}, {"dim": 0}, {"dim": -1}, {"dim": 1}, {"dim": (0, 2)}),
        lambda x, dim=None: x.reshape({None: (3,), 0: (3, 1), -1: (1, 3), 1: (1, 3, 1), (0, 2): (3,)}[dim]),
    ),
    Case(
        "unsqueeze",
        mg.unsqueeze,
        choose((2, 3), {"dim": 0}, {"dim": 1}, {"dim": 2}, {"dim": -1}, {"dim": -3}),
        lambda x, dim: np.expand_dims(x, dim),
        errors=((lambda: X.unsqueeze(4), ValueError, "unsqueeze: dim 4 is out of range"),),
    ),
    Case(
        "permute",
        lambda x, dims: x.permute(dims),
        sampler(lambda draw, rng: Call((uniform(rng, (2, 3, 4)),), {"dims": draw(PERMUTATIONS)})),
        lambda x, dims: x.transpose(dims),
        covers=(mg.permute,),
        errors=(
            (lambda: X.permute(0, 0), ValueError, r"permute: dims \(0, 0\) must name each of the 2 axes"),
            (lambda: X.permute(0), ValueError, "must name each of the 2 axes"),
        ),
    ),
    Case(
        "transpose",
        mg.transpose,
        choose((2, 3, 4), *({"dim0": a, "dim1": b} for a in (0, -1) for b in (1, 2, 0))),
        lambda x, dim0, dim1: np.swapaxes(x, dim0, dim1),
    ),
    Case(
        "movedim",
        lambda x, source, destination: x.movedim(source, destination),
        choose((2, 3, 4), *({"source": a, "destination": b} for a in (0, 1, -1) for b in (0, 1, -1))),
        lambda x, source, destination: np.moveaxis(x, source, destination),
        covers=(T["movedim"],),
    ),
    Case(
        "T, mT and t",
        lambda x, y: (x.T, x.mT, y.t()),
        fixed((2, 3, 4), (2, 3)),
        lambda x, y: (x.T, np.swapaxes(x, -1, -2), y.T),
        covers=(T["T"], T["mT"], T["t"]),
    ),
    Case(
        "flip",
        mg.flip,
        choose((2, 3), {"dims": 0}, {"dims": (1,)}, {"dims": (0, -1)}),
        lambda x, dims: np.flip(x, dims),
    ),
    Case(
        "roll",
        mg.roll,
        choose((2, 3), *ROLLS),
        lambda x, shifts, dims: np.roll(x, shifts, dims),
        errors=((lambda: mg.roll(X, (1, 2), 0), ValueError, "roll: 2 shifts for 1 dims"),),
    ),
    Case(
        "expand",
        lambda x, shape: x.expand(shape),
        choose((3, 1), {"shape": (3, 4)}, {"shape": (2, 3, 1)}, {"shape": (-1, 2)}, {"shape": (0, 3, 1)}),
        lambda x, shape: np.broadcast_to(x, (3, 2) if shape == (-1, 2) else shape),
        covers=(mg.expand,),
        errors=(
            (lambda: X.expand(2, 4), ValueError, r"expand: shape \(2, 3\) does not broadcast to \(2, 4\)"),
            (lambda: X.expand(3), ValueError, "has fewer axes"),
        ),
    ),
    Case(
        "expand_as",
        lambda x, y: x.expand_as(y) * y,
        fixed((3, 1), (2, 3, 2)),
        lambda x, y: x * y,
        covers=(T["expand_as"],),
    ),
    Case(
        "repeat",
        lambda x, sizes: x.repeat(sizes),
        choose((2, 3), {"sizes": (2, 1)}, {"sizes": (1, 2)}, {"sizes": (2, 1, 3)}, {"sizes": (0, 1)}),
        lambda x, sizes: np.tile(x, sizes),
        covers=(T["repeat"],),
        errors=((lambda: X.repeat(2), ValueError, r"repeat: \(2,\) must give a count >= 0 for each of the 2 axes"),),
    ),
    Case(
        "getitem",
        lambda x, index: x[index],
        choose((3, 4), *({"index": i} for i in INDICES)),
        lambda x, index: x[numpy_index(index)],
        covers=(T["__getitem__"],),
        examples=40,
        errors=(
            (lambda: X[5], IndexError, r"indexing a tensor of shape \(2, 3\): index 5 is out of bounds"),
            (lambda: X[0, 0, 0], IndexError, "too many indices"),
            (lambda: X[1.0], TypeError, "indexed by integers, slices or masks, got 1.0"),
            (lambda: X[mg.ones(2)], TypeError, "indexed by integers or bools, got float32"),
        ),
    ),
    Case(
        "narrow",
        lambda x, **o: x.narrow(**o),
        choose(
            (3, 4),
            {"dim": 1, "start": 1, "length": 2},
            {"dim": 0, "start": -2, "length": 2},
            {"dim": 0, "start": 0, "length": 0},
        ),
        lambda x, dim, start, length: np.take(x, range(start % x.shape[dim], start % x.shape[dim] + length), dim),
        covers=(T["narrow"],),
        errors=((lambda: X.narrow(1, 2, 2), ValueError, r"narrow: 2..4 lies outside dim 1 of length 3"),),
    ),
    Case(
        "split",
        mg.split,
        choose((5, 2), {"split_size": 2}, {"split_size": [1, 4]}, {"split_size": 1, "dim": 1}, {"split_size": [0, 5]}),
        lambda x, split_size, dim=0: tuple(
            np.split(
                x,
                np.cumsum(split_size)[:-1]
                if isinstance(split_size, list)
                else range(split_size, x.shape[dim], split_size),
                dim,
            )
        ),
        errors=(
            (lambda: X.split([1, 1], 1), ValueError, r"split: sizes \[1, 1\] must sum to 3"),
            (lambda: X.split(0), ValueError, "split: split_size must be at least 1, got 0"),
        ),
    ),
    Case(
        "chunk",
        mg.chunk,
        choose((5, 2), {"chunks": 2}, {"chunks": 3}, {"chunks": 7}, {"chunks": 2, "dim": 1}),
        lambda x, chunks, dim=0: tuple(
            np.split(x, range(-(-x.shape[dim] // chunks), x.shape[dim], -(-x.shape[dim] // chunks)), dim)
        ),
    ),
    Case(
        "unbind", mg.unbind, choose((2, 3), {}, {"dim": 1}, {"dim": -1}), lambda x, dim=0: tuple(np.moveaxis(x, dim, 0))
    ),
    Case("iteration", lambda x: tuple(x), fixed((3, 2)), lambda x: tuple(x), covers=(T["__iter__"],)),
    Case(
        "cat",
        lambda *xs, dim: mg.cat(xs, dim),
        sampler(cat_call),
        lambda *xs, dim: np.concatenate(xs, dim),
        covers=(mg.cat,),
        errors=(
            (lambda: mg.cat([]), ValueError, "cat: nothing to join"),
            (
                lambda: mg.cat([X, mg.ones(2, 2)]),
                ValueError,
                r"cat: tensors\[1\] has shape \(2, 2\) but tensors\[0\] \(2, 3\)",
            ),
            (lambda: mg.cat([X, 1.0]), TypeError, r"cat: tensors\[1\] must be a Tensor, got float"),
        ),
    ),
    Case(
        "stack",
        lambda *xs, dim: mg.stack(xs, dim),
        sampler(lambda draw, rng: cat_call(draw, rng, True)),
        lambda *xs, dim: np.stack(xs, dim),
        covers=(mg.stack,),
        errors=((lambda: mg.stack([X, mg.ones(3)]), ValueError, r"stack: tensors\[1\] has shape \(3,\)"),),
    ),
    Case(
        "gather",
        mg.gather,
        sampler(gather_call),
        gather,
        errors=(
            (lambda: X.gather(1, mg.tensor([[3]])), ValueError, r"gather: indices must lie in \[0, 3\), got 3..3"),
            (lambda: X.gather(1, mg.ones(1, 1)), TypeError, "gather: index must hold integers, got float32"),
        ),
    ),
    Case(
        "tril",
        mg.tril,
        choose((2, 3, 3), {}, {"diagonal": 1}, {"diagonal": -1}),
        lambda x, diagonal=0: np.tril(x, diagonal),
        nan=(),
    ),
    Case(
        "triu",
        mg.triu,
        choose((2, 3), {}, {"diagonal": 1}, {"diagonal": -1}),
        lambda x, diagonal=0: np.triu(x, diagonal),
        nan=(),
    ),
]


# ---- products --------------------------------------------------------------------------------------------------------

PRODUCTS_OF = [
    ((2, 3), (3, 2)),
    ((3,), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3,)),
    ((2, 2, 3), (3, 2)),
    ((2, 1, 2, 3), (3, 3, 2)),
    ((2, 2, 3), (2, 3, 1)),
    ((2, 3), (4, 3, 2)),
    ((0, 3), (3, 2)),
    ((2, 0), (0, 2)),
    ((2, 2, 3), (3,)),
    ((1, 1), (1, 1)),
]
EQUATIONS = [
    ("ij,jk->ik", (2, 3), (3, 2)),
    ("bik,bkj->bij", (2, 2, 3), (2, 3, 1)),
    ("ii->i", (3, 3)),
    ("ii", (3, 3)),
    ("ij->ji", (2, 3)),
    ("ij->", (2, 3)),
    ("i,j->ij", (2,), (3,)),
    ("...ij->...ji", (2, 2, 3)),
    ("i,i,i->", (3,), (3,), (3,)),
    ("ij,j", (2, 3), (3,)),
    ("...i,i->...", (2, 2, 3), (3,)),
    ("ij,kj->k", (2, 3), (2, 3)),
    ("iij->j", (2, 2, 3)),
    ("ab,bc,cd->ad", (1, 2), (2, 3), (3, 2)),
]


def product_call(draw, rng):
    return Call(tuple(uniform(rng, sh) for sh in draw(st.sampled_from(PRODUCTS_OF))))


def einsum_call(draw, rng):
    equation, *sh = draw(st.sampled_from(EQUATIONS))
    return Call(tuple(uniform(rng, x) for x in sh), {"equation": equation})


PRODUCTS = [
    Case(
        "matmul",
        mg.matmul,
        sampler(product_call),
        np.matmul,
        order=3,
        examples=25,
        errors=(
            (
                lambda: X @ X,
                ValueError,
                r"matmul: shapes \(2, 3\) @ \(2, 3\): the last axis of the first \(3\) must equal",
            ),
            (lambda: mg.matmul(X, mg.tensor(2.0)), ValueError, "a number is no matrix"),
            (lambda: mg.matmul(X, 2.0), TypeError, "matmul: b must be a Tensor, got float"),
            (lambda: mg.ones(2, 2, 3) @ mg.ones(3, 3, 2), ValueError, "batch axes .* do not broadcast"),
        ),
    ),
    Case("@", lambda a, b: a @ b, sampler(product_call), np.matmul, order=1, covers=(T["__matmul__"],)),
    Case(
        "array @",
        lambda a: np.ones((2, 3), np.float32) @ a,
        fixed((3, 2)),
        lambda a: np.ones((2, 3)) @ a,
        order=1,
        covers=(T["__rmatmul__"],),
    ),
    Case(
        "einsum",
        lambda *xs, equation: mg.einsum(equation, *xs),
        sampler(einsum_call),
        lambda *xs, equation: np.asarray(np.einsum(equation, *xs)),
        covers=(mg.einsum,),
        examples=30,
        errors=(
            (lambda: mg.einsum("ij,jk", X), ValueError, "names 2 operands, 1 were given"),
            (lambda: mg.einsum("ij,jk", X, X), ValueError, "axis 'j' has length 3 and 2"),
            (lambda: mg.einsum("ijk", X), ValueError, r"does not fit operand 0 of shape \(2, 3\)"),
            (lambda: mg.einsum("ij->ik", X), ValueError, "must name distinct axes of the operands"),
        ),
    ),
]

CASES = MOVES + PRODUCTS
