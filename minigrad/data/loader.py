"""Batches: a permutation per epoch, one gather per batch, exact resume in the middle of an epoch. No workers.

The order of epoch e is a function of (seed, stream name, e) and of nothing else: it is drawn from the child stream
"<name>/epoch e". So the whole state is two counters, `state_dict()` never holds a permutation, and a resumed run sees
the rows that an uninterrupted one would have seen.

Imports: numpy, minigrad.random, dataset.
"""

from __future__ import annotations

import numpy as np

from minigrad.data.dataset import Dataset, to_unit
from minigrad.random import Stream, as_stream

__all__ = ["DataLoader"]


class DataLoader:
    """Batches (x, y) of NumPy arrays from a Dataset, an array, or a tuple (x, y) of arrays.

    x: pictures float32 (B, C, H, W) between the ends of `value_range` (default -1, 1), an N,C,H,W view of channels-last
       memory; points float32 (B, D); codes int64. y: int64, or None when there are no labels.
    shuffle: a new order every epoch. drop_last: leave out the incomplete batch at the end of an epoch.
    rng: the Stream (or numpy Generator) that orders come from; None is a fresh one, so the order is not reproducible.
    transform: a function applied to every x before it is handed out.

    `for x, y in loader` is one epoch (after load_state_dict: the rest of it); `loader.forever()` never ends.
    `.epoch` counts finished epochs, `.batch` the batches handed out since.
    """

    def __init__(self, dataset, batch_size: int, *, shuffle=True, drop_last=True, rng=None, transform=None,
                 value_range=(-1.0, 1.0)):
        if isinstance(dataset, tuple):
            dataset = Dataset(*dataset)
        elif not isinstance(dataset, Dataset):
            dataset = Dataset(dataset)
        if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise ValueError(f"DataLoader: batch_size must be an integer >= 1, got {batch_size!r}")
        if len(dataset) == 0:
            raise ValueError(f"DataLoader: {dataset.name} is empty")
        if drop_last and batch_size > len(dataset):
            raise ValueError(f"DataLoader: batch_size={batch_size} but {dataset.name} has {len(dataset)} rows, and "
                             "drop_last leaves out incomplete batches; use a smaller batch_size or drop_last=False")
        low, high = value_range
        if not low < high:
            raise ValueError(f"DataLoader: value_range must be (low, high) with low < high, got {value_range}")
        self.dataset, self.batch_size, self.shuffle, self.drop_last = dataset, int(batch_size), shuffle, drop_last
        self.transform, self.value_range = transform, (low, high)
        rng = as_stream(rng)
        # a foreign generator has no name to derive epochs from: it gives the seed instead
        self.rng = rng if rng.seed is not None else Stream(rng.integers(0, 2**63 - 1), "data")
        self.epoch = self.batch = 0
        self._resumed = False
        self._order = (None, None)
        # the gather needs whole rows to lie together
        self._rows = dataset.x.transpose(0, 2, 3, 1) if dataset.is_images else dataset.x

    def __len__(self):
        """Batches in an epoch."""
        n = len(self.dataset)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self):
        if self.batch and not self._resumed:  # an earlier loop was left half way: that epoch is over
            self.epoch, self.batch = self.epoch + 1, 0
        return self._epoch()

    def forever(self):
        """Batches without end, from the present position on."""
        while True:
            yield from self._epoch()

    def _epoch(self):
        self._resumed = False
        epoch = self.epoch
        order = self._permutation(epoch)
        for index in range(self.batch, len(self)):
            rows = order[index * self.batch_size:(index + 1) * self.batch_size]
            batch = self._gather(rows)
            # advance first: whoever saves inside the loop body has consumed this batch
            self.epoch, self.batch = (epoch, index + 1) if index + 1 < len(self) else (epoch + 1, 0)
            yield batch

    def _permutation(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(len(self.dataset))
        key = (epoch, self.rng.seed, self.rng.name)
        if self._order[0] != key:
            self._order = key, self.rng.child(f"epoch {epoch}").permutation(len(self.dataset))
        return self._order[1]

    def _gather(self, rows):
        x = self._rows.take(rows, axis=0)
        if self.dataset.is_images:
            x = x.transpose(0, 3, 1, 2)
        x = to_unit(x, self.value_range)
        if self.transform is not None:
            x = self.transform(x)
        return x, None if self.dataset.y is None else self.dataset.y.take(rows, axis=0)

    def state_dict(self) -> dict:
        """JSON-able: where the next batch is, and what must agree for that to mean the same."""
        return {"epoch": self.epoch, "batch": self.batch, "seed": self.rng.seed, "stream": self.rng.name,
                "rows": len(self.dataset), "batch_size": self.batch_size, "shuffle": bool(self.shuffle),
                "drop_last": bool(self.drop_last)}

    def load_state_dict(self, state: dict) -> None:
        """Go on where `state` was taken; the seed is taken over. ValueError when the loader is a different one."""
        mine = self.state_dict()
        if not isinstance(state, dict) or set(state) != set(mine):
            raise ValueError(f"DataLoader.load_state_dict: not the state of a DataLoader (needs {', '.join(mine)})")
        for key in ("rows", "batch_size", "shuffle", "drop_last", "stream"):
            if state[key] != mine[key]:
                raise ValueError(f"DataLoader.load_state_dict: saved with {key}={state[key]!r}, this loader has "
                                 f"{mine[key]!r}; resume with the same data and options")
        epoch, batch = state["epoch"], state["batch"]
        if not (type(epoch) is int and type(batch) is int and epoch >= 0 and 0 <= batch < len(self)):
            raise ValueError(f"DataLoader.load_state_dict: impossible position epoch={epoch!r}, batch={batch!r}")
        self.rng = Stream(state["seed"], state["stream"])
        self.epoch, self.batch, self._resumed = epoch, batch, True
