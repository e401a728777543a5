"""LeNet-5 in modern dress, the small classifier of digits that the laboratory uses as its judge.

LeCun et al. 1998, section II.B, fixes the shape: two convolutions with pooling, then fully connected layers down to 84
features. Changed, as everyone does today: ReLU, max-pooling, more maps, batch norm after each convolution, and dropout.
`features` returns the 84 values before the last layer; the Frechet distance of `gan.metrics.judge` is taken there.

Imports: minigrad.domains, minigrad.nn.
"""

from __future__ import annotations

from minigrad import nn
from minigrad.domains import COUNT, INTEGER, SHARE, check_all


class LeNet(nn.Module):
    """Images (N, channels, size, size) in [-1, 1] -> logits (N, classes).

    size: any height and width of at least 16. width: maps of the first convolution; the second has twice as many.
    """

    def __init__(self, channels=1, classes=10, size=28, width=32, dropout=0.25, rng=None):
        super().__init__()
        check_all("LeNet", COUNT, channels=channels, classes=classes, width=width)
        INTEGER.check("LeNet: size", size)
        SHARE.check("LeNet: dropout", dropout)
        if size < 16:
            raise ValueError(f"LeNet: images must be at least 16 pixels wide, got {size}")
        side = ((size - 4) // 2 - 4) // 2  # two 5x5 convolutions without padding, each halved
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels, width, 5, bias=False, rng=rng),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 5, bias=False, rng=rng),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.hidden = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout, rng=rng),
            nn.Linear(2 * width * side * side, 120, rng=rng),
            nn.ReLU(),
            nn.Linear(120, 84, rng=rng),
            nn.ReLU(),
        )
        self.head = nn.Linear(84, classes, rng=rng)

    def features(self, images):
        """(N, 84) activations before the last layer."""
        return self.hidden(self.convolutions(images))

    def forward(self, images):
        return self.head(self.features(images))
