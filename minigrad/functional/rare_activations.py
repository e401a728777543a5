"""Activations that this field uses seldom, made of the operations of `elementwise`: every order of derivative is theirs.

Limits are taken: silu, mish and hardswish are 0 at minus infinity, softsign is +-1. Published subgradients are PyTorch's:
hardtanh and relu6 have 0 at their corners, prelu has its weight at 0, threshold and the shrinks 0 where the value is replaced.
NaN propagates. `inplace` is accepted and changes nothing.

Imports: numpy, minigrad.random, activation, common, elementwise, indexing, shape.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad.functional.activation import elu, softmax, softplus
from minigrad.functional.common import axis_index, numpy_names, real, require_float
from minigrad.functional.elementwise import abs as absolute
from minigrad.functional.elementwise import clamp, sigmoid, sign, tanh, where
from minigrad.functional.indexing import chunk
from minigrad.functional.shape import reshape
from minigrad.random import as_stream

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
FAR = 1e4  # beyond it sigmoid and tanh are 0 or 1 in every precision


def selu(input, inplace=False):
    """scale * elu(x, alpha) with the constants that keep mean 0 and variance 1 (Klambauer et al. 2017)."""
    return elu(input, SELU_ALPHA) * SELU_SCALE


def celu(input, alpha=1.0, inplace=False):
    """x where x > 0, else alpha * (e^(x / alpha) - 1) (Barron 2017)."""
    alpha = real("celu: alpha", alpha)
    if not (alpha and math.isfinite(alpha)):
        raise ValueError(f"celu: alpha must be a finite number other than 0, got {alpha}")
    require_float("celu", input=input)
    positive = input.array > 0
    return where(positive, input, elu(where(positive, 0.0, input) / alpha, 1.0) * alpha)


def silu(input, inplace=False):
    """x * sigmoid(x), also called swish (Elfwing et al. 2017)."""
    return _gated("silu", input, sigmoid)


def mish(input, inplace=False):
    """x * tanh(log(1 + e^x)) (Misra 2019)."""
    return _gated("mish", input, lambda x: tanh(softplus(x)))


def _gated(name, x, gate):
    require_float(name, input=x)
    near = clamp(x, -FAR, FAR)
    return where(x.array > FAR, x, near * gate(near))


def hardtanh(input, min_val=-1.0, max_val=1.0, inplace=False):
    """x between min_val and max_val, the nearer of them elsewhere."""
    require_float("hardtanh", input=input)
    low, high = real("hardtanh: min_val", min_val), real("hardtanh: max_val", max_val)
    if not low < high:
        raise ValueError(f"hardtanh: min_val must be below max_val, got {min_val} and {max_val}")
    x = input.array
    return where((x > low) & (x < high), input, np.clip(x, x.dtype.type(low), x.dtype.type(high)))


def relu6(input, inplace=False):
    """min(max(x, 0), 6)."""
    return hardtanh(input, 0.0, 6.0)


def hardsigmoid(input, inplace=False):
    """relu6(x + 3) / 6."""
    return relu6(input + 3.0) / 6.0


def hardswish(input, inplace=False):
    """x * relu6(x + 3) / 6 (Howard et al. 2019)."""
    require_float("hardswish", input=input)
    x = input.array
    inside = where((x <= -3) | (x >= 3), 0.0, input)
    return where(x >= 3, input, where(x <= -3, 0.0, inside * (inside + 3.0) / 6.0))


def softsign(input):
    """x / (1 + |x|)."""
    require_float("softsign", input=input)
    x = clamp(input, -1e15, 1e15)  # where it is +-1 in every precision
    return x / (1.0 + absolute(x))


def tanhshrink(input):
    """x - tanh(x)."""
    return input - tanh(input)


def softshrink(input, lambd=0.5):
    """x moved towards 0 by lambd, and 0 where |x| <= lambd."""
    require_float("softshrink", input=input)
    lambd = real("softshrink: lambd", lambd)
    if not lambd >= 0:
        raise ValueError(f"softshrink: lambd must be at least 0, got {lambd}")
    x = input.array
    return where((x >= -lambd) & (x <= lambd), 0.0, input - sign(input) * lambd)


def hardshrink(input, lambd=0.5):
    """x, and 0 where |x| <= lambd."""
    require_float("hardshrink", input=input)
    x, lambd = input.array, real("hardshrink: lambd", lambd)
    return where((x >= -lambd) & (x <= lambd), 0.0, input)


def threshold(input, threshold, value, inplace=False):
    """x where x > threshold, else value."""
    require_float("threshold", input=input)
    return where(input.array <= real("threshold: threshold", threshold), real("threshold: value", value), input)


def prelu(input, weight):
    """x where x > 0, else weight * x; weight has one entry, or one for each channel (axis 1) (He et al. 2015)."""
    require_float("prelu", input=input, weight=weight)
    if weight.ndim > 1 or (weight.numel() != 1 and (input.ndim < 2 or weight.numel() != input.shape[1])):
        raise ValueError(f"prelu: weight {weight.shape} must have one entry, or one for each channel of input {input.shape}")
    if weight.dtype != input.dtype:
        raise TypeError(f"prelu: input is {input.dtype} but weight is {weight.dtype}; convert one with .to(dtype)")
    if weight.numel() != 1:
        weight = reshape(weight, (1, -1) + (1,) * (input.ndim - 2))
    else:
        weight = reshape(weight, ())
    positive = input.array > 0
    return where(positive, input, weight * where(positive, 0.0, input))


@numpy_names
def glu(input, dim=-1):
    """a * sigmoid(b), a and b being the halves along dim (Dauphin et al. 2016)."""
    require_float("glu", input=input)
    axis = axis_index("glu", dim, input.ndim)
    if input.ndim == 0 or input.shape[axis] % 2:
        raise ValueError(f"glu: axis {dim} of input {input.shape} must have an even length")
    a, b = chunk(input, 2, axis)
    return a * sigmoid(b)


@numpy_names
def softmin(input, dim=-1):
    """softmax of -x."""
    return softmax(-input, dim)


@numpy_names
def gumbel_softmax(logits, tau=1, hard=False, eps=1e-10, dim=-1, *, rng=None):
    """softmax((logits + noise) / tau) with Gumbel noise: a random class that can be differentiated (Jang et al. 2017).

    hard: a one-hot vector with the gradient of the soft one. rng: where the noise comes from.
    """
    require_float("gumbel_softmax", logits=logits)
    if not real("gumbel_softmax: tau", tau) > 0:
        raise ValueError(f"gumbel_softmax: tau must be positive, got {tau}")
    noise = as_stream(rng).generator.gumbel(size=logits.shape).astype(logits.dtype)
    soft = softmax((logits + np.asarray(noise, like=logits.array)) / float(tau), dim)
    if not hard:
        return soft
    axis = axis_index("gumbel_softmax", dim, logits.ndim)
    largest = soft.array.argmax(axis)
    steps = np.arange(logits.shape[axis]).reshape((-1,) + (1,) * (logits.ndim - axis - 1))
    one_hot = (np.asarray(steps, like=logits.array) == np.expand_dims(largest, axis)).astype(logits.dtype)
    return soft - soft.detach() + one_hot


def alpha_dropout(input, p=0.5, training=False, inplace=False, *, rng=None):
    """Dropout for selu: dropped values become its lower limit, and mean and variance stay (Klambauer et al. 2017)."""
    require_float("alpha_dropout", input=input)
    p = real("alpha_dropout: p", p)
    if not 0 <= p <= 1:
        raise ValueError(f"alpha_dropout: p must lie in [0, 1], got {p}")
    if not training or p == 0:
        return input
    low = -SELU_ALPHA * SELU_SCALE
    a = 0.0 if p == 1 else 1 / math.sqrt((1 - p) * (1 + p * low * low))
    keep = np.asarray(as_stream(rng).bernoulli(1 - p, input.shape), like=input.array)
    return where(keep, input, low) * a - a * low * p
