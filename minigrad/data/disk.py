"""Your own data: `folder:PATH` (pictures), `npz:PATH[#KEY]` (arrays), `text:PATH`, `pair:A,B` (two unpaired domains).

Paths are taken as they are, then below the folders of `dataset.roots()`. Decoded pictures are kept in
~/.cache/minigrad/decoded (never in MINIGRAD_DATA, which may be shared), under a key made of every file's name, size and
time, so a changed folder is read afresh. Pillow is imported when pictures are decoded.

Imports: PIL (when called), numpy, minigrad.checkpoint, minigrad.domains, minigrad.files, dataset, images, photos.
"""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np

from minigrad import checkpoint
from minigrad.data.dataset import DataError, Dataset, Pair, find, own_cache
from minigrad.data.images import resize
from minigrad.data.photos import ENDINGS, UNREADABLE, is_picture, open_picture
from minigrad.domains import COUNT, SHARE
from minigrad.files import open_regular

__all__ = ["folder", "npz", "pair", "read_npz", "scan", "text"]

HIDDEN = (".", "__MACOSX")  # what a name begins with that is no data
SHOWN = 5                    # names in a message
NAMED = 10                   # pictures that cannot be read, in a message


def folder(path, *, train=True, size=64, grey=False, cache=True, skip_broken=False) -> Dataset:
    """Pictures of a folder and its sub-folders, uint8 (N, 3 or 1, size, size): shorter side to `size`, centre cut out.

    Which files, splits and classes: `scan`. How a picture is opened: `photos`. skip_broken: leave out pictures that cannot be read,
    whose names are then in .skipped; else one DataError names them. What the folder held is in .listing."""
    root = find(path)
    if not os.path.isdir(root):
        raise DataError(root, "no such folder", "Name a folder with pictures: --data folder:PATH")
    COUNT.check("folder: size", size)
    where, files, classes = scan(root, train)
    x, broken = _cached(where, files, size, grey, cache)
    if broken and not skip_broken or not len(x):
        raise DataError(where, f"{len(broken)} of {len(files)} pictures cannot be read: {_reasons(broken)}", "Replace them or take "
                        "them out of the folder" + (", or leave them out with --skip-broken" if len(x) else ""))
    left_out = {name for name, _ in broken}
    kept = [name for name in files if name not in left_out]
    labelled = len(classes) > 1
    if labelled and train and (lost := sorted(set(classes) - {name.split("/")[0] for name in kept})):
        raise DataError(where, f"no picture can be read of the class {', '.join(lost[:SHOWN])}: {_reasons(broken)}",
                        "Replace them, or remove the class")
    y = np.array([classes.index(name.split("/")[0]) for name in kept]) if labelled else None
    found = Dataset(x, y, classes=classes if labelled else (), name=os.path.basename(os.path.abspath(where)), source=where)
    sizes = [[name, os.stat(os.path.join(where, name)).st_size] for name in kept]
    found.skipped = tuple(name for name in files if name in left_out)
    found.listing = hashlib.sha256(json.dumps([sizes, found.skipped]).encode()).hexdigest()[:16]
    return found


def scan(root: str, train=True) -> tuple[str, list[str], list[str]]:
    """(folder, files below it, classes) of a folder of pictures: the one rule by which it is read.

    1. A picture is a file with one of the endings of `photos.ENDINGS`. What begins with "." (or __MACOSX) is no data, neither a
       file nor a folder. Links are followed; a folder is entered once for each class, and a link back to one above it is not.
    2. PATH has splits when it has train/ and either val/ or test/ or no other folder. The training set is train/, the test set
       test/, or val/ where there is no test/. Without splits all of PATH is the training set, and there is no test set.
    3. The folders of a split are its classes, with all pictures below them; class numbers follow the sorted names of those of
       train/, in every split. A split may lack a class. With fewer than two classes nothing is labelled; pictures that lie in
       no folder at all, in train/ and in the other split, are of none.

    One DataError names all that does not fit: pictures beside classes, classes without pictures, classes that train/ lacks,
    folders with pictures beside the splits, and links that lead nowhere."""
    folders, loose, broken = _listing_of(root, {os.path.realpath(root)})
    split = "train" in folders and (len(folders) == 1 or bool({"val", "test"} & set(folders)))
    if not split:
        if not train:
            raise DataError(root, "has no test set", "Make sub-folders train/ and test/ (or val/), or use Dataset.split")
        files, classes, problems = _split(root, root, None)
    else:
        others = [name for name in folders if name not in ("train", "val", "test")]
        problems = _named("folders with pictures beside train/, val/, test/",
                          [name for name in others if _below(os.path.join(root, name), {os.path.realpath(root)})[0]])
        problems += _named("pictures beside train/, val/, test/", loose) + _named("links that lead nowhere", broken)
        part = "train" if train else next((name for name in ("test", "val") if name in folders), None)
        if part is None:
            raise DataError(root, "has no test set", "Make a folder test/ or val/ beside train/, or use Dataset.split")
        files, classes, more = _split(root, os.path.join(root, "train"), None)
        problems += [f"train/: {problem}" for problem in more]
        if part != "train":
            files, _, more = _split(root, os.path.join(root, part), classes)
            problems += [f"{part}/: {problem}" for problem in more]
    where = os.path.join(root, part) if split else root
    if problems:
        raise DataError(root, "; ".join(problems), "A picture belongs into the folder of its class, and every class into train/. "
                        "Move or remove what is named")
    if not files:
        raise DataError(where, "holds no pictures", f"Pictures end in {', '.join(ENDINGS)}")
    return where, sorted(files), classes


def _split(root, where, known: list | None) -> tuple[list[str], list[str], list[str]]:
    """(files, classes, what does not fit) of one split; `known`: the classes of train/, None for train/ itself."""
    above = {os.path.realpath(root), os.path.realpath(where)}
    folders, files, broken = _listing_of(where, above)
    held = {}
    for name in folders:
        found, lost = _below(os.path.join(where, name), above)
        held[name] = [f"{name}/{file}" for file in found]
        broken += [f"{name}/{file}" for file in lost]
    classes = [name for name in folders if held[name]]
    problems = _named("links that lead nowhere", broken)
    if classes or known:
        problems += _named("pictures that lie in no class's folder", files)
    if known is None:
        problems += _named("classes without pictures", [name for name in folders if classes and not held[name]])
    else:
        problems += _named(f"classes that train/ does not have (it has {', '.join(known) or 'none'})",
                           [name for name in folders if name not in known and (known or held[name])])
    return files + [file for found in held.values() for file in found], classes, problems


def _below(top, above: set) -> tuple[list[str], list[str]]:
    """(pictures, broken links) at any depth below `top`, relative to it, with "/"."""
    entered, stack, files, broken = {*above, os.path.realpath(top)}, [""], [], []
    while stack:
        prefix = stack.pop()
        folders, found, lost = _listing_of(os.path.join(top, prefix), entered)
        files += [prefix + name for name in found]
        broken += [prefix + name for name in lost]
        for name in folders:
            real = os.path.realpath(os.path.join(top, prefix, name))
            if real not in entered:  # two links to one folder may lie side by side
                entered.add(real)
                stack.append(f"{prefix}{name}/")
    return files, broken


def _listing_of(where, above: set) -> tuple[list[str], list[str], list[str]]:
    """(folders, pictures, links named like pictures that lead nowhere) in a folder, sorted, without hidden ones and without folders
    whose real paths are in `above`."""
    folders, pictures, broken = [], [], []
    try:
        names = sorted(os.listdir(where))
    except OSError as error:
        raise DataError(where, f"cannot be read: {error.strerror}", "Give yourself the right to read it, or move it away") from None
    for name in names:
        path = os.path.join(where, name)
        if name.startswith(HIDDEN):
            continue
        if os.path.isdir(path):
            if os.path.realpath(path) not in above:
                folders.append(name)
        elif is_picture(name):
            (pictures if os.path.exists(path) else broken).append(name)  # a pipe is refused when it is opened, not passed over
    return folders, pictures, broken


def _named(what: str, names: list[str]) -> list[str]:
    """["what: a, b and 3 more"], or nothing for no names."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [f"{what}: {', '.join(names[:SHOWN])}{more}"] if names else []


def _reasons(broken: list) -> str:
    """The first of the pictures that cannot be read, each with its reason."""
    named = ", ".join(f"{name} ({reason})" for name, reason in broken[:NAMED])
    return named + (f" and {len(broken) - NAMED} more" if len(broken) > NAMED else "")


def _cached(root, files, size, grey, cache) -> tuple[np.ndarray, list]:
    """(pictures, [[name, why it cannot be read]]). Kept for the next time, unless reading failed where another time it may not."""
    key = [os.path.abspath(root), size, grey, 3]
    for name in files:
        status = os.stat(os.path.join(root, name))
        key.append([name, status.st_size, status.st_mtime_ns])
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]
    path = os.path.join(own_cache(), "decoded", digest + ".npz")
    if cache:
        try:
            kept = checkpoint.load(path)
            return kept["x"].transpose(0, 3, 1, 2), kept["broken"]
        except (OSError, checkpoint.CheckpointError):
            pass  # not there yet, damaged or not readable: it is only a copy
    pictures, broken, passing = [], [], False
    for name in files:
        try:
            pictures.append(_decode(os.path.join(root, name), size, grey))
        except DataError as error:
            broken.append([name, error.reason.removeprefix(f"{UNREADABLE}: ")])
            passing = passing or not error.reason.startswith(UNREADABLE)
    x = np.stack(pictures) if pictures else np.zeros((0, size, size, 1 if grey else 3), np.uint8)
    if cache and not passing:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            checkpoint.save(path, {"x": x, "broken": broken})
        except (OSError, checkpoint.CheckpointError):
            pass  # a read-only cache costs time, not results
    return x.transpose(0, 3, 1, 2), broken


def _decode(path, size: int, grey: bool) -> np.ndarray:
    from PIL import Image, ImageOps

    picture = open_picture(path, grey=grey, remedy="Replace it or take it out of the folder")
    return np.asarray(ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)).reshape(size, size, -1)


# ---- npz


def read_npz(path) -> dict:
    """All arrays of an .npz, with every declared size checked; DataError when it is missing or damaged."""
    path = find(path)
    try:
        return checkpoint.load_weights(path)
    except checkpoint.CheckpointError as error:
        raise DataError(path, error.reason, "Is it an .npz written by numpy.savez?") from error
    except OSError as error:
        raise DataError(path, error.strerror or str(error), "Try again when it can be read") from error


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


def pair(path, *, train=True, size=64, skip_broken=False) -> Pair:
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
    a, b = (npz(side, train=train, size=size) if ".npz" in side.lower()
            else folder(side, train=train, size=size, skip_broken=skip_broken) for side in sides)
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
    SHARE.check("text: held_out", held_out)
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
