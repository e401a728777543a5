"""Small tools for arrays: of NumPy or CuPy, bare or in a Tensor, with one row for each sample.

    host(a)              a as a NumPy array
    raw(x)               the array in a Tensor, or the array itself
    alike(given, a)      a in the type, dtype and device of `given`
    flat(x), rows_of(v, like)    (N, ...) as (N, everything else), (N,) as (N, 1, ..., 1)
    whole(name, steps=steps)     checks counts: integers of at least 1
    real(name, "(0, 1]", p=p)    checks numbers: finite, and within an interval
    said(logits)                 the class that is answered, NO_ANSWER where the largest logit is not finite

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


# ---- answers ---------------------------------------------------------------------------------------------------------

NO_ANSWER = -1  # no class at all; it equals no label


def said(logits):
    """(..., ) int64: the first of the classes with the largest logit, from logits (..., classes), NumPy or CuPy.

    NO_ANSWER where the largest logit is not a finite number: with a NaN among them, with +inf (whose softmax is NaN), or with
    nothing but -inf. A logit of -inf beside a finite one is an answer like any other: a class that is ruled out.
    Every comparison of a prediction with a label goes through here, so what is not finite is never right.
    """
    return np.where(np.isfinite(logits.max(axis=-1)), logits.argmax(axis=-1), NO_ANSWER)


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


def real(name: str, domain: str, each: bool = False, **numbers):
    """The numbers as floats, where each is finite and lies in the domain, else ValueError: one alone as it is, several as a tuple.

    domain: an interval such as "(0, 1]" or "[0, inf)"; inf is no number, unless the interval is closed: "[0, inf]".  name: as in
    `whole`
    each: also arrays (N,), a number for each sample, which come back as float64
    """
    low, high = (float(v) for v in domain[1:-1].split(","))
    found = []
    for key, value in numbers.items():
        try:
            a = np.asarray(value)
        except ValueError:  # a list of lists of unlike lengths
            a = np.asarray(None)
        number = a.dtype.kind in "iuf" and a.ndim <= (1 if each else 0)
        a = a.astype(np.float64) if number else np.nan
        above, below = a > low if domain[0] == "(" else a >= low, a < high if domain[-1] == ")" else a <= high
        if not (number and np.all(above & below)):
            text = _words(domain, low, high) + (", one for all or (N,)" if each else "")
            raise ValueError(f"{name}: {key} must {text}, got {value!r}")
        found.append(a if a.ndim else float(a))
    return tuple(found) if len(found) > 1 else found[0]


def _words(domain, low, high) -> str:
    if high < math.inf:
        return f"lie in {domain}"
    if low == -math.inf:
        return "be a finite number"
    return f"be a number above {low:g}" if domain[0] == "(" else f"be at least {low:g}{' and finite' if domain[-1] == ')' else ''}"


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
