"""An autoencoder on DCGAN's two networks: pictures -> a short code -> the same pictures.

    code = encoder(x) (N, code)        x' = decoder(code)        trained on the mean of (x' - x)^2

The decoder is DCGAN's generator, layer for layer; only what trains it differs. So the pictures of an autoencoder, of a VAE and of a
GAN can be laid side by side, and the difference is the loss and nothing else. The encoder is DCGAN's discriminator with a code in
place of its one logit.

Imports: minigrad.nn, dcgan.
"""

from __future__ import annotations

from minigrad import nn
from nets.generators.dcgan import Discriminator, Generator, dcgan_init


class Encoder(nn.Module):
    """images (N, channels, size, size) in [-1, 1] -> (N, outputs), any real numbers. width, refine: as the discriminator's."""

    def __init__(self, size=28, channels=1, outputs=32, width=48, refine=0, rng=None):
        super().__init__()
        self.main = Discriminator(size, channels, width, norm=True, refine=refine, rng=rng).main
        _, maps, start, _ = self.main[-1].weight.shape
        self.main[-1] = nn.Conv2d(maps, outputs, start, 1, 0, rng=rng)
        dcgan_init(self, rng)

    def forward(self, images):
        return self.main(images).reshape(images.shape[0], -1)


class Autoencoder(nn.Module):
    """images (N, channels, size, size) in [-1, 1] -> their copies, in (-1, 1), through a code of `code` numbers."""

    def __init__(self, size=28, channels=1, code=32, width=48, refine=1, rng=None):
        super().__init__()
        self.code = code
        self.encoder = Encoder(size, channels, code, width, rng=rng)
        self.decoder = Generator(size, channels, code, width, refine, rng=rng)

    def forward(self, images):
        return self.decoder(self.encoder(images))
