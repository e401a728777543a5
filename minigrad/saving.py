"""`save(obj, path)` and `load(path)` with PyTorch's names and order, and without pickle.

What can be saved is data: Tensors, Parameters, arrays, numbers, strings, None, and dicts (OrderedDicts), lists and tuples of these.
So it is every `state_dict()`, and any tree of them. A Module, an optimiser or a scheduler is no data: save its `state_dict()`.
The file is one of `minigrad.checkpoint`, whole or not there, with a list of which arrays were Tensors. Loading runs no code of it.

Imports: minigrad.nn.module, checkpoint, creation, tensor.
"""

from __future__ import annotations

import collections
import os
import tempfile

from minigrad import checkpoint
from minigrad.checkpoint import CheckpointError
from minigrad.creation import tensor
from minigrad.nn.module import Module, Parameter
from minigrad.tensor import Tensor

__all__ = ["load", "save"]

MARK = "minigrad.save 1"
PICKLES = (b"\x80", b"(l", b"\x8a")  # how a file of pickle's begins
REMEDY = ("minigrad never reads pickle, which can run code. In PyTorch, write the weights with "
          "safetensors.torch.save_file(weights, 'weights.safetensors'), or with "
          "numpy.savez('weights.npz', **{k: v.cpu().numpy() for k, v in weights.items()}), "
          "and load that file here")


def save(obj, f, pickle_module=None, pickle_protocol=None, _use_new_zipfile_serialization=True) -> None:
    """Write `obj` to `f`, a path or a binary file, replacing what was there only once all is written.

    obj: a tree as described above. The values are saved, not the graph; Tensors of a GPU are copied from it.
    TypeError for what is no data, before anything is written; CheckpointError where the file cannot be written. The last three
    arguments are PyTorch's and do nothing.
    """
    if isinstance(obj, (str, os.PathLike)) and not isinstance(f, (str, os.PathLike)) and not hasattr(f, "write"):
        raise TypeError(f"save: the order is save(obj, path), got {type(obj).__name__} and {type(f).__name__}")
    kinds: list = []
    tree = {"format": MARK, "tree": _plain(obj, (), kinds), "kinds": kinds}
    if not hasattr(f, "write"):
        checkpoint.save(os.path.expanduser(os.fspath(f)), tree)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tree")
        checkpoint.save(path, tree)
        with open(path, "rb") as written:
            f.write(written.read())


def load(f, map_location=None, pickle_module=None, *, weights_only=None, mmap=None):
    """What `save` wrote: Tensors where there were Tensors, arrays where there were arrays.

    f: a path, or a binary file that can be read. Trees of `checkpoint.save` are read too, weights in `.npz` or `.safetensors`, as
    {name: array}, and what PyTorch's save wrote, if it is data only: dicts, lists, numbers, texts, Tensors.
    map_location: the device that Tensors go to ('cpu', 'cuda', a dict from saved to wanted device, or a function, which means
    'cpu'); None is the device they were saved from. weights_only, pickle_module and mmap are accepted and change nothing: no
    file is ever unpickled. CheckpointError when the file is missing, damaged, or a pickle of more than data.
    """
    if hasattr(f, "read"):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "tree")
            with open(path, "wb") as copied:
                copied.write(f.read())
            return load(path, map_location)
    if not isinstance(f, (str, os.PathLike)):
        raise TypeError(f"load: the first argument is a path or an open file, got {type(f).__name__}; what it holds is the result")
    path = os.path.expanduser(os.fspath(f))
    try:
        tree = checkpoint.load(path)
    except CheckpointError as error:
        found = _of_other_kind(path)
        if found is None:
            raise CheckpointError(f, error.reason) from None
        return found
    if not (isinstance(tree, dict) and tree.get("format") == MARK):
        return tree
    try:
        kinds = {tuple(place): rest for place, *rest in tree["kinds"]}
        return _restored(tree["tree"], (), kinds, map_location)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f, f"damaged: {error}") from None


def _of_other_kind(path):
    """What a file that is no tree holds: all of a PyTorch file, with Tensors, or the weights in another one; None for neither.

    CheckpointError for a pickle, and for a PyTorch file that holds more than data."""
    if not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        start = file.read(64)
    try:
        return _tensors(checkpoint.load_torch(path))
    except CheckpointError as error:
        if "not a file of torch.save" not in error.reason:
            raise CheckpointError(path, f"{error.reason}. {REMEDY}") from None
    if start.startswith(PICKLES):
        raise CheckpointError(path, f"a pickle that torch.save did not write. {REMEDY}")
    try:
        return checkpoint.load_weights(path)
    except CheckpointError:
        return None


def _tensors(node):
    """A tree of arrays as a tree of Tensors."""
    if isinstance(node, dict):
        return type(node)((key, _tensors(value)) for key, value in node.items())
    if type(node) in (list, tuple):
        return type(node)(map(_tensors, node))
    return tensor(node) if hasattr(node, "dtype") else node


def _plain(node, place: tuple, kinds: list):
    """The tree with arrays for Tensors. `kinds` gets [place, kind, requires_grad, device] of what loads as something else."""
    if len(place) > checkpoint.MAX_DEPTH:
        raise ValueError(f"save: deeper than {checkpoint.MAX_DEPTH} levels (or a cycle) at {_name(place)[:80]}...")
    if isinstance(node, Tensor):
        kinds.append([list(place), "parameter" if isinstance(node, Parameter) else "tensor", node.requires_grad, str(node.device)])
        return node.detach().cpu().array
    if isinstance(node, dict):
        if isinstance(node, collections.OrderedDict):
            kinds.append([list(place), "ordered", False, ""])
        for key in node:
            if type(key) not in (str, int):
                raise TypeError(f"save: {_name(place)} has the key {key!r}; keys must be str or int")
        return {key: _plain(value, (*place, key), kinds) for key, value in node.items()}
    if type(node) in (list, tuple):
        return type(node)(_plain(value, (*place, i), kinds) for i, value in enumerate(node))
    if hasattr(node, "state_dict"):
        kind = type(node).__name__
        word = "net" if isinstance(node, Module) else "optimizer" if hasattr(node, "param_groups") else kind.lower()
        raise TypeError(f"save: {_name(place)} is a {kind}, which is code as well as data. Save {word}.state_dict(), and load it "
                        f"with {word}.load_state_dict(load(path))")
    if type(node).__name__ == "Namespace":
        raise TypeError(f"save: {_name(place)} is a Namespace; save vars(...) of it")
    return node


def _name(place: tuple) -> str:
    return "obj" + "".join(f"[{key!r}]" for key in place)


def _restored(node, place: tuple, kinds: dict, map_location):
    kind, requires_grad, device = kinds.get(place, (None, False, ""))
    if kind in ("tensor", "parameter"):
        value = tensor(node, device=_device(device, map_location))
        return Parameter(value, requires_grad) if kind == "parameter" else value.requires_grad_(requires_grad)
    if isinstance(node, dict):
        made = {key: _restored(value, (*place, key), kinds, map_location) for key, value in node.items()}
        return collections.OrderedDict(made) if kind == "ordered" else made
    if type(node) in (list, tuple):
        return type(node)(_restored(value, (*place, i), kinds, map_location) for i, value in enumerate(node))
    return node


def _device(saved: str, map_location):
    if map_location is None:
        return saved
    if callable(map_location):
        return "cpu"
    return map_location.get(saved, saved) if isinstance(map_location, dict) else map_location
