"""Into a tensor, into another dtype, onto another device. What may come in is said in `functional.door`.

`Conversion` is a mixin of `Tensor`; `array_from` and `constructed` are what `tensor(data)` and `Tensor(...)` hold.

Imports: numpy, minigrad.functional.door, minigrad.functional.shape, autograd, devices.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad.autograd import Variable
from minigrad.devices import cupy_or_error, device_name
from minigrad.functional import shape as _s
from minigrad.functional.door import checked_dtype, is_array, plain

# dtype: the name before "Tensor"
KINDS = {"float32": "Float", "float64": "Double", "int64": "Long", "int32": "Int", "int16": "Short", "int8": "Char",
         "uint8": "Byte", "bool": "Bool"}


class Conversion:
    """to, type, float, long, ..., and new tensors like this one."""

    __slots__ = ()

    def to(self, *args, dtype=None, device=None, non_blocking=False, copy=False) -> Variable:
        """Another dtype or device ('cpu', 'cuda'); self where nothing changes, unless `copy`. The gradient travels back.

        `non_blocking` is taken and does nothing.
        """
        for a in args:
            if isinstance(a, Variable):
                dtype, device = a.dtype, a.device
            elif isinstance(a, bool):
                continue  # non_blocking
            elif isinstance(a, int) or isinstance(a, str) and a.partition(":")[0] in ("cpu", "cuda"):
                device = a
            else:
                dtype = a
        out = self
        if dtype is not None and dtype != self.dtype:
            dtype = checked_dtype(dtype, "to")
            if dtype != self.dtype:
                out = _s.astype(out, dtype=dtype) if dtype.kind == "f" and self.dtype.kind == "f" else \
                    self.wrap(_converted(self.array, dtype))
        if device is not None and device_name(device) != out.device:
            if device_name(device) == "cuda":
                cupy_or_error()
            out = _s.to_device(out, device=device_name(device))
        return out.clone() if copy and out is self else out

    def type(self, dtype=None, non_blocking=False):
        """Without an argument the name, such as 'minigrad.FloatTensor'; else self in a dtype, given as one, as such a name, or as
        minigrad.FloatTensor itself (whose device counts too)."""
        if dtype is None:
            name = KINDS.get(self.dtype.name, self.dtype.name)
            return f"minigrad.{'cuda.' if self.is_cuda else ''}{name}Tensor"
        if isinstance(dtype, str) and dtype.endswith("Tensor"):
            name = dtype.rpartition(".")[2].removesuffix("Tensor")
            if name not in KINDS.values():
                raise TypeError(f"type: {dtype!r} is no type of a tensor; use 'FloatTensor', 'LongTensor', ... or a dtype")
            kind = next(k for k, v in KINDS.items() if v == name)
            return self.to(np.dtype(kind), device="cuda" if ".cuda." in dtype else None)
        device = getattr(dtype, "device", None)  # of minigrad.cuda.FloatTensor, say
        return self.to(dtype, device=device if isinstance(device, str) else None)

    def type_as(self, other):
        """In the dtype and on the device of `other`."""
        return self.to(other)

    def float(self):
        return self.to(np.float32)

    def double(self):
        return self.to(np.float64)

    def long(self):
        return self.to(np.int64)

    def int(self):
        return self.to(np.int32)

    def short(self):
        return self.to(np.int16)

    def char(self):
        return self.to(np.int8)

    def byte(self):
        return self.to(np.uint8)

    def bool(self):
        return self.to(np.bool_)

    def cpu(self):
        return self.to("cpu")

    def cuda(self, device=None, non_blocking=False):
        return self.to("cuda")

    def get_device(self) -> int:
        """The number of the GPU, -1 on the CPU."""
        return -1 if not self.is_cuda else int(self.array.device.id)

    def new(self, *data):
        """A tensor of self's dtype and device: of sizes (zeros), or holding the data."""
        return self.wrap(constructed(data, self.dtype, self.device))

    def new_tensor(self, data, dtype=None, device=None, requires_grad=False):
        """`tensor(data)` in self's dtype and on self's device."""
        made = array_from(data, self.dtype if dtype is None else dtype, self.device if device is None else device)
        return self.wrap(made).requires_grad_(requires_grad)

    def new_full(self, size, fill_value, dtype=None, device=None, requires_grad=False):
        """`fill_value` in another size."""
        made = np.full(size, fill_value, self.dtype if dtype is None else checked_dtype(dtype, "new_full"))
        made = array_from(made, None, self.device if device is None else device)
        return self.wrap(made).requires_grad_(requires_grad)

    def new_zeros(self, *size, dtype=None, device=None, requires_grad=False):
        """Zeros in another size."""
        return self.new_full(_s.sizes("new_zeros", size), 0, dtype, device, requires_grad)

    def new_ones(self, *size, dtype=None, device=None, requires_grad=False):
        """Ones in another size."""
        return self.new_full(_s.sizes("new_ones", size), 1, dtype, device, requires_grad)

    new_empty = new_zeros


# ---- data in ---------------------------------------------------------------------------------------------------------


class Size(tuple):
    """The sizes of a tensor, as `x.size()` gives them. Tensor(x.size()) is a tensor of that size, Tensor((2, 3)) holds 2 and 3."""

    __slots__ = ()

    def numel(self) -> int:
        """The product of the sizes."""
        return math.prod(self)


def constructed(data: tuple, dtype, device):
    """The array of Tensor(*data): of sizes (zeros; none are one size 0), or of one piece of data, converted."""
    one = data[0] if len(data) == 1 else 0
    if isinstance(one, Size) or not data:
        data = tuple(one) if data else (0,)
    elif isinstance(one, bool) or not isinstance(one, (int, np.integer)):
        return array_from(one, np.float32 if dtype is None else dtype, device)
    dtype = np.float32 if dtype is None else checked_dtype(dtype, "Tensor: dtype")
    return array_from(np.zeros(_s.sizes("Tensor", data), dtype), None, device)


def array_from(data, dtype=None, device=None):
    """A new array of a Tensor, from numbers, nested lists, an array or a Tensor."""
    if isinstance(data, Variable):
        data = data.array
    if not is_array(data):  # Python numbers and nested lists: floats become float32, integers int64
        data = _from_python(data, np.float32 if dtype is None else None)
    array = plain(np.asarray(data) if isinstance(data, np.generic) else data, "tensor")
    dtype = array.dtype if dtype is None else checked_dtype(dtype, "tensor: dtype")
    out = _converted(array, dtype)  # a copy
    out = np.asarray(out) if isinstance(out, np.generic) else out
    if device is not None and device_name(device) == "cuda" and isinstance(out, np.ndarray):
        out = cupy_or_error().asarray(out)
    elif device is not None and device_name(device) == "cpu" and not isinstance(out, np.ndarray):
        out = out.get()
    return out


def _converted(array, dtype):
    """array.astype(dtype), without NumPy's warnings: what does not fit is infinite, and NaN as an integer is whatever it is."""
    with np.errstate(all="ignore"):
        return array.astype(dtype)


def _from_python(data, floats) -> np.ndarray:
    """Numbers and nested lists as an array; floating-point numbers in `floats` (None: as they are, float64)."""
    if isinstance(data, (list, tuple)) and any(isinstance(x, Variable) for x in data):
        data = [x.array.tolist() if isinstance(x, Variable) else x for x in data]
    try:
        array = np.asarray(data)
    except ValueError:
        raise ValueError("tensor: the nested list is ragged; every row needs the same length") from None
    if array.dtype == np.float64 and floats is not None and not hasattr(data, "__array__"):
        return array.astype(floats)
    if array.dtype.kind in "OUSc":
        raise TypeError(f"tensor: cannot hold {type(data).__name__} {str(data)[:60]!r}; give numbers or nested lists of them")
    return array
