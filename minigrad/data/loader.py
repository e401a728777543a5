"""Batches: an order for each epoch, exact resume in the middle of one. PyTorch's arguments and defaults.

With a Stream, the order of epoch e is a function of (seed, stream name, e) and of nothing else: it is drawn from the child stream
"<name>/epoch e". So the whole state is two counters, `state_dict()` never holds a permutation, and a resumed run sees the rows
that an uninterrupted one would have seen. Without one, each epoch draws a seed for its order from the default stream (or from the
Generator that was given), as in PyTorch.

Iterators are independent: each that begins takes an epoch of its own. The position (`.epoch`, `.batch`, `state_dict()`) is that of
the iterator that began last.

Imports: numpy, minigrad.random, collate, collections, dataset.
"""

from __future__ import annotations

import itertools

import numpy as np

from minigrad.data.collate import default_collate, default_convert
from minigrad.data.collections import IterableDataset
from minigrad.data.dataset import Dataset, to_unit
from minigrad.random import Generator, Stream, as_stream

__all__ = ["DataLoader"]

DRAWN = "drawn"  # the name of a stream that gives one epoch its order


class DataLoader:
    """Batches of whatever has `__len__` and `__getitem__`, as Tensors; of minigrad's own Dataset, as NumPy arrays (x, y).

    batch_size: 1 by default; None hands out the samples one by one. shuffle: a new order every epoch (default: no).
    drop_last: leave out the incomplete batch at the end of an epoch (default: no).
    sampler: gives the indices of an epoch, batch_sampler lists of them. collate_fn: makes a batch of a list of samples.
    rng, or generator: where orders come from, a Stream, a Generator or a numpy Generator; None is the default stream.
    num_workers, pin_memory, timeout, worker_init_fn, multiprocessing_context, prefetch_factor, persistent_workers,
    pin_memory_device and in_order are accepted and change nothing: batches are made in this process, when they are asked for.

    Of a Dataset of `minigrad.data`, an array, or a tuple (x, y) of arrays, a batch is one gather:
    x: pictures float32 (B, C, H, W) between the ends of `value_range` (default -1, 1), an N,C,H,W view of channels-last
       memory; points float32 (B, D); codes int64. y: int64, or None when there are no labels.
    transform: a function applied to every such x before it is handed out.

    `for x, y in loader` is one epoch (after load_state_dict: the rest of it); `loader.forever()` never ends.
    `.epoch` counts finished epochs, `.batch` the batches handed out since.
    """

    def __init__(self, dataset, batch_size: int | None = 1, shuffle=None, sampler=None, batch_sampler=None, num_workers=0,
                 collate_fn=None, pin_memory=False, drop_last=False, timeout=0, worker_init_fn=None, multiprocessing_context=None,
                 generator=None, *, prefetch_factor=None, persistent_workers=False, pin_memory_device="", in_order=True, rng=None,
                 transform=None, value_range=(-1.0, 1.0)):
        self.dataset = dataset = _dataset(dataset)
        for name, value in (("shuffle", shuffle), ("drop_last", drop_last)):
            if value not in (None, True, False):
                raise TypeError(f"DataLoader: {name} must be True or False, got {value!r}")
        self.shuffle, self.drop_last = bool(shuffle), bool(drop_last)
        self.batch_size = _batch_size(batch_size, batch_sampler, sampler, self.shuffle, self.drop_last)
        self.sampler, self.batch_sampler, self.num_workers, self.pin_memory = sampler, batch_sampler, num_workers, pin_memory
        self.transform, self.value_range = transform, _range(value_range)
        gathers = isinstance(dataset, Dataset) and type(dataset).__getitem__ is Dataset.__getitem__
        self._gathers = gathers and collate_fn is None and batch_size is not None
        self.collate_fn = collate_fn or (default_convert if batch_size is None and batch_sampler is None else default_collate)
        if not self._gathers and (transform is not None or tuple(value_range) != (-1.0, 1.0)):
            raise ValueError("DataLoader: transform and value_range are for datasets of minigrad.data; do it in __getitem__")
        self._check_sizes()
        if rng is not None and generator is not None:
            raise ValueError("DataLoader: give rng or generator, not both; they are the same")
        self._source, self.rng = _orders(as_stream(generator if rng is None else rng))
        self._drawn_for = None  # the epoch whose seed was drawn
        self.epoch = self.batch = 0
        self._resumed, self._latest = False, None
        if self._gathers:  # the gather needs whole rows to lie together
            self._rows = dataset.x.transpose(0, 2, 3, 1) if dataset.is_images else dataset.x

    def _check_sizes(self):
        if isinstance(self.dataset, IterableDataset):
            if self.shuffle or self.sampler is not None or self.batch_sampler is not None:
                raise ValueError("DataLoader: an IterableDataset has no order to change; leave shuffle, sampler and batch_sampler")
            return
        n, name = len(self.dataset), getattr(self.dataset, "name", "the dataset")
        if n == 0 and (self._gathers or self.shuffle):
            raise ValueError(f"DataLoader: {name} is empty")
        if self.drop_last and self.sampler is None and self.batch_size > n:
            raise ValueError(f"DataLoader: batch_size={self.batch_size} but {name} has {n} rows, and "
                             "drop_last leaves out incomplete batches; use a smaller batch_size or drop_last=False")

    def __len__(self):
        """Batches in an epoch."""
        if self.batch_sampler is not None:
            return len(self.batch_sampler)
        n, size = len(self.dataset if self.sampler is None else self.sampler), self.batch_size or 1
        return n // size if self.drop_last else -(-n // size)

    def __iter__(self):
        return self._stream() if isinstance(self.dataset, IterableDataset) else self._epoch(False)

    def forever(self):
        """Batches without end, from the present position on (beside an iterator that is under way: from an epoch of its own)."""
        if isinstance(self.dataset, IterableDataset):
            raise TypeError("DataLoader.forever: an IterableDataset has no epochs; loop over the loader")
        if len(self) == 0:
            raise ValueError("DataLoader.forever: there are no batches")
        while True:
            yield from self._epoch(True)

    # ---- epochs --------------------------------------------------------------------------------------------------

    def _epoch(self, going_on: bool):
        me = object()
        if self._resumed or not self.batch or (going_on and self._latest is None):
            epoch, first = self.epoch, self.batch
        else:  # another iterator is in the middle of that epoch, or was left there: it is over
            epoch, first = self.epoch + 1, 0
        self._resumed, self._latest = False, me
        self.epoch, self.batch = epoch, first
        try:
            batches = itertools.islice(self._indices(epoch), first, None)
            index, rows = first, next(batches, None)
            if rows is None:
                self.epoch, self.batch = epoch + 1, 0
            while rows is not None:
                batch, rows = self._made(rows), next(batches, None)
                index += 1
                if self._latest is me:  # advance first: whoever saves inside the loop body has consumed this batch
                    self.epoch, self.batch = (epoch, index) if rows is not None else (epoch + 1, 0)
                yield batch
        finally:
            if self._latest is me:
                self._latest = None

    def _indices(self, epoch: int):
        """The rows of each batch of an epoch."""
        if self.batch_sampler is not None:
            yield from self.batch_sampler
            return
        if self.sampler is not None:
            order = iter(self.sampler)
            size = self.batch_size or 1
            while rows := list(itertools.islice(order, size)):
                if len(rows) == size or not self.drop_last:
                    yield rows
            return
        order, size = self._permutation(epoch), self.batch_size or 1
        for index in range(len(self)):
            yield order[index * size:(index + 1) * size]

    def _permutation(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(len(self.dataset))
        stream = self._stream_of(epoch)
        return stream.child("epoch" if self._source is not None else f"epoch {epoch}").permutation(len(self.dataset))

    def _stream_of(self, epoch: int) -> Stream:
        """Where the order of an epoch comes from; drawn once for each epoch where no Stream was given."""
        if self._source is not None and self._drawn_for != epoch:
            self.rng, self._drawn_for = Stream(self._source.integers(0, 2**63 - 1), DRAWN), epoch
        return self.rng

    def _stream(self):
        samples = iter(self.dataset)
        if self.batch_size is None:
            yield from map(self.collate_fn, samples)
            return
        while batch := list(itertools.islice(samples, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield self.collate_fn(batch)

    def _made(self, rows):
        if self._gathers:
            return self._gather(np.asarray(rows))
        rows = rows.tolist() if isinstance(rows, np.ndarray) else rows
        if self.batch_size is None and self.batch_sampler is None:
            return self.collate_fn(self.dataset[rows[0]])
        return self.collate_fn([self.dataset[i] for i in rows])

    def _gather(self, rows):
        x = self._rows.take(rows, axis=0)
        if self.dataset.is_images:
            x = x.transpose(0, 3, 1, 2)
        x = to_unit(x, self.value_range)
        if self.transform is not None:
            x = self.transform(x)
        return x, None if self.dataset.y is None else self.dataset.y.take(rows, axis=0)

    # ---- state ---------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict:
        """JSON-able: where the next batch is, and what must agree for that to mean the same.

        Where the loader was given a Stream, this is all that the following epochs depend on; else later epochs depend on the
        default stream as well (`minigrad.random.get_rng_state`).
        """
        rng = self._stream_of(self.epoch) if self.shuffle else self.rng
        return {"epoch": self.epoch, "batch": self.batch, "seed": rng.seed, "stream": rng.name,
                "rows": len(self.dataset), "batch_size": self.batch_size, "shuffle": self.shuffle, "drop_last": self.drop_last}

    def load_state_dict(self, state: dict) -> None:
        """Go on where `state` was taken; the seed is taken over. ValueError when the loader is a different one."""
        mine = {"epoch": 0, "batch": 0, "seed": 0, "stream": self.rng.name, "rows": len(self.dataset),
                "batch_size": self.batch_size, "shuffle": self.shuffle, "drop_last": self.drop_last}
        if not isinstance(state, dict) or set(state) != set(mine):
            raise ValueError(f"DataLoader.load_state_dict: not the state of a DataLoader (needs {', '.join(mine)})")
        unnamed = self._source is not None and state["stream"] in (DRAWN, "unseeded")  # "unseeded": saved by an earlier version
        for key in ("rows", "batch_size", "shuffle", "drop_last", "stream"):
            if state[key] != mine[key] and not (key == "stream" and unnamed):
                raise ValueError(f"DataLoader.load_state_dict: saved with {key}={state[key]!r}, this loader has "
                                 f"{mine[key]!r}; resume with the same data and options")
        epoch, batch = state["epoch"], state["batch"]
        if not (type(epoch) is int and type(batch) is int and epoch >= 0 and 0 <= batch < max(len(self), 1)):
            raise ValueError(f"DataLoader.load_state_dict: impossible position epoch={epoch!r}, batch={batch!r}")
        self.rng = Stream(state["seed"], state["stream"])
        if state["stream"] == DRAWN:
            self._drawn_for = epoch
        else:
            self._source = None
        self.epoch, self.batch, self._resumed, self._latest = epoch, batch, True, None


def _dataset(dataset):
    if isinstance(dataset, tuple) and dataset and all(isinstance(part, np.ndarray) for part in dataset):
        return Dataset(*dataset)
    if isinstance(dataset, np.ndarray):
        return Dataset(dataset)
    if isinstance(dataset, IterableDataset) or (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        return dataset
    raise TypeError(f"DataLoader: a dataset has __len__ and __getitem__, {type(dataset).__name__} has not; derive it from "
                    "minigrad.utils.data.Dataset, or from IterableDataset if it can only be looped over")


def _batch_size(batch_size, batch_sampler, sampler, shuffle, drop_last):
    if batch_sampler is not None:
        if batch_size != 1 or shuffle or sampler is not None or drop_last:
            raise ValueError("DataLoader: a batch_sampler decides alone; leave batch_size, shuffle, sampler and drop_last")
        return None
    if sampler is not None and shuffle:
        raise ValueError("DataLoader: give sampler or shuffle, not both")
    if batch_size is None:
        if drop_last:
            raise ValueError("DataLoader: batch_size=None has no batches to drop; leave drop_last")
        return None
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ValueError(f"DataLoader: batch_size must be an integer >= 1, got {batch_size!r}")
    return int(batch_size)


def _range(value_range):
    low, high = value_range
    if not low < high:
        raise ValueError(f"DataLoader: value_range must be (low, high) with low < high, got {value_range}")
    return low, high


def _orders(rng: Stream):
    """(the Generator that each epoch draws a seed from, or None; the stream of the first epoch)"""
    if isinstance(rng, Generator):
        return rng, Stream(0, DRAWN)
    # a foreign generator has no name to derive epochs from: it gives the seed instead
    return None, rng if rng.seed is not None else Stream(rng.integers(0, 2**63 - 1), "data")
