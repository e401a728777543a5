"""Losses and maps of pairs that this field uses seldom, made of other operations: every order of derivative is theirs.

Names, arguments and values are PyTorch's; `reduction` is 'mean', 'sum' or 'none'. Targets are constants or Tensors that
broadcast. Published subgradients: a hinge has 0 at its corner, except where PyTorch's clamp passes it (margin_ranking_loss,
triplet_margin_loss, cosine_embedding_loss and hinge_embedding_loss have the gradient of the positive side there).

Imports: numpy, minigrad.autograd, activation, common, elementwise, indexing, linear, loss, reduction.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad.autograd import Variable
from minigrad.functional.activation import softplus
from minigrad.functional.common import integer, numpy_names, real, require_float
from minigrad.functional.elementwise import clamp, exp, log, minimum, where
from minigrad.functional.indexing import pad_constant
from minigrad.functional.linear import einsum
from minigrad.functional.loss import cosine_similarity
from minigrad.functional.reduction import norm
from minigrad.functional.reduction import sum as sum_over


def reduced(name, losses, reduction):
    """The mean or the sum of the losses, or the losses themselves."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{name}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    if reduction == "none":
        return losses
    if reduction == "mean" and losses.numel() == 0:
        raise ValueError(f"{name}: reduction='mean' has nothing to average over shape {losses.shape}; use 'sum' or 'none'")
    return sum_over(losses) if reduction == "sum" else sum_over(losses) * (1.0 / losses.numel())


def _constant(name, value, input):
    """A target: a Tensor of floating-point numbers as it is, else an array in the input's dtype."""
    if isinstance(value, Variable) and value.array.dtype.kind == "f":
        return value
    array = value.array if isinstance(value, Variable) else np.asarray(value)
    try:
        np.broadcast_shapes(array.shape, input.shape)
    except ValueError:
        raise ValueError(f"{name}: target {array.shape} does not broadcast against input {input.shape}") from None
    return array.astype(input.dtype)


def _values(x):
    return x.array if isinstance(x, Variable) else x


@numpy_names
def pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    """||x1 - x2 + eps||_p along the last axis."""
    require_float("pairwise_distance", x1=x1, x2=x2)
    return norm(x1 - x2 + real("pairwise_distance: eps", eps), real("pairwise_distance: p", p), -1, keepdim)


def margin_ranking_loss(input1, input2, target, margin=0.0, reduction="mean"):
    """max(0, -target * (input1 - input2) + margin), target 1 where input1 should be larger, -1 where smaller."""
    require_float("margin_ranking_loss", input1=input1, input2=input2)
    target = _constant("margin_ranking_loss", target, input1)
    return reduced("margin_ranking_loss", clamp((input2 - input1) * target + margin, 0.0), reduction)


def hinge_embedding_loss(input, target, margin=1.0, reduction="mean"):
    """input where target is 1, max(0, margin - input) where it is -1."""
    require_float("hinge_embedding_loss", input=input)
    sign = _values(_constant("hinge_embedding_loss", target, input))
    losses = where(sign != 1, clamp(margin - input, 0.0), 0.0) + where(sign != -1, input, 0.0)
    return reduced("hinge_embedding_loss", losses, reduction)


def soft_margin_loss(input, target, reduction="mean"):
    """log(1 + exp(-target * input)), target 1 or -1."""
    require_float("soft_margin_loss", input=input)
    z = -input * _constant("soft_margin_loss", target, input)
    return reduced("soft_margin_loss", softplus(z, 1.0, math.inf), reduction)


def poisson_nll_loss(input, target, log_input=True, full=False, eps=1e-8, reduction="mean"):
    """exp(input) - target * input, or input - target * log(input + eps) where log_input is False; full adds Stirling's term."""
    require_float("poisson_nll_loss", input=input)
    target = _constant("poisson_nll_loss", target, input)
    losses = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        many = _values(target) > 1
        safe = where(many, target, 1.0) if isinstance(target, Variable) else input.result_type.wrap(np.where(many, target, 1))
        losses = losses + where(many, safe * log(safe) - safe + log(safe * (2 * math.pi)) * 0.5, 0.0)
    return reduced("poisson_nll_loss", losses, reduction)


def gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction="mean"):
    """(log(v) + (input - target)^2 / v) / 2 with v = max(var, eps); full adds log(2 pi) / 2 (Nix & Weigend 1994).

    var: a Tensor of input's shape, or with a last axis of length 1 or without it; or a number. The cut at eps has no gradient
    of its own, as in PyTorch.
    """
    require_float("gaussian_nll_loss", input=input)
    target = _constant("gaussian_nll_loss", target, input)
    var = var if isinstance(var, Variable) else input.result_type.wrap(np.full(input.shape, var, input.dtype))
    if var.shape != input.shape and var.shape == input.shape[:-1]:
        var = var.unsqueeze(-1)
    if var.shape not in (input.shape, (*input.shape[:-1], 1)):
        raise ValueError(f"gaussian_nll_loss: var {var.shape} must have input's shape {input.shape}, or a last axis of length 1")
    if not real("gaussian_nll_loss: eps", eps) > 0 or (var.array < 0).any():
        raise ValueError("gaussian_nll_loss: eps must be positive and var must have no negative entry")
    var = var + (np.maximum(var.array, var.dtype.type(eps)) - var.array)
    losses = (log(var) + (input - target) ** 2 / var) * 0.5 + (0.5 * math.log(2 * math.pi) if full else 0.0)
    return reduced("gaussian_nll_loss", losses, reduction)


def cosine_embedding_loss(input1, input2, target, margin=0.0, reduction="mean"):
    """1 - cos where target is 1, max(0, cos - margin) where it is -1, of pairs of rows."""
    cos = cosine_similarity(input1, input2, dim=-1, eps=1e-6)
    sign = _values(_constant("cosine_embedding_loss", target, cos))
    return reduced("cosine_embedding_loss", where(sign == 1, 1.0 - cos, clamp(cos - margin, 0.0)), reduction)


def triplet_margin_loss(anchor, positive, negative, margin=1.0, p=2, eps=1e-6, swap=False, reduction="mean"):
    """max(0, d(anchor, positive) - d(anchor, negative) + margin) with d of pairwise_distance (Schroff et al. 2015).

    swap: take d(positive, negative) where it is smaller.
    """
    near, far = pairwise_distance(anchor, positive, p, eps), pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = minimum(far, pairwise_distance(positive, negative, p, eps))
    return reduced("triplet_margin_loss", clamp(near - far + margin, 0.0), reduction)


def bilinear(input1, input2, weight, bias=None):
    """y[..., o] = sum over i, j of input1[..., i] weight[o, i, j] input2[..., j], plus bias."""
    require_float("bilinear", input1=input1, input2=input2, weight=weight)
    if input1.shape[:-1] != input2.shape[:-1] or (input1.shape[-1], input2.shape[-1]) != weight.shape[1:]:
        raise ValueError(f"bilinear: input1 {input1.shape}, input2 {input2.shape} and weight {weight.shape} must be (..., I), "
                         "(..., J) and (O, I, J)")
    rows = (-1,)
    y = einsum("ni,oij,nj->no", input1.reshape(*rows, input1.shape[-1]), weight, input2.reshape(*rows, input2.shape[-1]))
    y = y.reshape(*input1.shape[:-1], weight.shape[0])
    return y if bias is None else y + bias


def local_response_norm(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """x / (k + alpha * (mean of x^2 over `size` neighbouring channels))^beta (Krizhevsky et al. 2012)."""
    require_float("local_response_norm", input=input)
    size = integer("local_response_norm: size", size, 1)
    if input.ndim < 3:
        raise ValueError(f"local_response_norm: input must be (N, C, ...), got {input.shape}")
    squares = input * input
    widths = [(0, 0), (size // 2, (size - 1) // 2)] + [(0, 0)] * (input.ndim - 2)
    squares, total = pad_constant(squares, tuple(widths)), None
    for i in range(size):
        part = squares[:, i:i + input.shape[1]]
        total = part if total is None else total + part
    return input / (total * (alpha / size) + k) ** beta
