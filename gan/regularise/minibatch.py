"""The discriminator sees several samples at once, so a generator that always draws the same is found out.

    stddev    how much the samples of a group differ, as one more feature of each (Karras et al. 2018, section 3)
    packing   m samples of one kind, real or generated, are judged together as one (PacGAN, Lin et al. 2018, section 3)

With either, the logit of a sample depends on its neighbours. A penalty on the gradient then holds for the group as a whole: the
sum of all logits is differentiated, as StyleGAN2 does with its R1.

Imports: minigrad.
"""

from __future__ import annotations

import minigrad as mg
from minigrad import nn


def minibatch_stddev(x, group: int = 4, neighbours: bool = False):
    """x (N, C, ...) -> (N, C + 1, ...): the last feature says how much x differs within its group.

    Sample i belongs to the group i mod M, M = N / group; with `neighbours` to the group i // group, so that batches of several
    kinds may be joined and no group mixes them. For each group: the standard deviation over its samples at each place,
    sqrt(mean (x - mean)^2 + 1e-8), and of that the mean over all places: one number, the same for the whole group (ProGAN's
    networks.py; 0 stands for the whole batch, as in its Theano version). ValueError when N is no multiple of the group."""
    n = x.shape[0]
    size = min(group, n) if group else n
    if group < 0 or x.ndim < 2 or n % size:
        raise ValueError(f"minibatch_stddev: x must be (N, C, ...) with N a multiple of the group {group}, got {x.shape}")
    members = int(neighbours)  # the axis of the samples of a group
    y = x.reshape(n // size, size, -1) if neighbours else x.reshape(size, n // size, -1)
    away = y - y.mean(members, keepdim=True)
    number = ((away * away).mean(members, keepdim=True) + 1e-8).sqrt().mean(2, keepdim=True)  # one for each group
    column = number.expand(*y.shape[:2], 1).reshape(n, *[1] * (x.ndim - 1))
    return mg.cat([x, column.expand(n, 1, *x.shape[2:])], 1)


class MinibatchStddev(nn.Module):
    """`minibatch_stddev` as a layer: one more feature map, no parameters."""

    def __init__(self, group: int = 4, neighbours: bool = False):
        super().__init__()
        self.group, self.neighbours = group, neighbours

    def forward(self, x):
        return minibatch_stddev(x, self.group, self.neighbours)

    def extra_repr(self):
        return f"group={self.group}" + ", neighbours=True" * self.neighbours


def pack(x, count: int):
    """x (N, C, ...) -> (N / count, count * C, ...): neighbours joined along the features, for a discriminator of that many.

    Samples of one kind only are joined: pack real and generated ones each for themselves."""
    if count < 1 or x.ndim < 2 or x.shape[0] % count:
        raise ValueError(f"pack: x must be (N, C, ...) with N a multiple of count={count}, got {x.shape}")
    return x.reshape(x.shape[0] // count, count * x.shape[1], *x.shape[2:])
