"""MNIST (and stacked in colours), Fashion-MNIST, CIFAR-10: where they come from, what files must be, and how they are read.

Files are looked for in `<root>/mnist`, `<root>/fashion-mnist`, `<root>/cifar10` for every root of `dataset.roots()`,
and fetched only on request. MINIGRAD_MIRROR replaces the addresses: a file is then $MINIGRAD_MIRROR/<set>/<file>.

Imports: numpy, minigrad.domains, minigrad.random, dataset, disk, download, formats.
"""

from __future__ import annotations

import os

import numpy as np

from minigrad.data import formats
from minigrad.data.dataset import DataError, Dataset, cache_folder, roots
from minigrad.data.disk import read_npz
from minigrad.data.download import fetch
from minigrad.domains import COUNT
from minigrad.random import Stream

__all__ = ["cifar10", "fashion_mnist", "is_here", "mnist", "stacked_mnist"]

# set -> addresses, {file: (bytes, sha256)}. Digests: tensorflow-datasets url_checksums, equal to the files' own.
SETS = {
    "mnist": (
        ["https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"],
        {"train-images-idx3-ubyte.gz":
            (9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
         "train-labels-idx1-ubyte.gz":
            (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
         "t10k-images-idx3-ubyte.gz":
            (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
         "t10k-labels-idx1-ubyte.gz":
            (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6")}),
    "fashion-mnist": (
        ["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
         "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"],
        {"train-images-idx3-ubyte.gz":
            (26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
         "train-labels-idx1-ubyte.gz":
            (29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
         "t10k-images-idx3-ubyte.gz":
            (4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
         "t10k-labels-idx1-ubyte.gz":
            (5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5")}),
    "cifar10": (
        ["https://www.cs.toronto.edu/~kriz/"],
        {"cifar-10-binary.tar.gz":
            (170052171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd")}),
}
FASHION_CLASSES = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
                   "ankle boot")


def mnist(*, train=True, download=False) -> Dataset:
    """60,000 or 10,000 digits, uint8 (N, 1, 28, 28), white on black. LeCun, Cortes, Burges 1998."""
    return _idx_set("mnist", tuple("0123456789"), train, download)


def fashion_mnist(*, train=True, download=False) -> Dataset:
    """60,000 or 10,000 articles of clothing, uint8 (N, 1, 28, 28). Xiao, Rasul, Vollgraf 2017."""
    return _idx_set("fashion-mnist", FASHION_CLASSES, train, download)


def stacked_mnist(*, train=True, download=False, limit=None, seed=0) -> Dataset:
    """Three random digits of MNIST as red, green, blue, uint8 (N, 3, 28, 28); y = 100 red + 10 green + blue: 1,000 modes, equally
    likely up to MNIST's own shares. N = limit, or 60,000 (train) and 10,000 (test). Row i follows from (seed, train, i).

    Metz et al. 2017, section 3.3.1, the data on which lost modes are counted; training digits from the training set only."""
    digits = mnist(train=train, download=download)
    count = len(digits) if limit is None else COUNT.check("stacked_mnist: limit", limit)
    chosen = Stream(seed, f"stacked-mnist/{'train' if train else 'test'}").integers(len(digits), size=(count, 3))
    return Dataset(digits.x[chosen, 0], digits.y[chosen] @ (100, 10, 1), classes=[f"{k:03}" for k in range(1000)],
                   name="stacked-mnist", source=f"{digits.source}, three digits in a picture, seed {seed}")


def _idx_set(name, classes, train, download) -> Dataset:
    stem = "train" if train else "t10k"
    images = _locate(name, f"{stem}-images-idx3-ubyte.gz", download)
    labels = _locate(name, f"{stem}-labels-idx1-ubyte.gz", download)
    x, y = formats.read_idx(images, ndim=3), formats.read_idx(labels, ndim=1)
    if x.dtype != np.uint8 or y.dtype != np.uint8 or x.shape[1:] != (28, 28):
        raise DataError(images, f"holds {x.dtype} pictures of {x.shape[1:]} and labels of {y.dtype}, "
                                "expected uint8, (28, 28) and uint8", "Download it again with --download")
    if len(x) != len(y):
        raise DataError(images, f"has {len(x)} pictures, {os.path.basename(labels)} has {len(y)} labels",
                        "Training and test files mixed up?")
    if len(y) and y.max() > 9:
        raise DataError(labels, f"holds the label {y.max()}, labels are 0 to 9", "Download it again with --download")
    return Dataset(x[:, None], y.astype(np.int64), classes=classes, name=name, source=os.path.dirname(images))


def cifar10(*, train=True, download=False) -> Dataset:
    """50,000 or 10,000 photographs, uint8 (N, 3, 32, 32). Krizhevsky 2009.

    Also accepted is a subset `cifar10/cifar10_10k.npz` (x_train, y_train, x_test, y_test; pictures N,H,W,C); `.source`
    then says that it is one."""
    for root in roots():
        folder = os.path.join(root, "cifar10")
        for path in (os.path.join(folder, "cifar-10-batches-bin"), os.path.join(folder, "cifar-10-binary.tar.gz")):
            if os.path.exists(path):
                return _cifar(path, train)
        subset = os.path.join(folder, "cifar10_10k.npz")
        if os.path.exists(subset) and not download:
            return _cifar_subset(subset, train)
    return _cifar(_locate("cifar10", "cifar-10-binary.tar.gz", download), train)


def _cifar(path, train) -> Dataset:
    x, y = formats.read_cifar10(path, train)
    return Dataset(x, y, classes=formats.CIFAR10_CLASSES, name="cifar10", source=path)


def _cifar_subset(path, train) -> Dataset:
    part = "train" if train else "test"
    arrays = read_npz(path)
    x, y = arrays.get(f"x_{part}"), arrays.get(f"y_{part}")
    if x is None or y is None or x.dtype != np.uint8 or x.shape[1:] != (32, 32, 3) or y.shape != x.shape[:1] \
            or y.dtype.kind not in "iu" or len(y) and not 0 <= y.min() <= y.max() <= 9:
        raise DataError(path, f"needs x_{part} uint8 (N, 32, 32, 3) and y_{part} (N,) with labels 0 to 9")
    return Dataset(x.transpose(0, 3, 1, 2), y, classes=formats.CIFAR10_CLASSES, name="cifar10",
                   source=f"{path}, a subset of {len(x)} pictures")


def is_here(name: str) -> bool:
    """Whether `load(name)` needs no download: all files of the set are below `dataset.roots()`, or it is none that is fetched."""
    name = "mnist" if name == "stacked-mnist" else name
    if name not in SETS:
        return True
    others = ["cifar-10-batches-bin", "cifar10_10k.npz"] if name == "cifar10" else []
    return any(os.path.exists(os.path.join(root, name, other)) for root in roots() for other in others) \
        or all(_found(name, file) for file in SETS[name][1])


def _found(name: str, file: str) -> str | None:
    """The path of a file, without or with .gz, below the first of the roots that has it."""
    candidates = [os.path.join(root, name, each) for root in roots() for each in (file, file.removesuffix(".gz"))]
    return next((path for path in candidates if os.path.exists(path)), None)


def _locate(name: str, file: str, download: bool) -> str:
    """The path of a file, without or with .gz; fetched when `download`; else a DataError that says what to type."""
    found = _found(name, file)
    if found:
        return found
    target = os.path.join(cache_folder(), name, file)
    addresses, files = SETS[name]
    mirror = os.environ.get("MINIGRAD_MIRROR")
    if mirror:
        addresses = [f"{mirror.rstrip('/')}/{name}/"]
    if not download:
        raise DataError(target, "not there, and nothing is downloaded unless asked for",
                        f"Type the command again with: --data {name} --download   (in Python: "
                        f"load({name!r}, download=True)), or set MINIGRAD_DATA to the folder that has {name}/{file}")
    size, digest = files[file]
    return fetch([address + file for address in addresses], target, sha256=digest, size=size)
