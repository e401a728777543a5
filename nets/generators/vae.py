"""The variational autoencoder (Kingma & Welling 2014): a code that is a distribution, and a bound on the likelihood of a picture.

    z    the code (latent,)      m, v   its mean and log variance, which the encoder reads off the picture x
    e    noise N(0, I)           z = m + exp(v / 2) e                      (reparameterisation: e is handed in, so z has a gradient)

    -log p(x) <= reconstruction + divergence                                     (nats per picture, the loss)
    reconstruction = -log p(x | z), one draw of e                                (section 2.3, L = 1)
    divergence = KL(N(m, exp v) || N(0, I)) = 1/2 sum(exp v + m^2 - 1 - v)       (appendix B)

Two likelihoods p(x | z), both sums over pixels and channels:
  bernoulli  a pixel is white with probability p. A grey pixel t in [0, 1] counts as -t log p - (1 - t) log(1 - p), as is usual
             for MNIST. This is a likelihood for black and white pixels only; the published 100 to 106 nats are this number
  gaussian   x in [-1, 1] is N(mean, s^2) with one s for all pixels, learned with the weights. This is a density, so it may exceed 1
             and the bound may be negative; compare it only with bounds in the same units

Two networks: `conv`, the encoder and decoder of `autoencoder`, and `mlp`, the 784-400-20-400-784 of the well-known PyTorch example.

Imports: numpy, minigrad.functional, minigrad.nn, autoencoder, dcgan.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from minigrad import functional as F
from minigrad import nn
from nets.generators.autoencoder import Encoder
from nets.generators.dcgan import Generator

LIKELIHOODS, NETWORKS = ("bernoulli", "gaussian"), ("conv", "mlp")


def divergence(mean, logvar):
    """KL(N(mean, exp logvar) || N(0, I)) of each row, in nats: (N, latent) twice -> (N,)."""
    return 0.5 * (logvar.exp() + mean * mean - 1 - logvar).sum(1)


def reparameterise(mean, logvar, noise):
    """A draw from N(mean, exp logvar), made of noise N(0, I) of the same shape; differentiable by mean and logvar."""
    return mean + (logvar * 0.5).exp() * noise


class VAE(nn.Module):
    """images (N, channels, size, size) in [-1, 1]. width, refine: of the conv networks. hidden: of the mlp."""

    def __init__(self, size=28, channels=1, latent=20, network="conv", likelihood="bernoulli", width=48, refine=1, hidden=400,
                 rng=None):
        super().__init__()
        for what, value, known in (("network", network, NETWORKS), ("likelihood", likelihood, LIKELIHOODS)):
            if value not in known:
                raise ValueError(f"VAE: {what} must be one of {', '.join(known)}, got {value!r}")
        self.latent, self.network, self.likelihood = latent, network, likelihood
        if network == "conv":
            self.encoder = Encoder(size, channels, 2 * latent, width, rng=rng)
            self.decoder = Generator(size, channels, latent, width, refine, rng=rng)
        else:
            pixels = channels * size * size
            self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(pixels, hidden, rng=rng), nn.ReLU(),
                                         nn.Linear(hidden, 2 * latent, rng=rng))
            self.decoder = nn.Sequential(nn.Linear(latent, hidden, rng=rng), nn.ReLU(), nn.Linear(hidden, pixels, rng=rng),
                                         nn.Unflatten(1, (channels, size, size)))
        if likelihood == "gaussian":
            self.log_std = nn.Parameter(np.zeros((), np.float32))  # of a pixel, log s

    def encode(self, images):
        """(mean, log variance) of the code, each (N, latent)."""
        both = self.encoder(images if self.network == "conv" else (images + 1) * 0.5)
        return both[:, : self.latent], both[:, self.latent :]

    def logits(self, z):
        """codes (N, latent) -> logits of the pixels (N, C, H, W).

        The generator ends in tanh(a), and tanh(a) = 2 sigmoid(2 a) - 1: a picture in (-1, 1) whose pixels are white with
        probability sigmoid(2 a) on the scale from 0 to 1. So the logits are 2 a, and the decoder stays DCGAN's.
        """
        if self.network == "mlp":
            return self.decoder(z)
        return self.decoder.main[:-1](z.reshape(z.shape[0], self.latent, 1, 1)) * 2

    def decode(self, z):
        """codes (N, latent) -> the mean picture of each, in (-1, 1)."""
        return (self.logits(z) * 0.5).tanh()

    def bound(self, images, noise):
        """(reconstruction, divergence) of each picture in nats, (N,) both; their sum bounds -log p(x). noise: N(0, I), as z."""
        mean, logvar = self.encode(images)
        logits = self.logits(reparameterise(mean, logvar, noise))
        if self.likelihood == "bernoulli":
            nats = F.binary_cross_entropy_with_logits(logits, (images + 1) * 0.5, reduction="none")
        else:
            away = (images - (logits * 0.5).tanh()) * (-self.log_std).exp()
            nats = 0.5 * away * away + (self.log_std + 0.5 * math.log(2 * math.pi))
        return nats.flatten(1).sum(1), divergence(mean, logvar)

    def forward(self, images):
        """The copy of each picture from the mean of its code."""
        return self.decode(self.encode(images)[0])


# ---- codes to look at


def plane(base: np.ndarray, count: int, across: int = 0, down: int = 1) -> np.ndarray:
    """Codes (count^2, latent) of a square of pictures, row by row: coordinate `across` grows to the right, `down` grows downwards.

    Both stand at the quantiles (i + 1/2) / count of N(0, 1), so that every cell stands for an equal share of what the prior
    draws. The other coordinates are those of `base` (latent,): a code of two numbers has none, and with more of them, 0 is a code
    that no picture has."""
    latent = len(base)
    if not (0 <= across < latent and 0 <= down < latent and across != down):
        raise ValueError(f"plane: needs two different coordinates of {latent}, got {across} and {down}")
    quantiles = np.array([NormalDist().inv_cdf((i + 0.5) / count) for i in range(count)], np.float32)
    codes = np.tile(np.asarray(base, np.float32), (count, count, 1))
    codes[..., across], codes[..., down] = quantiles[None, :], quantiles[:, None]
    return codes.reshape(-1, latent)


def walk(a: np.ndarray, b: np.ndarray, frames: int) -> np.ndarray:
    """Codes (frames, N, latent) on the straight lines from a to b, both (N, latent); the ends are a and b themselves."""
    t = np.linspace(0, 1, frames, dtype=np.float32)[:, None, None]
    return a * (1 - t) + b * t
