"""CartoonGAN's networks (Chen, Lai & Liu 2018, section 3.1 and figure 2): a photograph becomes a cartoon of its size.

    generator       c7s1-n, d2n, d4n, R4n x blocks, u2n, un, c7s1-channels, tanh;   n = 64, 8 blocks
                    c7s1: reflection, 7x7, norm, ReLU; d: 3x3 of stride 2, then 3x3 of stride 1, then norm, ReLU: two convolutions
                    with nothing between; u: 3x3 transposed of stride 2, 3x3, norm, ReLU; R: x + (reflection, 3x3, norm, ReLU,
                    reflection, 3x3, norm), no ReLU behind the sum; the last c7s1 has neither norm nor ReLU
    discriminator   k3m leak, [k3 2m stride 2 leak, k3 4m norm leak], [k3 4m stride 2 leak, k3 8m norm leak], k3 8m norm leak, k3 1;
                    m = 32, leaky ReLU 0.2: one logit for each 4 x 4 pixels, which sees 37 x 37 of the paper's 256 x 256

The generator is that of the authors' released model, which has details that the paper lacks: the two convolutions of a stage, and
an instance norm with scale and shift whose variance is the biased one, plus 1e-9. Of the discriminator no weights were released;
its norm, which the paper leaves open, is instance norm with scale and shift here, so that each picture is judged by itself.
Weights start as N(0, 0.02), biases at 0. `resize` replaces the transposed convolutions by nearest-neighbour enlargement and a 3x3
convolution (Odena et al. 2016): the others draw a checkerboard, which takes long to unlearn.

Imports: minigrad.domains, minigrad.nn, cyclegan.
"""

from __future__ import annotations

from minigrad import nn
from minigrad.domains import COUNT, NATURAL, check_all
from nets.generators.cyclegan import ResnetBlock, check_sides, start

EPS = 1e-9  # of the generator's norm


def norm(maps):
    """Instance norm with scale and shift: weight ((x - mean) / sqrt(biased variance + 1e-9)) + bias."""
    return nn.InstanceNorm2d(maps, eps=EPS, affine=True)


class CartoonGenerator(nn.Module):
    """images (N, channels, H, W) in [-1, 1] -> as many in (-1, 1); H and W must be multiples of 4, at least 8.

    width: maps next to the image. blocks: residual blocks. resize: enlarge by repetition in place of transposed convolutions."""

    def __init__(self, channels=3, width=64, blocks=8, resize=False, rng=None):
        super().__init__()
        check_all("CartoonGenerator", COUNT, channels=channels, width=width)
        NATURAL.check("CartoonGenerator: blocks", blocks)
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(channels, width, 7, rng=rng), norm(width), nn.ReLU()]
        for maps in (width, 2 * width):
            layers += [nn.Conv2d(maps, 2 * maps, 3, 2, 1, rng=rng), nn.Conv2d(2 * maps, 2 * maps, 3, 1, 1, rng=rng),
                       norm(2 * maps), nn.ReLU()]
        layers += [ResnetBlock(4 * width, rng, norm) for _ in range(blocks)]
        for maps in (2 * width, width):
            if resize:
                layers += [nn.Upsample(scale_factor=2), nn.Conv2d(2 * maps, maps, 3, 1, 1, rng=rng)]
            else:
                layers.append(nn.ConvTranspose2d(2 * maps, maps, 3, 2, 1, output_padding=1, rng=rng))
            layers += [nn.Conv2d(maps, maps, 3, 1, 1, rng=rng), norm(maps), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, channels, 7, rng=rng), nn.Tanh())
        start(self, rng)

    def forward(self, images):
        check_sides("CartoonGenerator", images)
        return self.model(images)


class CartoonDiscriminator(nn.Module):
    """images (N, channels, H, W) -> one logit for each patch, (N, 1, H / 2^stages, W / 2^stages): large for cartoons. No sigmoid.

    width: maps next to the image. stages: 2 as in the paper, patches of 37 pixels; 1 leaves the second bracket out, patches of 17:
    for small pictures, because a discriminator that sees all of a picture asks for certain things in it, and not for a style."""

    def __init__(self, channels=3, width=32, stages=2, rng=None):
        super().__init__()
        check_all("CartoonDiscriminator", COUNT, channels=channels, width=width, stages=stages)

        def convolution(inputs, outputs, stride=1, normed=False):
            behind = [nn.InstanceNorm2d(outputs, affine=True)] if normed else []
            return [nn.Conv2d(inputs, outputs, 3, stride, 1, rng=rng), *behind, nn.LeakyReLU(0.2)]

        layers, maps = convolution(channels, width), width
        for stage in range(1, stages + 1):
            inside, after = 2**stage * width, 2 ** (stage + 1) * width
            layers += [*convolution(maps, inside, 2), *convolution(inside, after, normed=True)]
            maps = after
        self.model = nn.Sequential(*layers, *convolution(maps, maps, normed=True), nn.Conv2d(maps, 1, 3, 1, 1, rng=rng))
        start(self, rng)

    def forward(self, images):
        return self.model(images)
