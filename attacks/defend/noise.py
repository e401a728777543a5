"""Noise as a defense: at test time, with a vote (it fails), and at training time (it fails, too).

`Noisy` hides the network behind noise and lets several noisy looks vote. The naive attack follows the gradient of one draw, and
is judged by another. The attack that breaks it averages gradients over draws (expectation over transformation, Athalye et al.
2018): `pgd(Victim(noisy.one()), ..., samples=20, early_stop=False)`, judged by the majority of fresh draws. early_stop is off,
because a first success may be a lucky draw.

`draw` is the noise itself; training with it (defend.training.noise) resists such noise and little else: Goodfellow et al.
2014, section 7, still err on 86.2 % (signs) and 90.4 % (uniform) of adversarial examples. The same Gaussian noise with a
vote that is counted with care is a defense that holds: defend.smooth.

Imports: numpy, attacks.core.arrays, minigrad.nn, minigrad.random, base.
"""

from __future__ import annotations

import numpy as np

from attacks.core.arrays import real, whole
from attacks.defend.base import log_mean_probability, log_votes, positive, straight_through
from minigrad import nn
from minigrad.random import Stream, as_stream

KINDS = ("gaussian", "uniform", "sign")


def draw(kind: str, size: float, shape, rng=None, dtype=np.float32):
    """Noise of `shape`, a NumPy array: 'gaussian' N(0, size^2), 'uniform' U[-size, size), 'sign' -size or +size."""
    rng, size = as_stream(rng), real("noise", "[0, inf)", size=size)
    if kind == "gaussian":
        return rng.normal(shape, dtype, std=size)
    if kind == "uniform":
        return rng.uniform(-size, size, shape, dtype)
    if kind == "sign":
        return np.where(rng.bernoulli(0.5, shape), size, -size).astype(dtype)
    raise ValueError(f"noise: kind must be one of {', '.join(map(repr, KINDS))}, got {kind!r}")


class Noisy(nn.Module):
    """Noise at test time: a vote of `draws` looks at x + noise. Active in evaluation mode, too; the box does not bound it.

    net    Tensor (N, ...) -> logits (N, classes), in the units of x (base.Normalized)
    sigma  size of the noise, of `kind` as in `draw`
    vote   'majority': logits are the logarithms of the shares of votes, whose derivative would be 0 everywhere; they carry
           that of 'mean', the logarithm of the mean probability. With one draw both are the network's own logits.
    fixed  None: fresh noise at each call, from rng; an int: the same noise at each call with a batch of the same shape
           (randomness that the attacker knows is none)
    """

    def __init__(self, net, sigma, kind="gaussian", draws=1, vote="majority", *, fixed=None, rng=None):
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"Noisy: kind must be one of {', '.join(map(repr, KINDS))}, got {kind!r}")
        if vote not in ("majority", "mean"):
            raise ValueError(f"Noisy: vote must be 'majority' or 'mean', got {vote!r}")
        self.net, self.sigma, self.kind = net, positive("Noisy: sigma", sigma), kind
        self.draws, self.vote, self.fixed, self.rng = whole("Noisy", draws=draws), vote, fixed, as_stream(rng)

    def one(self) -> Noisy:
        """The same defense as a single noisy look (sharing the network): what an attack averages over."""
        new = Noisy(self.net, self.sigma, self.kind, 1, self.vote, rng=self.rng)
        return new.train(self.training)

    def forward(self, x):
        stream = self.rng if self.fixed is None else Stream(self.fixed, "noisy")
        looks = []
        for _ in range(self.draws):
            noise = draw(self.kind, self.sigma, x.shape, stream, x.dtype)
            looks.append(self.net(x + np.asarray(noise, like=x.array)))
        if len(looks) == 1:
            return looks[0]
        mean = log_mean_probability(looks)
        return mean if self.vote == "mean" else straight_through(mean, log_votes(looks))
