"""Small tools for arrays: of NumPy or CuPy, bare or in a Tensor, with one row for each sample.

    host(a)              a as a NumPy array
    raw(x)               the array in a Tensor, or the array itself
    alike(given, a)      a in the type, dtype and device of `given`
    flat(x), rows_of(v, like)    (N, ...) as (N, everything else), (N,) as (N, 1, ..., 1)
    whole(name, steps=steps)     checks counts: integers of at least 1

The last group works on values of either kind, Tensor or array, and returns the kind that it was given: `choose`, `at_rows`,
`replaced`, `joined`.

Imports: numpy, minigrad.tensor.
"""

from __future__ import annotations

import math
from numbers import Real

import numpy as np

from minigrad.tensor import Tensor

# ---- from the device, and from a Tensor ------------------------------------------------------------------------------


def host(a):
    """a as a NumPy array, copied from the device if it lies there."""
    return a.get() if hasattr(a, "__cuda_array_interface__") else np.asarray(a)


def raw(x):
    """The array of a Tensor; anything else as it is."""
    return x.array if isinstance(x, Tensor) else x


def alike(given, array):
    """An array in the type, dtype and device of what the caller gave."""
    like = raw(given)
    array = host(array) if isinstance(like, np.ndarray) else np.asarray(array, like=like)
    return _wrapped(given, array.astype(like.dtype, copy=False))


# ---- one row for each sample -----------------------------------------------------------------------------------------


def flat(x):
    """(N, ...) as (N, everything else), for N = 0 too."""
    return x.reshape(len(x), math.prod(x.shape[1:]))


def rows_of(value, like):
    """(N,) as (N, 1, ..., 1) in like's dtype, to broadcast against it; a number as a float, which keeps like's dtype."""
    if np.ndim(value) == 0:
        return float(value)
    return np.asarray(value, like=like).astype(like.dtype).reshape((-1,) + (1,) * (like.ndim - 1))


# ---- arguments -------------------------------------------------------------------------------------------------------


def whole(name: str, least: int = 1, **counts):
    """The numbers as ints, where each is an integer >= least, else ValueError: one alone as it is, several as a tuple.

    name: the function or class whose arguments they are, for the message.
    """
    for key, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, Real) or value % 1 or not value >= least:
            raise ValueError(f"{name}: {key} must be an integer >= {least}, got {value!r}")
    found = tuple(int(v) for v in counts.values())
    return found if len(found) > 1 else found[0]


# ---- Tensors and arrays alike ----------------------------------------------------------------------------------------


def _wrapped(like, array):
    return Tensor.wrap(array) if isinstance(like, Tensor) else array


def choose(mask, yes, no):
    """yes where mask (N,), else no; of yes's values, in no's type and memory layout."""
    out = raw(no).copy(order="K")
    out[mask] = raw(yes)[mask]
    return _wrapped(no, out)


def at_rows(value, rows):
    """value[rows]."""
    return _wrapped(value, raw(value)[rows])


def replaced(value, rows, new):
    """A copy of value with `new` in its rows."""
    out = raw(value).copy(order="K")
    out[rows] = raw(new)
    return _wrapped(value, out)


def joined(values):
    """One after the other along the first axis."""
    return _wrapped(values[0], np.concatenate([raw(v) for v in values]))
