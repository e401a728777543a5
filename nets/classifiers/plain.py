"""Small classifiers that have little in common, to see whether what fools one fools another: `build(name, ...)`.

    softmax   one linear map: softmax regression
    mlp       two hidden layers of 200 ReLU, what the attacker of Papernot et al. 2017 is given in CleverHans' tutorial
    lenet     convolutions, batch norm, max-pooling, dropout (nets/classifiers/lenet.py)
    residual  convolutions of 3x3 with shortcuts, no pooling but the last mean (after He et al. 2016, much smaller)

All take images (N, channels, size, size) in [-1, 1] and give logits (N, classes).

Imports: minigrad.domains, minigrad.nn, lenet.
"""

from __future__ import annotations

from minigrad import nn
from minigrad.domains import COUNT, check_all
from nets.classifiers.lenet import LeNet


def softmax_regression(channels=1, classes=10, size=28, rng=None):
    """W x + b. size: height and width, here and below."""
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, classes, rng=rng))


def mlp(channels=1, classes=10, size=28, hidden=200, rng=None):
    """Two hidden layers of ReLU."""
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, hidden, rng=rng), nn.ReLU(),
                         nn.Linear(hidden, hidden, rng=rng), nn.ReLU(), nn.Linear(hidden, classes, rng=rng))


def block(channels, rng=None):
    """relu(x + norm(conv(relu(norm(conv(x)))))): the shape stays (N, C, H, W)."""
    return nn.Residual(nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, bias=False, rng=rng), nn.BatchNorm2d(channels), nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1, bias=False, rng=rng), nn.BatchNorm2d(channels),
    ))


class Residual(nn.Module):
    """Two stages, each halves the picture with a convolution of stride 2 and has one block; then the mean over places."""

    def __init__(self, channels=1, classes=10, width=16, rng=None):
        super().__init__()
        self.stages = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False, rng=rng), nn.BatchNorm2d(width), nn.ReLU(),
            block(width, rng),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False, rng=rng), nn.BatchNorm2d(2 * width), nn.ReLU(),
            block(2 * width, rng),
        )
        self.head = nn.Linear(2 * width, classes, rng=rng)

    def forward(self, x):
        return self.head(self.stages(x).mean((2, 3)))


NETWORKS = ("softmax", "mlp", "lenet", "residual")


def build(name: str, channels=1, classes=10, size=28, rng=None) -> nn.Module:
    """The network of that name, newly initialised from `rng`. ValueError for an unknown name."""
    check_all("build", COUNT, channels=channels, classes=classes, size=size)
    if name == "softmax":
        return softmax_regression(channels, classes, size, rng=rng)
    if name == "mlp":
        return mlp(channels, classes, size, rng=rng)
    if name == "lenet":
        return LeNet(channels, classes, size, rng=rng)
    if name == "residual":
        return Residual(channels, classes, rng=rng)
    raise ValueError(f"build: unknown network {name!r}; there are {', '.join(NETWORKS)}")
