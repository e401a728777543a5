"""(Leaky) ReLU, alone and together with the addition before it. A slope of 0 is ReLU, a slope of 1 no activation.

Imports: numpy.
"""

import numpy as np


def leaky_relu(x, slope):
    """x where x > 0, else slope * x. slope 0 is relu (also of -inf). NaN stays NaN."""
    return np.maximum(x, 0) if slope == 0 else np.where(x > 0, x, x * x.dtype.type(slope))


def leaky_relu_dx(g, x, slope):
    """g where x > 0, else slope * g; exactly 0 there for slope 0."""
    return np.where(x > 0, g, g * g.dtype.type(slope) if slope else g.dtype.type(0))


def bias_leaky_relu(x, bias, slope):
    """leaky_relu(x + bias[c]) in one pass: x (N,C,...), bias (C,). slope 1 only adds the bias."""
    y = x + along_channels(bias, x)
    return y if slope == 1 else leaky_relu(y, slope)


def bias_leaky_relu_dx(g, y, slope):
    """The adjoint of `bias_leaky_relu` from its own output y (for slope >= 0, y > 0 exactly where x + bias > 0): (dx, dbias)."""
    dx = g if slope == 1 else leaky_relu_dx(g, y, slope)
    return dx, dx.sum((0, *range(2, g.ndim)))


def add_leaky_relu(x, other, slope):
    """leaky_relu(x + other), of equal shapes, in one pass."""
    return leaky_relu(x + other, slope)


def along_channels(values, x):
    return values.reshape(1, -1, *[1] * (x.ndim - 2))
