"""Samples into a batch of Tensors, by PyTorch's rule (torch.utils.data.default_collate).

Imports: numpy, minigrad.functional.door, minigrad.functional.indexing, minigrad.tensor.
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping

import numpy as np

from minigrad.functional.door import KINDS
from minigrad.functional.indexing import stack
from minigrad.tensor import Tensor, tensor

__all__ = ["default_collate", "default_convert"]


def default_collate(batch):
    """A list of samples as one batch, with one more axis in front.

    Tensors and arrays are stacked; numbers become a Tensor (Python floats float64, integers int64, bools bool); strings stay a
    list; of dicts, tuples and lists every entry is collated for itself. ValueError for samples of different shapes or lengths,
    TypeError for what cannot be put in a Tensor.
    """
    batch = list(batch)
    first = batch[0]
    if isinstance(first, Tensor):
        _one_shape(batch)
        return stack(batch)
    if isinstance(first, (np.ndarray, np.generic)) and first.dtype.kind in KINDS:
        _one_shape(batch)
        return tensor(np.stack(batch))
    if isinstance(first, numbers.Real):
        return Tensor(np.array(batch, np.bool_ if isinstance(first, bool) else np.int64 if isinstance(first, int) else np.float64))
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return _rebuilt(first, {key: default_collate([sample[key] for sample in batch]) for key in first})
    if isinstance(first, (tuple, list)):
        if len({len(sample) for sample in batch}) > 1:
            raise ValueError("default_collate: the samples of one batch have different numbers of entries")
        entries = [default_collate(column) for column in zip(*batch, strict=True)]
        return type(first)(*entries) if hasattr(first, "_fields") else entries
    raise TypeError(f"default_collate: a batch is made of Tensors, arrays, numbers, strings, dicts, tuples and lists, not of "
                    f"{type(first).__name__}; convert it in the dataset's __getitem__, or pass collate_fn")


def default_convert(sample):
    """One sample with its arrays as Tensors: what a DataLoader with batch_size=None hands out."""
    if isinstance(sample, (np.ndarray, np.generic)) and sample.dtype.kind in KINDS:
        return tensor(sample)
    if isinstance(sample, Mapping):
        return _rebuilt(sample, {key: default_convert(value) for key, value in sample.items()})
    if isinstance(sample, tuple) and hasattr(sample, "_fields"):
        return type(sample)(*map(default_convert, sample))
    return [default_convert(entry) for entry in sample] if isinstance(sample, (tuple, list)) else sample


def _rebuilt(like, entries: dict):
    try:
        return type(like)(entries)
    except TypeError:
        return entries


def _one_shape(batch) -> None:
    shapes = {np.shape(getattr(sample, "array", sample)) for sample in batch}
    if len(shapes) > 1:
        raise ValueError(f"default_collate: samples of one batch need one shape, got {sorted(shapes)}; pad or crop them, or "
                         "pass collate_fn")
