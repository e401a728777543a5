"""How long the gradient is at each layer of a player, as numbers to log."""

from __future__ import annotations

import math

import numpy as np


def gradient_norms(player: str, network) -> dict:
    """{"gradient_d/conv1": length, ...}: the gradients that lie in the network now, of every weight with a filter or a matrix.

    player: what stands before the stroke, "gradient_d". Shifts and the scales of a batch norm are left out; they are few."""
    weights = [p for p in network.parameters() if p.ndim > 1 and p.grad is not None]
    return {f"{player}/{'conv' if p.ndim > 2 else 'linear'}{i + 1}": math.sqrt(float(np.square(p.grad.array).sum()))
            for i, p in enumerate(weights)}
