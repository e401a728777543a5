"""Limits on gradients, in place, between `backward` and `step`.

Imports: numpy, minigrad.tensor.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad.tensor import Tensor, tensor


def _gradients(name, parameters) -> list[Tensor]:
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for p in parameters:
        if not isinstance(p, Tensor):
            raise TypeError(f"{name}: expected Parameters, got {type(p).__name__}")
    return [p.grad for p in parameters if p.grad is not None]


def clip_grad_norm_(parameters, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False,
                    foreach: bool | None = None) -> Tensor:
    """Scale all gradients by min(1, max_norm / (norm + 1e-6)), norm being that of all of them as one vector.

    parameters: an iterable of Parameters, or one. norm_type: p of the p-norm, inf for the largest entry. Returns the
    norm before clipping, a 0-d Tensor. error_if_nonfinite raises ValueError instead of scaling by NaN or 0. foreach
    changes nothing.
    """
    if not max_norm >= 0:
        raise ValueError(f"clip_grad_norm_: max_norm must be at least 0, got {max_norm}")
    grads, p = _gradients("clip_grad_norm_", parameters), float(norm_type)
    if not grads:
        return tensor(0.0)
    norms = [np.linalg.norm(g.array.reshape(-1, order="A"), p) for g in grads]
    total = np.linalg.norm(np.asarray([float(n) for n in norms], norms[0].dtype), p)
    if error_if_nonfinite and not math.isfinite(total):
        raise ValueError(f"clip_grad_norm_: the gradients' {p:g}-norm is {total}; look for the first loss that is not "
                         "finite, or pass error_if_nonfinite=False")
    factor = min(float(max_norm / (total + 1e-6)), 1.0) if not math.isnan(total) else math.nan
    for g in grads:
        if factor != 1.0:
            g.assign_(g.array * g.dtype.type(factor))
    return tensor(np.asarray(total))


def clip_grad_value_(parameters, clip_value: float, foreach: bool | None = None) -> None:
    """Clip every entry of every gradient to [-clip_value, clip_value]."""
    if not clip_value >= 0:
        raise ValueError(f"clip_grad_value_: clip_value must be at least 0, got {clip_value}")
    for g in _gradients("clip_grad_value_", parameters):
        g.assign_(np.clip(g.array, g.dtype.type(-clip_value), g.dtype.type(clip_value)))
