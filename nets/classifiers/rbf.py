"""A shallow network of radial basis functions: each class is near one point, and far from it nothing is believed.

Goodfellow et al. 2014, section 7:   p(y = k | x) = exp(-(x - mu_k)^T B_k (x - mu_k)),   here with diagonal B_k > 0. The
classes are independent answers (they need not sum to 1), so that "none of them" can be said.

Imports: numpy, minigrad.functional, minigrad.nn.
"""

from __future__ import annotations

import numpy as np

from minigrad import functional as F
from minigrad import nn
from minigrad.nn import Parameter


class RBF(nn.Module):
    """Samples (N, ...) of d numbers each -> log p (N, K) <= 0.

    centres: array (K, d), the initial mu (means of the classes); width: initial diagonal of B, through a softplus.
    """

    def __init__(self, centres, width=0.01):
        super().__init__()
        centres = np.asarray(centres, np.float32)
        self.centres = Parameter(centres)  # (K, d)
        self.raw = Parameter(np.full_like(centres, np.log(np.expm1(width))))  # (K, d), softplus^-1 of B

    def forward(self, x):
        # sum_i b_i (x_i - mu_i)^2 = x^2 . b - 2 x . (b mu) + mu^2 . b: products of matrices instead of (N, K, d)
        x, b = x.flatten(1), F.softplus(self.raw)
        constant = (b * self.centres * self.centres).sum(1)
        return -F.relu(F.linear(x * x, b) - 2.0 * F.linear(x, b * self.centres) + constant)


def independent_loss(logits, labels):
    """(N,) sum over classes of -t log p - (1 - t) log(1 - p), from logits = log p (N, K): a Tensor."""
    wanted = np.asarray(labels, like=logits.array)[:, None] == np.arange(logits.shape[1], like=logits.array)
    yes = wanted.astype(logits.dtype)
    return -(logits * yes + (1.0 - logits.exp() + 1e-6).log() * (1.0 - yes)).sum(1)
