"""ProGAN's two players, which grow (Karras, Aila, Laine & Lehtinen 2018; the authors' networks.py for what the paper leaves out).

    level 0 draws 4 x 4 pixels, level 1 8 x 8, ...        n(r) = min(base / 2^r, most), maps where the side has 2^(r+1) pixels

    generator       z -> pixel norm -> linear to n(1) x 4 x 4 -> conv 3x3;   each level: nearest x2 -> conv 3x3 -> conv 3x3
                    leaky ReLU 0.2 and pixel norm behind each;   to colours by a linear 1x1 convolution, no tanh
    discriminator   from colours by a 1x1 convolution;   each level: conv 3x3 -> conv 3x3 -> mean of 2 x 2;
                    at 4 x 4: minibatch stddev -> conv 3x3 -> linear -> linear to one number;   leaky ReLU 0.2 but at the end

A new level is faded in (section 2, figure 2): with alpha from 0 to 1 the picture is (1 - alpha) * up(old one) + alpha * new one,
and the discriminator mixes what both read at the side below. Equalized learning rate (section 4.1): weights start as N(0, 1) and
are multiplied by gain / sqrt(fan in) whenever they are used, so that Adam's step is the same share of each. Pixel norm (section
4.2): a / sqrt(mean over maps of a^2 + 1e-8) at each pixel. Biases start at 0, and are scaled by nothing.

`without` leaves ingredients out, by the names of `PARTS`: the paper's ablation.

Imports: numpy, minigrad.
"""

from __future__ import annotations

import math

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from minigrad.domains import COUNT, FRACTION, check_all
from minigrad.functional.convolution import conv2d_leaky_relu
from minigrad.random import as_stream

PARTS = ("equalized", "pixelnorm", "minibatch-stddev")
SLOPE, GAIN = 0.2, math.sqrt(2)


def levels(size: int) -> int:
    """The level that draws size x size pixels: 0 for 4, 1 for 8, ... ValueError unless size is a power of two, at least 4."""
    if size < 4 or size & (size - 1):
        raise ValueError(f"ProGAN: size {size} is no power of two from 4 on; use 16, 32 or 64")
    return size.bit_length() - 3


def maps(stage: int, base: int, most: int) -> int:
    """n(stage), the number of feature maps; stage 1 belongs to 4 x 4 pixels."""
    return min(max(1, base >> stage), most)


def up(x):
    """Each pixel four times: (N, C, H, W) -> (N, C, 2H, 2W)."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def down(x):
    """Means of 2 x 2 pixels: (N, C, H, W) -> (N, C, H/2, W/2)."""
    return F.avg_pool2d(x, 2)


def pixel_norm(x):
    """x / sqrt(mean over dimension 1 of x^2 + 1e-8), of maps (N, C, H, W) or latents (N, C)."""
    return x * ((x * x).mean(1, keepdim=True) + 1e-8).rsqrt()


class Equalized(nn.Module):
    """A convolution (kernel > 0) or linear layer (kernel 0) whose weight N(0, 1) is scaled when it is used, by gain / sqrt(fan in).

    slope: of the leaky ReLU behind it; None for none. equalized=False: the same weights at the start, scaled once and for all."""

    def __init__(self, inputs, outputs, kernel=3, *, slope=SLOPE, gain=GAIN, equalized=True, rng=None):
        super().__init__()
        self.kernel, self.slope = kernel, slope
        shape = (outputs, inputs, kernel, kernel) if kernel else (outputs, inputs)
        self.weight, self.scale = drawn(shape, gain / math.sqrt(math.prod(shape[1:])), equalized, rng)
        self.bias = nn.Parameter(np.zeros(outputs, np.float32))

    def forward(self, x):
        weight = self.weight * self.scale if self.scale != 1 else self.weight
        if self.kernel and self.slope is not None:
            return conv2d_leaky_relu(x, weight, self.bias, padding=self.kernel // 2, negative_slope=self.slope)
        x = F.conv2d(x, weight, self.bias, padding=self.kernel // 2) if self.kernel else F.linear(x, weight, self.bias)
        return x if self.slope is None else F.leaky_relu(x, self.slope)

    def extra_repr(self):
        return f"{', '.join(map(str, self.weight.shape))}, scale={self.scale:.4g}, slope={self.slope}"


class Start(nn.Module):
    """latents (N, z) -> (N, maps, 4, 4): a linear layer to maps x 4 x 4 numbers with one bias for each map, then leaky ReLU.

    The gain is sqrt(2) / 4, as in the authors' code."""

    def __init__(self, latent, outputs, equalized=True, rng=None):
        super().__init__()
        self.weight, self.scale = drawn((latent, outputs, 4, 4), math.sqrt(2 / latent) / 4, equalized, rng)
        self.bias = nn.Parameter(np.zeros(outputs, np.float32))

    def forward(self, z):
        x = F.conv_transpose2d(z.reshape(*z.shape, 1, 1), self.weight * self.scale, self.bias)
        return F.leaky_relu(x, SLOPE)


def drawn(shape, std, equalized, rng):
    """(a Parameter, what it is to be multiplied by): N(0, 1) and std, or N(0, std^2) and 1."""
    weight = as_stream(rng).normal(shape)
    return (nn.Parameter(weight), std) if equalized else (nn.Parameter(weight * np.float32(std)), 1.0)


class ProGenerator(nn.Module):
    """latents (N, latent), a level and its alpha -> images (N, channels, 4 * 2^level, 4 * 2^level), not bounded.

    size: the side at the last level. base, most: numbers of maps, see `maps`. without: names of `PARTS`."""

    def __init__(self, size=32, channels=3, latent=128, base=4096, most=128, without=(), rng=None):
        super().__init__()
        check_all("ProGenerator", COUNT, channels=channels, latent=latent, base=base, most=most)
        self.latent, self.top, self.norm = latent, levels(size), "pixelnorm" not in without
        made = dict(equalized="equalized" not in without, rng=rng)
        n = [maps(stage, base, most) for stage in range(1, self.top + 2)]
        self.start = Start(latent, n[0], **made)
        self.first = Equalized(n[0], n[0], **made)
        self.blocks = nn.ModuleList(nn.ModuleList([Equalized(a, b, **made), Equalized(b, b, **made)])
                                    for a, b in zip(n[:-1], n[1:], strict=True))
        self.colours = nn.ModuleList(Equalized(a, channels, 1, slope=None, gain=1.0, **made) for a in n)

    def forward(self, z, level=None, alpha=1.0):
        level = _level(self, level, alpha)
        norm = pixel_norm if self.norm else (lambda x: x)
        x = norm(self.first(norm(self.start(norm(z)))))
        for i, (first, second) in enumerate(self.blocks[:level]):
            below = x
            x = norm(second(norm(first(up(x)))))
            if i == level - 1 and alpha < 1:
                return mg.lerp(up(self.colours[i](below)), self.colours[level](x), alpha)
        return self.colours[level](x)


class ProDiscriminator(nn.Module):
    """images (N, channels, 4 * 2^level, ...), a level and its alpha -> (N,), large for real ones.

    statistic: the layer before the last convolution, with one more map out than in: minibatch stddev; None for none. The rest as
    in `ProGenerator`."""

    def __init__(self, size=32, channels=3, base=4096, most=128, statistic=None, without=(), rng=None):
        super().__init__()
        check_all("ProDiscriminator", COUNT, channels=channels, base=base, most=most)
        self.top, self.statistic = levels(size), statistic
        made = dict(equalized="equalized" not in without, rng=rng)
        n = [maps(stage, base, most) for stage in range(1, self.top + 2)]
        self.colours = nn.ModuleList(Equalized(channels, a, 1, **made) for a in n)
        self.blocks = nn.ModuleList(nn.ModuleList([Equalized(b, b, **made), Equalized(b, a, **made)])
                                    for a, b in zip(n[:-1], n[1:], strict=True))
        self.last = Equalized(n[0] + (statistic is not None), n[0], **made)
        self.hidden = Equalized(n[0] * 16, maps(0, base, most), 0, **made)
        self.answer = Equalized(maps(0, base, most), 1, 0, slope=None, gain=1.0, **made)

    def forward(self, images, level=None, alpha=1.0):
        level = _level(self, level, alpha)
        x = self.colours[level](images)
        for i in reversed(range(level)):
            first, second = self.blocks[i]
            x = down(second(first(x)))
            if i == level - 1 and alpha < 1:
                x = mg.lerp(self.colours[i](down(images)), x, alpha)
        if self.statistic is not None:
            x = self.statistic(x)
        return self.answer(self.hidden(self.last(x).reshape(len(x), -1))).reshape(-1)


def faded(images, alpha: float):
    """Real images as a generator in this phase could draw them: (1 - alpha) * up(down(images)) + alpha * images.

    The discriminator would else know real images by detail that the generator cannot have yet (the authors' train.py)."""
    return images if alpha >= 1 else mg.lerp(up(down(images)), images, alpha)


def _level(network, level, alpha):
    name, level = type(network).__name__, network.top if level is None else level
    if not (isinstance(level, int) and 0 <= level <= network.top):
        raise ValueError(f"{name}: level must be one of 0 to {network.top}, got {level!r}")
    FRACTION.check(f"{name}: alpha", alpha)
    return level
