"""Batch, instance, group and layer normalisation, all from one map and its derivative:

    x, xhat    the input, and the input with mean 0 and variance 1        g         the cotangent of xhat
    istd       1 over the standard deviation                              g_istd    the cotangent of istd
    mean       over the M elements that are normalised together           dx        the gradient of x

    normalise(x) -> (xhat, istd)      xhat = (x - mean(x)) * istd,   istd = 1 / sqrt(var(x) + eps)
    dx = istd * (g - mean(g) - xhat * mean(g * xhat))  -  istd^2 * xhat * g_istd / M

Both results stay in the graph. So the rule reads only inputs and outputs, and every order is right. `normalise_dx` is the first
term as one kernel; it is its own adjoint in g.

Imports: numpy, minigrad.autograd, minigrad.kernels, common, reduction, shape.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad import kernels
from minigrad.autograd import Variable, primitive
from minigrad.functional.common import integer, positive, real, require_float
from minigrad.functional.reduction import sum as sum_over
from minigrad.functional.shape import reshape


@primitive(saves_out=(0, 1))
def normalise(x, axes, eps):
    """(xhat, istd, mean, var): xhat = (x - mean) * istd, istd = 1 / sqrt(var + eps), all over `axes`.

    mean and var are for running statistics and carry no gradient.
    """
    return kernels.normalise(x, axes, eps)


@normalise.vjp
def _(node, needs, g, g_istd, g_mean, g_var, axes, eps):
    xhat, istd = node.output(0), node.output(1)
    count = _count(node.specs[0][0], axes)
    dx = None
    if g is not None:
        dx = normalise_dx(g, xhat, istd, axes=axes)
    if g_istd is not None:
        through_istd = istd * istd * xhat * g_istd * (-1.0 / count)
        dx = through_istd if dx is None else dx + through_istd
    return (dx,)


@primitive(saves=((1, 2), (0, 1, 2), (0, 1, 2)))
def normalise_dx(g, xhat, istd, axes):
    """istd * (g - mean(g) - xhat * mean(g * xhat))"""
    return kernels.normalise_dx(g, None, xhat, istd, axes)


@normalise_dx.vjp
def _(node, needs, u, axes):
    g, xhat, istd = node.inputs
    scale = 1.0 / _count(xhat.shape, axes)
    dg = normalise_dx(u, xhat, istd, axes=axes) if needs[0] else None
    dxhat = distd = None
    if needs[1] or needs[2]:
        mean_gx = sum_over(g * xhat, axes, keepdim=True) * scale
    if needs[1]:
        dxhat = -istd * (u * mean_gx + g * (sum_over(u * xhat, axes, keepdim=True) * scale))
    if needs[2]:
        mean_g = sum_over(g, axes, keepdim=True) * scale
        distd = sum_over(u * (g - mean_g - xhat * mean_gx), axes, keepdim=True)
    return dg, dxhat, distd


def _count(shape, axes):
    return math.prod(shape[a] for a in axes)


# ---- PyTorch's functions ---------------------------------------------------------------------------------------------


def batch_norm(input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    """Normalise each channel over the batch (Ioffe & Szegedy 2015, algorithm 1), then scale and shift.

    input (N, C) or (N, C, ...). In training: statistics of the batch, and running_mean, running_var (Tensors or arrays
    of C values, or None) move in place by `momentum` towards the batch's mean and unbiased variance. Otherwise: a fixed
    affine map made of the running statistics, which passes gradients like any other. Raises ValueError in training with
    one value per channel: its normalised value would always be 0.
    """
    require_float("batch_norm", input=input)
    if training:
        axes, count = check_batch_statistics("batch_norm", input, running_mean, running_var, weight, bias)
        xhat, _, mean, var = normalise(input, axes=axes, eps=positive("batch_norm: eps", eps))
        update_running(running_mean, running_var, mean.array, var.array, momentum, count)
        return scale_shift(xhat, weight, bias)
    _check_channels("batch_norm", input, running_mean, running_var, weight, bias)
    eps = positive("batch_norm: eps", eps)
    if running_mean is None or running_var is None:
        raise ValueError("batch_norm: without training=True running_mean and running_var are needed")
    return _evaluation_norm(input, _raw(running_mean), _raw(running_var), weight, bias, eps)


def _check_channels(name, input, running_mean, running_var, weight, bias):
    if input.ndim < 2:
        raise ValueError(f"{name}: input must be (N, C) or (N, C, ...), got {input.shape}")
    check_affine(name, (input.shape[1],), weight=weight, bias=bias, running_mean=running_mean, running_var=running_var)


def check_batch_statistics(name, input, running_mean, running_var, weight, bias):
    """The axes that are normalised together and how many values they hold."""
    _check_channels(name, input, running_mean, running_var, weight, bias)
    axes = (0, *range(2, input.ndim))
    count = _count(input.shape, axes)
    if count <= 1:
        raise ValueError(f"{name}: training needs more than one value per channel, got input {input.shape}; "
                         "use a larger batch or .eval()")
    return axes, count


def _raw(x):
    return x.array if isinstance(x, Variable) else x


def check_affine(name, shape, **values):
    for key, value in values.items():
        if value is not None and tuple(value.shape) != shape:
            raise ValueError(f"{name}: {key} {tuple(value.shape)} must be {shape}")


def along_channels(v, ndim):
    return reshape(v, (1, -1) + (1,) * (ndim - 2))


def scale_shift(xhat, weight, bias):
    if weight is not None:
        xhat = xhat * along_channels(weight, xhat.ndim)
    return xhat if bias is None else xhat + along_channels(bias, xhat.ndim)


def _evaluation_norm(x, mean, var, weight, bias, eps):
    if weight is None:
        istd, mean = (v.reshape((1, -1) + (1,) * (x.ndim - 2)) for v in _fixed_statistics(x, mean, var, eps))
        return scale_shift((x - mean) * istd, None, bias)
    scale, shift = evaluation_map(x, mean, var, weight, bias, eps)
    return x * along_channels(scale, x.ndim) + along_channels(shift, x.ndim)  # two passes over x instead of four


def evaluation_map(x, mean, var, weight, bias, eps):
    """(scale, shift), each (C,), with (x - mean) / sqrt(var + eps) * weight + bias = x*scale + shift."""
    istd, mean = _fixed_statistics(x, mean, var, eps)
    scale = x.wrap(istd) if weight is None else weight * istd
    return scale, -(scale * mean) if bias is None else bias - scale * mean


@np.errstate(all="ignore")
def _fixed_statistics(x, mean, var, eps):
    return (1.0 / np.sqrt(_raw(var) + eps)).astype(x.dtype), _raw(mean).astype(x.dtype, copy=False)


@np.errstate(all="ignore")
def update_running(running_mean, running_var, mean, var, momentum, count):
    """running <- (1 - momentum) * running + momentum * batch, with the unbiased variance; in place, outside the graph."""
    momentum = real("momentum", momentum)
    for running, batch in ((running_mean, mean), (running_var, var * (count / max(count - 1, 1)))):
        if running is None:
            continue
        array = _raw(running)
        array += (momentum * (batch.reshape(-1) - array)).astype(array.dtype, copy=False)
        if isinstance(running, Variable):
            running.version_cell[0] += 1


def instance_norm(input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True,
                  momentum=0.1, eps=1e-5):
    """Normalise each channel of each sample over its positions (Ulyanov et al. 2016). input (N, C, ...)."""
    require_float("instance_norm", input=input)
    if input.ndim < 3:
        raise ValueError(f"instance_norm: input must be (N, C, ...) with at least one axis of positions, got {input.shape}")
    channels = input.shape[1]
    check_affine("instance_norm", (channels,), weight=weight, bias=bias, running_mean=running_mean,
                  running_var=running_var)
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise ValueError("instance_norm: without use_input_stats running_mean and running_var are needed")
        return _evaluation_norm(input, _raw(running_mean), _raw(running_var), weight, bias, positive("instance_norm: eps", eps))
    axes = tuple(range(2, input.ndim))
    count = _count(input.shape, axes)
    if count <= 1:
        raise ValueError(f"instance_norm: needs more than one value per channel and sample, got input {input.shape}")
    xhat, _, mean, var = normalise(input, axes=axes, eps=positive("instance_norm: eps", eps))
    if input.shape[0]:
        with np.errstate(all="ignore"):
            update_running(running_mean, running_var, mean.array.mean(0), var.array.mean(0), momentum, count)
    return scale_shift(xhat, weight, bias)


def group_norm(input, num_groups, weight=None, bias=None, eps=1e-5):
    """Normalise groups of channels of each sample together (Wu & He 2018). input (N, C, ...), C divisible by groups."""
    require_float("group_norm", input=input)
    groups = integer("group_norm: num_groups", num_groups, 1)
    if input.ndim < 2 or input.shape[1] % groups:
        raise ValueError(f"group_norm: input {input.shape} must be (N, C, ...) with C divisible by {groups} groups")
    check_affine("group_norm", (input.shape[1],), weight=weight, bias=bias)
    grouped = reshape(input, (input.shape[0], groups, input.shape[1] // groups, *input.shape[2:]))
    xhat = normalise(grouped, axes=tuple(range(2, grouped.ndim)), eps=positive("group_norm: eps", eps))[0]
    return scale_shift(reshape(xhat, input.shape), weight, bias)


def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    """Normalise over the last axes, whose shape is `normalized_shape` (Ba et al. 2016); weight and bias have that shape."""
    require_float("layer_norm", input=input)
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or input.shape[-len(shape) :] != shape:
        raise ValueError(f"layer_norm: input {input.shape} must end in normalized_shape {shape}")
    check_affine("layer_norm", shape, weight=weight, bias=bias)
    xhat = normalise(input, axes=tuple(range(input.ndim - len(shape), input.ndim)), eps=positive("layer_norm: eps", eps))[0]
    if weight is not None:
        xhat = xhat * weight
    return xhat if bias is None else xhat + bias
