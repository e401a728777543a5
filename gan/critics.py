"""DCGAN's discriminator with the remedies that are part of the network: packing, minibatch stddev, spectral norm.

    pack           the maps of m pictures of one kind come in together (Lin et al. 2018, section 3)
    stddev         one more map before the last layer says how much a group of pictures differs (Karras et al. 2018, section 3)
    spectral norm  every convolution is divided by its largest singular value (Miyato et al. 2018)

and a critic that sees patches only, of 10 x 10 pixels, for the question of what it then cannot know.

Imports: gan.regularise.minibatch, minigrad.domains, minigrad.nn, nets.generators.dcgan.
"""

from __future__ import annotations

from gan.regularise.minibatch import MinibatchStddev, pack
from minigrad import nn
from minigrad.domains import COUNT, NATURAL, check_all
from nets.generators.dcgan import Discriminator, dcgan_init


class Critic(Discriminator):
    """images (N, channels, size, size) -> logits (N / packed,), large for real ones.

    packed: pictures that are judged together; they have no common class. group: neighbours that minibatch stddev compares, 0 for
    none; N / packed must be a multiple of it. spectral: a spectral norm in every convolution. The rest is
    `nets.generators.dcgan.Discriminator`, and without a remedy so are the names in the state."""

    def __init__(self, size=28, channels=1, width=48, norm=False, *, refine=0, classes=0, packed=1, group=0, spectral=False,
                 rng=None):
        COUNT.check("Critic: packed", packed)
        NATURAL.check("Critic: group", group)
        if packed > 1 and classes:
            raise ValueError(f"Critic: {packed} pictures judged together have no common class; with classes packed must be 1")
        super().__init__(size, channels * packed, width, norm, refine=refine, classes=classes, rng=rng)
        self.packed, self.group = packed, group
        if group:
            last = self.main.pop()
            maps, into, side, _ = last.weight.shape
            wider = nn.Conv2d(into + 1, maps, side, 1, 0, bias=last.bias is not None, rng=rng)
            dcgan_init(wider, rng)
            self.main.extend([MinibatchStddev(group, neighbours=True), wider])
        if spectral:
            with_spectral_norm(self, rng)

    def forward(self, images, labels=None):
        return super().forward(pack(images, self.packed) if self.packed > 1 else images, labels)


class PatchCritic(nn.Module):
    """images (N, channels, size, size) -> logits (N * P,), one for each of P patches of 10 x 10 pixels, 4 apart.

    Two of DCGAN's convolutions and a layer that looks at one place only (Isola et al. 2017, section 3.2.2: a PatchGAN). No logit
    depends on two pixels that are 10 or more apart, in a row or in a column."""

    REACH = 10

    def __init__(self, channels=1, width=48, *, slope=0.2, rng=None):
        super().__init__()
        check_all("PatchCritic", COUNT, channels=channels, width=width)
        self.main = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1, rng=rng), nn.LeakyReLU(slope),
            nn.Conv2d(width, 2 * width, 4, 2, 1, rng=rng), nn.LeakyReLU(slope),
            nn.Conv2d(2 * width, 2 * width, 1, rng=rng), nn.LeakyReLU(slope),
            nn.Conv2d(2 * width, 1, 1, rng=rng),
        )
        dcgan_init(self, rng)

    def forward(self, images):
        return self.main(images).reshape(-1)


def with_spectral_norm(network, rng=None):
    """A spectral norm in every convolution and linear layer of `network`, which is returned."""
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.utils.spectral_norm(layer, rng=rng)
    return network
