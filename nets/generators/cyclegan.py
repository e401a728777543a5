"""CycleGAN's networks (Zhu, Park, Isola & Efros 2017, section 4 and appendix 7.2): one picture becomes another of the same size.

    generator       c7s1-n, d2n, d4n, R4n x blocks, u2n, un, c7s1-channels, tanh:     n = 64; 9 blocks from 256 pixels on, else 6
                    cK sS: K x K convolution of stride S, instance norm, ReLU; d: 3x3 with stride 2; u: 3x3 transposed, stride 2;
                    R: two 3x3 convolutions, x + f(x), no ReLU behind the sum. Reflection at the border but in d and u
    discriminator   C64 - C128 - C256 - C512 - 1: 4x4 convolutions, stride 2 but in the last two, leaky ReLU 0.2, instance norm but
                    in the first: each output judges a patch of 70 x 70 pixels (`layers` = 3; 34 x 34 with 2)

Instance norm has neither scale nor shift nor running statistics, so a picture is translated alike in training and afterwards,
alone or in a batch. Weights start as N(0, 0.02), biases at 0. Layers and names are those of the authors' PyTorch code, so its
weights load by name. `resize` replaces the transposed convolutions by nearest-neighbour enlargement and a 3x3 convolution
(Odena et al. 2016): these do not draw a checkerboard, and their weights have names of their own.

Imports: minigrad.domains, minigrad.nn.
"""

from __future__ import annotations

from minigrad import nn
from minigrad.domains import COUNT, NATURAL, check_all
from minigrad.nn import init


def block(maps, rng=None, norm=nn.InstanceNorm2d):
    """The residual part of R: reflect, 3x3, norm, ReLU, reflect, 3x3, norm. norm: maps -> a layer."""
    return nn.Sequential(
        nn.ReflectionPad2d(1), nn.Conv2d(maps, maps, 3, rng=rng), norm(maps), nn.ReLU(),
        nn.ReflectionPad2d(1), nn.Conv2d(maps, maps, 3, rng=rng), norm(maps))


def check_sides(name: str, images) -> None:
    """ValueError for images (N, C, H, W) that a translator, which halves the sides twice, does not take."""
    height, width = images.shape[2:]
    if height % 4 or width % 4 or min(height, width) < 8:
        raise ValueError(f"{name}: sides must be multiples of 4 and at least 8, got {height} x {width}; give --size N, or crop")


class ResnetBlock(nn.Module):
    """x + block(x), with the norm of `block`."""

    def __init__(self, maps, rng=None, norm=nn.InstanceNorm2d):
        super().__init__()
        self.conv_block = block(maps, rng, norm)

    def forward(self, x):
        return x + self.conv_block(x)


class ResnetGenerator(nn.Module):
    """images (N, inputs, H, W) in [-1, 1] -> (N, outputs, H, W) in (-1, 1); H and W must be multiples of 4, at least 8.

    width: maps next to the image. blocks: residual blocks. resize: enlarge by repetition in place of transposed convolutions."""

    def __init__(self, inputs=3, outputs=3, width=64, blocks=9, resize=False, rng=None):
        super().__init__()
        check_all("ResnetGenerator", COUNT, inputs=inputs, outputs=outputs, width=width)
        NATURAL.check("ResnetGenerator: blocks", blocks)

        def behind(maps):
            return [nn.InstanceNorm2d(maps), nn.ReLU()]

        layers = [nn.ReflectionPad2d(3), nn.Conv2d(inputs, width, 7, rng=rng), *behind(width)]
        for maps in (width, 2 * width):
            layers += [nn.Conv2d(maps, 2 * maps, 3, 2, 1, rng=rng), *behind(2 * maps)]
        layers += [ResnetBlock(4 * width, rng) for _ in range(blocks)]
        for maps in (4 * width, 2 * width):
            if resize:
                layers += [nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1), nn.Conv2d(maps, maps // 2, 3, rng=rng)]
            else:
                layers.append(nn.ConvTranspose2d(maps, maps // 2, 3, 2, 1, output_padding=1, rng=rng))
            layers += behind(maps // 2)
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, outputs, 7, rng=rng), nn.Tanh())
        start(self, rng)

    def forward(self, images):
        check_sides("ResnetGenerator", images)
        return self.model(images)


class PatchDiscriminator(nn.Module):
    """images (N, channels, H, W) -> one logit for each patch, (N, 1, h, w): large for real ones. No sigmoid.

    layers: convolutions of stride 2; 3 give patches of 70 pixels, 2 of 34, 1 of 16."""

    def __init__(self, channels=3, width=64, layers=3, rng=None):
        super().__init__()
        check_all("PatchDiscriminator", COUNT, channels=channels, width=width, layers=layers)
        maps = [channels] + [width * min(2**i, 8) for i in range(layers + 1)]
        parts = []
        for i, (before, after) in enumerate(zip(maps[:-1], maps[1:], strict=True)):
            parts.append(nn.Conv2d(before, after, 4, 1 if i == layers else 2, 1, rng=rng))
            parts += ([nn.InstanceNorm2d(after)] if i else []) + [nn.LeakyReLU(0.2)]
        self.model = nn.Sequential(*parts, nn.Conv2d(maps[-1], 1, 4, 1, 1, rng=rng))
        start(self, rng)

    def forward(self, images):
        return self.model(images)


def patch(layers: int) -> int:
    """The side in pixels of what one logit sees: 70 for 3 layers. From the last layer back, s(i) = stride * (s(i+1) - 1) + 4."""
    side = 1
    for stride in [1, 1, *[2] * layers]:
        side = stride * (side - 1) + 4
    return side


def start(network, rng=None, std=0.02):
    """Weights from N(0, std), biases 0."""
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            init.normal_(layer.weight, 0.0, std, rng=rng)
            init.zeros_(layer.bias)
