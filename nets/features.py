"""Feature nets: how unlike are two pictures in what they show? A frozen network's features before an activation, far down.

A content loss compares features, not pixels, so that a picture may change its style and not its things. Here a net of any origin is
one module with one meaning:

    name         "own", "random", "squeezenet1_0", "vgg19": what may be written about it. No other net is called VGG
    layer        whose output it gives, before the activation, and stride: pixels from one of its places to the next
    preprocess   how pictures in [-1, 1] become what the net was trained on
    digest       of its weights: two runs with equal digests have the same net
    scale        root mean square of the raw features over `CALIBRATED` pictures. They are divided by it, so that a weight of the
                 content loss means the same for every net

`small_net` is the small net of 3x3 convolutions that is trained here, on the pictures at hand: it is to tell by how many quarter
turns each was turned (Gidaris, Singh & Komodakis 2018), which needs no labels and nothing of any style. Half of the pictures are
shown in grey: else it learns that blue is up, and little of edges. With first weights (He et al. 2015) it is the control: how much
of an effect is due to any convolutions at all?

Imports: numpy, minigrad, nets.generators.draw, nets.imagenet, training.
"""

from __future__ import annotations

import hashlib
import os

import numpy as np

import minigrad as mg
from minigrad import checkpoint, data, nn
from minigrad import functional as F
from minigrad.domains import COUNT
from minigrad.nn import init
from nets.generators.draw import in_batches
from nets.imagenet import squeezenet, vgg
from nets.imagenet.weights import weights_path
from nets.training import fit

CALIBRATED = 256  # pictures
STEPS, BATCH = 400, 8  # of the pretext: pictures in a step, each in all four turns
WIDTHS = (16, 32, 48, 64)  # maps of each stage of `small_net`; a pool after every stage but the last
FROM = (128, 64)  # pixels from which on the fourth stage is read, and the third, else the second: 16 x 16 places or more


class FeatureNet(nn.Module):
    """images (N, 1 or 3, H, W) in [-1, 1] -> features (N, F, H / stride, W / stride), about, of root mean square 1.

    network: a module; preprocess(images), before it. `calibrated` sets the scale."""

    def __init__(self, name: str, layer: str, stride: int, network, preprocess):
        super().__init__()
        self.name, self.layer, self.stride, self.preprocess, self.scale = name, layer, stride, preprocess, 1.0
        self.network = network.eval().requires_grad_(False)
        self.digest = digest(network)

    def forward(self, images):
        return self.network(self.preprocess(images)) * (1 / self.scale)

    def __str__(self):
        return f"{self.name} at {self.layer}, stride {self.stride}, {self.digest}"


def calibrated(net: FeatureNet, pictures) -> FeatureNet:
    """The same net, its scale set by the first `CALIBRATED` of pictures (N, C, H, W) in [-1, 1]. ValueError where all features
    are 0 or some are not finite."""
    net.scale = 1.0
    features = in_batches(net, net, np.asarray(pictures[:CALIBRATED], np.float32), 32)
    scale = float(np.sqrt(np.mean(np.square(features, dtype=np.float64))))
    if not 0 < scale < np.inf:
        raise ValueError(f"calibrated: the features of {net} have a root mean square of {scale}; are these its weights?")
    net.scale = scale
    return net


def digest(network) -> str:
    """16 hexadecimal digits of SHA-256 over names and values of all that the network's state_dict holds."""
    found = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        found.update(f"{name} {value.dtype} {value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    return found.hexdigest()[:16]


# ---- nets that are made here


def small_net(channels=3, rng=None):
    """Two 3x3 convolutions in each stage of `WIDTHS`, ReLU behind each but the last, a 2x2 pool between; He's first weights."""
    COUNT.check("small_net: channels", channels)
    layers, inputs = [], channels
    for stage, maps in enumerate(WIDTHS):
        layers += [nn.MaxPool2d(2)] if stage else []
        for _ in range(2):
            layers += [nn.Conv2d(inputs, maps, 3, padding=1, rng=rng), nn.ReLU()]
            inputs = maps
    network = nn.Sequential(*layers[:-1])
    for layer in network:
        if isinstance(layer, nn.Conv2d):
            init.kaiming_normal_(layer.weight, nonlinearity="relu", rng=rng)
            init.zeros_(layer.bias)
    return network


def read_at(name: str, network, size: int) -> FeatureNet:
    """`small_net` as far as the layer for pictures of `size` pixels; what lies behind it is left out."""
    stage = 2 + sum(size >= pixels for pixels in FROM)
    return FeatureNet(name, f"conv{stage}_2", 2 ** (stage - 1), network[: 5 * stage - 2], lambda images: images)


def random(channels: int, size: int, streams) -> FeatureNet:
    """`small_net` as it starts, from the stream "features init"."""
    return read_at("random", small_net(channels, streams["features init"]), size)


def own(pictures, size: int, streams, path=None, steps: int = STEPS, after=None) -> FeatureNet:
    """`small_net`, trained on a Dataset of pictures for `steps` steps to tell by how many quarter turns each was turned.

    All of it is trained and the layer is read before its end, because the last layers keep what tells the turns and nothing else.
    path: where it is kept, and taken from if it is there already; None: nowhere. streams: "features init", "features data".
    after(): called after each step. CheckpointError for a file at `path` that holds something else."""
    network = small_net(pictures.x.shape[1], streams["features init"])
    if path is not None and os.path.exists(path):
        try:
            network.load_state_dict(checkpoint.load(path)["network"])
        except (KeyError, TypeError, ValueError) as error:
            raise checkpoint.CheckpointError(path, f"not the feature net of this run: {error}") from error
    else:
        trained_on_turns(network, pictures, steps, streams["features data"], streams["features init"], after)
        if path is not None:
            checkpoint.save(path, {"network": network.state_dict()})
    return read_at("own", network, size)


def trained_on_turns(network, pictures, steps: int, order, rng, after=None) -> None:
    """Train `network` in place. order, rng: streams for the batches and for the last layer, which is thrown away."""
    head = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(network[-1].out_channels, 4, rng=rng))
    whole = nn.Sequential(network, head)
    batches = data.DataLoader(pictures, min(BATCH, len(pictures)), shuffle=True, drop_last=True, rng=order).forever()
    fit(whole, lambda x, turns, step: F.cross_entropy(whole(mg.tensor(x)), mg.tensor(turns)), turned(batches), steps, rate=1e-3,
        after=after)


def turned(batches):
    """Batches of (pictures, ...) as (each in all four turns, the number of quarter turns); every other picture is made grey."""
    for pictures, *_ in batches:
        pictures = pictures.copy()
        pictures[1::2] = pictures[1::2].mean(1, keepdims=True)
        yield np.concatenate([np.rot90(pictures, turns, (2, 3)) for turns in range(4)]), np.repeat(np.arange(4), len(pictures))


# ---- nets from a file


def from_file(path) -> FeatureNet:
    """SqueezeNet 1.0 under Caffe's names, or VGG-19 under torchvision's or Keras's (`nets.imagenet`), told apart by these names.

    SqueezeNet's layer is fire8's two expanding convolutions side by side: stride 8, as conv4_4 of VGG-19 has, which is the paper's.
    path: .npz, .safetensors or .pth; also below MINIGRAD_DATA. DataError without a file, CheckpointError for one of no such net."""
    found = weights_path(path, "")
    names = checkpoint.load_weights(found)
    if vgg.is_vgg(names):
        return FeatureNet("vgg19", "conv4_4", 8, vgg.load(found), in_colour)
    if "fire2/conv1x1_1.weight" in names:
        whole = squeezenet.load(found)
        return FeatureNet("squeezenet1_0", "fire8 expand", 8, Fire8(whole), in_colour)
    raise checkpoint.CheckpointError(found, "holds neither SqueezeNet 1.0 nor VGG-19; it begins with "
                                     + ", ".join(list(names)[:3]))


class Fire8(nn.Module):
    """The part of SqueezeNet up to fire8, without its last activation: (N, 3, H, W) in [0, 1] -> (N, 512, h, w)."""

    def __init__(self, whole):
        super().__init__()
        self.register_buffer("mean", whole.mean, persistent=False)
        place = [name for name, _ in whole.layers.named_children()].index("fire8")
        self.before, self.fire = whole.layers[:place], whole.layers[place]

    def forward(self, images):
        squeezed = self.fire.squeeze(self.before(images * 255.0 - self.mean))
        return mg.cat([self.fire.expand1x1[0](squeezed), self.fire.expand3x3[0](squeezed)], 1)


def in_colour(images):
    """[-1, 1] -> [0, 1], three channels."""
    images = images * 0.5 + 0.5
    return mg.cat([images] * 3, 1) if images.shape[1] == 1 else images
