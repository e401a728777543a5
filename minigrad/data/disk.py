"""Your own data: `folder:PATH` (pictures), `npz:PATH[#KEY]` (arrays), `text:PATH`, `pair:A,B` (two unpaired domains).

Paths are taken as they are, then below the folders of `dataset.roots()`. Decoded pictures are kept in
~/.cache/minigrad/decoded (never in MINIGRAD_DATA, which may be shared), under a key made of every file's name, size and
time, so a changed folder is read afresh. Pillow is imported when pictures are decoded (`picture_file`).

Imports: PIL (when called), numpy, minigrad.checkpoint, minigrad.files, dataset, images, picture_file.
"""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np

from minigrad import checkpoint
from minigrad.data.dataset import DataError, Dataset, Pair, find
from minigrad.data.images import resize
from minigrad.data.picture_file import open_picture
from minigrad.files import open_regular

__all__ = ["folder", "npz", "pair", "read_npz", "text"]

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def folder(path, *, train=True, size=64, grey=False, cache=True) -> Dataset:
    """Pictures of a folder and its sub-folders, uint8 (N, 3 or 1, size, size): shorter side to `size`, centre cut out.

    Sub-folders are the classes. If PATH has both train/ and test/, `train` picks one of them; otherwise there is no
    test set, and train=False is an error (Dataset.split makes one)."""
    root = find(path)
    if not os.path.isdir(root):
        raise DataError(root, "no such folder", "Name a folder with pictures: --data folder:PATH")
    if size < 1:
        raise ValueError(f"folder: size must be at least 1, got {size}")
    if all(os.path.isdir(os.path.join(root, part)) for part in ("train", "test")):
        root = os.path.join(root, "train" if train else "test")
    elif not train:
        raise DataError(root, "has no test set", "Make sub-folders train/ and test/, or use Dataset.split")
    files = sorted(os.path.relpath(os.path.join(where, name), root).replace(os.sep, "/")
                   for where, _, names in os.walk(root) for name in names
                   if name.lower().endswith(ENDINGS) and not name.startswith("."))
    if not files:
        raise DataError(root, "holds no pictures", f"Pictures end in {', '.join(ENDINGS)}")
    x = _cached(root, files, size, grey, cache)
    owners = [name.split("/")[0] if "/" in name else "" for name in files]
    classes = sorted(set(owners))
    labelled = len(classes) > 1
    y = np.array([classes.index(owner) for owner in owners]) if labelled else None
    return Dataset(x, y, classes=classes if labelled else (), name=os.path.basename(os.path.abspath(root)), source=root)


def _cached(root, files, size, grey, cache) -> np.ndarray:
    key = [os.path.abspath(root), size, grey, 1]
    for name in files:
        status = os.stat(os.path.join(root, name))
        key.append([name, status.st_size, status.st_mtime_ns])
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]
    path = os.path.join(os.path.expanduser("~"), ".cache", "minigrad", "decoded", digest + ".npz")
    if cache:
        try:
            return checkpoint.load(path).transpose(0, 3, 1, 2)
        except checkpoint.CheckpointError:
            pass  # not there yet, or damaged: it is only a copy
    x = np.stack([_decode(os.path.join(root, name), size, grey) for name in files])
    if cache:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            checkpoint.save(path, x)
        except (OSError, checkpoint.CheckpointError):
            pass  # a read-only cache costs time, not results
    return x.transpose(0, 3, 1, 2)


def _decode(path, size: int, grey: bool) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with open_picture(path) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
                picture = picture.convert("RGBA")
                white = Image.new("RGBA", picture.size, "white")
                picture = Image.alpha_composite(white, picture)
            picture = ImageOps.fit(picture.convert("L" if grey else "RGB"), (size, size), Image.Resampling.LANCZOS)
    except Exception as error:  # Pillow's decoders raise many types on damaged files
        raise DataError(path, f"not a readable picture: {error}", "Replace it or take it out of the folder") from error
    return np.asarray(picture).reshape(size, size, -1)


# ---- npz


def read_npz(path) -> dict:
    """All arrays of an .npz, with every declared size checked; DataError when it is missing or damaged."""
    path = find(path)
    try:
        return checkpoint.load_weights(path)
    except checkpoint.CheckpointError as error:
        raise DataError(path, error.reason, "Is it an .npz written by numpy.savez?") from error


def npz(path, *, train=True, size=None) -> Dataset:
    """Arrays of an .npz: pictures uint8 (N, H, W), (N, H, W, C) or (N, C, H, W), or float points (N, D).

    PATH#KEY names the array. Else the pictures are found under x_train / x_test, x, images, data, arr_0, or as the only
    array of rows; labels under y_train / y_test, y, labels, and class names under classes. size: resize pictures."""
    name, _, key = str(path).partition("#")
    arrays = read_npz(name)
    part = "train" if train else "test"
    if not key:
        candidates = [f"x_{part}", f"{part}_x", part, *(("x", "images", "data", "arr_0") if train else ())]
        key = next((k for k in candidates if k in arrays), None)
        if key is None and train:
            wide = [k for k, value in arrays.items() if value.ndim >= 2]
            key = wide[0] if len(wide) == 1 else None
        if key is None:
            raise DataError(name, f"cannot tell which array is the {part} data among: {_listing(arrays)}",
                            f"Name it: npz:{name}#KEY")
    if key not in arrays:
        raise DataError(name, f"has no array {key!r}; it has: {_listing(arrays)}", f"Name one: npz:{name}#KEY")
    x = _as_rows(name, key, arrays[key])
    if size is not None and x.ndim == 4:
        x = resize(x, size)
    labels = next((arrays[k] for k in ([f"y_{part}", f"{part}_y"] if key.find(part) >= 0 else ["y", "labels"])
                   if k in arrays), None)
    if labels is not None and (labels.dtype.kind not in "iu" or labels.shape != (len(x),)):
        raise DataError(name, f"labels must be {len(x)} integers, got {labels.dtype} {labels.shape}")
    classes = arrays.get("classes", np.array([]))
    classes = [str(c) for c in classes.ravel()] if classes.dtype.kind in "US" else ()
    return Dataset(x, labels, classes=classes, name=os.path.splitext(os.path.basename(name))[0],
                   source=f"{find(name)}#{key}")


def _as_rows(name, key, x) -> np.ndarray:
    if x.dtype == np.uint8 and x.ndim == 3:
        x = x[:, None]
    elif x.dtype == np.uint8 and x.ndim == 4 and x.shape[3] in (1, 3):
        x = x.transpose(0, 3, 1, 2)
    if x.dtype == np.uint8 and x.ndim == 4 and x.shape[1] in (1, 3) and x.size:
        return x
    if x.dtype.kind == "f" and x.ndim == 2 and x.size:
        if not np.isfinite(x).all():
            raise DataError(name, f"{key} holds NaN or infinity")
        return x.astype(np.float32)
    raise DataError(name, f"{key} is {x.dtype} {x.shape}: neither pictures uint8 (N, H, W[, C]) or (N, C, H, W) with "
                          "1 or 3 channels, nor points float (N, D)")


def _listing(arrays) -> str:
    return ", ".join(f"{k} {v.dtype} {v.shape}" for k, v in list(arrays.items())[:12]) or "nothing"


# ---- pair, text


def pair(path, *, train=True, size=64) -> Pair:
    """Two unpaired domains: `A,B`, each a folder or an .npz#KEY; or one .npz with trainA, trainB (testA, testB), or
    with exactly two arrays of pictures."""
    sides = str(path).split(",")
    if len(sides) == 1 and sides[0].lower().endswith(".npz"):
        arrays = read_npz(sides[0])
        part = "train" if train else "test"
        keys = next((k for k in ((f"{part}A", f"{part}B"), ("A", "B")) if all(key in arrays for key in k)), None)
        keys = keys or [k for k, value in arrays.items() if value.dtype == np.uint8 and value.ndim == 4]
        if len(keys) != 2:
            raise DataError(sides[0], f"cannot tell the two domains among: {_listing(arrays)}",
                            f"Name them: pair:{sides[0]}#KEY_A,{sides[0]}#KEY_B")
        sides = [f"{sides[0]}#{key}" for key in keys]
    if len(sides) != 2 or not all(sides):
        raise DataError(path, "a pair has two sides", "Type --data pair:FOLDER_A,FOLDER_B")
    a, b = (npz(side, train=train, size=size) if ".npz" in side.lower() else folder(side, train=train, size=size)
            for side in sides)
    for side in (a, b):
        if not side.is_images:
            raise DataError(path, f"{side.source} does not hold pictures")
    if a.x.shape[1] != b.x.shape[1]:
        raise DataError(path, f"the two sides have {a.x.shape[1]} and {b.x.shape[1]} channels",
                        "Make both grey or both RGB")
    return Pair(a, b)


def text(path, *, train=True, held_out=0.1) -> Dataset:
    """The characters of a UTF-8 file as int64 codes (N,); `.classes` is the sorted set of characters of the whole file.
    The last `held_out` of it is the test set."""
    found = find(path)
    try:
        with open_regular(found) as file:
            content = file.read().decode("utf-8")
    except FileNotFoundError:
        raise DataError(found, "no such file", "Name a text: --data text:PATH") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(found, f"not readable as UTF-8 text: {error}", "Save it as UTF-8") from error
    if not content:
        raise DataError(found, "is empty")
    points, codes = np.unique(np.frombuffer(content.encode("utf-32-le"), "<u4"), return_inverse=True)
    border = len(codes) - int(held_out * len(codes))
    codes = codes[:border] if train else codes[border:]
    return Dataset(codes.astype(np.int64), classes=[chr(p) for p in points], name=os.path.basename(found), source=found)
