"""Inception-v3 as FID is defined by: 2,048 features of a picture at 299 pixels (Szegedy et al. 2016; Heusel et al. 2017).

    299 -> 3 convolutions -> pool -> 2 convolutions -> pool -> Mixed_5b..5d (35 px) -> 6a -> 6b..6e (17 px) -> 7a -> 7b, 7c (8 px)
        -> mean over positions: "pool3", 2,048 numbers

FID is the Frechet distance on these features of *these weights*, those that TensorFlow published on 2015-12-05 and pytorch-fid
carried over as pt_inception-2015-12-05-6726825d.pth. Names and shapes of the arrays are torchvision's, so that this file loads as
it is. Nothing is downloaded: name the file by `--inception`. Three things differ from torchvision's network, as in that graph:
  * the average pools inside the mixed blocks do not count the padding (5b..5d, 6b..6e, 7b)
  * the last block, 7c, takes the largest in its pool where the others take the mean
  * the last layer has 1,008 outputs

A picture is rounded to 256 levels, as one that was saved and read is, resized to 299 x 299 without smoothing (bilinear between
pixel centres, as pytorch-fid does; Parmar et al. 2022 show how much depends on it), and scaled to [-1, 1]. Grey is repeated.

Imports: numpy, minigrad, weights.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from minigrad.domains import COUNT
from minigrad.pictures import to_uint8
from nets.imagenet import weights as imagenet

SIZE, FEATURES, CLASSES = 299, 2048, 1008


class Unit(nn.Module):
    """Convolution without bias, batch norm of eps 0.001, ReLU. kernel, padding: a number, or (down, across)."""

    def __init__(self, inputs, outputs, kernel, stride=1, padding=0, rng=None):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False, rng=rng)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x):
        return self.bn(self.conv(x)).relu()


class Mixed(nn.Module):
    """Branches side by side, their maps joined: each a chain of units, or a chain that ends in two units side by side.

    chains: each a list of units (name, outputs, kernel, stride, padding), or of tuples of such units that stand side by side.
    pool: what stands before "branch_pool", "mean" (without the padding) or "max"; None for a pool of stride 2 that is a branch."""

    def __init__(self, inputs, chains, pool, rng=None):
        super().__init__()
        self.chains, self.pool = [], pool
        for chain in chains:
            channels, names = inputs, []
            for step in chain:
                side = step if isinstance(step[0], tuple) else (step,)  # two units side by side
                for name, outputs, kernel, *rest in side:
                    setattr(self, name, Unit(channels, outputs, kernel, *rest, rng=rng))
                names.append(tuple(unit[0] for unit in side))
                channels = sum(unit[1] for unit in side)
            self.chains.append(names)

    def forward(self, x):
        pooled = F.max_pool2d(x, 3, 2) if self.pool is None else F.max_pool2d(x, 3, 1, 1) if self.pool == "max" \
            else F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        parts = [self._run(names, pooled if names[0] == ("branch_pool",) else x) for names in self.chains]
        return mg.cat([*parts, pooled] if self.pool is None else parts, 1)

    def _run(self, names, x):
        for side in names:
            parts = [getattr(self, name)(x) for name in side]
            x = parts[0] if len(parts) == 1 else mg.cat(parts, 1)
        return x


# ---- the blocks, by torchvision's letters; a unit is (name, outputs, kernel, stride, padding)


def block_a(inputs, pooled, rng):
    """35 px: 1x1, 5x5, twice 3x3, pool."""
    return Mixed(inputs, [
        [("branch1x1", 64, 1)],
        [("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5, 1, 2)],
        [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3, 1, 1), ("branch3x3dbl_3", 96, 3, 1, 1)],
        [("branch_pool", pooled, 1)]], "mean", rng)


def block_b(inputs, rng):
    """35 to 17 px."""
    return Mixed(inputs, [
        [("branch3x3", 384, 3, 2)],
        [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3, 1, 1), ("branch3x3dbl_3", 96, 3, 2)]], None, rng)


def block_c(inputs, maps, rng):
    """17 px: 7x7 as 1x7 and 7x1, once and twice."""
    across, down = ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))
    return Mixed(inputs, [
        [("branch1x1", 192, 1)],
        [("branch7x7_1", maps, 1), ("branch7x7_2", maps, *across), ("branch7x7_3", 192, *down)],
        [("branch7x7dbl_1", maps, 1), ("branch7x7dbl_2", maps, *down), ("branch7x7dbl_3", maps, *across),
         ("branch7x7dbl_4", maps, *down), ("branch7x7dbl_5", 192, *across)],
        [("branch_pool", 192, 1)]], "mean", rng)


def block_d(inputs, rng):
    """17 to 8 px."""
    return Mixed(inputs, [
        [("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3, 2)],
        [("branch7x7x3_1", 192, 1), ("branch7x7x3_2", 192, (1, 7), 1, (0, 3)), ("branch7x7x3_3", 192, (7, 1), 1, (3, 0)),
         ("branch7x7x3_4", 192, 3, 2)]], None, rng)


def block_e(inputs, pool, rng):
    """8 px: 3x3 that ends in 1x3 beside 3x1, once and twice."""
    def fork(name):
        return ((f"{name}a", 384, (1, 3), 1, (0, 1)), (f"{name}b", 384, (3, 1), 1, (1, 0)))

    return Mixed(inputs, [
        [("branch1x1", 320, 1)],
        [("branch3x3_1", 384, 1), fork("branch3x3_2")],
        [("branch3x3dbl_1", 448, 1), ("branch3x3dbl_2", 384, 3, 1, 1), fork("branch3x3dbl_3")],
        [("branch_pool", 192, 1)]], pool, rng)


class Inception(nn.Module):
    """RGB images (N, 3, 299, 299) in [-1, 1] -> pool3 features (N, 2048). `fc` is there for its file's sake and not used."""

    def __init__(self, rng=None):
        super().__init__()
        self.Conv2d_1a_3x3 = Unit(3, 32, 3, 2, rng=rng)
        self.Conv2d_2a_3x3 = Unit(32, 32, 3, rng=rng)
        self.Conv2d_2b_3x3 = Unit(32, 64, 3, padding=1, rng=rng)
        self.Conv2d_3b_1x1 = Unit(64, 80, 1, rng=rng)
        self.Conv2d_4a_3x3 = Unit(80, 192, 3, rng=rng)
        for name, inputs, pooled in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
            setattr(self, f"Mixed_{name}", block_a(inputs, pooled, rng))
        self.Mixed_6a = block_b(288, rng)
        for name, maps in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
            setattr(self, f"Mixed_{name}", block_c(768, maps, rng))
        self.Mixed_7a = block_d(768, rng)
        self.Mixed_7b = block_e(1280, "mean", rng)
        self.Mixed_7c = block_e(2048, "max", rng)
        self.fc = nn.Linear(FEATURES, CLASSES, rng=rng)

    def forward(self, images):
        if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < 75:
            raise ValueError(f"Inception: images must be RGB (N, 3, H, W) of at least 75 pixels, got {images.shape}")
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"):
            x = getattr(self, f"Mixed_{name}")(x)
        return x.mean((2, 3))


def load(path) -> Inception:
    """The network with weights of a file, .pth, .safetensors or .npz under torchvision's names, in evaluation mode and frozen.

    A .pth is read by the restricted reader (`minigrad.torch_file`), which runs nothing. DataError without a file, CheckpointError
    for a wrong one."""
    path = imagenet.weights_path(path, "inception")
    return imagenet.load_into(Inception(), path, lambda name: name).eval().requires_grad_(False)


def features(network, images, done=lambda: None, batch: int = 20) -> np.ndarray:
    """pool3 features (N, 2048) of pictures (N, 1 or 3, H, W), uint8 or floats in [-1, 1]. done: called after every hundred."""
    COUNT.check("inception.features: batch", batch)
    images, parts = to_uint8(images), []
    for i in range(0, len(images), batch):
        x = np.broadcast_to(images[i : i + batch], (len(images[i : i + batch]), 3, *images.shape[2:])).astype(np.float32)
        with mg.no_grad():
            large = F.interpolate(mg.tensor(x / np.float32(127.5) - np.float32(1)), size=(SIZE, SIZE), mode="bilinear")
            parts.append(network(large).array)
        if (i // batch) % max(1, 100 // batch) == 0:
            done()
    return np.concatenate(parts)
