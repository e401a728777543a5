"""Leaky ReLU and its derivative, in one pass over memory in whatever order it lies. May import: numpy, and this folder."""
import numpy as np

from minigrad.kernels.cpu.compiling import kernel
from minigrad.kernels.cpu.layout import BLOCK, dense, empty_like, flat
from minigrad.kernels.cpu.threads import launch, take


@kernel
def activate(counter, g, x, slope, y):
    """y = g where x > 0, else slope*g (0 for slope 0, whatever g is). With g = x that is leaky ReLU."""
    slope32 = np.float32(slope)
    while True:
        block = take(counter)
        if block * BLOCK >= x.size:
            break
        for i in range(block * BLOCK, min((block + 1) * BLOCK, x.size)):
            low = slope32 * g[i] if slope != 0 else np.float32(0)
            y[i] = g[i] if x[i] > 0 else low


@kernel
def rectify(counter, x, y):
    """y = max(x, 0); NaN stays NaN."""
    while True:
        block = take(counter)
        if block * BLOCK >= x.size:
            break
        for i in range(block * BLOCK, min((block + 1) * BLOCK, x.size)):
            y[i] = np.float32(0) if x[i] <= 0 else x[i]


def leaky_relu(x, slope):
    order = dense(x)
    y, memory = empty_like(x, order)
    source = flat(x, order)
    if slope == 0:
        launch(rectify, -(-x.size // BLOCK), source, memory)
    else:
        launch(activate, -(-x.size // BLOCK), source, source, float(slope), memory)
    return y


def leaky_relu_dx(g, x, slope):
    order = dense(x)
    y, memory = empty_like(x, order)
    launch(activate, -(-x.size // BLOCK), flat(g, order), flat(x, order), float(slope), memory)
    return y
