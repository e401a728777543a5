"""Two strided convolutions and two linear layers: the small network of robust training on MNIST.

Wong & Kolter 2018 (Provable defenses via the convex outer adversarial polytope) certify it, Wong, Rice & Kolter
2020 (Fast is better than free) train it against one step of FGSM to 88.8 % under PGD: 16 and 32 maps of 4x4 with stride 2,
then 100 features; ReLU throughout. It has neither pooling nor batch norm: what it answers is the same function in training
and in evaluation, so that an attack on the one is an attack on the other, and no maximum is taken over neighbours whose
order a perturbation can change. 0.6 million multiplications an image; LeNet (nets/classifiers/lenet.py) takes 3.9 million.

Imports: minigrad.domains, minigrad.nn.
"""

from __future__ import annotations

from minigrad import nn
from minigrad.domains import COUNT, INTEGER, SHARE, check_all


class Strided(nn.Module):
    """Images (N, channels, size, size) in [-1, 1] -> logits (N, classes).

    size: a multiple of 4. width: maps of the first convolution; the second has twice as many. dropout: before the two linear
    layers, 0 in the paper. Initialised as PyTorch initialises, which is what the paper's code does.
    """

    def __init__(self, channels=1, classes=10, size=28, width=16, dropout=0.0, rng=None):
        super().__init__()
        check_all("Strided", COUNT, channels=channels, classes=classes, width=width)
        INTEGER.check("Strided: size", size)
        SHARE.check("Strided: dropout", dropout)
        if size < 4 or size % 4:
            raise ValueError(f"Strided: size must be a multiple of 4, since two strides halve it, got {size}; give "
                             f"{max(4, size + -size % 4)}, or take LeNet")
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1, rng=rng),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 4, 2, 1, rng=rng),
            nn.ReLU(),
        )
        self.hidden = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout, rng=rng),
            nn.Linear(2 * width * (size // 4) ** 2, 100, rng=rng),
            nn.ReLU(),
            nn.Dropout(dropout, rng=rng),
        )
        self.head = nn.Linear(100, classes, rng=rng)

    def features(self, images):
        """(N, 100) activations before the last layer."""
        return self.hidden(self.convolutions(images))

    def forward(self, images):
        return self.head(self.features(images))
