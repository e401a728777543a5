"""The two players of the first GAN: a perceptron that draws, and a maxout network that judges (Goodfellow et al. 2014).

    generator       z (N, latent) -> ReLU 1200 -> ReLU 1200 -> sigmoid, one number for each pixel
    discriminator   pixels -> maxout 240 units of 5 pieces -> the same again -> one logit; dropout before each of the three layers

The paper leaves the sizes open; they are those of the authors' `mnist.yaml`, and so are the weights at the start: uniform in +-0.05
for the generator, +-0.005 for the discriminator, biases 0. Only the generator's last bias is not: it makes a generator that knows
nothing draw the mean picture (`marginals`), so it need not learn first that most pixels are black.

Pictures are in [-1, 1] here as everywhere; the generator's sigmoid is in [0, 1] and is stretched, and the discriminator shrinks
what it is shown back to [0, 1].

Imports: numpy, minigrad.nn, nets.classifiers.maxout.
"""

from __future__ import annotations

import numpy as np

from minigrad import nn
from minigrad.nn import init
from nets.classifiers.maxout import Maxout

GENERATOR_RANGE, DISCRIMINATOR_RANGE = 0.05, 0.005


def marginals(images) -> np.ndarray:
    """Logits of the mean picture: images (N, C, H, W) in [-1, 1] -> (C*H*W,), log(p / (1 - p)) of each pixel's mean p in [0, 1].

    p is kept within [1e-3, 1 - 1e-3]: a pixel that is black in every image still has a gradient."""
    p = np.clip((images.reshape(len(images), -1).mean(0, dtype=np.float64) + 1) / 2, 1e-3, 1 - 1e-3)
    return np.log(p / (1 - p)).astype(np.float32)


class MLPGenerator(nn.Module):
    """latents (N, latent) -> images (N, channels, size, size) in (-1, 1).

    bias: the last layer's bias at the start, (channels*size*size,), as `marginals` makes it; None for 0."""

    def __init__(self, size=28, channels=1, latent=100, hidden=1200, bias=None, rng=None):
        super().__init__()
        self.main = nn.Sequential(
            nn.Linear(latent, hidden, rng=rng), nn.ReLU(), nn.Linear(hidden, hidden, rng=rng), nn.ReLU(),
            nn.Linear(hidden, channels * size * size, rng=rng), nn.Sigmoid(), nn.Unflatten(1, (channels, size, size)))
        _start(self, GENERATOR_RANGE, rng)
        if bias is not None:
            last = self.main[4].bias
            if np.shape(bias) != last.shape:
                raise ValueError(f"MLPGenerator: bias must have one number for each of {last.shape[0]} pixels, "
                                 f"got {np.shape(bias)}")
            last.assign_(np.asarray(bias, np.float32))

    def forward(self, z):
        return self.main(z) * 2 - 1


class MLPDiscriminator(nn.Module):
    """images (N, channels, size, size) in [-1, 1] -> logits (N,): large means real.

    dropout: the share of inputs left out before the first layer, and before each of the other two."""

    def __init__(self, size=28, channels=1, units=240, pieces=5, dropout=(0.2, 0.5), rng=None):
        super().__init__()
        first, later = dropout
        self.main = nn.Sequential(
            nn.Flatten(), nn.Dropout(first, rng=rng), Maxout(channels * size * size, units, pieces, rng=rng),
            nn.Dropout(later, rng=rng), Maxout(units, units, pieces, rng=rng),
            nn.Dropout(later, rng=rng), nn.Linear(units, 1, rng=rng))
        _start(self, DISCRIMINATOR_RANGE, rng)

    def forward(self, images):
        return self.main((images + 1) * 0.5).reshape(len(images))


def _start(network, reach, rng):
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            init.uniform_(layer.weight, -reach, reach, rng=rng)
            init.zeros_(layer.bias)
