"""Normalisation over any axes, alone and together with the scale, shift and (leaky) ReLU that follow it.

Imports: numpy, activation.
"""

import math

import numpy as np

from minigrad.kernels.reference.activation import along_channels, leaky_relu, leaky_relu_dx


def normalise(x, axes, eps):
    """xhat = (x - mean) * istd, istd = 1/sqrt(var + eps), over `axes`; any rank. Returns (xhat, istd, mean, var); the last three
    keep the reduced axes with length 1; var is the biased variance, mean((x - mean)^2)."""
    mean = x.mean(axes, keepdims=True, dtype=x.dtype)
    centred = x - mean
    var = (centred * centred).mean(axes, keepdims=True, dtype=x.dtype)
    istd = 1 / np.sqrt(var + x.dtype.type(eps))
    return centred * istd, istd, mean, var


def normalise_dx(g, g_istd, xhat, istd, axes):
    """The adjoint of x -> (xhat, istd), with M values in each mean; either gradient may be None:

    dx = istd*(g - mean(g) - xhat*mean(g*xhat)) - istd^2 * xhat * g_istd / M
    """
    dx = None
    if g is not None:
        dx = istd * (g - g.mean(axes, keepdims=True) - xhat * (g * xhat).mean(axes, keepdims=True))
    if g_istd is not None:
        count = math.prod(xhat.shape[a] for a in axes)
        part = xhat * (istd * istd * g_istd / xhat.dtype.type(count))
        dx = -part if dx is None else dx - part
    return np.zeros_like(xhat) if dx is None else dx


def norm_leaky_relu(x, weight, bias, axes, eps, slope, other=None):
    """leaky_relu(xhat * weight[c] + bias[c] + other): batch norm (axes all but 1) or instance norm (axes 2..) with what follows.

    x (N,C,...); weight, bias (C,) or None; other like x or None; slope 1 is no activation. Returns (y, istd, mean, var), where y is
    the result and the others are as in `normalise`. xhat is not kept.
    """
    xhat, istd, mean, var = normalise(x, axes, eps)
    y = xhat if weight is None else xhat * along_channels(weight, x)
    if bias is not None:
        y = y + along_channels(bias, x)
    if other is not None:
        y = y + other
    return (y if slope == 1 else leaky_relu(y, slope)), istd, mean, var


def norm_leaky_relu_dx(g, x, weight, bias, istd, mean, axes, slope, y=None):
    """The adjoint of `norm_leaky_relu` in (x, weight, bias), first order, from its inputs and statistics.

    Returns (dx, dweight (C,), dbias (C,)): with h = g where xhat*weight + bias > 0 else slope*g,
    dbias = sum h, dweight = sum h*xhat, dx = istd*weight*(h - mean(h) - xhat*mean(h*xhat)).
    If `other` was added, pass the output y. Its sign then says where the slope applies (slope >= 0), and h, which is the adjoint
    in `other`, is returned last.
    """
    if y is not None:
        h = leaky_relu_dx(g, y, slope)
        return *norm_leaky_relu_dx(h, x, weight, bias, istd, mean, axes, 1), h
    xhat = (x - mean) * istd
    if slope != 1:
        y = xhat if weight is None else xhat * along_channels(weight, x)
        g = leaky_relu_dx(g, y if bias is None else y + along_channels(bias, x), slope)
    others = (0, *range(2, x.ndim))
    dweight, dbias = (g * xhat).sum(others), g.sum(others)
    h = g if weight is None else g * along_channels(weight, x)
    return normalise_dx(h, None, xhat, istd, axes), dweight, dbias
