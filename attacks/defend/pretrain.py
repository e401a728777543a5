"""Generative models as a defense: pre-training, and purification. Both fail.

The idea: a network that knows how data look should not be fooled by what does not look like data. `Autoencoder` learns to
restore noisy images (a denoising autoencoder, Vincent et al. 2008, which models the density of the data); then
    Pretrained   its encoder with a linear layer on top is trained on as a classifier (Goodfellow et al. 2014, section 9: a
                 generatively trained multi-prediction deep Boltzmann machine errs on 97.5 % of adversarial examples)
    Purified     it stands before a classifier and brings images back to where data are, as in MagNet and PixelDefend
The naive attack is an example made for an undefended network (transfer): it often fails. The attack that breaks them is PGD
through all of it. Where the code is rounded in between, the rounding is given the derivative of the identity (BPDA).

Images (N, C, size, size) in [0, 1].

Imports: numpy, attacks.core.arrays, minigrad.functional, minigrad.nn, minigrad.random, minigrad.tensor, masking, noise.
"""

from __future__ import annotations

import numpy as np

from attacks.core.arrays import real, whole
from attacks.defend.masking import quantise
from attacks.defend.noise import draw
from minigrad import functional as F
from minigrad import nn
from minigrad.random import as_stream
from minigrad.tensor import Tensor


class Autoencoder(nn.Module):
    """Images (N, channels, size, size) in [0, 1] -> code (N, code) in (-1, 1) -> images. size: a multiple of 4.

    Two convolutions of stride 2, a linear layer, tanh; mirrored back to a sigmoid; batch norm throughout, without which it
    stays at the mean image for long. width: maps of the first convolution.
    """

    def __init__(self, channels=1, size=28, code=64, width=16, rng=None):
        super().__init__()
        if whole("Autoencoder", size=size) % 4 or size < 8:
            raise ValueError(f"Autoencoder: size must be a multiple of 4 and at least 8, got {size}; pad the images")
        side, w = size // 4, whole("Autoencoder", width=width)
        self.channels, self.size, self.code = channels, size, whole("Autoencoder", code=code)
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, w, 4, 2, 1, bias=False, rng=rng), nn.BatchNorm2d(w), nn.ReLU(),
            nn.Conv2d(w, 2 * w, 4, 2, 1, bias=False, rng=rng), nn.BatchNorm2d(2 * w), nn.ReLU(),
            nn.Flatten(), nn.Linear(2 * w * side * side, code, rng=rng), nn.Tanh(),
        )
        self.decoder = nn.Sequential(
            nn.Linear(code, 2 * w * side * side, rng=rng), nn.Unflatten(1, (2 * w, side, side)), nn.BatchNorm2d(2 * w), nn.ReLU(),
            nn.ConvTranspose2d(2 * w, w, 4, 2, 1, bias=False, rng=rng), nn.BatchNorm2d(w), nn.ReLU(),
            nn.ConvTranspose2d(w, channels, 4, 2, 1, rng=rng),
        )

    def encode(self, x):
        """(N, code) in (-1, 1)."""
        if x.ndim != 4 or x.shape[1:] != (self.channels, self.size, self.size):
            raise ValueError(f"Autoencoder: takes images (N, {self.channels}, {self.size}, {self.size}), got {x.shape}")
        return self.encoder(x)

    def logits(self, code):
        """Images before the sigmoid."""
        return self.decoder(code)

    def decode(self, code):
        """(N, channels, size, size) in (0, 1)."""
        return self.logits(code).sigmoid()

    def forward(self, x):
        return self.decode(self.encode(x))


def denoising_loss(autoencoder, x, sigma: float = 0.3, rng=None) -> Tensor:
    """Cross-entropy of x (array in [0, 1]) with what the autoencoder restores from x + sigma N(0, 1), clipped to [0, 1].

    Mean over elements: -x log r - (1 - x) log(1 - r); for images that are nearly black and white.
    """
    device, sigma = next(autoencoder.parameters()).device, real("denoising_loss", "[0, inf)", sigma=sigma)
    noisy = np.clip(x + draw("gaussian", sigma, x.shape, as_stream(rng), x.dtype), 0, 1)
    wanted, seen = (Tensor.wrap(v).to(x.dtype, device=device) for v in (x, noisy))
    return F.binary_cross_entropy_with_logits(autoencoder.logits(autoencoder.encode(seen)), wanted)


class Pretrained(nn.Module):
    """A classifier on the code of a (pre-trained) autoencoder, whose encoder it shares: images in [0, 1] -> (N, classes).

    freeze: train the last layer only; else all of it is trained on.
    """

    def __init__(self, autoencoder, classes=10, freeze=False, rng=None):
        super().__init__()
        self.encoder, self.freeze = autoencoder.encoder, freeze
        self.head = nn.Linear(autoencoder.code, classes, rng=rng)

    def forward(self, x):
        code = self.encoder(x)
        return self.head(code.detach() if self.freeze and self.training else code)


class Purified(nn.Module):
    """net(autoencoder(x)), in [0, 1]: images are brought back to where data are before they are classified.

    levels    None, or the number of values that each element of the code is rounded to: no gradient comes through then
    gradient  of that rounding: 'zero', as built, or 'identity', as the attacker sees through it (`bpda()`)
    rounds    how often the autoencoder is applied
    """

    def __init__(self, net, autoencoder, levels=None, gradient="zero", rounds=1):
        super().__init__()
        self.net, self.autoencoder = net, autoencoder
        self.levels, self.gradient = None if levels is None else whole("Purified", least=2, levels=levels), gradient
        self.rounds = whole("Purified", rounds=rounds)

    def bpda(self) -> Purified:
        """The same networks (shared) with the identity as the derivative of rounding."""
        return Purified(self.net, self.autoencoder, self.levels, "identity", self.rounds).train(self.training)

    def purify(self, x):
        """What the classifier sees."""
        for _ in range(self.rounds):
            code = self.autoencoder.encode(x)
            if self.levels is not None:
                code = quantise(code, self.levels, -1.0, 1.0, self.gradient)
            x = self.autoencoder.decode(code)
        return x

    def forward(self, x):
        return self.net(self.purify(x))
