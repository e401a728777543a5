"""Activations and dropout. Leaky ReLUs are primitives, and their derivative is again one of the family. Smooth activations are
written in terms of other operations, or as primitives where that saves memory.

Published subgradients: relu'(0) = 0, leaky_relu'(0) = slope, elu'(0) = alpha, softplus and sigmoid have none to state.

Imports: numpy, minigrad.autograd, minigrad.kernels, minigrad.random, common, elementwise, reduction.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad import kernels
from minigrad.autograd import primitive
from minigrad.functional.common import as_array, axis_index, numpy_names, real, require_float
from minigrad.functional.elementwise import clamp, erf, exp, sigmoid, tanh, where
from minigrad.functional.reduction import sum as sum_over
from minigrad.random import as_stream

# ---- leaky ReLU, a family closed under differentiation ---------------------------------------------------------------


# `inplace` is taken, as PyTorch's, and nothing is changed in place: the result is a new tensor either way


def relu(input, inplace=False):
    """max(x, 0); relu'(0) = 0. NaN stays NaN."""
    require_float("relu", input=input)
    return _leaky(input, slope=0.0)


def leaky_relu(input, negative_slope=0.01, inplace=False):
    """x where x > 0, else negative_slope * x; the derivative at 0 is negative_slope."""
    require_float("leaky_relu", input=input)
    return _leaky(input, slope=real("leaky_relu: negative_slope", negative_slope))


@primitive(saves=((0,),))
def _leaky(x, slope):
    """x where x > 0, else slope * x."""
    return as_array(kernels.leaky_relu(x, slope))


@_leaky.vjp
def _(node, needs, g, slope):
    return (leaky_relu_dx(g, g.wrap(node.inputs[0].array), slope=slope),)


@primitive(saves=((1,),))
def leaky_relu_dx(g, x, slope):
    """g where x > 0, else slope * g. It is linear in g, and it reads only the sign of x, which is constant almost everywhere."""
    return as_array(kernels.leaky_relu_dx(g, x, slope))


@leaky_relu_dx.vjp
def _(node, needs, u, slope):
    return leaky_relu_dx(u, node.inputs[1], slope=slope), None


def elu(input, alpha=1.0, inplace=False):
    """x where x > 0, else alpha * (e^x - 1)."""
    require_float("elu", input=input)
    return _elu(input, alpha=real("elu: alpha", alpha))


@primitive(saves=((0,),))
def _elu(x, alpha):
    """x where x > 0, else alpha * (e^x - 1)."""
    return np.where((x < 0) & (alpha != 0), alpha * np.expm1(np.minimum(x, 0)), x if alpha else np.maximum(x, 0))


@_elu.vjp
def _(node, needs, g, alpha):
    x = node.inputs[0]
    positive = x.array > 0  # e^x is taken where x <= 0 only: nothing overflows on the other side
    return (g * where(positive, 1.0, alpha * exp(where(positive, 0.0, x))),)


# ---- smooth ones -----------------------------------------------------------------------------------------------------


def gelu(input, approximate="none"):
    """x Phi(x), Phi the normal distribution function (Hendrycks & Gimpel 2016); approximate='tanh': the tanh form."""
    require_float("gelu", input=input)
    far = input.array > 40.0  # there Phi is 1, and below -40 it is 0, exactly; between them no power overflows
    x = clamp(input, -40.0, 40.0)
    if approximate == "none":
        y = x * (erf(x * (1 / math.sqrt(2))) + 1) * 0.5
    elif approximate == "tanh":
        inner = (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)
        y = x * (tanh(inner) + 1) * 0.5
    else:
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return where(far, input, y)


def softplus(input, beta=1.0, threshold=20.0):
    """log(1 + e^(beta x)) / beta, without overflow; x itself where beta x > threshold, as in PyTorch."""
    require_float("softplus", input=input)
    beta, threshold = real("softplus: beta", beta), real("softplus: threshold", threshold)
    if beta == 0:
        raise ValueError("softplus: beta must not be 0")
    return _softplus(input, beta=beta, threshold=threshold)


@primitive(saves=((0,),))
def _softplus(x, beta, threshold):
    """log(1 + e^(beta * x)) / beta, and x where beta * x > threshold."""
    z = x * beta
    return np.where(z > threshold, x, np.logaddexp(z, np.zeros_like(z)) / beta)


@_softplus.vjp
def _(node, needs, g, beta, threshold):
    z = node.inputs[0] * beta
    return (g * where(z.array > threshold, 1.0, sigmoid(z)),)


def logsigmoid(input):
    """log(1 / (1 + e^-x)) = -softplus(-x), without overflow."""
    require_float("logsigmoid", input=input)
    return -_softplus(-input, beta=1.0, threshold=math.inf)


@numpy_names
def softmax(input, dim=-1, _stacklevel=3, dtype=None):
    """e^x / sum(e^x) along `dim`; input is converted to `dtype` first."""
    return exp(log_softmax(input, dim, _stacklevel, dtype))


@numpy_names
def log_softmax(input, dim=-1, _stacklevel=3, dtype=None):
    """x - log(sum(e^x)) along `dim`, shifted by the maximum so that nothing overflows; input is converted to `dtype` first."""
    input = input if dtype is None else input.to(dtype)
    require_float("log_softmax", input=input)
    axis = axis_index("log_softmax", -1 if dim is None else dim, input.ndim)
    if input.array.size == 0:
        return input * 1.0
    return _log_softmax(input, axis=axis) if input.ndim else input * 0.0


@primitive(saves_out=(0,))
def _log_softmax(x, axis):
    """x - log(sum(e^x)), the sum along `axis`."""
    top = x.max(axis=axis, keepdims=True)
    shifted = x - np.where(np.isfinite(top), top, np.zeros_like(top))
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


@_log_softmax.vjp
def _(node, needs, g, axis):
    return (g - exp(node.output()) * sum_over(g, axis, keepdim=True),)


# ---- dropout ---------------------------------------------------------------------------------------------------------


def dropout(input, p=0.5, training=True, inplace=False, *, rng=None):
    """In training each element is 0 with probability p, else x / (1 - p) (Srivastava et al. 2014); otherwise x itself.

    rng: a minigrad.random.Stream or a NumPy Generator; None is the default stream. The mask is a
    constant of the derivative and does not depend on the memory layout of x.
    """
    return _drop("dropout", input, p, training, rng, lambda shape: shape)


def dropout2d(input, p=0.5, training=True, inplace=False, *, rng=None):
    """dropout of whole channels: one draw for each sample and channel of input (N, C, ...) (Tompson et al. 2015)."""
    if getattr(input, "ndim", 2) < 2:
        raise ValueError(f"dropout2d: input must be (N, C, ...), got {input.shape}")
    return _drop("dropout2d", input, p, training, rng, lambda shape: shape[:2] + (1,) * (len(shape) - 2))


def _drop(name, x, p, training, rng, mask_shape):
    require_float(name, input=x)
    p = real(f"{name}: p", p)
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p must lie in [0, 1], got {p}")
    if not training or p == 0:
        return x
    if p == 1:
        return x * np.zeros_like(x.array, shape=(1,) * x.ndim)
    shape = mask_shape(x.shape)
    images = len(shape) == 4  # drawn in the order of channels-last memory, whatever the layout of x
    keep = as_stream(rng).bernoulli(1 - p, (shape[0], *shape[2:], shape[1]) if images else shape)
    scale = np.multiply(keep, 1 / (1 - p), dtype=x.dtype)
    return x * np.asarray(scale.transpose(0, 3, 1, 2) if images else scale, like=x.array)
