"""What a source of data returns, and the one error that it raises.

A `Dataset` is arrays with names: pictures as uint8 (N, C, H, W) whose memory is channels-last, points as float32
(N, 2), text as int64 codes (N,). Nothing is normalised until a batch is made (see `loader`): 60,000 digits take 47 MB.

Imports: numpy, minigrad.domains, minigrad.paths, minigrad.random.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from minigrad.domains import COUNT, FRACTION, check_all
from minigrad.paths import expand, variable
from minigrad.random import Stream

__all__ = ["DataError", "Dataset", "Pair", "Paired", "cache_folder", "find", "own_cache", "roots", "to_unit"]


class DataError(Exception):
    """Data that is missing, damaged or of the wrong kind: `.path` names it, `.reason` says why, `.remedy` what now."""

    def __init__(self, path, reason: str, remedy: str = ""):
        super().__init__(f"{os.fspath(path)}: {reason}" + (f". {remedy}" if remedy else ""))
        self.path, self.reason, self.remedy = os.fspath(path), reason, remedy

    def __reduce__(self):
        return DataError, (self.path, self.reason, self.remedy)


class Dataset:
    """Arrays of one source.

    .x        pictures uint8 (N, C, H, W), points float32 (N, D), or text int64 (N,) (windows of it (N, T))
    .y        int64 labels (N,) (windows of text: the next codes (N, T)), or None
    .classes  names of the labels (text: the characters), a tuple, or ()
    .name, .source   what was asked for, and where it came from in words
    .centres, .std   of the mixtures `ring` and `grid`: (K, 2) and the standard deviation of each mode; else None
    """

    def __init__(self, x, y=None, *, classes=(), name="data", source="", centres=None, std=None):
        self.x = np.asarray(x)
        self.y = None if y is None else np.asarray(y)
        if self.x.dtype.hasobject or self.x.ndim < 1:
            raise TypeError(f"Dataset: x must be an array of numbers with rows, got {self.x.dtype} {self.x.shape}")
        if self.y is not None:
            if self.y.dtype.kind not in "iu":
                raise TypeError(f"Dataset: y must hold integers, got {self.y.dtype}")
            if len(self.y) != len(self.x):
                raise ValueError(f"Dataset: {len(self.x)} rows of x but {len(self.y)} labels")
            self.y = self.y.astype(np.int64, copy=False)
        if self.is_images and self.x.dtype == np.uint8:
            self.x = channels_last(self.x)
        self.classes, self.name, self.source, self.centres, self.std = tuple(classes), name, source, centres, std

    @property
    def is_images(self) -> bool:
        return self.x.ndim == 4

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        """(x, y) of one row, a slice or an array of rows; y is None without labels."""
        return self.x[index], None if self.y is None else self.y[index]

    def __repr__(self):
        labels = f", {len(self.classes)} classes" if self.classes else ""
        return f"Dataset({self.name}: {len(self)} x {self.x.shape[1:]} {self.x.dtype}{labels}; {self.source})"

    def normalised(self, value_range=(-1.0, 1.0)) -> np.ndarray:
        """All of x as float32: pictures from 0..255 to `value_range`, channels-last in memory; others as they are."""
        return to_unit(self.x, value_range)

    def subset(self, index) -> Dataset:
        """The rows of a slice or an index array, in that order."""
        y = None if self.y is None else self.y[index]
        return Dataset(self.x[index], y, classes=self.classes, name=self.name, source=self.source,
                       centres=self.centres, std=self.std)

    def split(self, fraction: float, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Two disjoint parts that together are everything; the second has round(fraction * N) rows drawn by `seed`."""
        FRACTION.check("Dataset.split: fraction", fraction)
        order = Stream(seed, "split").permutation(len(self))
        held = round(fraction * len(self))
        return self.subset(np.sort(order[held:])), self.subset(np.sort(order[:held]))

    def windows(self, length: int, stride: int | None = None) -> Dataset:
        """Text only: rows x of `length` codes and y, the same moved on by one; views. stride=None: without overlap."""
        if self.x.ndim != 1:
            raise ValueError(f"Dataset.windows: needs text, {self.name} has rows of shape {self.x.shape[1:]}")
        stride = length if stride is None else stride
        check_all("Dataset.windows", COUNT, length=length, stride=stride)
        if len(self) < length + 1:
            raise ValueError(f"Dataset.windows: length={length} does not fit a text of {len(self)}; it must be smaller")
        rows = np.lib.stride_tricks.sliding_window_view(self.x, length + 1)[::stride]
        return Dataset(rows[:, :-1], rows[:, 1:], classes=self.classes, name=self.name, source=self.source)

    def text(self, codes) -> str:
        """The characters of an array of codes (text sources)."""
        return "".join(self.classes[code] for code in np.asarray(codes).ravel())


class Pair(NamedTuple):
    """Two unpaired domains, as in CycleGAN: row i of `a` has nothing to do with row i of `b`."""

    a: Dataset
    b: Dataset


class Paired(Pair):
    """Two domains whose rows belong together: row i of `a` and row i of `b` are one thing, shown twice (some test sets)."""

    __slots__ = ()


def channels_last(x: np.ndarray) -> np.ndarray:
    """(N, C, H, W) as a view of a contiguous (N, H, W, C) buffer; no copy when it already is one."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def to_unit(x: np.ndarray, value_range=(-1.0, 1.0)) -> np.ndarray:
    """uint8 pictures as float32 from low (0) to high (255) in the memory order of x: x / (255 / (high - low)) + low;
    points as float32; integers as int64."""
    if x.dtype == np.uint8 and x.ndim == 4:
        low, high = value_range
        out = np.divide(x, np.float32(255 / (high - low)), dtype=np.float32)
        return np.add(out, np.float32(low), out=out)
    return x.astype(np.int64 if x.dtype.kind in "iub" else np.float32, copy=False)


# ---- where data lies


def cache_folder() -> str:
    """The folder that downloads and decoded pictures go to: $MINIGRAD_DATA, else ~/.cache/minigrad."""
    return variable("MINIGRAD_DATA") or own_cache()


def own_cache() -> str:
    """~/.cache/minigrad."""
    return expand(os.path.join("~", ".cache", "minigrad"))


def roots() -> list[str]:
    """Where data is looked for: $MINIGRAD_DATA first, then ~/.cache/minigrad."""
    return list(dict.fromkeys([cache_folder(), own_cache()]))


def find(path) -> str:
    """A path as it is, or below one of `roots()`; the path itself when it is nowhere."""
    path = expand(path)
    for candidate in (path, *(os.path.join(root, path) for root in roots())):
        if os.path.exists(candidate):
            return candidate
    return path
