"""Matrix products, and rows added up: what linear layers and embeddings need.

Imports: numpy.
"""

import numpy as np


def matmul(a, b):
    """NumPy's matmul for ndim >= 2: the last two axes are matrices, the others broadcast."""
    return np.matmul(a, b)


def add_rows(g, rows, count):
    """y[rows[k]] += g[k], from zeros: the adjoint of picking rows, as an embedding does. g (K, D), rows (K,) -> (count, D)."""
    y = np.zeros_like(g, shape=(count, g.shape[1]), order="C")
    places = rows[:, None] * g.shape[1] + np.arange(g.shape[1], like=g)                     # flat: NumPy is ten times faster
    np.add.at(y.reshape(-1), places.reshape(-1), g.reshape(-1))
    return y
