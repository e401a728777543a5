"""What the modules of `minigrad.functional` share: unbroadcasting, dtype rules, argument checks. No operation here.

The functional modules import only the engine, the kernels and NumPy, never `Tensor`: results get their class from the
arguments, and rules use the arguments' own operators. NumPy's functions dispatch on their arguments, so `np.exp(x)` also
serves CuPy arrays; arrays are created with `np.zeros_like(x, shape=...)` for the same reason.

Imports: numpy, minigrad.autograd, door.
"""

from __future__ import annotations

import functools
import inspect
import math
import operator

import numpy as np

from minigrad.autograd import Variable
from minigrad.functional.door import number


def unbroadcast(g, node, i: int):
    """The cotangent of argument i: g summed over the axes along which the argument was broadcast, in its dtype."""
    shape, dtype = node.specs[i]
    if g.array.shape != shape:
        g = g.sum_to(shape)
    if g.array.dtype != dtype:
        g = g.to(dtype)
    return g


def binary(ufunc, a, b):
    """ufunc(a, b) with PyTorch's promotion where it differs from NumPy's: integers and Python numbers never widen
    float32, and integer arguments of a real-valued function give float32."""
    try:
        out = ufunc(a, b)
    except ValueError:
        name = {"subtract": "sub", "multiply": "mul", "divide": "div", "_power": "pow"}.get(ufunc.__name__, ufunc.__name__)
        raise ValueError(f"{name}: shapes {np.shape(a)} and {np.shape(b)} do not broadcast; from the last axis backwards "
                         "lengths must be equal, or one of them 1 or absent") from None
    if type(out) is not np.ndarray:
        out = as_array(out)
    if out.dtype.char == "d" and not (is_double(a) or is_double(b)):
        out = ufunc(as_float32_operand(a), as_float32_operand(b))
        return out if type(out) is np.ndarray else as_array(out)
    return out


def unary(ufunc, x):
    """ufunc(x); an integer argument of a real-valued function gives float32."""
    out = ufunc(x)
    if type(out) is not np.ndarray:
        out = as_array(out)
    if out.dtype.char in "de" and x.dtype.kind in "iub":
        return out.astype(np.float32)
    return out


def as_array(out):
    """NumPy returns scalars where an array of no dimensions is meant; CuPy does not."""
    return np.asarray(out) if isinstance(out, np.generic) else out


def numpy_names(function):
    """The function with NumPy's names beside PyTorch's: axis for dim or dims, axis0 for dim0, keepdims for keepdim.

    A name given twice, in two languages or once in place, is a TypeError. Calls without keywords pay for one more call only."""
    own = {"keepdims" if name == "keepdim" else "axis" if name == "dims" else name.replace("dim", "axis"): (name, place)
           for place, name in enumerate(inspect.signature(function).parameters)
           if name in ("dim", "dims", "dim0", "dim1", "dim2", "keepdim")}

    @functools.wraps(function)
    def named(*args, **kw):
        if kw:
            for theirs, (ours, place) in own.items():
                if theirs in kw:
                    if ours in kw or place < len(args):
                        raise TypeError(f"{function.__name__}: {ours} and {theirs} are two names of one argument; give it once")
                    kw[ours] = kw.pop(theirs)
        return function(*args, **kw)

    return named


def is_double(a) -> bool:
    return getattr(a, "dtype", None) == np.float64


def as_float32_operand(a):
    """A number or an integer array as a float32 operand."""
    return a.astype(np.float32) if hasattr(a, "astype") and a.dtype.kind in "iub" else a


def require_tensor(name: str, **arguments) -> None:
    for key, value in arguments.items():
        if not isinstance(value, Variable):
            raise TypeError(f"{name}: {key} must be a Tensor, got {type(value).__name__}; wrap it in minigrad.tensor()")


def require_float(name: str, **arguments) -> None:
    require_tensor(name, **arguments)
    for key, value in arguments.items():
        if value.array.dtype.kind != "f":
            raise TypeError(f"{name}: {key} must hold floating-point numbers, got {value.array.dtype}; "
                            f"convert it with .to(minigrad.float32)")


def integer(name: str, value, minimum: int | None = None) -> int:
    """value as a Python int, for sizes, strides and axes; a float or a bool is a TypeError."""
    if type(value) is int and (minimum is None or value >= minimum):  # the common case: this runs several times for each layer
        return value
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if minimum is not None and value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}")
    return value


def pair(name: str, value, minimum: int = 0) -> tuple[int, int]:
    """An int, or two of them, as (vertical, horizontal)."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) == 1:
        values *= 2
    if len(values) != 2:
        raise ValueError(f"{name} must be one integer or two, got {value!r}")
    return integer(name, values[0], minimum), integer(name, values[1], minimum)


def real(name: str, value) -> float:
    if type(value) is float:
        return value
    value = number(name, value)
    if isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return float(value)


def positive(name: str, value) -> float:
    """value as a float that is finite and above 0: what is added to a variance before its root is taken."""
    value = real(name, value)
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value}")
    return value


def flag(name: str, value) -> bool:
    """value as a bool; a number there is most often an argument in the wrong place."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def axis_index(name: str, axis, ndim: int) -> int:
    """A negative axis counted from the end; out of range is numpy's AxisError (a ValueError and an IndexError)."""
    axis = integer(f"{name}: dim", axis)
    if not -max(ndim, 1) <= axis < max(ndim, 1):
        raise np.exceptions.AxisError(f"{name}: dim {axis} is out of range for {ndim} dimensions")
    return axis % max(ndim, 1)


def axis_tuple(name: str, axis, ndim: int) -> tuple[int, ...]:
    """None, an int or a sequence as a sorted tuple of distinct axes; None and () mean all, as in PyTorch."""
    if axis is None or (isinstance(axis, (tuple, list)) and len(axis) == 0):
        return tuple(range(ndim))
    axes = tuple(axis_index(name, a, ndim) for a in (axis if isinstance(axis, (tuple, list)) else (axis,)))
    if len(set(axes)) != len(axes):
        raise ValueError(f"{name}: dim {axis} names an axis twice")
    return tuple(sorted(a for a in axes if a < ndim))


def size_tuple(name, sizes):
    """reshape(2, 3) or reshape((2, 3)) as a tuple of ints."""
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = sizes[0]
    return tuple(integer(f"{name}: size", n) for n in sizes)
