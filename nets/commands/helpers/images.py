"""Pictures of a command: those to train on, those held out, and how originals and copies are laid out."""

from __future__ import annotations

import numpy as np

from minigrad import inputs
from minigrad.data import DataError, Dataset, load_images

NO_TEST_SET = ("has no test set", "cannot tell which array is the test data")


def train_and_held_out(o):
    """(training set, held-out set) of the options `o`: the source's own test set, or a tenth of it where it has none.

    Sets o.size and o.channels. ValueError for pictures that are not square."""
    train = inputs.images(o, train=True, size=o.size)
    height, width = train.x.shape[2:]
    if height != width:
        raise ValueError(f"--data {o.data}: pictures of {height} x {width}; give --size N to make them square")
    held_out = if_there(o.data, lambda: inputs.images(o, train=False, size=o.size))
    if held_out is None:
        train, held_out = train.split(0.1, o.seed)
    if not len(train) or not len(held_out):
        raise ValueError(f"--data {o.data}: {len(train) + len(held_out)} pictures are too few to hold a tenth of them out")
    o.size, o.channels = height, train.x.shape[1]
    return train, held_out


def test_set(name: str, size: int, skip_broken: bool = False):
    """The source's own test set, or None where it has none."""
    return if_there(name, lambda: load_images(name, train=False, size=size, skip_broken=skip_broken))


def if_there(name: str, load):
    """load(), the test pictures of a source; None where it has none."""
    if name.startswith("npz:") and "#" in name:  # one array, named: it has no other half
        return None
    try:
        return load()
    except DataError as error:
        if not error.reason.startswith(NO_TEST_SET):
            raise
        return None


def in_all_turns(dataset) -> Dataset:
    """Each square picture four times, turned by 0, 1, 2 and 3 quarters to the left; the label is the number of quarters."""
    turned = np.concatenate([np.rot90(dataset.x, quarters, axes=(2, 3)) for quarters in range(4)])
    return Dataset(turned, np.repeat(np.arange(4), len(dataset)), classes=("0°", "90°", "180°", "270°"), name=dataset.name,
                   source=dataset.source)


def some(held_out, most: int = 50):
    """(the first pictures, normalised; how many stand in a row): whole rows of ten, or one row of fewer where there are fewer."""
    count = min(most, len(held_out))
    columns = min(10, count)
    return held_out.subset(slice(count // columns * columns)).normalised(), columns


def above_each_other(*rows, columns: int = 10) -> np.ndarray:
    """Pictures (N, C, H, W) of several kinds, N a multiple of `columns`, as one for a grid: `columns` of the first kind, below them
    those of the second, and so on, then the next `columns` of each."""
    rows = [row.reshape(-1, columns, *row.shape[1:]) for row in rows]
    return np.stack(rows, 1).reshape(-1, *rows[0].shape[2:])
