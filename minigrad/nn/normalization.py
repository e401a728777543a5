"""Normalisation layers: BatchNorm1d, BatchNorm2d, InstanceNorm1d, InstanceNorm2d, GroupNorm, LayerNorm.

All compute (x - mean) / sqrt(var + eps) * weight + bias with the biased variance; they differ in the axes. Running
statistics live in buffers, outside every graph, and the running variance is the unbiased one, as in PyTorch.

Imports: numpy, minigrad.functional, minigrad.tensor, init, linear, module.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad import functional as F
from minigrad.functional.common import flag, integer, positive
from minigrad.functional.fused import batch_norm_leaky_relu
from minigrad.nn import init
from minigrad.nn.linear import zero_parameter
from minigrad.nn.module import Module
from minigrad.tensor import float32, tensor


def _start(layer) -> None:
    if layer.weight is not None:
        init.ones_(layer.weight)
    if layer.bias is not None:
        init.zeros_(layer.bias)


class _ChannelNorm(Module):
    """Parameters and running statistics of num_features channels.

    momentum: running <- (1 - momentum)*running + momentum*batch; None takes the plain mean of all batches so far.
    affine: have weight (starts at 1) and, unless bias=False, bias (starts at 0).
    track_running_stats=False: have no buffers and use the batch's statistics in evaluation too.
    """

    _optional_keys = ("num_batches_tracked",)
    _ranks: tuple = ()
    _shape = ""

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, device=None,
                 dtype=None, *, bias=True):
        super().__init__()
        self.num_features = integer(f"{type(self).__name__}: num_features", num_features, 1)
        self.eps, self.momentum = positive(f"{type(self).__name__}: eps", eps), momentum
        self.affine = flag(f"{type(self).__name__}: affine", affine)
        self.track_running_stats = flag(f"{type(self).__name__}: track_running_stats", track_running_stats)
        shape = (self.num_features,)
        self.register_parameter("weight", zero_parameter(shape, dtype, device) if affine else None)
        self.register_parameter("bias", zero_parameter(shape, dtype, device) if affine and bias else None)
        real = np.dtype(dtype or float32)
        for name, array in (("running_mean", np.zeros(shape, real)), ("running_var", np.ones(shape, real)),
                            ("num_batches_tracked", np.zeros((), np.int64))):
            self.register_buffer(name, tensor(array, device=device) if track_running_stats else None)
        _start(self)

    def reset_running_stats(self) -> None:
        """Forget all batches: mean 0, variance 1."""
        if self.track_running_stats:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            self.num_batches_tracked.assign_(0)

    def reset_parameters(self) -> None:
        """Weight 1, bias 0, and no running statistics."""
        self.reset_running_stats()
        _start(self)

    def _check(self, shape, channel_axis):
        name = type(self).__name__
        if len(shape) not in self._ranks:
            raise ValueError(f"{name}: input must be {self._shape}, got {shape}")
        if shape[channel_axis] != self.num_features:
            raise ValueError(f"{name}: input {shape} has {shape[channel_axis]} channels, the layer "
                             f"{self.num_features}")

    def extra_repr(self):
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
                f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}")


class _BatchNorm(_ChannelNorm):
    @property
    def uses_batch(self) -> bool:
        """Whether the next call normalises with the batch's own statistics."""
        return self.training or self.running_mean is None

    def statistics(self, shape):
        """Check the input's shape, count a batch in training, and say what it moves: (running_mean, running_var, momentum)."""
        self._check(shape, 1)
        momentum = 0.0 if self.momentum is None else self.momentum
        if not self.training:
            return self.running_mean, self.running_var, momentum
        if self.track_running_stats:
            if math.prod(shape) <= self.num_features:
                raise ValueError(f"{type(self).__name__}: training needs more than one value per channel, got input "
                                 f"{shape}; use a larger batch or .eval()")
            count = self.num_batches_tracked.item() + 1
            self.num_batches_tracked.assign_(count)
            return self.running_mean, self.running_var, 1.0 / count if self.momentum is None else momentum
        return None, None, momentum

    def forward(self, input):
        mean, var, momentum = self.statistics(input.shape)
        if self.uses_batch and self.weight is not None and self.bias is not None:
            return batch_norm_leaky_relu(input, mean, var, self.weight, self.bias, momentum, self.eps, 1.0)
        return F.batch_norm(input, mean, var, self.weight, self.bias, self.uses_batch, momentum, self.eps)


class BatchNorm1d(_BatchNorm):
    """Each feature of (N, C), or each channel of (N, C, L), normalised over the batch (Ioffe & Szegedy 2015).

    In training with the batch's statistics, which also move the running ones; in evaluation with the running ones.
    Raises ValueError in training with one value per channel. Arguments: BatchNorm1d(num_features, eps=1e-5,
    momentum=0.1, affine=True, track_running_stats=True); momentum=None is the plain mean over all batches.
    """

    _ranks, _shape = (2, 3), "(N, C) or (N, C, L)"


class BatchNorm2d(_BatchNorm):
    """Each channel of (N, C, H, W) normalised over batch and positions; the rest as BatchNorm1d."""

    _ranks, _shape = (4,), "(N, C, H, W)"


class _InstanceNorm(_ChannelNorm):
    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=False, track_running_stats=False, device=None,
                 dtype=None, *, bias=True):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input):
        self._check(input.shape, 1 - self._ranks[1])
        single = input.ndim == self._ranks[0]
        x = input.unsqueeze(0) if single else input
        momentum = 0.0 if self.momentum is None else self.momentum
        own = self.training or not self.track_running_stats
        out = F.instance_norm(x, self.running_mean, self.running_var, self.weight, self.bias, own, momentum, self.eps)
        return out.squeeze(0) if single else out


class InstanceNorm1d(_InstanceNorm):
    """Each channel of each sample of (N, C, L) or (C, L) normalised over its positions; the rest as InstanceNorm2d."""

    _ranks, _shape = (2, 3), "(N, C, L) or (C, L)"


class InstanceNorm2d(_InstanceNorm):
    """Each channel of each sample of (N, C, H, W) or (C, H, W) normalised over its positions (Ulyanov et al. 2016).

    By default without weight and bias (affine=False) and without running statistics; with track_running_stats=True
    evaluation uses the running ones.
    """

    _ranks, _shape = (3, 4), "(N, C, H, W) or (C, H, W)"


class GroupNorm(Module):
    """num_groups groups of channels of each sample of (N, C, ...) normalised together (Wu & He 2018); the same in
    training and evaluation. weight and bias (C) unless affine=False; bias=False leaves only the weight."""

    def __init__(self, num_groups, num_channels, eps=1e-5, affine=True, device=None, dtype=None, *, bias=True):
        super().__init__()
        self.num_groups = integer("GroupNorm: num_groups", num_groups, 1)
        self.num_channels = integer("GroupNorm: num_channels", num_channels, 1)
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm: num_channels {num_channels} must be divisible by num_groups {num_groups}")
        self.eps, self.affine = positive("GroupNorm: eps", eps), flag("GroupNorm: affine", affine)
        self.register_parameter("weight", zero_parameter((num_channels,), dtype, device) if affine else None)
        self.register_parameter("bias", zero_parameter((num_channels,), dtype, device) if affine and bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        _start(self)

    def forward(self, input):
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self):
        return (f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
                f"bias={self.bias is not None}")


class LayerNorm(Module):
    """The trailing axes `normalized_shape` of each sample normalised together (Ba et al. 2016).

    weight and bias of that shape unless elementwise_affine=False; bias=False leaves only the weight.
    """

    def __init__(self, normalized_shape, eps=1e-5, elementwise_affine=True, bias=True, device=None, dtype=None):
        super().__init__()
        sizes = normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
        self.normalized_shape = tuple(integer("LayerNorm: normalized_shape", n, 1) for n in sizes)
        if not self.normalized_shape:
            raise ValueError("LayerNorm: normalized_shape must name at least one axis")
        self.eps = positive("LayerNorm: eps", eps)
        self.elementwise_affine = flag("LayerNorm: elementwise_affine", elementwise_affine)
        shape = self.normalized_shape
        self.register_parameter("weight", zero_parameter(shape, dtype, device) if elementwise_affine else None)
        self.register_parameter("bias", zero_parameter(shape, dtype, device) if elementwise_affine and bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        _start(self)

    def forward(self, input):
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self):
        return (f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
                f"bias={self.bias is not None}")
