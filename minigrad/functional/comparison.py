"""Questions with the answers True and False, element by element or for a whole tensor. Nothing here has a derivative.

Imports: numpy, minigrad.autograd, common, door.
"""

from __future__ import annotations

import numpy as np

from minigrad.autograd import Variable
from minigrad.functional.common import as_array, axis_tuple, numpy_names, require_tensor
from minigrad.functional.door import array_of, operand


def _ask(ufunc, a, b):
    """ufunc(a, b) as a Tensor of its answers; either may be an array or a number."""
    cls = (a if isinstance(a, Variable) else b).result_type
    arrays = [x.array if isinstance(x, Variable) else operand(x) for x in (a, b)]
    try:
        return cls.wrap(as_array(ufunc(*arrays)))
    except ValueError:
        raise ValueError(f"{ufunc.__name__}: shapes {np.shape(arrays[0])} and {np.shape(arrays[1])} do not broadcast") from None


def eq(input, other):
    """input == other"""
    return _ask(np.equal, input, other)


def ne(input, other):
    """input != other"""
    return _ask(np.not_equal, input, other)


def lt(input, other):
    """input < other"""
    return _ask(np.less, input, other)


def le(input, other):
    """input <= other"""
    return _ask(np.less_equal, input, other)


def gt(input, other):
    """input > other"""
    return _ask(np.greater, input, other)


def ge(input, other):
    """input >= other"""
    return _ask(np.greater_equal, input, other)


# ---- logic -----------------------------------------------------------------------------------------------------------


def logical_and(input, other):
    """Both are not 0."""
    return _ask(np.logical_and, input, other)


def logical_or(input, other):
    """One at least is not 0."""
    return _ask(np.logical_or, input, other)


def logical_xor(input, other):
    """Exactly one is not 0."""
    return _ask(np.logical_xor, input, other)


def logical_not(input):
    """It is 0."""
    return input.wrap(np.logical_not(input.array))


def bitwise_and(input, other):
    """input & other, of bools or integers."""
    return _ask(np.bitwise_and, input, other)


def bitwise_or(input, other):
    """input | other, of bools or integers."""
    return _ask(np.bitwise_or, input, other)


def bitwise_xor(input, other):
    """input ^ other, of bools or integers."""
    return _ask(np.bitwise_xor, input, other)


def bitwise_not(input):
    """~input, of bools or integers."""
    return input.wrap(as_array(~input.array))


# ---- kinds of numbers ------------------------------------------------------------------------------------------------


def isnan(input):
    """It is NaN."""
    return input.wrap(as_array(np.isnan(input.array)))


def isinf(input):
    """It is infinite, of either sign."""
    return input.wrap(as_array(np.isinf(input.array)))


def isfinite(input):
    """It is neither NaN nor infinite."""
    return input.wrap(as_array(np.isfinite(input.array)))


# ---- a whole tensor --------------------------------------------------------------------------------------------------


@numpy_names
def any(input, dim=None, keepdim=False):
    """Whether an element is not 0, over all or over `dim`."""
    require_tensor("any", input=input)
    return input.wrap(as_array(np.any(input.array, axis=axis_tuple("any", dim, input.ndim), keepdims=bool(keepdim))))


@numpy_names
def all(input, dim=None, keepdim=False):
    """Whether no element is 0, over all or over `dim`."""
    require_tensor("all", input=input)
    return input.wrap(as_array(np.all(input.array, axis=axis_tuple("all", dim, input.ndim), keepdims=bool(keepdim))))


@numpy_names
def count_nonzero(input, dim=None):
    """How many elements are not 0, over all or over `dim`; int64."""
    require_tensor("count_nonzero", input=input)
    return input.wrap(np.asarray(np.count_nonzero(input.array, axis=axis_tuple("count_nonzero", dim, input.ndim)), np.int64))


def equal(input, other) -> bool:
    """Whether both have the same shape and elements, as one bool."""
    a, b = array_of(input), array_of(other)
    return a.shape == b.shape and bool((a == b).all())


def isclose(input, other, rtol=1e-5, atol=1e-8, equal_nan=False):
    """|input - other| <= atol + rtol * |other|"""
    return _ask(lambda a, b: np.isclose(a, b, rtol, atol, equal_nan), input, other)


def allclose(input, other, rtol=1e-5, atol=1e-8, equal_nan=False) -> bool:
    """Whether `isclose` holds for every element, as one bool."""
    return bool(isclose(input, other, rtol, atol, equal_nan).array.all())


def is_floating_point(input) -> bool:
    """Whether the dtype is float32 or float64."""
    return input.array.dtype.kind == "f"


def is_nonzero(input) -> bool:
    """Whether the only element is not 0."""
    return bool(input)
