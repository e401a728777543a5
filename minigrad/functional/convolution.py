"""Convolution and its transpose: three bilinear maps, each other's derivatives at every order.

    conv2d(x, w)      y[n,o,i,j] = sum over c,u,v of w[o,c,u,v] * x[n,c, i*s - p + u*d, j*s - p + v*d]
    conv2d_dx(g, w)   its adjoint in x, which is transposed convolution
    conv2d_dw(x, g)   its adjoint in w

    <conv2d(x, w), g> = <x, conv2d_dx(g, w)> = <w, conv2d_dw(x, g)>

So the rule of each map calls the other two, and no derivative of any order needs another kernel. In most networks a bias and a
(leaky) ReLU follow; `conv2d_leaky_relu` does them while the output is still in the cache.
Images are (N, C, H, W) in shape; the fast memory layout is channels-last, and any layout gives the same answer.

Imports: numpy, minigrad.autograd, minigrad.kernels, activation, common, fused, indexing, shape.
"""

from __future__ import annotations

import numpy as np

from minigrad import kernels
from minigrad.autograd import primitive
from minigrad.functional.activation import leaky_relu
from minigrad.functional.common import integer, pair, real, require_float
from minigrad.functional.fused import bias_leaky, leaky_back
from minigrad.functional.indexing import getitem, pad_constant
from minigrad.functional.shape import reshape, squeeze, unsqueeze
from minigrad.kernels.geometry import transposed_size, window_count

# ---- the three maps --------------------------------------------------------------------------------------------------


@primitive(saves=((1,), (0,)))
def _conv2d(x, w, stride, padding, dilation, groups):
    """y[n,o,i,j] = sum over c,u,v of w[o,c,u,v] * x[n,c, i*s - p + u*d, j*s - p + v*d]."""
    return kernels.conv2d(x, w, stride, padding, dilation, groups)


@_conv2d.vjp
def _(node, needs, g, **geometry):
    x, w = node.inputs
    return (
        conv2d_dx(g, w, **geometry, size=node.specs[0][0][2:]) if needs[0] else None,
        conv2d_dw(x, g, **geometry, size=node.specs[1][0][2:]) if needs[1] else None,
    )


@primitive(saves=((1,), (0,), ()), saves_out=(0,))
def _conv2d_leaky(x, w, bias, slope, **geometry):
    """leaky_relu(conv2d(x, w) + bias) in one pass."""
    return kernels.conv2d(x, w, **geometry, bias=bias, slope=slope)


@_conv2d_leaky.vjp
def _(node, needs, g, slope, **geometry):
    (x, w, _), y = node.inputs, node.outputs[0]
    h, dbias = leaky_back(g, y, slope, needs[2])
    return (
        conv2d_dx(h, w, **geometry, size=node.specs[0][0][2:]) if needs[0] else None,
        conv2d_dw(x, h, **geometry, size=node.specs[1][0][2:]) if needs[1] else None,
        dbias,
    )


@primitive(saves=((1,), (0,)))
def conv2d_dx(g, w, stride, padding, dilation, groups, size):
    """The adjoint of conv2d in x, which is transposed convolution: <conv2d(x, w), g> = <x, conv2d_dx(g, w)>."""
    return kernels.conv2d_dx(g, w, stride, padding, dilation, groups, size)


@conv2d_dx.vjp
def _(node, needs, u, size, **geometry):
    g, w = node.inputs
    return (
        conv2d_to_size(node.specs[0][0][2:], u, w, geometry) if needs[0] else None,
        conv2d_dw(u, g, **geometry, size=node.specs[1][0][2:]) if needs[1] else None,
    )


@primitive(saves=((1,), (0,)))
def conv2d_dw(x, g, stride, padding, dilation, groups, size):
    """The adjoint of conv2d in w: <conv2d(x, w), g> = <w, conv2d_dw(x, g)>."""
    return kernels.conv2d_dw(x, g, stride, padding, dilation, groups, size)


@conv2d_dw.vjp
def _(node, needs, v, size, **geometry):
    x, g = node.inputs
    return (
        conv2d_dx(g, v, **geometry, size=node.specs[0][0][2:]) if needs[0] else None,
        conv2d_to_size(node.specs[1][0][2:], x, v, geometry) if needs[1] else None,
    )


def conv2d_to_size(size, x, w, geometry):
    """conv2d, cut to `size`. An image made with output_padding >= stride has room for more windows than it was made from."""
    y = _conv2d(x, w, **geometry)
    return y if y.shape[2:] == size else getitem(y, (..., slice(size[0]), slice(size[1])))


# ---- PyTorch's functions ---------------------------------------------------------------------------------------------


def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Cross-correlation of images with a bank of kernels.

    input (N, C, H, W) or (C, H, W); weight (O, C/groups, kh, kw); bias (O,) or None -> (N, O, H', W') with
    H' = (H + 2*padding - dilation*(kh - 1) - 1) // stride + 1. stride, padding, dilation: an int or (vertical,
    horizontal); padding may be 'valid' (none) or 'same' (stride 1 only; the extra row of an even kernel goes below).
    Raises ValueError where channels, groups or sizes do not fit.
    """
    x, geometry, unbatched = conv2d_arguments(input, weight, bias, stride, padding, dilation, groups)
    if bias is not None and bias.dtype == weight.dtype:
        y = _conv2d_leaky(x, weight, bias, slope=1.0, **geometry)
        return squeeze(y, 0) if unbatched else y
    return _finish(_conv2d(x, weight, **geometry), bias, unbatched)


def conv2d_leaky_relu(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, negative_slope=0.0):
    """leaky_relu(conv2d(input, weight, bias, ...), negative_slope) in one pass over the output; slope 0 is ReLU, 1 none.

    Arguments as in conv2d. negative_slope is at least 0, because the backward pass goes by the sign of the output. Equals conv2d
    followed by leaky_relu at every order. `nn.Sequential` calls it where such layers are neighbours.
    """
    slope = real("conv2d_leaky_relu: negative_slope", negative_slope)
    if slope < 0:
        raise ValueError(f"conv2d_leaky_relu: negative_slope must be at least 0, got {slope}; use conv2d, then leaky_relu")
    x, geometry, unbatched = conv2d_arguments(input, weight, bias, stride, padding, dilation, groups)
    if bias is None:
        bias = weight.wrap(np.zeros_like(weight.array, shape=weight.shape[:1]))
    elif bias.dtype != weight.dtype:
        return leaky_relu(_finish(_conv2d(x, weight, **geometry), bias, unbatched), slope)
    y = _conv2d_leaky(x, weight, bias, slope=slope, **geometry)
    return squeeze(y, 0) if unbatched else y


def conv2d_arguments(input, weight, bias, stride, padding, dilation, groups):
    """(images, the kernel's geometry, whether the input was a single image), or the error that says what does not fit."""
    x, unbatched = _images("conv2d", input, weight, bias)
    stride, dilation = pair("conv2d: stride", stride, 1), pair("conv2d: dilation", dilation, 1)
    groups = integer("conv2d: groups", groups, 1)
    channels, outputs = x.shape[1], weight.shape[0]
    if channels != weight.shape[1] * groups:
        raise ValueError(f"conv2d: x has {channels} channels but weight {weight.shape} expects "
                         f"{weight.shape[1] * groups} (groups={groups})")
    if outputs % groups:
        raise ValueError(f"conv2d: {outputs} output channels do not divide into {groups} groups")
    _check_bias("conv2d", bias, outputs)
    x, padding = _padding(x, weight, padding, stride, dilation)
    size, kernel = x.shape[2:], weight.shape[2:]
    for i in (0, 1):
        if window_count(size[i], kernel[i], stride[i], padding[i], dilation[i]) < 1:
            raise ValueError(f"conv2d: the {('height', 'width')[i]} {size[i]} with padding {padding[i]} is smaller than the "
                             f"kernel's extent {dilation[i] * (kernel[i] - 1) + 1} (weight {weight.shape}, dilation {dilation})")
    return x, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}, unbatched


def conv_transpose2d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """The adjoint of conv2d in its input, with the same weight; the up-sampling layer of generators.

    input (N, C, H, W) or (C, H, W); weight (C, O/groups, kh, kw); bias (O,) or None -> (N, O, H', W') with
    H' = (H - 1)*stride - 2*padding + dilation*(kh - 1) + output_padding + 1. output_padding must be smaller than stride
    or dilation: it chooses among the sizes that conv2d would map to H.
    """
    x, geometry, unbatched = conv_transpose2d_arguments(input, weight, bias, stride, padding, output_padding, groups, dilation)
    return _finish(conv2d_dx(x, weight, **geometry), bias, unbatched)


def conv_transpose2d_arguments(input, weight, bias, stride, padding, output_padding, groups, dilation):
    """As `conv2d_arguments`; the geometry has the output's size, which `conv2d_dx` asks for."""
    x, unbatched = _images("conv_transpose2d", input, weight, bias)
    stride, dilation = pair("conv_transpose2d: stride", stride, 1), pair("conv_transpose2d: dilation", dilation, 1)
    padding, extra = pair("conv_transpose2d: padding", padding), pair("conv_transpose2d: output_padding", output_padding)
    groups = integer("conv_transpose2d: groups", groups, 1)
    if x.shape[1] != weight.shape[0]:
        raise ValueError(f"conv_transpose2d: x has {x.shape[1]} channels but weight {weight.shape} expects "
                         f"{weight.shape[0]} (its first axis)")
    if x.shape[1] % groups:
        raise ValueError(f"conv_transpose2d: {x.shape[1]} input channels do not divide into {groups} groups")
    _check_bias("conv_transpose2d", bias, weight.shape[1] * groups)
    for axis in (0, 1):
        if extra[axis] >= max(stride[axis], dilation[axis]):
            raise ValueError(f"conv_transpose2d: output_padding {extra} must be smaller than stride {stride} or "
                             f"dilation {dilation}")
    size = tuple(map(transposed_size, x.shape[2:], weight.shape[2:], stride, padding, dilation, extra))
    if min(size) < 1:
        raise ValueError(f"conv_transpose2d: input {x.shape[2:]} and weight {weight.shape} with stride {stride}, padding "
                         f"{padding} give the output size {size}; it must be at least 1")
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "size": size}
    return x, geometry, unbatched


def _images(name, input, weight, bias):
    """The input as a batch, and whether it was a single image."""
    require_float(name, input=input, weight=weight, **({} if bias is None else {"bias": bias}))
    if input.ndim not in (3, 4):
        raise ValueError(f"{name}: input must be (N, C, H, W) or (C, H, W), got {input.shape}")
    if weight.ndim != 4 or 0 in weight.shape:
        raise ValueError(f"{name}: weight must have four axes, none of them empty, got {weight.shape}")
    if input.dtype != weight.dtype:
        raise TypeError(f"{name}: input is {input.dtype} but weight is {weight.dtype}; convert one with .to(dtype)")
    if input.device != weight.device:
        raise TypeError(f"{name}: input is on {input.device} but weight on {weight.device}; move one with .to(device)")
    return (unsqueeze(input, 0), True) if input.ndim == 3 else (input, False)


def _check_bias(name, bias, outputs):
    if bias is not None and bias.shape != (outputs,):
        raise ValueError(f"{name}: bias {bias.shape} must be ({outputs},), one for each output channel")


def _padding(x, weight, padding, stride, dilation):
    """Padding as a pair; 'same' pads x unevenly where the kernel is even."""
    if not isinstance(padding, str):
        return x, pair("conv2d: padding", padding)
    if padding == "valid":
        return x, (0, 0)
    if padding != "same":
        raise ValueError(f"conv2d: padding must be integers, 'valid' or 'same', got {padding!r}")
    if stride != (1, 1):
        raise ValueError(f"conv2d: padding='same' needs stride 1, got {stride}")
    total = [dilation[a] * (weight.shape[2 + a] - 1) for a in (0, 1)]
    x = pad_constant(x, ((0, 0), (0, 0), (0, total[0] % 2), (0, total[1] % 2)))
    return x, (total[0] // 2, total[1] // 2)


def _finish(y, bias, unbatched):
    if bias is not None and bias.dtype == y.dtype:
        y = bias_leaky(y, bias, slope=1.0)
    elif bias is not None:  # promotes, as any sum
        y = y + reshape(bias, (1, -1, 1, 1))
    return squeeze(y, 0) if unbatched else y
