"""DCGAN's generator and discriminator (Radford, Metz & Chintala 2016, section 3), for 28, 32, 64 pixels and other sizes
that are 4 to 7 times a power of two.

The paper's rules, all kept by default:
  * strided convolutions instead of pooling (D), fractionally strided ones (G); no hidden fully connected layer
  * batch norm in both, but not after the generator's output nor after the discriminator's first layer
  * ReLU in the generator and tanh at its end; leaky ReLU of slope 0.2 in the discriminator
  * weights from N(0, 0.02); batch norm's scale from N(1, 0.02)

    latent (N, z) -> 1x1 -> s x s -> ... -> size x size,     s = 4 for 32 and 64 pixels, 7 for 28

Layers and their names are those of the well-known 64-pixel example for PyTorch, so its weights load by name. Two things may
differ from the paper. The discriminator may go without batch norm (`norm=False`): a gradient penalty needs the gradient of
each sample for itself. And either player may `refine` at its smallest resolution, with 3x3 convolutions between the
latent's end and the rest: at 28 pixels the paper's discriminator has two layers, too few to judge a whole digit.

With `classes` both players know what is to be drawn. The generator's latent is joined by the label's one-hot code (Mirza & Osindero
2014). The discriminator adds the label's own weights to those of its last layer, D(x, y) = (w + v_y) . features(x) + b: the
projection of Miyato & Koyama 2018, equation 3, with a linear psi. Its last convolution has 1 + classes maps then.

Imports: minigrad.
"""

from __future__ import annotations

import math

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from minigrad.domains import COUNT, INTEGER, NATURAL, WEIGHT, check_all
from minigrad.nn import init


def stages(size: int) -> tuple[int, int]:
    """(start, doublings) with size = start * 2**doublings and start in 4..7."""
    INTEGER.check("DCGAN: size", size)
    doublings = max(0, math.floor(math.log2(size / 4))) if size >= 4 else 0
    start = size / 2**doublings
    if doublings < 1 or start != int(start):
        raise ValueError(f"DCGAN: size {size} is not 4, 5, 6 or 7 times a power of two; use 28, 32 or 64")
    return int(start), doublings


class Generator(nn.Module):
    """latent (N, latent) -> images (N, channels, size, size) in (-1, 1).

    width is the number of maps before the last layer; it doubles with every stage towards the latent. refine: extra 3x3
    convolutions at the start. classes: with labels (N,) in 0..classes-1 beside the latents; 0 for none.
    """

    def __init__(self, size=64, channels=3, latent=100, width=64, refine=0, classes=0, rng=None):
        super().__init__()
        start, doublings = stages(size)
        check_all("Generator", COUNT, channels=channels, latent=latent, width=width)
        check_all("Generator", NATURAL, refine=refine, classes=classes)
        self.latent, self.size, self.channels, self.classes = latent, size, channels, classes
        maps = [width * 2**i for i in reversed(range(doublings))]
        layers = [nn.ConvTranspose2d(latent + classes, maps[0], start, 1, 0, bias=False, rng=rng)]
        for _ in range(refine):
            layers += [nn.BatchNorm2d(maps[0]), nn.ReLU(), nn.Conv2d(maps[0], maps[0], 3, 1, 1, bias=False, rng=rng)]
        for before, after in zip(maps, [*maps[1:], channels], strict=True):
            layers += [nn.BatchNorm2d(before), nn.ReLU(), nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False, rng=rng)]
        self.main = nn.Sequential(*layers, nn.Tanh())
        dcgan_init(self, rng)

    def forward(self, latent, labels=None):
        code = _labels("Generator", labels, self.classes, len(latent))
        if code is not None:
            latent = mg.cat([latent, F.one_hot(code, self.classes).to(latent.dtype)], 1)
        return self.main(latent.reshape(latent.shape[0], self.latent + self.classes, 1, 1))


class Discriminator(nn.Module):
    """images (N, channels, size, size) -> logits (N,), large for real ones. No sigmoid: losses take logits.

    width: maps of the first layer, doubled by every stage. refine: extra 3x3 convolutions before the last layer.
    classes: with labels (N,) in 0..classes-1 beside the images; 0 for none.
    """

    def __init__(self, size=64, channels=3, width=64, norm=True, slope=0.2, refine=0, classes=0, rng=None):
        super().__init__()
        start, doublings = stages(size)
        check_all("Discriminator", COUNT, channels=channels, width=width)
        check_all("Discriminator", NATURAL, refine=refine, classes=classes)
        WEIGHT.check("Discriminator: slope", slope)
        self.classes = classes
        maps = [channels] + [width * 2**i for i in range(doublings)]
        shapes = [(before, after, 4, 2) for before, after in zip(maps[:-1], maps[1:], strict=True)]
        shapes += [(maps[-1], maps[-1], 3, 1)] * refine
        layers = []
        for i, (before, after, kernel, stride) in enumerate(shapes):
            layers.append(nn.Conv2d(before, after, kernel, stride, 1, bias=not norm, rng=rng))
            if norm and i > 0:
                layers.append(nn.BatchNorm2d(after))
            layers.append(nn.LeakyReLU(slope))
        self.main = nn.Sequential(*layers, nn.Conv2d(maps[-1], 1 + classes, start, 1, 0, bias=not norm, rng=rng))
        dcgan_init(self, rng)

    def forward(self, images, labels=None):
        code = _labels("Discriminator", labels, self.classes, len(images))
        out = self.main(images)
        if code is None:
            return out.reshape(-1)
        out = out.reshape(len(images), 1 + self.classes)
        return out[:, 0] + out.gather(1, (code + 1).reshape(-1, 1))[:, 0]


def _labels(name, labels, classes, count):
    """Labels as a Tensor (N,), or None for a player without classes; ValueError where the two do not fit."""
    if (labels is None) != (classes == 0):
        raise ValueError(f"{name}: made for {classes} classes, so labels must be {'given' if classes else 'left out'}")
    if labels is None:
        return None
    if tuple(labels.shape) != (count,):
        raise ValueError(f"{name}: labels must be ({count},), one for each row, got {tuple(labels.shape)}")
    return labels


def dcgan_init(module, rng=None, std=0.02):
    """Convolutions from N(0, std), batch norm's scale from N(1, std), every shift 0 (the paper, section 4)."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            init.normal_(layer.weight, 0.0, std, rng=rng)
            if layer.bias is not None:
                init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            init.normal_(layer.weight, 1.0, std, rng=rng)
            init.zeros_(layer.bias)
