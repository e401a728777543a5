"""The door: what becomes a tensor, and what counts as a number. One rule for data, operands, labels, indices, masks and weights.

| what comes in | what becomes of it |
|---|---|
| bool, integers of any width, float32, float64 | itself |
| float16 | float32, which holds every value of it; nothing computes in 16 bits |
| another byte order | the machine's, same values |
| np.matrix, np.memmap and other subclasses of ndarray | a plain array of the same elements |
| a NumPy scalar, an array without axes, beside a tensor or as an option | the Python number that it holds: it widens nothing |
| masked arrays | refused: what would become of the masked elements? |
| complex, long double, text, dates, objects, records | refused |

Where memory must be shared (`from_numpy`), what would need a copy is refused. Sums of integers and bools are int64.

Imports: numpy, minigrad.autograd.
"""

from __future__ import annotations

import numpy as np

from minigrad.autograd import Variable

KINDS = "fiub"
PLAIN = frozenset(np.dtype(t) for t in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"))
FLOAT32 = np.dtype(np.float32)


def plain(array, name: str = "tensor", share: bool = False):
    """An array (NumPy's, CuPy's, or of a subclass) as the rule above has it; TypeError for what it refuses. name: the caller."""
    if type(array) is np.ndarray and array.dtype in PLAIN and array.dtype.isnative:
        return array
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name}: a masked array; say what its masked elements are with .filled(value)")
    dtype = checked_dtype(array.dtype, name, half=True)
    if share and (dtype != array.dtype or not array.dtype.isnative):
        raise TypeError(f"{name}: cannot share the memory of {array.dtype.str} ({array.dtype}); minigrad.tensor converts a copy")
    if not hasattr(array, "__cuda_array_interface__"):
        array = np.asarray(array)
    return array if array.dtype == dtype and array.dtype.isnative else array.astype(dtype)


def is_array(x) -> bool:
    """Whether x is an array of NumPy's or CuPy's; other libraries' tensors, and lists, go through np.asarray first."""
    return isinstance(getattr(x, "dtype", None), np.dtype) and hasattr(x, "astype")


def checked_dtype(dtype, name: str, half: bool = False) -> np.dtype:
    """A dtype that a tensor may have, from a dtype, a type or a name. float16 is refused, or with `half` becomes float32."""
    try:
        dtype = dtype if isinstance(dtype, (type, np.dtype, str)) else dtype.dtype  # minigrad.FloatTensor stands for its dtype
        dtype = np.dtype(dtype).newbyteorder("=")
    except (TypeError, AttributeError):
        raise TypeError(f"{name}: {dtype!r} is no dtype; use float32, float64, int64 or bool") from None
    if dtype in PLAIN:
        return dtype
    if dtype == np.float16 and half:
        return FLOAT32
    if dtype.kind == "f" and dtype.itemsize == 8:
        return np.dtype(np.float64)
    raise TypeError(f"{name}{'' if name.endswith('dtype') else ':'} {dtype} is not supported; use float32, float64, int64 or bool"
                    if not half else f"{name}: cannot hold {dtype}; use float32, float64, int64 or bool")


def number(name: str, value):
    """value as a Python bool, int or float: of NumPy scalars, and of arrays and Tensors without axes, what they hold."""
    if type(value) in (float, int, bool):
        return value
    if isinstance(value, Variable) and not value.tracked:
        value = value.array
    if getattr(value, "shape", None) == () and hasattr(value, "dtype"):
        value = float(value) if value.dtype.kind == "f" else value.item()
    if isinstance(value, (int, float)):
        return float(value) if isinstance(value, float) else value
    raise TypeError(f"{name} must be a number, got {type(value).__name__} ({value!r})")


def operand(value):
    """What stands beside a Tensor in an operation: a number, or an array."""
    if isinstance(value, (int, float)) and not isinstance(value, np.generic):
        return value
    if is_array(value):
        if value.shape == () and not isinstance(value, np.ma.MaskedArray) and value.dtype.kind in KINDS:
            return float(value) if value.dtype.kind == "f" else value.item()
        if not isinstance(value, np.generic):
            return plain(value, "a Tensor works with arrays of numbers")
    raise TypeError(f"a Tensor works with Tensors, arrays and numbers, not with {type(value).__name__} ({value!r})")


def array_of(x, name: str = "argument", kind: str | None = None):
    """The array of a Tensor or array; for labels and indices, which carry no gradient. kind 'i' demands integers, gives int64."""
    array = x.array if isinstance(x, Variable) else x
    array = plain(array if is_array(array) else np.asarray(array), name)
    if kind != "i":
        return array
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, got {array.dtype}")
    return array if array.dtype == np.int64 else array.astype(np.int64)
