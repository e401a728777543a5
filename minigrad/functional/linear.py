"""Products: matmul, einsum, linear, embedding. matmul is closed under differentiation:
Y = A B gives dA = G B^T and dB = A^T G.

Imports: numpy, minigrad.autograd, minigrad.kernels, common, door, elementwise, indexing, shape.
"""

from __future__ import annotations

import math
import string
from collections import Counter

import numpy as np

from minigrad import kernels
from minigrad.autograd import primitive
from minigrad.functional.common import binary, integer, is_double, require_float, require_tensor, unbroadcast
from minigrad.functional.door import array_of
from minigrad.functional.elementwise import where
from minigrad.functional.indexing import getitem
from minigrad.functional.shape import expand, permute, reshape, squeeze, transpose, unsqueeze


def matmul(a, b):
    """Matrix product over the last two axes, batch axes broadcast; a vector is a row on the left, a column on the
    right.

    (..., M, K) @ (..., K, N) -> (..., M, N).
    """
    require_tensor("matmul", a=a, b=b)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(f"matmul: shapes {a.shape} @ {b.shape}: a number is no matrix; use * to scale")
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else -1]:
        raise ValueError(f"matmul: shapes {a.shape} @ {b.shape}: the last axis of the first ({a.shape[-1]}) must equal "
                         f"the {'second last' if b.ndim > 1 else 'only'} axis of the second")
    if a.ndim == 1:
        return squeeze(matmul(unsqueeze(a, 0), b), -1 if b.ndim == 1 else -2)
    if b.ndim == 1:
        return squeeze(matmul(a, unsqueeze(b, 1)), -1)
    if b.ndim == 2 and a.ndim > 2:  # one large product instead of a batch of small ones
        rows = reshape(a, (math.prod(a.shape[:-1]), a.shape[-1]))
        return reshape(_matmul(rows, b), a.shape[:-1] + (b.shape[-1],))
    try:
        np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ValueError(f"matmul: batch axes of {a.shape} and {b.shape} do not broadcast") from None
    return _matmul(a, b)


@primitive(saves=((1,), (0,)))
def _matmul(a, b):
    """y[..., i, j] = sum over k of a[..., i, k] * b[..., k, j]."""
    return binary(kernels.matmul, a, b)


@_matmul.vjp
def _(node, needs, g):
    a, b = node.inputs
    return (
        unbroadcast(_matmul(g, transpose(b, -1, -2)), node, 0) if needs[0] else None,
        unbroadcast(_matmul(transpose(a, -1, -2), g), node, 1) if needs[1] else None,
    )


def linear(input, weight, bias=None):
    """x W^T + b: input (..., in), weight (out, in), bias (out) -> (..., out)."""
    require_float("linear", input=input, weight=weight)
    if weight.ndim != 2 or input.ndim == 0 or input.shape[-1] != weight.shape[1]:
        raise ValueError(f"linear: input {input.shape} and weight {weight.shape}: the last axis of the input must "
                         "equal the weight's second (weight is (out, in))")
    if bias is not None and bias.shape != (weight.shape[0],):
        raise ValueError(f"linear: bias {bias.shape} must be ({weight.shape[0]},), one for each output")
    if input.dtype != weight.dtype or (bias is not None and bias.dtype != weight.dtype):
        out = matmul(input, transpose(weight, 0, 1))  # promotes, as any product and sum
        return out if bias is None else out + bias
    rows = input if input.ndim == 2 else reshape(input, (math.prod(input.shape[:-1]), input.shape[-1]))
    out = _linear(rows, weight) if bias is None else _linear(rows, weight, bias)
    return out if input.ndim == 2 else reshape(out, input.shape[:-1] + (weight.shape[0],))


@primitive(saves=((1,), (0,)))
def _linear(x, weight, bias=None):
    """x W^T + b for rows x; the sum runs in place over the product's own memory."""
    out = kernels.matmul(x, weight.T)
    if bias is not None:
        out += bias
    return out


@_linear.vjp
def _(node, needs, g):
    x, weight = node.inputs[:2]
    dx = _matmul(g, weight) if needs[0] else None
    dweight = _matmul(transpose(g, 0, 1), x) if needs[1] else None
    return (dx, dweight, *(g.sum(0) if need else None for need in needs[2:]))


def embedding(input, weight, padding_idx=None):
    """Rows of weight (V, D) picked by integers `input` (any shape) -> input.shape + (D,).

    The row `padding_idx` gets no gradient. Raises ValueError for an index outside [0, V).
    """
    require_tensor("embedding", weight=weight)
    index = array_of(input, "embedding: input", "i")
    if weight.ndim != 2:
        raise ValueError(f"embedding: weight must be (count, size), got {weight.shape}")
    count = weight.shape[0]
    if index.size and (int(index.min()) < 0 or int(index.max()) >= count):
        raise ValueError(f"embedding: indices must lie in [0, {count}), got {int(index.min())}..{int(index.max())}")
    rows = getitem(weight, index)
    if padding_idx is None:
        return rows
    padding_idx = integer("embedding: padding_idx", padding_idx)
    if not -count <= padding_idx < count:
        raise ValueError(f"embedding: padding_idx {padding_idx} lies outside [{-count}, {count})")
    return where((index == padding_idx % count)[..., None], rows.detach(), rows)


# ---- einsum ----------------------------------------------------------------------------------------------------------


# einsum's derivative for operand i reads every other operand
_ALL_OTHERS = tuple(tuple(j for j in range(16) if j != i) for i in range(16))


def einsum(equation, *operands):
    """Sum of products over named axes, as NumPy's and PyTorch's einsum: 'bik,bkj->bij', 'ii->i', '...ij->...ji'.

    The derivative with respect to one operand is the einsum of the cotangent with all the others.
    """
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = tuple(operands[0])
    require_tensor("einsum", **{f"operands[{i}]": x for i, x in enumerate(operands)})
    inputs, output = _parse(equation, [x.shape for x in operands])
    pairs = [_diagonals(x, s) for x, s in zip(operands, inputs, strict=True)]
    return _einsum(*[x for x, _ in pairs], inputs=tuple(s for _, s in pairs), output=output)


def _parse(equation, shapes):
    """One letter for each axis of each operand and of the result; the ellipsis gets letters of its own."""
    text = equation.replace(" ", "")
    left, arrow, output = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise ValueError(f"einsum: '{equation}' names {len(terms)} operands, {len(shapes)} were given")
    free = [c for c in string.ascii_letters if c not in text]
    depth = max([len(s) - len(t.replace("...", "")) for t, s in zip(terms, shapes, strict=True) if "..." in t] or [0])
    dots = "".join(free[: max(depth, 0)])
    inputs, sizes = [], {}
    for i, (term, shape) in enumerate(zip(terms, shapes, strict=True)):
        extra = len(shape) - len(term.replace("...", ""))
        if extra < 0 or (extra and "..." not in term):
            raise ValueError(f"einsum: '{term}' in '{equation}' does not fit operand {i} of shape {shape}")
        letters = term.replace("...", dots[len(dots) - extra :])
        for c in {c for c in letters if letters.count(c) > 1}:
            if len({n for k, n in zip(letters, shape, strict=False) if k == c}) > 1:
                raise ValueError(f"einsum: '{c}' names axes of different lengths of operand {i}, of shape {shape}, in '{equation}'")
        if not all(c.isascii() and c.isalpha() for c in letters):
            raise ValueError(f"einsum: '{equation}' may hold letters, ',', '...' and '->' only")
        for c, n in zip(letters, shape, strict=True):
            if sizes.setdefault(c, n) != n:
                if 1 not in (sizes[c], n):
                    raise ValueError(f"einsum: axis '{c}' has length {sizes[c]} and {n} in '{equation}' for {shapes}")
                sizes[c] = max(sizes[c], n)
        inputs.append(letters)
    if not arrow:
        counts = Counter("".join(inputs))
        output = dots + "".join(sorted(c for c, k in counts.items() if k == 1 and c not in dots))
    output = output.replace("...", dots)
    if len(set(output)) != len(output) or any(c not in sizes for c in output):
        raise ValueError(f"einsum: the result '{output}' of '{equation}' must name distinct axes of the operands")
    return inputs, output


def _diagonals(x, letters):
    """Take the diagonal over every letter that stands twice in one operand."""
    for c in dict.fromkeys(letters):
        while letters.count(c) > 1:
            i, j = letters.index(c), letters.rindex(c)
            rest = [k for k in range(x.ndim) if k not in (i, j)]
            along = np.arange(x.shape[i])
            x = getitem(permute(x, [i, j] + rest), (along, along))
            letters = c + "".join(letters[k] for k in rest)
    return x, letters


@primitive(saves=_ALL_OTHERS)
def _einsum(*arrays, inputs, output):
    """Sum of the product of all operands over the letters that `output` does not name."""
    out = np.einsum(",".join(inputs) + "->" + output, *arrays, optimize=len(arrays) > 2)
    if out.dtype.char == "d" and not any(is_double(a) for a in arrays):
        out = out.astype(np.float32)  # integers do not widen float32
    if len(arrays) == 1:  # of one operand NumPy returns a view where it can; the result must own its memory
        return np.array(out)
    return out if isinstance(out, np.ndarray) or hasattr(out, "get") else np.asarray(out)


@_einsum.vjp
def _(node, needs, g, inputs, output):
    grads = []
    for i, letters in enumerate(inputs):
        if not needs[i]:
            grads.append(None)
            continue
        shape = node.specs[i][0]
        others = [(s, x) for j, (s, x) in enumerate(zip(inputs, node.inputs, strict=True)) if j != i]
        seen = set(output).union(*[s for s, _ in others])
        # An axis that only this operand has, and that was summed away, is not reached: its gradient is repeated along it.
        reached = "".join(c for c in letters if c in seen)
        d = _einsum(g, *[x for _, x in others], inputs=(output, *[s for s, _ in others]), output=reached)
        d = reshape(d, tuple(d.shape[reached.index(c)] if c in seen else 1 for c in letters))
        # Where the others have length 1 and this operand more, the same gradient goes to all; where this one has length 1 and the
        # others more, it stood for all of them and `unbroadcast` adds up.
        grads.append(unbroadcast(expand(d, tuple(n if d.shape[k] == 1 else d.shape[k] for k, n in enumerate(shape))), node, i))
    return grads
