"""Twin networks: ours and PyTorch's, the same layers with the same weights.

Those of `nets` are translated layer by layer (`common.peer`); the others are written once, for whichever library's `nn`.
"""

from __future__ import annotations

import torch

from benchmarks.common import OURS, THEIRS, copy_weights, peer
from nets.classifiers.lenet import LeNet
from nets.generators.dcgan import Discriminator, Generator


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
