"""Dropout layers; what each computes stands in `minigrad.functional`.

rng: the Stream (or numpy Generator) that draws the masks, None the default stream. It is not copied, and its state is not part
of the module's state.

Imports: minigrad.functional, minigrad.random, module.
"""

from __future__ import annotations

from minigrad import functional as F
from minigrad.nn.module import Module
from minigrad.random import as_stream


class _Dropout(Module):
    def __init__(self, p=0.5, inplace=False, *, rng=None):
        super().__init__()
        if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: p must be a probability in [0, 1], got {p!r}")
        self.p, self.inplace = p, inplace
        self.rng = as_stream(rng)

    def extra_repr(self):
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """In training each element is 0 with probability p and otherwise divided by 1 - p; in evaluation nothing happens."""

    def forward(self, input):
        return F.dropout(input, self.p, self.training, rng=self.rng)


class Dropout1d(_Dropout):
    """Dropout of whole channels of (N, C, L) or (C, L)."""

    def forward(self, input):
        if input.ndim not in (2, 3):
            raise ValueError(f"Dropout1d: input must be (N, C, L) or (C, L), got {input.shape}")
        if input.ndim == 2:
            return F.dropout2d(input.unsqueeze(0), self.p, self.training, rng=self.rng).squeeze(0)
        return F.dropout2d(input, self.p, self.training, rng=self.rng)


class Dropout2d(_Dropout):
    """Dropout of whole channels of (N, C, H, W) (Tompson et al. 2015)."""

    def forward(self, input):
        return F.dropout2d(input, self.p, self.training, rng=self.rng)


class AlphaDropout(_Dropout):
    """Dropout for SELU networks: mean and variance stay (Klambauer et al. 2017)."""

    def forward(self, input):
        return F.alpha_dropout(input, self.p, self.training, rng=self.rng)
