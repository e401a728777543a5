"""Kernels: arrays in, arrays out, no Tensor. This file is the one table that picks an implementation from the arrays.

| arrays | implementation |
|---|---|
| NumPy, every floating one float32 | `cpu`: compiled by Numba, on several threads; same bits for any number of threads |
| NumPy, any other type | `reference`: plain array code (float64 is for checking) |
| CuPy | `reference` |

`reference` is the text: each kernel's signature, shapes and equation stand there, and the others must equal it.
Some kernels are fused: they do several operations in one pass, because reading and writing memory takes longer there than
computing. A slope of 1 leaves the activation out.

    bias_leaky_relu(x, bias, slope) -> y                          bias_leaky_relu_dx(g, y, slope) -> dx, dbias
    norm_leaky_relu(x, weight, bias, axes, eps, slope[, other]) -> y, istd, mean, var
    norm_leaky_relu_dx(g, x, weight, bias, istd, mean, axes, slope[, y]) -> dx, dweight, dbias[, dother]
    add_leaky_relu(x, other, slope) -> y

No other file of the library asks which backend it is on.
May import: the implementations.
"""
import contextlib
import functools
from collections import Counter

import numpy as np

from minigrad.kernels import cpu, reference
from minigrad.kernels.cpu import get_conv_precision, get_num_threads, set_conv_precision, set_num_threads

_counters = []
_FLOAT32, _PLAIN = np.dtype(np.float32), frozenset({int, float, bool, type(None)})


@contextlib.contextmanager
def counting():
    """Count kernel calls by name: `with counting() as calls: ...; calls["conv2d_dw"]`. Counters nest."""
    counter = Counter()
    _counters.append(counter)
    try:
        yield counter
    finally:
        _counters[:] = [c for c in _counters if c is not counter]


def _float32(args):
    """Whether all arrays are NumPy's, and those of floats float32."""
    for a in args:                                              # the common cases first: this runs at every kernel call
        kind = type(a)
        if kind in _PLAIN or kind is np.ndarray and a.dtype is _FLOAT32:
            continue
        if kind is tuple or kind is list:
            if not _float32(a):
                return False
        elif isinstance(a, np.ndarray):
            if a.dtype != _FLOAT32 and a.dtype.kind != "i":
                return False
        elif hasattr(a, "__cuda_array_interface__"):
            return False
    return True


def _step(plain, fast):
    """`_kernel` for the step of an optimiser: it changes its arrays and cannot be begun again, so no underflow may stop it."""
    launch = _kernel(plain, fast)

    @functools.wraps(plain)
    def quiet(*args, **options):
        with np.errstate(all="ignore"):
            return launch(*args, **options)

    return quiet


def _kernel(plain, fast=None):
    """The table's entry for one kernel: count the call and hand it to the implementation that the arrays ask for."""
    name = plain.__name__

    @functools.wraps(plain)
    def launch(*args, **options):
        for counter in _counters:
            counter[name] += 1
        kernel = fast if fast is not None and _float32(args) else plain
        try:
            return kernel(*args, **options)
        except FloatingPointError:  # NumPy was told to raise where a number underflows; results are new arrays, so begin again
            with np.errstate(all="ignore"):
                return kernel(*args, **options)

    return launch


conv2d = _kernel(reference.conv2d, cpu.conv2d)
conv2d_dx = _kernel(reference.conv2d_dx, cpu.conv2d_dx)
conv2d_dw = _kernel(reference.conv2d_dw, cpu.conv2d_dw)
matmul = _kernel(reference.matmul, cpu.matmul)
add_rows = _kernel(reference.add_rows, cpu.add_rows)
max_pool2d = _kernel(reference.max_pool2d, cpu.max_pool2d)
max_pool2d_scatter = _kernel(reference.max_pool2d_scatter, cpu.max_pool2d_scatter)
max_pool2d_gather = _kernel(reference.max_pool2d_gather, cpu.max_pool2d_gather)
avg_pool2d = _kernel(reference.avg_pool2d, cpu.avg_pool2d)
avg_pool2d_dx = _kernel(reference.avg_pool2d_dx, cpu.avg_pool2d_dx)
normalise = _kernel(reference.normalise, cpu.normalise)
normalise_dx = _kernel(reference.normalise_dx, cpu.normalise_dx)
leaky_relu = _kernel(reference.leaky_relu, cpu.leaky_relu)
leaky_relu_dx = _kernel(reference.leaky_relu_dx, cpu.leaky_relu_dx)
add_leaky_relu = _kernel(reference.add_leaky_relu, cpu.add_leaky_relu)
bias_leaky_relu = _kernel(reference.bias_leaky_relu, cpu.bias_leaky_relu)
bias_leaky_relu_dx = _kernel(reference.bias_leaky_relu_dx, cpu.bias_leaky_relu_dx)
norm_leaky_relu = _kernel(reference.norm_leaky_relu, cpu.norm_leaky_relu)
norm_leaky_relu_dx = _kernel(reference.norm_leaky_relu_dx, cpu.norm_leaky_relu_dx)
lstm_scan = _kernel(reference.lstm_scan, cpu.lstm_scan)
lstm_scan_dx = _kernel(reference.lstm_scan_dx, cpu.lstm_scan_dx)
sgd_step = _step(reference.sgd_step, cpu.sgd_step)
adam_step = _step(reference.adam_step, cpu.adam_step)
rmsprop_step = _step(reference.rmsprop_step, cpu.rmsprop_step)
adagrad_step = _step(reference.adagrad_step, cpu.adagrad_step)

__all__ = [name for name, value in list(globals().items()) if hasattr(value, "__wrapped__")] + [
    "counting", "get_conv_precision", "get_num_threads", "set_conv_precision", "set_num_threads"]
