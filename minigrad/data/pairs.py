"""Two domains by name, for translation: sets of CycleGAN's paper at 64 pixels, two drawings of each emoji, and beasts made here.

`horse2zebra summer2winter monet2photo emoji` are files that somebody has put below one of `roots()`; nothing fetches them. Of the
last two sources the partner of each test picture is known: the test set is `Paired`, one thing drawn twice in each row. No
training picture has its partner among the training pictures of the other side.

    beasts     brown beasts on a meadow (a), and striped ones (b): made from numbers, so the true translation is known

Imports: numpy, minigrad.domains, minigrad.random, dataset, disk.
"""

from __future__ import annotations

import os

import numpy as np

from minigrad.data.dataset import DataError, Dataset, Pair, Paired, find
from minigrad.data.disk import npz, pair, read_npz
from minigrad.domains import COUNT
from minigrad.random import Stream

TESTED = 200  # pairs held out


def named(name: str):
    """The source for `name`: one file NAME/NAME_64.npz or NAME/NAME.npz with trainA, trainB, testA, testB."""
    def source(*, train=True) -> Pair:
        a, b = pair(_located(name, (f"{name}_64.npz", f"{name}.npz")), train=train)
        words = name.split("2")
        for side, word in zip((a, b), words, strict=True):
            side.name = word
        return Pair(a, b)

    source.__name__, source.__doc__ = name, f"{name}, photographs or paintings of 64 x 64 pixels from a file {name}/{name}_64.npz."
    return source


horse2zebra, summer2winter, monet2photo = (named(name) for name in ("horse2zebra", "summer2winter", "monet2photo"))


def single(name: str):
    """The source for one domain, `name`: one file NAME/NAME.npz with pictures x, and labels y where it has them."""
    def source(*, train=True) -> Dataset:
        found = npz(_located(name, (f"{name}.npz",)), train=train)
        found.name = name
        return found

    source.__name__, source.__doc__ = name, f"{name}, pictures of one kind from a file {name}/{name}.npz; no test set."
    return source


photos, ghibli = single("photos"), single("ghibli")


def photos2ghibli(*, train=True) -> Pair:
    """Photographs (a) and stills of painted films (b), 96 x 96 pixels; no test set."""
    return Pair(photos(train=train), ghibli(train=train))


def emoji(*, train=True, seed=0) -> Pair:
    """Emoji as Noto (a) and as Twemoji (b) draw them, 64 x 64 pixels. Test: 200 of them drawn twice. Training: one half of the
    others as Noto's and the other half as Twemoji's, drawn by `seed`."""
    path = _located("emoji", ("emoji_noto_twemoji_64.npz",))
    arrays = read_npz(path)
    sides = [arrays.get(key) for key in ("noto", "twemoji")]
    if any(x is None or x.dtype != np.uint8 or x.ndim != 4 for x in sides) or len(sides[0]) != len(sides[1]) or \
            len(sides[0]) <= TESTED:
        raise DataError(path, f"needs noto and twemoji, uint8 (N, H, W, 3), N alike and more than {TESTED}")
    order = Stream(seed, "emoji").permutation(len(sides[0]))
    rest = order[TESTED:]
    rows = (rest[::2], rest[1::2]) if train else (order[:TESTED], order[:TESTED])
    a, b = (Dataset(x[index].transpose(0, 3, 1, 2), name=name, source=path)
            for x, index, name in zip(sides, rows, ("noto", "twemoji"), strict=True))
    return (Pair if train else Paired)(a, b)


def _located(name, files) -> str:
    for file in files:
        path = find(os.path.join(name, file))
        if os.path.exists(path):
            return path
    raise DataError(os.path.join(name, files[0]), "not there, and no address is known to fetch it from",
                    f"Set MINIGRAD_DATA to a folder that has {name}/{files[0]}, or give two folders: --data pair:A,B; "
                    "--data beasts is built in")


# ---- beasts


def beasts(*, train=True, size=32, limit=None, seed=0) -> Pair:
    """Brown beasts (a) and striped ones (b) on a meadow, uint8 (N, 3, size, size): 2,000 of each to train on, 200 drawn twice
    to test.

    All is drawn from the same numbers but the coat: ground and sky, place, size, direction and pose. The stripes stand upright in
    the picture, every size / 8 pixels, so that the partner of a brown beast is one picture and no other."""
    COUNT.check("beasts: size", size)
    if not 16 <= size <= 128:
        raise ValueError(f"beasts: size must lie between 16 and 128, got {size}")
    rows = (2000 if train else TESTED) if limit is None else COUNT.check("beasts: limit", limit)
    sides = []
    for name, striped in (("brown", False), ("striped", True)):
        stream = Stream(seed, f"beasts/{name if train else 'test'}")
        x = np.rint(255 * drawn(stream.uniform(size=(rows, 12)), size, striped)).astype(np.uint8)
        sides.append(Dataset(x, name=name, source=f"{name} beasts, made here, seed {seed}"))
    return (Pair if train else Paired)(*sides)


def drawn(u, size, striped) -> np.ndarray:
    """u (N, 12) in [0, 1] -> pictures (N, 3, size, size) in [0, 1]."""
    pixel = (np.arange(size, dtype=np.float32) + 0.5) / size
    y, x = pixel[:, None], pixel[None, :]
    u = u.astype(np.float32)[:, :, None, None]  # each number for all pixels: (N, 12, 1, 1)
    soft = 1.0 / size

    def inside(distance):  # below 0 inside; an edge of one pixel
        return np.clip(0.5 - distance / soft, 0, 1)

    def colour(*channels):
        return np.stack(np.broadcast_arrays(*channels), 1)

    horizon = 0.35 + 0.25 * u[:, 0]
    sky = colour(0.45 + 0.35 * u[:, 1] + 0.2 * y, 0.65 + 0.2 * u[:, 1] + 0.1 * y, 0.9 + 0 * y)
    ground = colour(0.25 + 0.25 * u[:, 2] + 0.08 * y, 0.5 + 0.2 * u[:, 3] - 0.1 * y, 0.15 + 0.15 * u[:, 3] + 0 * y)
    picture = np.where((y < horizon)[:, None], sky, ground) + np.zeros((len(u), 3, size, size), np.float32)

    length, height = 0.17 + 0.08 * u[:, 4], 0.10 + 0.05 * u[:, 5]
    middle, level = 0.35 + 0.3 * u[:, 6], horizon + 0.12 + 0.12 * u[:, 7]
    way, pose = np.where(u[:, 8] < 0.5, -1.0, 1.0).astype(np.float32), u[:, 9]
    body = np.hypot((x - middle) / length, (y - level) / height)
    body = (body - 1) * height
    neck_x, neck_y = middle + way * length * 0.95, level - height * (0.7 + 0.5 * pose)
    head = (np.hypot((x - neck_x - way * 0.05) / 0.085, (y - neck_y) / 0.055) - 1) * 0.055
    legs = [np.maximum(np.abs(x - middle - side * length * 0.7 - 0.02 * shift) - 0.022, np.abs(y - level - height * 1.2) - height)
            for side, shift in ((-1, pose), (1, pose), (-0.75, 1 - pose), (0.75, 1 - pose))]
    mask = inside(np.minimum.reduce([body, head, *legs]))[:, None]
    shade = 1.0 - 0.35 * np.clip((y - level) / height, -1, 1)[:, None] * 0.5
    if striped:
        coat = np.where(np.floor(x * 16) % 2 == 0, np.float32(0.95), np.float32(0.1))[None, None]
    else:
        coat = np.array([0.55, 0.33, 0.14], np.float32)[None, :, None, None]
    return np.clip(picture * (1 - mask) + mask * np.clip(coat * shade, 0, 1), 0, 1)
