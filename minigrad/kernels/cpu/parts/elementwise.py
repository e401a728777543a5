"""Leaky ReLU, of a sum too, and its derivative, in one pass over memory in whatever order it lies.

May import: numpy, and this folder.
"""
import numpy as np

from minigrad.kernels.cpu.machine.compiling import kernel
from minigrad.kernels.cpu.machine.threads import launch, share, take
from minigrad.kernels.cpu.parts.layout import BLOCK, dense, empty_like, flat


@kernel
def activate(counter, g, x, slope, y):
    """y = g where x > 0, else slope*g (0 for slope 0, whatever g is). With g = x that is leaky ReLU."""
    share(counter)
    slope32, zero = np.float32(slope), np.float32(0)
    while True:
        block = take(counter)
        if block * BLOCK >= x.size:
            break
        # Slices, for Numba cannot prove that an index from a variable start is not negative, and then does not vectorise.
        start, stop = block * BLOCK, (block + 1) * BLOCK
        values, signs, out = g[start:stop], x[start:stop], y[start:stop]
        for i in range(values.size):
            low = slope32 * values[i]
            low = zero if slope32 == 0 else low
            out[i] = values[i] if signs[i] > 0 else low


@kernel
def rectify(counter, x, y):
    """y = max(x, 0); NaN stays NaN."""
    share(counter)
    while True:
        block = take(counter)
        if block * BLOCK >= x.size:
            break
        values, out = x[block * BLOCK:(block + 1) * BLOCK], y[block * BLOCK:(block + 1) * BLOCK]
        for i in range(values.size):
            out[i] = np.float32(0) if values[i] <= 0 else values[i]


@kernel
def activate_sum(counter, x, other, slope, y):
    """y = leaky_relu(x + other)."""
    share(counter)
    slope32, zero = np.float32(slope), np.float32(0)
    while True:
        block = take(counter)
        if block * BLOCK >= x.size:
            break
        start, stop = block * BLOCK, (block + 1) * BLOCK
        left, right, out = x[start:stop], other[start:stop], y[start:stop]
        for i in range(left.size):
            z = left[i] + right[i]
            low = slope32 * z if slope32 != 0 else zero
            out[i] = low if z <= 0 else z


def leaky_relu(x, slope):
    order = dense(x)
    y, memory = empty_like(x, order)
    source = flat(x, order)
    if slope == 0:
        launch(rectify, -(-x.size // BLOCK), source, memory)
    else:
        launch(activate, -(-x.size // BLOCK), source, source, float(slope), memory)
    return y


def add_leaky_relu(x, other, slope):
    order = dense(x)
    y, memory = empty_like(x, order)
    launch(activate_sum, -(-x.size // BLOCK), flat(x, order), flat(other, order), float(slope), memory)
    return y


def leaky_relu_dx(g, x, slope):
    order = dense(x)
    y, memory = empty_like(x, order)
    launch(activate, -(-x.size // BLOCK), flat(g, order), flat(x, order), float(slope), memory)
    return y
