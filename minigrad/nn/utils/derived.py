"""Weights that are computed from other parameters before each forward: spectral_norm and weight_norm, PyTorch's in names and state.

A layer's `weight` is no Parameter any more but the result of the last forward, cut from its graph. A layer so treated has a
hook, so it never fuses with its neighbours.

Imports: numpy, minigrad.autograd, minigrad.functional.common, minigrad.functional.reduction, minigrad.nn.module,
minigrad.random, minigrad.tensor.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad.autograd import no_grad
from minigrad.functional.common import integer
from minigrad.functional.reduction import norm
from minigrad.nn.module import Module, Parameter
from minigrad.random import as_stream
from minigrad.tensor import tensor


def spectral_norm(module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None, *,
                  rng=None) -> Module:
    """Divide the weight by its largest singular value, as a matrix with axis `dim` in front (Miyato et al. 2018, algorithm 1).

    dim: 0, or 1 for transposed convolutions. The value is u^T W v with the vectors u and v of a power iteration that goes
    n_power_iterations on at each forward in training. In the state: `weight_orig`, and the buffers `weight_u` and `weight_v`.
    rng: where their first values come from. Returns the module.
    """
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    n = integer("spectral_norm: n_power_iterations", n_power_iterations, 1)
    weight = _given("spectral_norm", module, name)
    _replace(module, name, SpectralNorm(name, n, eps, dim), orig=weight)
    rows, stream = weight.shape[dim], as_stream(rng)
    for label, size in (("u", rows), ("v", weight.numel() // rows)):
        start = stream.normal(size, dtype=weight.dtype)
        module.register_buffer(f"{name}_{label}", tensor(start / max(float(np.linalg.norm(start)), eps), device=weight.device))
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Make the divided weight a Parameter again. Returns the module."""
    return _restore("spectral_norm", module, name, SpectralNorm, ("orig", "u", "v"))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Split the weight into its length and direction, w = g v / ||v||, with one length for each entry of axis `dim`, or one in
    all for None (Salimans & Kingma 2016). In the state: `weight_g` and `weight_v`. Returns the module.
    """
    weight = _given("weight_norm", module, name)
    with no_grad():
        length = _length(weight, dim)
    _replace(module, name, WeightNorm(name, dim), g=Parameter(length), v=weight)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Make the product of length and direction a Parameter again. Returns the module."""
    return _restore("weight_norm", module, name, WeightNorm, ("g", "v"))


class SpectralNorm:
    """The hook of spectral_norm: the divided weight."""

    def __init__(self, name, n_power_iterations, eps, dim):
        self.name, self.n_power_iterations, self.eps, self.dim = name, n_power_iterations, eps, dim

    def compute(self, module, training: bool):
        weight, u, v = (getattr(module, f"{self.name}_{label}") for label in ("orig", "u", "v"))
        matrix = weight.movedim(self.dim, 0).reshape(weight.shape[self.dim], -1)
        if training:
            a = matrix.array
            for _ in range(self.n_power_iterations):
                v.assign_(_unit(a.T @ u.array, self.eps))
                u.assign_(_unit(a @ v.array, self.eps))
        left, right = u.array.copy(), v.array.copy()  # the next forward overwrites the buffers, this graph needs these
        return weight / (matrix * (left[:, None] * right[None, :])).sum()

    def __call__(self, module, args):
        setattr(module, self.name, self.compute(module, module.training))


class WeightNorm:
    """The hook of weight_norm: length times direction."""

    def __init__(self, name, dim):
        self.name, self.dim = name, dim

    def compute(self, module, training: bool):
        g, v = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        return v * (g / _length(v, self.dim))

    def __call__(self, module, args):
        setattr(module, self.name, self.compute(module, module.training))


class _Cut:
    """After the forward: what stays on the module is the value, without its graph, so that the module can be copied."""

    def __init__(self, name):
        self.name = name

    def __call__(self, module, args, out):
        setattr(module, self.name, getattr(module, self.name).detach())


def _unit(x, eps):
    return x / max(math.sqrt(float((x * x).sum())), eps)


def _length(weight, dim):
    """The norm over all axes but dim, which stays; over all for None."""
    if dim is None:
        return norm(weight)
    axes = tuple(a for a in range(weight.ndim) if a != dim % weight.ndim)
    return norm(weight, 2, axes, keepdim=True)


def _given(function, module, name) -> Parameter:
    if not isinstance(module, Module):
        raise TypeError(f"{function}: expected a Module, got {type(module).__name__}")
    weight = module._parameters.get(name)
    if weight is None:
        raise ValueError(f"{function}: {type(module).__name__} has no parameter '{name}' (it has {', '.join(module._parameters)}); "
                         "it is taken once for each weight")
    return weight


def _replace(module, name, hook, **parts) -> None:
    value = getattr(module, name).detach()
    delattr(module, name)
    for label, parameter in parts.items():
        module.register_parameter(f"{name}_{label}", parameter)
    setattr(module, name, value)
    module.register_forward_pre_hook(hook)
    module.register_forward_hook(_Cut(name))


def _restore(function, module, name, kind, labels) -> Module:
    for key, (_, hook) in list(module._hooks.items()):
        if isinstance(hook, kind) and hook.name == name:
            with no_grad():
                weight = Parameter(hook.compute(module, False))
            for label in labels:
                delattr(module, f"{name}_{label}")
            cut = next(k for k, (_, h) in module._hooks.items() if isinstance(h, _Cut) and h.name == name)
            del module._hooks[key], module._hooks[cut]
            delattr(module, name)
            setattr(module, name, weight)
            return module
    raise ValueError(f"remove_{function}: {type(module).__name__} has no {function} of '{name}'")
