"""Two to four operations in one pass over memory, because reading and writing takes longer there than computing.

Each equals its parts, called one after the other, at every order (tests/functional/test_fused.py). Nobody needs to call them:
`nn.Sequential` does it where such layers are neighbours.

A fused rule has two branches. While nothing is recorded, one kernel does the whole backward pass. Under `create_graph` the rule is
written in the operations of the other modules, and their derivatives are known. So only the first derivative is fused, and
every order is right.

Imports: minigrad.autograd, minigrad.kernels, activation, common, normalization, reduction, shape.
"""

from __future__ import annotations

from minigrad import kernels
from minigrad.autograd import is_grad_enabled, primitive
from minigrad.functional.activation import leaky_relu, leaky_relu_dx
from minigrad.functional.common import positive, real, require_float, unbroadcast
from minigrad.functional.normalization import (
    along_channels,
    batch_norm,
    check_affine,
    check_batch_statistics,
    normalise,
    normalise_dx,
    scale_shift,
    update_running,
)
from minigrad.functional.reduction import sum as sum_over
from minigrad.functional.shape import reshape


def all_but_channels(ndim):
    return (0, *range(2, ndim))


# ---- bias and (leaky) ReLU -------------------------------------------------------------------------------------------


def bias_leaky_relu(input, bias, negative_slope=0.0):
    """leaky_relu(input + bias[c]): input (N, C, ...), bias (C,), 0 <= negative_slope; slope 0 is ReLU, 1 the bias alone.

    The backward pass tells by the sign of the output whether the sum was positive. A negative slope would spoil that sign, so it is
    an error. At 0 the derivative is the slope.
    """
    require_float("bias_leaky_relu", input=input, bias=bias)
    slope = real("bias_leaky_relu: negative_slope", negative_slope)
    if slope < 0:
        raise ValueError(f"bias_leaky_relu: negative_slope must be at least 0, got {slope}; add the bias separately")
    check_affine("bias_leaky_relu", (input.shape[1],), bias=bias)
    if input.dtype != bias.dtype:
        return leaky_relu(input + along_channels(bias, input.ndim), slope)
    return bias_leaky(input, bias, slope=slope)


@primitive(saves_out=(0,))
def bias_leaky(x, bias, slope):
    """leaky_relu(x + bias), one bias for each channel; slope 1 is no activation."""
    return kernels.bias_leaky_relu(x, bias, slope)


@bias_leaky.vjp
def _(node, needs, g, slope):
    dx, dbias = leaky_back(g, node.outputs[0], slope, needs[1])
    return dx if needs[0] else None, dbias


def leaky_back(g, y, slope, biased):
    """The cotangents of leaky_relu(x + bias) from its output y, an array: (dx, dbias or None)."""
    if is_grad_enabled() or not biased:
        dx = g if slope == 1 else leaky_relu_dx(g, y, slope=slope)
        return dx, sum_over(dx, all_but_channels(y.ndim)) if biased else None
    dx, dbias = kernels.bias_leaky_relu_dx(g.array, y, slope)
    return g.wrap(dx), g.wrap(dbias)


# ---- batch norm and (leaky) ReLU -------------------------------------------------------------------------------------


def batch_norm_leaky_relu(input, running_mean, running_var, weight, bias, momentum=0.1, eps=1e-5, negative_slope=0.0, other=None):
    """leaky_relu(batch_norm(input, ..., training=True) [+ other]) without keeping the normalised values.

    Arguments as in batch_norm; weight and bias are needed. The statistics are the batch's, and the running ones move towards them.
    other: a Tensor like input, the other branch of a residual block. With it negative_slope must be at least 0, because the
    backward pass goes by the sign of the output.
    """
    require_float("batch_norm_leaky_relu", input=input, weight=weight, bias=bias)
    axes, count = check_batch_statistics("batch_norm_leaky_relu", input, running_mean, running_var, weight, bias)
    slope = real("batch_norm_leaky_relu: negative_slope", negative_slope)
    if not input.dtype == weight.dtype == bias.dtype:  # products and sums promote
        y = batch_norm(input, running_mean, running_var, weight, bias, True, momentum, eps)
        return leaky_relu(y, slope) if other is None else leaky_relu(y + other, slope)
    options = {"axes": axes, "eps": positive("batch_norm: eps", eps), "slope": slope}
    if other is None:
        y, _, mean, var = _norm_leaky(input, weight, bias, **options)
    else:
        _check_sum("batch_norm_leaky_relu", input, other, slope)
        if other.dtype != input.dtype:  # the sum promotes
            y = batch_norm_leaky_relu(input, running_mean, running_var, weight, bias, momentum, eps, 1.0)
            return add_leaky_relu(y, other, slope)
        y, _, mean, var = _norm_add_leaky(input, weight, bias, other, **options)
    update_running(running_mean, running_var, mean.array, var.array, momentum, count)
    return y


@primitive(saves=((0, 1, 2), (0, 1, 2), (0, 1, 2)), saves_out=(1, 2))
def _norm_leaky(x, weight, bias, axes, eps, slope):
    """(y, istd, mean, var): y = leaky_relu((x - mean) * istd * weight + bias); only y is used in the graph."""
    return kernels.norm_leaky_relu(x, weight, bias, axes, eps, slope)


@_norm_leaky.vjp
def _(node, needs, g, g_istd, g_mean, g_var, axes, eps, slope):
    x, weight, bias = node.inputs
    if not is_grad_enabled():
        istd, mean = node.outputs[1], node.outputs[2]
        dx, dweight, dbias = kernels.norm_leaky_relu_dx(
            g.array, x.array, weight.array, bias.array, istd, mean, axes, slope
        )
        return g.wrap(dx) if needs[0] else None, g.wrap(dweight), g.wrap(dbias)
    h = g
    if slope != 1:
        h = leaky_relu_dx(g, scale_shift(normalise(x, axes=axes, eps=eps)[0], weight, bias).array, slope=slope)
    return norm_back(h, x, weight, needs, axes, eps)


def norm_back(h, x, weight, needs, axes, eps):
    """(dx, dweight, dbias) of normalise(x)*weight + bias from its cotangent, in operations that have derivatives."""
    xhat, istd, _, _ = normalise(x, axes=axes, eps=eps)
    return (
        normalise_dx(h * along_channels(weight, h.ndim), xhat, istd, axes=axes) if needs[0] else None,
        reshape(sum_over(h * xhat, all_but_channels(h.ndim)), weight.shape) if needs[1] else None,
        reshape(sum_over(h, all_but_channels(h.ndim)), weight.shape) if needs[2] else None,
    )


@primitive(saves=((0, 1), (0, 1), (0, 1), ()), saves_out=(0, 1, 2))
def _norm_add_leaky(x, weight, bias, other, axes, eps, slope):
    """(y, istd, mean, var): y = leaky_relu((x - mean) * istd * weight + bias + other); only y is used in the graph."""
    return kernels.norm_leaky_relu(x, weight, bias, axes, eps, slope, other)


@_norm_add_leaky.vjp
def _(node, needs, g, g_istd, g_mean, g_var, axes, eps, slope):
    y, istd, mean = node.outputs[:3]
    if not any(needs[:3]):
        return None, None, None, leaky_relu_dx(g, y, slope=slope)
    x, weight = node.inputs[:2]
    if not is_grad_enabled():
        found = kernels.norm_leaky_relu_dx(g.array, x.array, weight.array, None, istd, mean, axes, slope, y)
        return tuple(g.wrap(d) if needed else None for d, needed in zip(found, needs, strict=True))
    h = leaky_relu_dx(g, y, slope=slope)
    return *norm_back(h, x, weight, needs, axes, eps), h


# ---- a sum and (leaky) ReLU ------------------------------------------------------------------------------------------


def add_leaky_relu(input, other, negative_slope=0.0):
    """leaky_relu(input + other) of two Tensors of one shape: where the two branches of a residual block meet."""
    require_float("add_leaky_relu", input=input, other=other)
    slope = real("add_leaky_relu: negative_slope", negative_slope)
    _check_sum("add_leaky_relu", input, other, slope)
    if input.dtype != other.dtype:
        return leaky_relu(input + other, slope)
    return _add_leaky(input, other, slope=slope)


def _check_sum(name, input, other, slope):
    if slope < 0:
        raise ValueError(f"{name}: negative_slope must be at least 0, got {slope}; add and activate separately")
    if other.shape != input.shape:
        raise ValueError(f"{name}: other {other.shape} must have the shape of input, {input.shape}")


@primitive(saves_out=(0,))
def _add_leaky(x, other, slope):
    """leaky_relu(x + other)."""
    return kernels.add_leaky_relu(x, other, slope)


@_add_leaky.vjp
def _(node, needs, g, slope):
    h = leaky_relu_dx(g, node.outputs[0], slope=slope)
    return unbroadcast(h, node, 0) if needs[0] else None, unbroadcast(h, node, 1) if needs[1] else None
