"""Twin networks: ours and PyTorch's, the same layers with the same weights.

Those of `nets` are translated layer by layer (`common.peer`), or written again as one would in PyTorch; the others are written
once, for whichever library's `nn`.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from benchmarks.common import OURS, THEIRS, copy_weights, peer
from gan.regularise import MinibatchStddev
from nets.classifiers.lenet import LeNet
from nets.generators.cyclegan import PatchDiscriminator, ResnetBlock, ResnetGenerator
from nets.generators.dcgan import Discriminator, Generator
from nets.generators.progan import SLOPE, ProDiscriminator, ProGenerator


def players(size, channels, latent, width, norm):
    return Generator(size, channels, latent, width), Discriminator(size, channels, width, norm=norm)


def peers(generator, discriminator):
    """PyTorch's twins of our two players."""
    reshape = torch.nn.Unflatten(1, (generator.latent, 1, 1))
    return (torch.nn.Sequential(reshape, peer(generator.main)),
            torch.nn.Sequential(peer(discriminator.main), torch.nn.Flatten(0)))


def lenets():
    """LeNet without dropout, whose masks would differ."""
    net = LeNet(dropout=0.0)
    return net, layers_of(net)


def layers_of(net):
    """PyTorch's twin of a classifier of `nets` (LeNet, Strided): convolutions, hidden, head in a row."""
    return torch.nn.Sequential(*map(peer, (net.convolutions, net.hidden, net.head))).train(net.training)


# ---- written again in PyTorch ----------------------------------------------------------------------------------------


class TorchEqualized(torch.nn.Module):
    """PyTorch's twin of nets.generators.progan.Equalized."""

    def __init__(self, ours):
        super().__init__()
        self.kernel, self.slope, self.scale = ours.kernel, ours.slope, ours.scale
        self.weight, self.bias = (torch.nn.Parameter(torch.empty(p.shape)) for p in (ours.weight, ours.bias))

    def forward(self, x):
        weight = self.weight * self.scale
        x = functional.conv2d(x, weight, self.bias, padding=self.kernel // 2) if self.kernel else \
            functional.linear(x, weight, self.bias)
        return x if self.slope is None else functional.leaky_relu_(x, self.slope)


class TorchStart(torch.nn.Module):
    """PyTorch's twin of nets.generators.progan.Start."""

    def __init__(self, ours):
        super().__init__()
        self.scale = ours.scale
        self.weight, self.bias = (torch.nn.Parameter(torch.empty(p.shape)) for p in (ours.weight, ours.bias))

    def forward(self, z):
        x = functional.conv_transpose2d(z.reshape(*z.shape, 1, 1), self.weight * self.scale, self.bias)
        return functional.leaky_relu_(x, SLOPE)


def torch_pixel_norm(x):
    return x * torch.rsqrt((x * x).mean(1, keepdim=True) + 1e-8)


def grown(ours):
    """The lists of layers that both of ProGAN's players have."""
    blocks = torch.nn.ModuleList(torch.nn.ModuleList(map(TorchEqualized, pair)) for pair in ours.blocks)
    return blocks, torch.nn.ModuleList(map(TorchEqualized, ours.colours))


class TorchProGenerator(torch.nn.Module):
    """PyTorch's twin of ProGenerator at its last level."""

    def __init__(self, ours):
        super().__init__()
        self.start, self.first = TorchStart(ours.start), TorchEqualized(ours.first)
        self.blocks, self.colours = grown(ours)

    def forward(self, z):
        x = torch_pixel_norm(self.first(torch_pixel_norm(self.start(torch_pixel_norm(z)))))
        for first, second in self.blocks:
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
            x = torch_pixel_norm(second(torch_pixel_norm(first(x))))
        return self.colours[-1](x)


class TorchProDiscriminator(torch.nn.Module):
    """PyTorch's twin of ProDiscriminator at its last level."""

    def __init__(self, ours):
        super().__init__()
        self.group = ours.statistic.group
        self.blocks, self.colours = grown(ours)
        self.last, self.hidden, self.answer = map(TorchEqualized, (ours.last, ours.hidden, ours.answer))

    def forward(self, images):
        x = self.colours[-1](images)
        for first, second in reversed(self.blocks):
            x = functional.avg_pool2d(second(first(x)), 2)
        n, size = len(x), self.group
        y = x.reshape(size, n // size, -1)
        number = ((y - y.mean(0)).square().mean(0) + 1e-8).sqrt().mean(1)
        x = torch.cat([x, number.repeat(size).reshape(n, 1, 1, 1).expand(n, 1, *x.shape[2:])], 1)
        return self.answer(self.hidden(self.last(x).reshape(n, -1))).reshape(-1)


def growing(size, base, most, latent=128):
    """((generator, critic) ours, PyTorch's), as `gan progan` makes them."""
    ours = ProGenerator(size, 3, latent, base, most), ProDiscriminator(size, 3, base, most, MinibatchStddev())
    return ours, tuple(copy_weights(net, twin(net)) for net, twin in zip(ours, (TorchProGenerator, TorchProDiscriminator)))


class TorchBlock(torch.nn.Module):
    """PyTorch's twin of nets.generators.cyclegan.ResnetBlock."""

    def __init__(self, ours):
        super().__init__()
        self.conv_block = peer(ours.conv_block)

    def forward(self, x):
        return x + self.conv_block(x)


def translators(width, blocks, layers):
    """((two generators, two discriminators) ours, PyTorch's), as `gan cyclegan` makes them.

    PyTorch's weights lie N,C,H,W: channels-last ones would turn its images channels-last, where its instance norm is slower."""
    ours = *(ResnetGenerator(width=width, blocks=blocks) for _ in "gf"), *(PatchDiscriminator(3, width, layers) for _ in "ab")
    return ours, tuple(torch.nn.Sequential(*(TorchBlock(layer) if isinstance(layer, ResnetBlock) else peer(layer)
                                             for layer in net.model)).to(memory_format=torch.contiguous_format) for net in ours)


# ---- written once for both libraries ---------------------------------------------------------------------------------


class Residual(torch.nn.Module):
    """PyTorch's twin of nn.Residual."""

    def __init__(self, main, skip):
        super().__init__()
        self.main, self.skip = main, skip

    def forward(self, x):
        y = self.main(x)
        y += x if self.skip is None else self.skip(x)                                       # in place, its fastest way
        return torch.relu_(y)


def residual(lib, widths, blocks, classes=10):
    """A residual classifier of 3x3 convolutions (He et al. 2016, section 4.2): `blocks` of two layers at each width."""
    nn = lib.nn

    def block(before, after, stride):
        main = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after))
        skip = [nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)]
        return (nn.Residual if lib is OURS else Residual)(main, nn.Sequential(*skip) if stride > 1 or before != after else None)

    layers = [nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)]
    for before, after in zip((widths[0], *widths), widths, strict=False):
        layers += [block(before, after, 1 if after == before else 2), *(block(after, after, 1) for _ in range(blocks - 1))]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes))


def residual_name(widths, blocks):
    return f"residual {'-'.join(map(str, widths))}, {blocks} block{'s' * (blocks > 1)} at each, 32 px"


def residuals(widths, blocks):
    ours = residual(OURS, widths, blocks)
    return ours, copy_weights(ours, residual(THEIRS, widths, blocks))


def char_rnn(lib, vocabulary, hidden):
    """Letters (T, N) -> logits (T * N, vocabulary), by two layers of LSTM."""
    nn = lib.nn

    class CharRNN(nn.Module):
        def __init__(self):
            super().__init__()
            self.letters = nn.Embedding(vocabulary, hidden)
            self.lstm = nn.LSTM(hidden, hidden, 2)
            self.head = nn.Linear(hidden, vocabulary)

        def forward(self, x):
            return self.head(self.lstm(self.letters(x))[0]).reshape(-1, vocabulary)

    return CharRNN()


def char_rnns(vocabulary, hidden):
    ours = char_rnn(OURS, vocabulary, hidden)
    theirs = char_rnn(THEIRS, vocabulary, hidden)
    theirs.load_state_dict({name: torch.from_numpy(a) for name, a in ours.state_dict().items()})
    return ours, theirs
