"""torch.utils.data by name. The things themselves are in `minigrad.data`; there, Dataset is the name of a set of arrays.

Imports: minigrad.absent, minigrad.data.
"""

from minigrad.absent import missing as _missing
from minigrad.data.collate import default_collate, default_convert
from minigrad.data.collections import (
    BatchSampler,
    ConcatDataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)
from minigrad.data.collections import MapDataset as Dataset
from minigrad.data.loader import DataLoader

__all__ = ["BatchSampler", "ConcatDataset", "DataLoader", "Dataset", "IterableDataset", "RandomSampler", "Sampler",
           "SequentialSampler", "Subset", "SubsetRandomSampler", "TensorDataset", "WeightedRandomSampler", "default_collate",
           "default_convert", "random_split"]


def __getattr__(name):
    raise _missing("minigrad.utils.data", name)
