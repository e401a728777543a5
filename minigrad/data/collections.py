"""Datasets made of other things, and orders to read them in: PyTorch's torch.utils.data by name and argument.

A dataset is whatever has `__len__` and `__getitem__`; `MapDataset` (there called Dataset) is a base class for those who want one.
Random orders come from `generator=`, a Stream, a numpy Generator, or None for the default stream.

Imports: numpy, minigrad.functional.common, minigrad.random, minigrad.tensor, dataset.
"""

from __future__ import annotations

import bisect
import itertools
import math

import numpy as np

from minigrad.data.dataset import Dataset as ArrayDataset
from minigrad.functional.common import integer
from minigrad.random import as_stream
from minigrad.tensor import Tensor

__all__ = ["BatchSampler", "ConcatDataset", "IterableDataset", "MapDataset", "RandomSampler", "Sampler", "SequentialSampler",
           "Subset", "SubsetRandomSampler", "TensorDataset", "WeightedRandomSampler", "random_split"]


class MapDataset:
    """Base class: a subclass defines `__len__` and `__getitem__(index)`. `a + b` is one after the other."""

    def __getitem__(self, index):
        raise NotImplementedError(f"{type(self).__name__} does not define __getitem__(self, index)")

    def __add__(self, other):
        return ConcatDataset([self, other])


class IterableDataset:
    """Base class of data that can only be read from front to back: a subclass defines `__iter__`."""

    def __iter__(self):
        raise NotImplementedError(f"{type(self).__name__} does not define __iter__(self)")


class TensorDataset(MapDataset):
    """Row i of every tensor: TensorDataset(x, y)[i] is (x[i], y[i]). Tensors or arrays of one length, or ValueError."""

    def __init__(self, *tensors):
        if not tensors:
            raise ValueError("TensorDataset: needs at least one tensor")
        self.tensors = tuple(t if isinstance(t, Tensor) else Tensor(t) for t in tensors)
        if any(t.ndim == 0 or len(t) != len(self.tensors[0]) for t in self.tensors):
            raise ValueError(f"TensorDataset: the tensors need one length, got shapes {[t.shape for t in self.tensors]}")

    def __len__(self):
        return len(self.tensors[0])

    def __getitem__(self, index):
        return tuple(t[index] for t in self.tensors)


class Subset(MapDataset):
    """The items of a dataset at `indices`, in that order."""

    def __init__(self, dataset, indices):
        self.dataset, self.indices = dataset, indices

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, index):
        if isinstance(index, (list, np.ndarray)):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]


class ConcatDataset(MapDataset):
    """Datasets one after the other."""

    def __init__(self, datasets):
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: needs at least one dataset")
        self.cumulative_sizes = list(itertools.accumulate(map(len, self.datasets)))

    def __len__(self):
        return self.cumulative_sizes[-1]

    def __getitem__(self, index):
        if not -len(self) <= index < len(self):
            raise IndexError(f"ConcatDataset: index {index} is out of range for {len(self)} items")
        index %= len(self)
        which = bisect.bisect_right(self.cumulative_sizes, index)
        return self.datasets[which][index - (self.cumulative_sizes[which - 1] if which else 0)]


def random_split(dataset, lengths, generator=None) -> list:
    """Disjoint parts of `lengths` items drawn at random: counts that add up to len(dataset), or fractions that add up to 1.

    Of minigrad's own Dataset the parts are Datasets again (batches of them are made as fast), else they are Subsets.
    """
    n, lengths = len(dataset), list(lengths)
    if lengths and math.isclose(sum(lengths), 1) and sum(lengths) <= 1 + 1e-6 and any(isinstance(x, float) for x in lengths):
        if not all(0 <= x <= 1 for x in lengths):
            raise ValueError(f"random_split: fractions must lie in [0, 1], got {lengths}")
        lengths = [math.floor(n * x) for x in lengths]
        for i in range(n - sum(lengths)):  # what rounding left over goes round
            lengths[i % len(lengths)] += 1
    lengths = [integer("random_split: lengths", x, 0) for x in lengths]
    if sum(lengths) != n:
        raise ValueError(f"random_split: lengths {lengths} add up to {sum(lengths)}, the dataset has {n} items")
    order, ends = as_stream(generator).permutation(n), list(itertools.accumulate(lengths))
    parts = [order[end - length:end] for end, length in zip(ends, lengths, strict=True)]
    if isinstance(dataset, ArrayDataset):
        return [dataset.subset(part) for part in parts]
    return [Subset(dataset, part.tolist()) for part in parts]


# ---- orders: what DataLoader(sampler=) takes -------------------------------------------------------------------------


class Sampler:
    """Base class of orders: a subclass defines `__iter__`, which gives indices, and `__len__`."""

    def __init__(self, data_source=None):
        pass

    def __iter__(self):
        raise NotImplementedError(f"{type(self).__name__} does not define __iter__(self)")


class SequentialSampler(Sampler):
    """0, 1, 2, ..."""

    def __init__(self, data_source):
        self.data_source = data_source

    def __iter__(self):
        return iter(range(len(self.data_source)))

    def __len__(self):
        return len(self.data_source)


class RandomSampler(Sampler):
    """A random order; with replacement=True, or more num_samples than items, an item may come more than once."""

    def __init__(self, data_source, replacement=False, num_samples=None, generator=None):
        self.data_source, self.replacement, self.generator = data_source, replacement, generator
        self.num_samples = len(data_source) if num_samples is None else integer("RandomSampler: num_samples", num_samples, 0)

    def __iter__(self):
        stream, n = as_stream(self.generator), len(self.data_source)
        if self.replacement:
            yield from stream.integers(0, n, self.num_samples).tolist()
            return
        for start in range(0, self.num_samples, max(n, 1)):
            yield from stream.permutation(n)[:self.num_samples - start].tolist()

    def __len__(self):
        return self.num_samples


class SubsetRandomSampler(Sampler):
    """The given indices in random order."""

    def __init__(self, indices, generator=None):
        self.indices, self.generator = indices, generator

    def __iter__(self):
        for i in as_stream(self.generator).permutation(len(self.indices)):
            yield self.indices[i]

    def __len__(self):
        return len(self.indices)


class WeightedRandomSampler(Sampler):
    """num_samples indices, i drawn with probability weights[i] / sum(weights)."""

    def __init__(self, weights, num_samples, replacement=True, generator=None):
        weights = weights.array if isinstance(weights, Tensor) else weights
        self.weights = np.asarray(weights, np.float64)
        if self.weights.ndim != 1 or not (self.weights >= 0).all() or not 0 < self.weights.sum() < math.inf:
            raise ValueError("WeightedRandomSampler: weights must be one row of numbers >= 0, finite and not all 0")
        self.num_samples = integer("WeightedRandomSampler: num_samples", num_samples, 1)
        self.replacement, self.generator = bool(replacement), generator

    def __iter__(self):
        p = self.weights / self.weights.sum()
        yield from as_stream(self.generator).generator.choice(len(p), self.num_samples, self.replacement, p).tolist()

    def __len__(self):
        return self.num_samples


class BatchSampler(Sampler):
    """Lists of batch_size indices of another order; drop_last leaves out an incomplete one."""

    def __init__(self, sampler, batch_size, drop_last):
        self.sampler, self.drop_last = sampler, bool(drop_last)
        self.batch_size = integer("BatchSampler: batch_size", batch_size, 1)

    def __iter__(self):
        order = iter(self.sampler)
        while batch := list(itertools.islice(order, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self):
        n = len(self.sampler)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
