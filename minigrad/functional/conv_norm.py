"""Convolution, batch norm in training and (leaky) ReLU as one node of the graph. Most image networks are made of these layers.

| symbol | meaning |
|---|---|
| x, w | images (N, C, H, W) and the weight of the convolution |
| y | the convolution's output (N, O, H', W') |
| mean, istd | of y for each channel: the mean, and 1 / sqrt(variance + eps) |
| gamma, beta | the scale and shift of batch norm, (O,) |
| other | what a residual block adds, shaped as y; may be missing |
| z | the result |

    y = conv2d(x, w), or conv_transpose2d(x, w);    z = leaky_relu((y - mean) * istd * gamma + beta [+ other])

The node calls the same kernels as the separate layers do, one after the other. It saves the Python between the kernels, which is up
to a fifth of a small network's training step. Its rule is batch norm's rule followed by the convolution's. Under `create_graph` the
rule is written in operations that have derivatives, as in `fused`. Nobody needs to call these functions: `nn.Sequential` and
`nn.Residual` do it where such layers are neighbours. tests/functional/test_fused.py holds them equal to the separate layers.

Imports: minigrad.autograd, minigrad.kernels, activation, common, convolution, fused, normalization.
"""

from __future__ import annotations

import math

from minigrad import kernels
from minigrad.autograd import is_grad_enabled, primitive
from minigrad.functional.activation import leaky_relu_dx
from minigrad.functional.common import positive, real
from minigrad.functional.convolution import conv2d_arguments, conv2d_dw, conv2d_dx, conv2d_to_size, conv_transpose2d_arguments
from minigrad.functional.fused import norm_back
from minigrad.functional.normalization import check_affine, normalise, scale_shift, update_running
from minigrad.kernels.geometry import window_count

AXES = (0, 2, 3)
# What a node keeps for its rule. Arguments: x 0, w 1, gamma 2, beta 3, other 4. Outputs: z 0, y 1, istd 2, mean 3, var 4.
# `saves` lists for each argument the arguments that its gradient reads: the gradient of x reads w, gamma and beta; that of `other`
# reads none. `saves_out` lists the outputs that any of the gradients reads.
READ = {"saves": ((1, 2, 3), (0, 2, 3), (2, 3), (2, 3)), "saves_out": (0, 1, 2, 3)}


def conv2d_batch_norm_leaky_relu(input, weight, gamma, beta, moving, eps=1e-5, stride=1, padding=0, dilation=1, groups=1,
                                 negative_slope=0.0, other=None):
    """leaky_relu(batch_norm(conv2d(input, weight, ...), ..., gamma, beta, training=True) [+ other], negative_slope).

    Shapes as in conv2d, input (N, C, H, W), all of one dtype; gamma, beta (O,); other like the output; negative_slope at least 0.
    moving: a function that is called with the output's shape and returns (running_mean, running_var, momentum), the statistics
    that this batch moves, as in batch_norm.
    Raises ValueError where shapes do not fit or a channel has only one value, TypeError where dtypes differ.
    """
    x, geometry, _ = conv2d_arguments(input, weight, None, stride, padding, dilation, groups)
    size = map(window_count, x.shape[2:], weight.shape[2:], geometry["stride"], geometry["padding"], geometry["dilation"])
    shape = (x.shape[0], weight.shape[0], *size)
    inputs = (x, weight, gamma, beta, *([] if other is None else [other]))
    return _apply("conv2d_batch_norm_leaky_relu", _conv_norm, inputs, moving, shape, eps, negative_slope, geometry)


def conv_transpose2d_batch_norm_leaky_relu(input, weight, gamma, beta, moving, eps=1e-5, stride=1, padding=0, output_padding=0,
                                           groups=1, dilation=1, negative_slope=0.0, other=None):
    """The same with conv_transpose2d(input, weight, ...) in place of conv2d, and with its arguments."""
    x, geometry, _ = conv_transpose2d_arguments(input, weight, None, stride, padding, output_padding, groups, dilation)
    shape = (x.shape[0], weight.shape[1] * geometry["groups"], *geometry["size"])
    inputs = (x, weight, gamma, beta, *([] if other is None else [other]))
    return _apply("conv_transpose2d_batch_norm_leaky_relu", _transposed_norm, inputs, moving, shape, eps, negative_slope, geometry)


def _apply(name, unit, inputs, moving, shape, eps, negative_slope, geometry):
    x, _, gamma, beta, *other = inputs
    slope = real(f"{name}: negative_slope", negative_slope)
    if slope < 0:
        raise ValueError(f"{name}: negative_slope must be at least 0, got {slope}; apply the layers one by one")
    if any(t.dtype != x.dtype for t in inputs):
        raise TypeError(f"{name}: all must be of one dtype, got {', '.join(str(t.dtype) for t in inputs)}; convert with .to(dtype)")
    if other and other[0].shape != shape:
        raise ValueError(f"{name}: other {other[0].shape} must have the shape of the output, {shape}")
    mean, var, momentum = moving(shape)
    check_affine(name, shape[1:2], gamma=gamma, beta=beta)
    count = math.prod(shape) // shape[1]
    if count <= 1:
        raise ValueError(f"{name}: training needs more than one value per channel, got {shape}; use a larger batch or .eval()")
    z, _, _, batch_mean, batch_var = unit(*inputs, eps=positive("batch_norm: eps", eps), slope=slope, **geometry)
    if not other and z.node is not None:
        z.node.outputs[0] = None                                # the rule reads z only where `other` was added
    update_running(mean, var, batch_mean.array, batch_var.array, momentum, count)
    return z


def _normalised(y, gamma, beta, other, eps, slope):
    z, istd, mean, var = kernels.norm_leaky_relu(y, gamma, beta, AXES, eps, slope, *other)
    return z, y, istd, mean, var


def _to_product(node, needs, g, g_y, eps, slope):
    """The cotangents of y, gamma, beta[, other], from those of z (g) and of y (g_y); either may be None."""
    gamma, beta = node.inputs[2:4]
    z, y, istd, mean = node.outputs[:4]  # z is None unless `other` was added
    summed = len(needs) == 5
    if g is None:
        return [g_y] + [None] * (len(needs) - 2)
    if not any(needs[:4]):
        return [None, None, None, leaky_relu_dx(g, z, slope=slope)]
    if g_y is None and not is_grad_enabled():
        found = kernels.norm_leaky_relu_dx(
            g.array, y, gamma.array, None if summed else beta.array, istd, mean, AXES, slope, *([z] if summed else [])
        )
        return [g.wrap(d) for d in found]
    h = g
    if summed:
        h = leaky_relu_dx(g, z, slope=slope)
    elif slope != 1:
        h = leaky_relu_dx(g, scale_shift(normalise(node.output(1), axes=AXES, eps=eps)[0], gamma, beta).array, slope=slope)
    dy, dgamma, dbeta = norm_back(h, node.output(1), gamma, (True, *needs[2:4]), AXES, eps)
    return [dy if g_y is None else dy + g_y, dgamma, dbeta] + [h] * summed


@primitive(**READ)
def _conv_norm(x, w, gamma, beta, *other, eps, slope, **geometry):
    """(z, y, istd, mean, var): y = conv2d(x, w), z = leaky_relu((y - mean) * istd * gamma + beta [+ other]).

    Only z is handed out; y is an output because the rule differentiates through it.
    """
    return _normalised(kernels.conv2d(x, w, **geometry), gamma, beta, other, eps, slope)


@_conv_norm.vjp
def _(node, needs, g, g_y, g_istd, g_mean, g_var, eps, slope, **geometry):
    x, w = node.inputs[:2]
    dy, *rest = _to_product(node, needs, g, g_y, eps, slope)
    return (
        conv2d_dx(dy, w, **geometry, size=node.specs[0][0][2:]) if needs[0] else None,
        conv2d_dw(x, dy, **geometry, size=node.specs[1][0][2:]) if needs[1] else None,
        *rest,
    )


@primitive(**READ)
def _transposed_norm(x, w, gamma, beta, *other, eps, slope, **geometry):
    """(z, y, istd, mean, var): as conv_norm, y being the transposed convolution, conv2d_dx(x, w)."""
    return _normalised(kernels.conv2d_dx(x, w, **geometry), gamma, beta, other, eps, slope)


@_transposed_norm.vjp
def _(node, needs, g, g_y, g_istd, g_mean, g_var, eps, slope, size, **geometry):
    x, w = node.inputs[:2]
    dy, *rest = _to_product(node, needs, g, g_y, eps, slope)
    return (
        conv2d_to_size(node.specs[0][0][2:], dy, w, geometry) if needs[0] else None,
        conv2d_dw(dy, x, **geometry, size=node.specs[1][0][2:]) if needs[1] else None,
        *rest,
    )
