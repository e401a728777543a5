"""Functions that make Tensors: from data, filled, counted. Names and arguments are PyTorch's.

Imports: numpy, minigrad.functional.common, tensor.
"""

from __future__ import annotations

import builtins
import math

import numpy as np

from minigrad.functional.common import size_tuple
from minigrad.tensor import KINDS, Tensor, bool, cupy_or_error, device_name, float32, int64


def tensor(data, dtype=None, device=None, requires_grad=False) -> Tensor:
    """A new Tensor holding a copy of `data`: a number, nested lists, an array or a Tensor.

    dtype: of the data; Python floats become float32. device: 'cpu' or 'cuda'. Raises TypeError for what is not numeric,
    ValueError for ragged lists.
    """
    return Tensor(data, dtype, device, requires_grad)


def from_numpy(array) -> Tensor:
    """A Tensor on the array's own memory."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: expected a NumPy array, got {type(array).__name__}")
    if array.dtype.kind not in KINDS:
        raise TypeError(f"from_numpy: cannot hold {array.dtype}")
    return Tensor.wrap(array)


def _shape(name, size) -> tuple[int, ...]:
    shape = size_tuple(name, size)
    if any(n < 0 for n in shape):
        raise ValueError(f"{name}: sizes must be >= 0, got {shape}")
    return shape


def _made(array, device, requires_grad) -> Tensor:
    if device is not None and device_name(device) == "cuda":
        array = cupy_or_error().asarray(array)
    return Tensor.wrap(array).requires_grad_(requires_grad)


def zeros(*size, dtype=None, device=None, requires_grad=False) -> Tensor:
    """zeros(2, 3) or zeros((2, 3)): all 0, float32 by default."""
    return _made(np.zeros(_shape("zeros", size), dtype or float32), device, requires_grad)


def ones(*size, dtype=None, device=None, requires_grad=False) -> Tensor:
    """ones(2, 3) or ones((2, 3)): all 1, float32 by default."""
    return _made(np.ones(_shape("ones", size), dtype or float32), device, requires_grad)


def full(size, fill_value, dtype=None, device=None, requires_grad=False) -> Tensor:
    """Every element is fill_value; a bool or an integer makes a bool or int64 tensor."""
    if dtype is None:
        dtype = bool if isinstance(fill_value, builtins.bool) else int64 if isinstance(fill_value, int) else float32
    return _made(np.full(_shape("full", (size,)), fill_value, dtype), device, requires_grad)


def arange(start, end=None, step=1, dtype=None, device=None, requires_grad=False) -> Tensor:
    """start, start + step, ... below end; int64 for integers, else float32."""
    start, end = (0, start) if end is None else (start, end)
    if step == 0 or (end - start) * step < 0:
        raise ValueError(f"arange: from {start} to {end} by {step} goes nowhere; the step's sign must lead to the end")
    if dtype is None:
        dtype = float32 if any(isinstance(v, float) for v in (start, end, step)) else int64
    count = math.ceil((end - start) / step)
    return _made((start + step * np.arange(count)).astype(dtype), device, requires_grad)


def linspace(start, end, steps, dtype=None, device=None, requires_grad=False) -> Tensor:
    """`steps` equidistant values from start to end, both included."""
    if steps < 0:
        raise ValueError(f"linspace: steps must be >= 0, got {steps}")
    return _made(np.linspace(start, end, steps).astype(dtype or float32), device, requires_grad)


def eye(n, m=None, dtype=None, device=None, requires_grad=False) -> Tensor:
    """The n x m matrix with 1 on the diagonal (m = n by default)."""
    shape = _shape("eye", (n, n if m is None else m))
    return _made(np.eye(*shape, dtype=dtype or float32), device, requires_grad)


def zeros_like(x, dtype=None, requires_grad=False) -> Tensor:
    """Zeros in the shape, dtype and device of x."""
    return Tensor.wrap(np.zeros_like(x.array, dtype=dtype)).requires_grad_(requires_grad)


def ones_like(x, dtype=None, requires_grad=False) -> Tensor:
    """Ones in the shape, dtype and device of x."""
    return Tensor.wrap(np.ones_like(x.array, dtype=dtype)).requires_grad_(requires_grad)


def full_like(x, fill_value, dtype=None, requires_grad=False) -> Tensor:
    """fill_value in the shape, dtype and device of x."""
    return Tensor.wrap(np.full_like(x.array, fill_value, dtype=dtype)).requires_grad_(requires_grad)
