"""What a checkpoint holds, leaf by leaf, for tests that hold two runs against each other."""

import json
import os

import numpy as np

from minigrad.checkpoint import load


def newest(run) -> str:
    """The file of a run's newest checkpoint."""
    with open(os.path.join(run, "checkpoints", "latest.json")) as file:
        return os.path.join(run, "checkpoints", json.load(file)["file"])


def leaves(tree, path=""):
    """(path, value) of everything in a tree of dicts, lists and tuples."""
    if isinstance(tree, (dict, list, tuple)):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from leaves(value, f"{path}/{key}")
    else:
        yield path, tree


def same(a, b) -> None:
    """The same names, and at each the same value to the bit."""
    first, second = dict(leaves(a)), dict(leaves(b))
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key], err_msg=key)


def same_runs(a, b) -> None:
    """The newest checkpoints of two runs are the same."""
    same(load(newest(a)), load(newest(b)))
