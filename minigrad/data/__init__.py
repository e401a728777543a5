"""Data by name: `load("glyphs")`, `load("mnist", train=False)`, `load("folder:photos", size=64)`, and `DataLoader`.

Sources are in `SOURCES`: made here (`glyphs ring grid swissroll shapes beasts scenes`), downloaded only on request (`mnist
stacked-mnist fashion-mnist cifar10`), found on disk (`horse2zebra summer2winter monet2photo emoji photos ghibli photos2ghibli`),
or read from it (`folder:PATH npz:PATH[#KEY] text:PATH pair:A,B`). Everything that can be wrong with data is one `DataError(path,
reason, remedy)`; a wrong argument is a ValueError. Sources are NumPy arrays throughout; only `collections` and `collate`, for
datasets written elsewhere, know of tensors.
"""

from __future__ import annotations

import ast
import difflib
import inspect

from minigrad.data.dataset import DataError, Dataset, Pair, Paired, cache_folder, find
from minigrad.data.disk import folder, npz, pair, text
from minigrad.data.glyphs import glyphs
from minigrad.data.images import resize
from minigrad.data.loader import DataLoader
from minigrad.data.pairs import beasts, emoji, ghibli, horse2zebra, monet2photo, photos, photos2ghibli, summer2winter
from minigrad.data.photos import ENDINGS, is_picture, open_picture
from minigrad.data.scenes import scenes
from minigrad.data.standard import cifar10, fashion_mnist, is_here, mnist, stacked_mnist
from minigrad.data.synthetic import count_parts, grid, ring, shapes, swissroll
from minigrad.domains import COUNT, INTEGER
from minigrad.pictures import make_grid, save_gif, save_png, to_uint8

__all__ = ["ENDINGS", "SOURCES", "DataError", "DataLoader", "Dataset", "Pair", "Paired", "cache_folder", "count_parts", "find",
           "is_here", "is_picture", "load", "load_images", "load_labelled", "load_pair", "make_grid", "open_picture", "resize",
           "save_gif", "save_png", "to_uint8"]

# name -> (function, what --help says); a name that ends in ":" is followed by a path
SOURCES = {
    "glyphs": (glyphs, "digits drawn from matplotlib's fonts, any size (built in)"),
    "shapes": (shapes, "pictures with an exact number of discs or bars (built in)"),
    "ring": (ring, "8 Gaussians on a circle, 2-D (built in)"),
    "grid": (grid, "25 Gaussians on a lattice, 2-D (built in)"),
    "swissroll": (swissroll, "a spiral, 2-D (built in)"),
    "mnist": (mnist, "70,000 handwritten digits, 28 px (--download)"),
    "stacked-mnist": (stacked_mnist, "three handwritten digits in the three colours, 1,000 combinations (--download)"),
    "fashion-mnist": (fashion_mnist, "70,000 articles of clothing, 28 px (--download)"),
    "cifar10": (cifar10, "60,000 photographs in 10 classes, 32 px colour (--download)"),
    "beasts": (beasts, "brown beasts and striped ones, two domains for translation (built in)"),
    "horse2zebra": (horse2zebra, "CycleGAN's pair of domains, from a file"),
    "summer2winter": (summer2winter, "the same"),
    "monet2photo": (monet2photo, "the same"),
    "emoji": (emoji, "two drawings of each emoji, from a file"),
    "scenes": (scenes, "landscapes as photographs and as cartoons, two domains (built in)"),
    "photos": (photos, "photographs of landscapes, from a file"),
    "ghibli": (ghibli, "stills of painted films, from a file"),
    "photos2ghibli": (photos2ghibli, "both, two domains"),
    "folder:": (folder, "folder:PATH, pictures of a folder; sub-folders are classes, train/ val/ test/ splits"),
    "npz:": (npz, "npz:PATH or npz:PATH#KEY, arrays of a NumPy file"),
    "text:": (text, "text:PATH, the characters of a file"),
    "pair:": (pair, "pair:A,B, two folders of pictures, unpaired"),
}


def load(name: str, *, train=True, size=None, limit=None, seed=0, download=False, skip_broken=False,
         **options) -> Dataset | Pair:
    """The source called `name` (see SOURCES).

    The built-in ones take their own options in the name as well: "ring:modes=12,std=0.02", "shapes:part=bars,count=3".
    train: the training or the test set. size: pictures of size x size (made in that size, or resized). limit: the first
    rows only. seed: for the sources that are made here. download: allowed to fetch what is missing. skip_broken: leave out
    pictures that cannot be read. options: the source's own (shapes: part, count; ring: modes, radius, std; folder: grey, ...).
    ValueError for an unknown name or option, DataError for missing or damaged data."""
    kind, colon, path = name.partition(":")
    key = kind + colon
    if colon and kind in SOURCES:  # "ring:modes=12"
        key, colon, options = kind, "", {**_options(name, path), **options}
    if key not in SOURCES:
        near = difflib.get_close_matches(kind, [k.rstrip(":") for k in SOURCES], 1)
        hint = f"; did you mean {near[0]!r}" if near else ""
        if kind + ":" in SOURCES:
            hint = f"; it needs a path: {kind}:PATH"
        raise ValueError(f"load: unknown data {name!r}{hint}. There are: {', '.join(SOURCES)}")
    for what, value in (("limit", limit), ("size", size)):
        if value is not None:
            COUNT.check(f"load: {what}", value)
    INTEGER.check("load: seed", seed)
    source = SOURCES[key][0]
    takes = inspect.signature(source).parameters
    given = {"train": train, **{k: v for k, v in (("limit", limit), ("seed", seed), ("download", download),
                                                    ("skip_broken", skip_broken))
                                if k in takes}, **options}
    own = sorted(set(takes) - {"train", "limit", "seed", "size", "download", "skip_broken", "path"})
    unknown = sorted(set(options) - set(own))
    if unknown:
        raise ValueError(f"load: {name!r} has no option {', '.join(unknown)}; it has: {', '.join(own) or 'none'}")
    if size is not None and "size" in takes:
        given["size"] = size
    found = source(path, **given) if colon else source(**given)
    return type(found)(*(_fit(side, size, limit) for side in found)) if isinstance(found, Pair) else _fit(found, size, limit)


def load_images(name: str, **options) -> Dataset:
    """`load` of pictures; ValueError for data that holds none."""
    found = load(name, **options)
    if isinstance(found, Pair) or not found.is_images:
        raise ValueError(f"data {name!r} holds no images; try glyphs, mnist, fashion-mnist, cifar10 or folder:PATH")
    return found


def load_pair(name: str, **options) -> Pair:
    """`load` of two domains; ValueError for data that is one."""
    found = load(name, **options)
    if not isinstance(found, Pair):
        raise ValueError(f"data {name!r} is one set of pictures; translation needs two: try beasts, horse2zebra or pair:A,B")
    return found


def load_labelled(name: str, **options) -> Dataset:
    """`load` of pictures with labels, as a classifier needs them; ValueError for data without."""
    found = load(name, **options)
    if isinstance(found, Pair) or not found.is_images or found.y is None:
        raise ValueError(f"data {name!r} has no labelled images; try glyphs, mnist, fashion-mnist or cifar10")
    return found


def _options(name: str, text: str) -> dict:
    options = {}
    for word in text.split(","):
        key, equals, value = word.partition("=")
        if not key.isidentifier() or not equals or not value:
            raise ValueError(f"load: {name!r}: options are key=value, separated by commas; got {word!r}")
        try:
            options[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[key] = value
        if not isinstance(options[key], (int, float, str)):
            raise ValueError(f"load: {name!r}: an option is a number or a word; got {word!r}")
    return options


def _fit(dataset: Dataset, size, limit) -> Dataset:
    listing, skipped = dataset.listing, dataset.skipped
    if limit is not None and limit < len(dataset):
        dataset = dataset.subset(slice(limit))
    if size is not None:
        if not dataset.is_images:
            raise ValueError(f"load: {dataset.name} does not hold pictures, so it has no size")
        if dataset.x.shape[2:] != (size, size):
            dataset = Dataset(resize(dataset.x, size), dataset.y, classes=dataset.classes, name=dataset.name,
                              source=dataset.source)
    dataset.listing, dataset.skipped = listing, skipped
    return dataset
