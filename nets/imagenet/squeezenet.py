"""SqueezeNet 1.0 (Iandola et al. 2016, table 1): AlexNet's accuracy on ImageNet with 1.25 million weights.

A Fire module squeezes its input to few channels by 1x1 convolutions, then expands it by 1x1 and 3x3 ones side by side:

    Fire(s, e):   x -> squeeze 1x1 to s -> ReLU -> [ expand 1x1 to e | expand 3x3 to e ] -> ReLU       (2e channels)

    227 -> conv1 7x7/2, 96 -> pool -> Fire x 3 -> pool -> Fire x 4 -> pool -> Fire -> conv10 1x1 -> mean over positions

Pools are 3x3 of stride 2 and round sizes up, as Caffe does. Two things follow the published Caffe weights rather than
the table: conv1 has no padding, and conv10 has padding 1 (a rim of positions that see the bias alone). The weights want
BGR from 0 to 255 less the mean colour; here the network takes RGB in [0, 1], and `load` turns conv1's channels round.

Imports: minigrad, weights.
"""

from __future__ import annotations

import minigrad as mg
from minigrad import nn
from nets.imagenet import weights as imagenet

WEIGHTS = "classifiers/squeezenet1_0_fp16.npz"
LEAST = 21  # pixels: smaller images vanish in the pools
MEAN_RGB = (123.0, 117.0, 104.0)
FIRES = {  # name: (squeeze, expand)
    "fire2": (16, 64), "fire3": (16, 64), "fire4": (32, 128), "fire5": (32, 128),
    "fire6": (48, 192), "fire7": (48, 192), "fire8": (64, 256), "fire9": (64, 256),
}
POOL_AFTER = ("conv1", "fire4", "fire8")


def convolution(inputs, outputs, kernel, stride=1, padding=0, rng=None):
    """Convolution and ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding, rng=rng), nn.ReLU())


class Fire(nn.Module):
    """images (N, inputs, H, W) -> (N, 2 * expand, H, W)."""

    def __init__(self, inputs, squeeze, expand, rng=None):
        super().__init__()
        self.squeeze = convolution(inputs, squeeze, 1, rng=rng)
        self.expand1x1 = convolution(squeeze, expand, 1, rng=rng)
        self.expand3x3 = convolution(squeeze, expand, 3, padding=1, rng=rng)

    def forward(self, images):
        squeezed = self.squeeze(images)
        return mg.cat([self.expand1x1(squeezed), self.expand3x3(squeezed)], 1)


class SqueezeNet(nn.Module):
    """RGB images (N, 3, H, W) in [0, 1] -> logits (N, classes), which are never negative (a ReLU precedes the mean).

    Made for 227 x 227; any height and width of at least 21 works. dropout: before conv10, in training only.
    """

    size, shorter = 227, 256  # pixels that it was trained on, and the shorter side before the centre is cut out

    def __init__(self, classes=imagenet.CLASSES, dropout=0.5, rng=None):
        super().__init__()
        self.register_buffer("mean", mg.tensor(MEAN_RGB, dtype=mg.float32).reshape(1, 3, 1, 1), persistent=False)
        layers, channels = {"conv1": convolution(3, 96, 7, 2, rng=rng), "pool1": nn.MaxPool2d(3, 2, ceil_mode=True)}, 96
        for name, (squeeze, expand) in FIRES.items():
            layers[name] = Fire(channels, squeeze, expand, rng)
            channels = 2 * expand
            if name in POOL_AFTER:
                layers[f"pool{name[-1]}"] = nn.MaxPool2d(3, 2, ceil_mode=True)
        layers["dropout"] = nn.Dropout(dropout, rng=rng)
        layers["conv10"] = convolution(channels, classes, 1, padding=1, rng=rng)
        self.layers = nn.Sequential(layers)

    def features(self, images):
        """(N, classes, h, w): a map of each class, whose mean over positions is the logit."""
        if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < LEAST:
            raise ValueError(f"SqueezeNet: images must be RGB (N, 3, H, W) with H and W at least {LEAST}, got "
                             f"{images.shape}")
        return self.layers(images * 255.0 - self.mean)

    def forward(self, images):
        return self.features(images).mean((2, 3))


def file_name(name: str) -> str:
    """layers.fire2.expand3x3.0.weight -> fire2/conv3x3_2.weight, Caffe's name."""
    _, layer, *unit, _, array = name.split(".")
    caffe = {"squeeze": "/conv1x1_1", "expand1x1": "/conv1x1_2", "expand3x3": "/conv3x3_2"}
    layer = "conv_final" if layer == "conv10" else layer
    return layer + (caffe[unit[0]] if unit else "") + "." + array


def load(path=None) -> SqueezeNet:
    """The trained network in evaluation mode, its parameters frozen.

    path: an .npz, .safetensors or .pth under Caffe's names (conv1.weight, fire2/conv1x1_1.weight, ..., conv_final.bias);
    default classifiers/squeezenet1_0_fp16.npz below MINIGRAD_DATA. DataError without a file, CheckpointError for a
    wrong one."""
    path = imagenet.weights_path(path, WEIGHTS)
    return imagenet.load_into(SqueezeNet(), path, file_name, _bgr_to_rgb).eval().requires_grad_(False)


def _bgr_to_rgb(name, array):
    return array[:, ::-1] if name == "layers.conv1.0.weight" else array
