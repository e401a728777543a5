"""Layers that share one pass over memory when they are neighbours in a Sequential.

    convolution with bias, (leaky) ReLU                 the product, then F.fused.bias_leaky_relu
    batch norm in training with affine, (leaky) ReLU    F.fused.batch_norm_leaky_relu

The result is that of calling one layer after the other (tests/nn/test_fusion.py). Only layers of exactly these types
fuse, and none with hooks, so a hook always sees what its layer computes.
"""

from __future__ import annotations

from minigrad.functional import fused as F
from minigrad.nn.activation import LeakyReLU, ReLU
from minigrad.nn.convolution import Conv2d, ConvTranspose2d
from minigrad.nn.normalization import BatchNorm1d, BatchNorm2d


def slope_of(module) -> float | None:
    """The slope left of 0 if `module` is a ReLU or LeakyReLU that may fuse, else None."""
    if type(module) is ReLU and not module._hooks:
        return 0.0
    if type(module) is LeakyReLU and not module._hooks and module.negative_slope >= 0:
        return module.negative_slope
    return None


def activated(module, input, slope: float):
    """leaky_relu(module(input)) in one pass over memory, or None where the two do not fuse."""
    if module._hooks:
        return None
    if type(module) in (Conv2d, ConvTranspose2d):
        if module.bias is None or input.ndim != 4:
            return None
        return F.bias_leaky_relu(module.product(input), module.bias, slope)
    if type(module) in (BatchNorm1d, BatchNorm2d):
        if module.weight is None or module.bias is None or not module.uses_batch:
            return None
        mean, var, momentum = module.statistics(input)
        return F.batch_norm_leaky_relu(input, mean, var, module.weight, module.bias, momentum, module.eps, slope)
    return None
