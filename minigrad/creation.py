"""Functions that make Tensors: from data, filled, counted. Names and arguments are PyTorch's.

Imports: numpy, minigrad.functional.common, minigrad.functional.door, devices, random, tensor.
"""

from __future__ import annotations

import builtins
import math

import numpy as np

from minigrad.devices import cupy_or_error, device_name
from minigrad.functional.common import integer, size_tuple
from minigrad.functional.door import checked_dtype, number, plain
from minigrad.random import as_stream
from minigrad.tensor import Tensor, bool, float32, int64, tensor


def is_tensor(x) -> builtins.bool:
    """Whether x is a Tensor."""
    return isinstance(x, Tensor)


def numel(input) -> int:
    """How many elements it has."""
    return input.numel()


def as_tensor(data, dtype=None, device=None) -> Tensor:
    """A Tensor of that dtype and device as it is; an array shared where it can be; else a new Tensor."""
    if isinstance(data, Tensor):
        return data.to(data.dtype if dtype is None else dtype, device=device)
    if type(data) is np.ndarray and plain(data) is data:
        return Tensor.wrap(data).to(data.dtype if dtype is None else dtype, device=device)
    return tensor(data, dtype, device)


def from_numpy(array) -> Tensor:
    """A Tensor on the array's own memory; TypeError for what would have to be converted (see `functional.door`)."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: expected a NumPy array, got {type(array).__name__}")
    return Tensor.wrap(plain(array, "from_numpy", share=True))


def _shape(name, size) -> tuple[int, ...]:
    shape = size_tuple(name, size)
    if any(n < 0 for n in shape):
        raise ValueError(f"{name}: sizes must be >= 0, got {shape}")
    return shape


def _dtype(name, dtype):
    return float32 if dtype is None else checked_dtype(dtype, name)


def _made(array, device, requires_grad) -> Tensor:
    if device is not None and device_name(device) == "cuda":
        array = cupy_or_error().asarray(array)
    return Tensor.wrap(array).requires_grad_(requires_grad)


def zeros(*size, dtype=None, device=None, requires_grad=False) -> Tensor:
    """zeros(2, 3) or zeros((2, 3)): all 0, float32 by default."""
    return _made(np.zeros(_shape("zeros", size), _dtype("zeros", dtype)), device, requires_grad)


def ones(*size, dtype=None, device=None, requires_grad=False) -> Tensor:
    """ones(2, 3) or ones((2, 3)): all 1, float32 by default."""
    return _made(np.ones(_shape("ones", size), _dtype("ones", dtype)), device, requires_grad)


def full(size, fill_value, dtype=None, device=None, requires_grad=False) -> Tensor:
    """Every element is fill_value; a bool or an integer makes a bool or int64 tensor."""
    fill_value = number("full: fill_value", fill_value)
    if dtype is None:
        dtype = bool if isinstance(fill_value, builtins.bool) else int64 if isinstance(fill_value, int) else float32
    return _made(np.full(_shape("full", (size,)), fill_value, checked_dtype(dtype, "full")), device, requires_grad)


def arange(start, end=None, step=1, dtype=None, device=None, requires_grad=False) -> Tensor:
    """start, start + step, ... below end; int64 for integers, else float32."""
    start, end = (0, start) if end is None else (start, end)
    start, end, step = (number(f"arange: {k}", v) for k, v in (("start", start), ("end", end), ("step", step)))
    if step == 0 or (end - start) * step < 0:
        raise ValueError(f"arange: from {start} to {end} by {step} goes nowhere; the step's sign must lead to the end")
    if dtype is None:
        dtype = float32 if any(isinstance(v, float) for v in (start, end, step)) else int64
    count = math.ceil((end - start) / step)
    return _made((start + step * np.arange(count)).astype(checked_dtype(dtype, "arange")), device, requires_grad)


def linspace(start, end, steps, dtype=None, device=None, requires_grad=False) -> Tensor:
    """`steps` equidistant values from start to end, both included."""
    if steps < 0:
        raise ValueError(f"linspace: steps must be >= 0, got {steps}")
    start, end = number("linspace: start", start), number("linspace: end", end)
    return _made(np.linspace(start, end, steps).astype(_dtype("linspace", dtype)), device, requires_grad)


def eye(n, m=None, dtype=None, device=None, requires_grad=False) -> Tensor:
    """The n x m matrix with 1 on the diagonal (m = n by default)."""
    shape = _shape("eye", (n, n if m is None else m))
    return _made(np.eye(*shape, dtype=_dtype("eye", dtype)), device, requires_grad)


def _like(name, x, fill, dtype, device, requires_grad) -> Tensor:
    dtype = x.dtype if dtype is None else checked_dtype(dtype, name)
    made = Tensor.wrap(np.full_like(x.array, fill, dtype=dtype))
    return (made if device is None else made.to(device)).requires_grad_(requires_grad)


def zeros_like(x, dtype=None, device=None, requires_grad=False) -> Tensor:
    """Zeros in the shape, dtype and device of x."""
    return _like("zeros_like", x, 0, dtype, device, requires_grad)


def ones_like(x, dtype=None, device=None, requires_grad=False) -> Tensor:
    """Ones in the shape, dtype and device of x."""
    return _like("ones_like", x, 1, dtype, device, requires_grad)


def full_like(x, fill_value, dtype=None, device=None, requires_grad=False) -> Tensor:
    """fill_value in the shape, dtype and device of x."""
    return _like("full_like", x, number("full_like: fill_value", fill_value), dtype, device, requires_grad)


# what PyTorch leaves unset is 0 here
empty, empty_like = zeros, zeros_like


# ---- random ----------------------------------------------------------------------------------------------------------
# rng: a minigrad.random.Stream or a NumPy Generator; None is the default stream, which manual_seed seeds


def _floating(name, dtype):
    dtype = _dtype(name, dtype)
    if dtype.kind != "f":
        raise TypeError(f"{name}: dtype must be float32 or float64, got {dtype}")
    return dtype


def randn(*size, dtype=None, device=None, requires_grad=False, rng=None) -> Tensor:
    """Normal numbers of mean 0 and variance 1."""
    return _made(as_stream(rng).normal(_shape("randn", size), _floating("randn", dtype)), device, requires_grad)


def rand(*size, dtype=None, device=None, requires_grad=False, rng=None) -> Tensor:
    """Uniform numbers in [0, 1)."""
    return _made(as_stream(rng).uniform(size=_shape("rand", size), dtype=_floating("rand", dtype)), device, requires_grad)


def randint(low, high=None, size=None, dtype=None, device=None, requires_grad=False, *, rng=None) -> Tensor:
    """Integers in [low, high): randint(low, high, size), or randint(high, size) from 0; int64 unless dtype says else."""
    if size is None:
        low, high, size = 0, low, high
    low, high = integer("randint: low", low), integer("randint: high", high)
    if low >= high:
        raise ValueError(f"randint: needs low < high, got {low} and {high}")
    drawn = as_stream(rng).integers(low, high, _shape("randint", (size,)))
    return _made(drawn.astype(int64 if dtype is None else checked_dtype(dtype, "randint")), device, requires_grad)


def randn_like(x, dtype=None, device=None, requires_grad=False, *, rng=None) -> Tensor:
    """Normal numbers in the shape, dtype and device of x."""
    return randn(x.shape, dtype=dtype or x.dtype, device=device or x.device, requires_grad=requires_grad, rng=rng)


def rand_like(x, dtype=None, device=None, requires_grad=False, *, rng=None) -> Tensor:
    """Uniform numbers in the shape, dtype and device of x."""
    return rand(x.shape, dtype=dtype or x.dtype, device=device or x.device, requires_grad=requires_grad, rng=rng)


def randperm(n, dtype=None, device=None, requires_grad=False, *, rng=None) -> Tensor:
    """A random order of 0 .. n-1, int64."""
    order = as_stream(rng).permutation(integer("randperm: n", n, 0))
    return _made(order.astype(int64 if dtype is None else checked_dtype(dtype, "randperm")), device, requires_grad)


def normal(mean, std=1.0, size=None, dtype=None, device=None, requires_grad=False, *, rng=None) -> Tensor:
    """Normal numbers of that mean and standard deviation: Tensors that broadcast, or numbers and a size."""
    tensors = [t for t in (mean, std) if isinstance(t, Tensor)]
    if size is None and not tensors:
        raise TypeError("normal: numbers as mean and std need a size")
    if size is None:
        size, device = np.broadcast_shapes(*(t.shape for t in tensors)), device or tensors[0].device
    return (randn(size, dtype=dtype, device=device, rng=rng) * std + mean).detach().requires_grad_(requires_grad)
