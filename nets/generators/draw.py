"""A trained network at work: many rows through a function of it, in evaluation mode and without a graph.

Imports: numpy, minigrad.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg


def in_batches(network, function, rows: np.ndarray, batch: int = 250):
    """function(rows), a part of `batch` rows at a time; each module's own mode is restored. An array, or one for each of several
    results. function: of a Tensor, and made of `network`, such as network itself or network.decode."""
    modes, device = [(m, m.training) for m in network.modules()], next(iter(network.parameters())).device
    network.eval()
    try:
        with mg.no_grad():
            parts = [function(mg.tensor(rows[i : i + batch], device=device)) for i in range(0, len(rows), batch)]
    finally:
        for module, was in modes:
            module.training = was
    if isinstance(parts[0], tuple):
        return tuple(np.concatenate([part[i].cpu().array for part in parts]) for i in range(len(parts[0])))
    return np.concatenate([part.cpu().array for part in parts])
