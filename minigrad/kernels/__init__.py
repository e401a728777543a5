"""Kernels: arrays in, arrays out, no Tensor. This file is the one table that picks an implementation from the arrays handed in.

| arrays | implementation |
|---|---|
| NumPy, float32 | `cpu`: compiled by Numba, several threads |
| NumPy, any other type | `reference`: plain array code (float64 is for checking) |
| CuPy | `reference`, until there is a `cuda` |

`reference.py` is the text: each kernel's signature, shapes and equation stand there, and the others must equal it. Beside the
plain kernels there are fused ones for passes that memory bounds: `bias_leaky_relu(_dx)`, `norm_leaky_relu(_dx)`.
May import: numpy, and the implementations. No other file of the library asks which backend it is on.
"""
import contextlib
import functools
from collections import Counter

from minigrad.kernels import reference

_counters = []


@contextlib.contextmanager
def counting():
    """Count kernel calls by name: `with counting() as calls: ...; calls["conv2d_dw"]`. Counters nest."""
    counter = Counter()
    _counters.append(counter)
    try:
        yield counter
    finally:
        _counters.remove(counter)


def _kernel(plain):
    """The entry that counts the call and hands it on to the implementation for the first array."""
    name = plain.__name__

    @functools.wraps(plain)
    def launch(*args, **options):
        for counter in _counters:
            counter[name] += 1
        return plain(*args, **options)

    return launch


conv2d = _kernel(reference.conv2d)
conv2d_dx = _kernel(reference.conv2d_dx)
conv2d_dw = _kernel(reference.conv2d_dw)
matmul = _kernel(reference.matmul)
max_pool2d = _kernel(reference.max_pool2d)
max_pool2d_scatter = _kernel(reference.max_pool2d_scatter)
max_pool2d_gather = _kernel(reference.max_pool2d_gather)
avg_pool2d = _kernel(reference.avg_pool2d)
avg_pool2d_dx = _kernel(reference.avg_pool2d_dx)
normalise = _kernel(reference.normalise)
normalise_dx = _kernel(reference.normalise_dx)
leaky_relu = _kernel(reference.leaky_relu)
leaky_relu_dx = _kernel(reference.leaky_relu_dx)
bias_leaky_relu = _kernel(reference.bias_leaky_relu)
bias_leaky_relu_dx = _kernel(reference.bias_leaky_relu_dx)
norm_leaky_relu = _kernel(reference.norm_leaky_relu)
norm_leaky_relu_dx = _kernel(reference.norm_leaky_relu_dx)
sgd_step = _kernel(reference.sgd_step)
adam_step = _kernel(reference.adam_step)
rmsprop_step = _kernel(reference.rmsprop_step)
adagrad_step = _kernel(reference.adagrad_step)
