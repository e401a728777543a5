"""Convolution and pooling of rows (N, C, L) or (C, L): the images' operations on images of height 1.

Imports: minigrad.autograd, common, convolution, pooling, shape.
"""

from __future__ import annotations

from minigrad.autograd import Variable
from minigrad.functional.common import integer, require_float
from minigrad.functional.convolution import conv2d, conv_transpose2d
from minigrad.functional.pooling import adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, max_pool2d
from minigrad.functional.shape import squeeze, unsqueeze


def conv1d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Cross-correlation along the last axis: conv2d with weight (O, C/groups, k) for rows (N, C, L) or (C, L)."""
    rows = _image("conv1d", input)
    _three("conv1d", weight)
    padding = padding if isinstance(padding, str) else (0, _one("conv1d: padding", padding, 0))
    stride, dilation = _one("conv1d: stride", stride), _one("conv1d: dilation", dilation)
    return squeeze(conv2d(rows, unsqueeze(weight, 2), bias, (1, stride), padding, (1, dilation), groups), -2)


def conv_transpose1d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """The adjoint of conv1d, with weight (C, O/groups, k)."""
    rows = _image("conv_transpose1d", input)
    _three("conv_transpose1d", weight)
    stride, dilation = _one("conv_transpose1d: stride", stride), _one("conv_transpose1d: dilation", dilation)
    padding, extra = _one("conv_transpose1d: padding", padding, 0), _one("conv_transpose1d: output_padding", output_padding, 0)
    made = conv_transpose2d(rows, unsqueeze(weight, 2), bias, (1, stride), (0, padding), (0, extra), groups, (1, dilation))
    return squeeze(made, -2)


def max_pool1d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The largest value of each window along the last axis; the rest as max_pool2d."""
    kernel = _one("max_pool1d: kernel_size", kernel_size)
    stride = kernel if stride is None else _one("max_pool1d: stride", stride)
    padding, dilation = _one("max_pool1d: padding", padding, 0), _one("max_pool1d: dilation", dilation)
    return _rows(max_pool2d(_image("max_pool1d", input), (1, kernel), (1, stride), (0, padding), (1, dilation), ceil_mode,
                            return_indices))


def avg_pool1d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """The mean of each window along the last axis; the rest as avg_pool2d."""
    kernel = _one("avg_pool1d: kernel_size", kernel_size)
    stride = kernel if stride is None else _one("avg_pool1d: stride", stride)
    padding = _one("avg_pool1d: padding", padding, 0)
    return _rows(avg_pool2d(_image("avg_pool1d", input), (1, kernel), (1, stride), (0, padding), ceil_mode, count_include_pad))


def adaptive_avg_pool1d(input, output_size):
    """Means of output_size windows along the last axis."""
    size = (1, _one("adaptive_avg_pool1d: output_size", output_size))
    return _rows(adaptive_avg_pool2d(_image("adaptive_avg_pool1d", input), size))


def adaptive_max_pool1d(input, output_size, return_indices=False):
    """The largest values of output_size windows along the last axis."""
    size = (1, _one("adaptive_max_pool1d: output_size", output_size))
    return _rows(adaptive_max_pool2d(_image("adaptive_max_pool1d", input), size, return_indices))


def _image(name, rows):
    require_float(name, input=rows)
    if rows.ndim not in (2, 3):
        raise ValueError(f"{name}: input must be (N, C, L) or (C, L), got {rows.shape}")
    return unsqueeze(rows, -2)


def _rows(found):
    return squeeze(found, -2) if isinstance(found, Variable) else tuple(squeeze(part, -2) for part in found)


def _three(name, weight):
    require_float(name, weight=weight)
    if weight.ndim != 3:
        raise ValueError(f"{name}: weight must have three axes, (out, in, k), transposed (in, out, k); got {weight.shape}")


def _one(name, value, minimum=1) -> int:
    if isinstance(value, (tuple, list)) and len(value) == 1:
        value = value[0]
    return integer(name, value, minimum)
