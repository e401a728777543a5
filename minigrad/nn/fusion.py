"""Layers that share one pass over memory when they are neighbours in a Sequential. They "fuse":

    convolution, (leaky) ReLU                           conv2d_leaky_relu; transposed and with bias: the product, then
                                                        F.fused.bias_leaky_relu
    batch norm in training with affine, (leaky) ReLU    F.fused.batch_norm_leaky_relu
    batch norm in training with affine, sum, ReLU       F.fused.batch_norm_leaky_relu(..., other=), at the end of nn.Residual
    convolution without bias, either of the last two    F.conv_norm: one node of the graph
    convolution, batch norm in evaluation [, (leaky) ReLU]
        norm(W x + b) = (s W) x + (s b + t), where the norm is y -> s y + t: the same with scaled weights

The result is that of calling one layer after the other (tests/nn/test_fusion.py), up to rounding where weights are scaled.
Only layers of exactly these types fuse. A layer with a hook does not, so a hook always sees what its layer computes.

A "training pair" is a convolution and its batch norm in training; an "evaluation pair" is the same in evaluation.

Imports: minigrad.functional, activation, convolution, normalization.
"""

from __future__ import annotations

from minigrad.functional import fused as F
from minigrad.functional.conv_norm import conv2d_batch_norm_leaky_relu, conv_transpose2d_batch_norm_leaky_relu
from minigrad.functional.normalization import evaluation_map
from minigrad.nn.activation import LeakyReLU, ReLU
from minigrad.nn.convolution import Conv2d, ConvTranspose2d
from minigrad.nn.normalization import BatchNorm1d, BatchNorm2d


def run(modules: list, i: int, input):
    """(output, next i): modules[i] and as many of its neighbours as fuse, applied to input."""
    module, following = modules[i], modules[i + 1] if i + 1 < len(modules) else None
    pair = None
    if is_evaluation_pair(module, following, input):
        pair = evaluation_pair
    elif is_training_pair(module, following, input):
        pair = training_pair
    if pair is not None:
        slope = slope_of(modules[i + 2]) if i + 2 < len(modules) else None
        return pair(module, following, input, 1.0 if slope is None else slope), i + (2 if slope is None else 3)
    slope = slope_of(following)
    out = None if slope is None else activated(module, input, slope)
    return (module(input), i + 1) if out is None else (out, i + 2)


def slope_of(module) -> float | None:
    """The slope left of 0 if `module` is a ReLU or LeakyReLU that may fuse, else None."""
    if type(module) is ReLU and not module.hooked:
        return 0.0
    if type(module) is LeakyReLU and not module.hooked and module.negative_slope >= 0:
        return module.negative_slope
    return None


def summed(modules: list, input, other, slope: float):
    """leaky_relu(modules(input) + other), modules one after the other; a batch norm at their end shares the last pass."""
    i = 0
    while i < len(modules):
        if i + 2 == len(modules) and is_training_pair(*modules[i:], input) and input.dtype == other.dtype:
            return training_pair(*modules[i:], input, slope, other)
        if i + 1 == len(modules) and is_training_norm(modules[i]) and input.shape == other.shape:
            return training_norm(modules[i], input, slope, other)
        input, i = run(modules, i, input)
    return F.add_leaky_relu(input, other, slope)


def activated(module, input, slope: float):
    """leaky_relu(module(input)) in one pass over memory, or None where the two do not fuse."""
    if module.hooked:
        return None
    if type(module) is Conv2d:
        return module.product(input, module.bias, slope=slope)
    if type(module) is ConvTranspose2d:
        if module.bias is None or input.ndim != 4:
            return None
        return F.bias_leaky_relu(module.product(input), module.bias, slope)
    return training_norm(module, input, slope) if is_training_norm(module) else None


def is_training_norm(module) -> bool:
    """Whether the module is a batch norm that may fuse: in training, with scale and shift."""
    if type(module) not in (BatchNorm1d, BatchNorm2d) or module.hooked:
        return False
    return module.weight is not None and module.bias is not None and module.uses_batch


def training_norm(norm, input, slope: float, other=None):
    """leaky_relu(norm(input) + other) in one pass over memory"""
    mean, var, momentum = norm.statistics(input.shape)
    return F.batch_norm_leaky_relu(input, mean, var, norm.weight, norm.bias, momentum, norm.eps, slope, other)


def is_training_pair(convolution, norm, input) -> bool:
    """Whether the two are a convolution and its batch norm in training, which share a node."""
    if type(convolution) not in (Conv2d, ConvTranspose2d) or not is_training_norm(norm) or type(norm) is not BatchNorm2d:
        return False
    if convolution.hooked or convolution.bias is not None or convolution.padding_mode != "zeros" or input.ndim != 4:
        return False
    return input.dtype == convolution.weight.dtype == norm.weight.dtype == norm.bias.dtype


def training_pair(convolution, norm, input, slope: float, other=None):
    """leaky_relu(norm(convolution(input)) + other)"""
    c = convolution
    given = (input, c.weight, norm.weight, norm.bias, norm.statistics, norm.eps, c.stride, c.padding)
    if c.transposed:
        return conv_transpose2d_batch_norm_leaky_relu(*given, c.output_padding, c.groups, c.dilation, slope, other)
    return conv2d_batch_norm_leaky_relu(*given, c.dilation, c.groups, slope, other)


def is_evaluation_pair(convolution, norm, input) -> bool:
    """Whether the norm is a fixed map that can be multiplied into the convolution's weights."""
    if type(convolution) not in (Conv2d, ConvTranspose2d) or type(norm) is not BatchNorm2d or norm.uses_batch:
        return False
    if convolution.hooked or norm.hooked or input.ndim != 4 or norm.num_features != convolution.out_channels:
        return False
    if convolution.transposed and convolution.groups > 1:
        return False
    return convolution.weight.dtype == norm.running_mean.dtype


def evaluation_pair(convolution, norm, input, slope: float):
    """leaky_relu(norm(convolution(input))) with the norm's scale in the weights."""
    weight, mean, var = convolution.weight, norm.running_mean, norm.running_var
    scale, shift = evaluation_map(weight, mean, var, norm.weight, norm.bias, norm.eps)
    if convolution.bias is not None:
        shift = shift + scale * convolution.bias
    along = (1, -1, 1, 1) if convolution.transposed else (-1, 1, 1, 1)
    weight = weight * scale.reshape(along)
    if not convolution.transposed:
        return convolution.product(input, shift, weight, slope)
    return F.bias_leaky_relu(convolution.product(input, weight=weight), shift, slope)
