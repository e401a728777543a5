"""Trees of arrays to one `.npz` file and back; weights in `.npz`, `.safetensors` or PyTorch's `.pth`. Never unpickled.

`save(path, tree)` takes nested dicts, lists and tuples of NumPy arrays and scalars, int, float, str, bool and None, and
`load(path)` returns an equal tree: same types, dict order, dtypes, NaNs and memory order of the axes. The file is a
plain `.npz` (`numpy.load` opens it) with one more entry, `tree.json`, for the structure. Equal trees, equal bytes.

- A file is written beside its destination, synced and renamed (`atomic_write`): at every moment, also after `kill -9`
  or a power cut, the path holds the old file or the new one, whole.
- Whatever is wrong with a file raises `CheckpointError(path, reason)`. A file that the system does not hand out at this moment
  may be good: that stays an OSError or a MemoryError. Contents are guarded by the zip's CRC-32, and
  every declared size is held against the size of the file before memory is asked for.

Imports: numpy, files, safetensors_file, torch_file.
"""

from __future__ import annotations

import codecs
import errno
import json
import math
import os
import re
import secrets
import zipfile
from contextlib import contextmanager

import numpy as np

from minigrad import safetensors_file, torch_file
from minigrad.files import Refused, check_zip, fill, open_regular

__all__ = ["CheckpointError", "atomic_write", "load", "load_torch", "load_weights", "save", "save_weights"]

TREE = "tree.json"
WRONG_KIND = (errno.EISDIR, errno.ENOTDIR, errno.EINVAL)  # no file; and a damaged zip leads to a place before its start
MAX_DEPTH = 100
codecs.lookup("cp437")  # of names in a zip; Python loads it when it is first needed, and then there may be no descriptor left


class CheckpointError(Exception):
    """A file that is missing or damaged, or cannot be written. `.path` names it, `.reason` says why."""

    def __init__(self, path, reason: str):
        super().__init__(f"{os.fspath(path)}: {reason}")
        self.path, self.reason = os.fspath(path), reason

    def __reduce__(self):
        return CheckpointError, (self.path, self.reason)


# ---- trees


def save(path, tree) -> None:
    """Write `tree` to `path` atomically, replacing what was there.

    TypeError names the place of anything that cannot be kept (object arrays, tensors, sets, ...) before a file is
    touched; CheckpointError when the file cannot be written, and then the old file is untouched."""
    if isinstance(path, (dict, list)):
        raise TypeError("save: the order is save(path, tree)")
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps({"format": "minigrad tree 1", "tree": _encode(tree, "tree", 0, arrays)}, ensure_ascii=True)
    _write_zip(path, arrays, {TREE: text.encode()})


def load(path):
    """The tree that `save` wrote. CheckpointError when the file is missing, damaged or not such a file; OSError or MemoryError
    when it cannot be read now, which says nothing of what it holds."""
    with _guard(path), open_regular(path) as file:
        with zipfile.ZipFile(file) as archive:
            entries = check_zip(archive, os.fstat(file.fileno()).st_size, stored_only=True)
            if TREE not in entries:
                raise ValueError(f"it has no entry {TREE}: not written by minigrad.checkpoint.save")
            with archive.open(entries[TREE]) as stream:
                document = json.loads(stream.read())
            if not isinstance(document, dict) or document.get("format") != "minigrad tree 1" or "tree" not in document:
                raise ValueError(f"{TREE} is not of format 'minigrad tree 1'")
            arrays = {name: _read_array(archive, info) for name, info in entries.items() if name != TREE}
        used: set[str] = set()
        tree = _decode(document["tree"], arrays, used)
        if len(used) != len(arrays):
            raise ValueError(f"arrays that {TREE} does not mention: {sorted(set(arrays) - used)[:5]}")
        return tree


def _encode(node, place: str, depth: int, arrays: dict):
    if depth > MAX_DEPTH:
        raise ValueError(f"checkpoint.save: deeper than {MAX_DEPTH} levels (or a cycle) at {place[:80]}...")
    if node is None or type(node) in (bool, str):
        return node
    if type(node) is int:
        return node if abs(node) < 2**63 else {"int": hex(node)}
    if type(node) is float:
        return node if math.isfinite(node) else {"float": repr(node)}
    if isinstance(node, dict):
        items = []
        for key, value in node.items():
            if type(key) not in (str, int):
                raise TypeError(f"checkpoint.save: {place} has the key {key!r}; keys must be str or int")
            stored = {"int": hex(key)} if type(key) is int and abs(key) >= 2**63 else key
            items.append([stored, _encode(value, f"{place}[{key!r}]", depth + 1, arrays)])
        return {"dict": items}
    if type(node) in (list, tuple):
        items = [_encode(value, f"{place}[{i}]", depth + 1, arrays) for i, value in enumerate(node)]
        return {type(node).__name__: items}
    if isinstance(node, (np.ndarray, np.generic)):
        return _encode_array(node, place, arrays)
    kind = type(node).__qualname__ if type(node).__module__ == "builtins" else \
        f"{type(node).__module__.split('.')[0]}.{type(node).__qualname__}"  # tells a cupy.ndarray from numpy's
    raise TypeError(f"checkpoint.save: {place} is a {kind}; a tree holds dict, list, tuple, NumPy "
                    "arrays and scalars, int, float, str, bool and None (a tensor: its .numpy())")


def _encode_array(value, place: str, arrays: dict):
    array = np.asarray(value)
    _check_dtype(array.dtype, f"checkpoint.save: {place}")
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"checkpoint.save: {place} is a masked array; save its .data and .mask")
    stem = re.sub(r"[^A-Za-z0-9_.-]+", ".", place.removeprefix("tree")).strip(".")[:80] or "value"
    name, count = stem, 1
    while name + ".npy" in arrays or name + ".npy" == TREE:
        count += 1
        name = f"{stem}~{count}"
    arrays[name + ".npy"] = array
    if isinstance(value, np.generic):
        return {"scalar": name}
    # sums over differently laid out arrays differ in the last bit, so resuming exactly needs the order of the axes
    # (the stride of an axis of length 1 means nothing)
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]) * (array.shape[axis] > 1))
    if not array.flags.c_contiguous and array.transpose(order).flags.c_contiguous:
        return {"array": name, "order": order}
    return {"array": name}


def _decode(node, arrays: dict, used: set):
    if node is None or isinstance(node, (bool, str, int, float)):
        return node
    kind = next(iter(node)) if isinstance(node, dict) and node else None
    value = node[kind] if kind else None
    if kind == "int":
        return int(value, 16)
    if kind == "float":
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[value]
    if kind == "dict":
        return {(key if isinstance(key, (str, int)) else int(key["int"], 16)): _decode(item, arrays, used)
                for key, item in value}
    if kind in ("list", "tuple"):
        items = [_decode(item, arrays, used) for item in value]
        return items if kind == "list" else tuple(items)
    if kind in ("array", "scalar"):
        name = value + ".npy"
        if name not in arrays:
            raise ValueError(f"the array {value!r} is missing")
        used.add(name)
        array = arrays[name]
        if kind == "scalar":
            return array[()]
        if "order" in node:
            return np.ascontiguousarray(array.transpose(node["order"])).transpose(np.argsort(node["order"]))
        return array
    raise ValueError(f"{TREE} holds something unknown: {str(node)[:60]}")


# ---- weights


def save_weights(path, weights: dict) -> None:
    """Write {name: array} to `path`, whose ending picks the format: `.npz` or `.safetensors`. Atomic."""
    if isinstance(path, dict) or not hasattr(weights, "items"):
        raise TypeError(f"save_weights: the order is save_weights(path, weights), weights being a dict of name -> array such as "
                        f"network.state_dict(); got {type(path).__name__} and {type(weights).__name__}")
    checked = {}
    for name, value in weights.items():
        if type(name) is not str or "\0" in name or not name:
            raise TypeError(f"save_weights: {name!r} is not a name (a non-empty string without NUL)")
        if not isinstance(value, (np.ndarray, np.generic)):
            raise TypeError(f"save_weights: {name!r} is a {type(value).__name__}, not a NumPy array")
        checked[name] = np.asarray(value)
        _check_dtype(checked[name].dtype, f"save_weights: {name!r}")
    ending = os.path.splitext(os.fspath(path))[1].lower()
    if ending == ".npz":
        try:
            _write_zip(path, {name + ".npy": array for name, array in checked.items()}, {})
        except UnicodeEncodeError as error:
            raise TypeError(f"save_weights: a name is not valid Unicode: {error}") from None
    elif ending == ".safetensors":
        pieces = safetensors_file.pieces(checked)
        try:
            with atomic_write(path) as file:
                for piece in pieces:
                    file.write(piece)
        except OSError as error:
            raise CheckpointError(path, f"cannot be written: {error.strerror or error}") from error
    else:
        raise ValueError(f"save_weights: the name must end in .npz or .safetensors, got {os.fspath(path)!r}")


def load_weights(path) -> dict:
    """{name: array} from a `.npz` (also a compressed one), a `.safetensors` or a PyTorch file (`.pth`, `.pt`, `.bin`), told
    apart by what they hold and not by their names. Nothing in a file is run.

    bfloat16, which NumPy lacks, comes back as float32 with the same values. A PyTorch file that holds more than weights
    gives the one dict of tensors in it ("state_dict"); `load_torch` gives all of it. CheckpointError on any damage;
    safetensors, and PyTorch's format before 1.6, have no checksum, so there only the structure can be checked."""
    if isinstance(path, dict):
        raise TypeError("load_weights: the argument is the path of a file, got a dict; load_state_dict takes that as it is")
    with _guard(path), open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        tree = _read_torch(file, size)
        if tree is not None:
            return torch_file.weights(tree)
        if file.read(2) != b"PK":
            file.seek(0)
            return safetensors_file.read(file, size)
        with zipfile.ZipFile(file) as archive:
            entries = check_zip(archive, size, stored_only=False)
            if TREE in entries:
                raise Refused("a checkpoint of a whole tree: read it with minigrad.checkpoint.load")
            odd = next((name for name in entries if not name.endswith(".npy")), None)
            if odd is not None:
                raise ValueError(f"an entry that is no array: {odd[:80]!r}")
            return {name.removesuffix(".npy"): _read_array(archive, info) for name, info in entries.items()}


def load_torch(path):
    """All that a PyTorch file holds: dicts, lists, tuples, numbers and texts, with arrays for tensors; nothing is run.

    CheckpointError for a file that is damaged, and one that says by name what was refused (`minigrad.torch_file`)."""
    with _guard(path), open_regular(path) as file:
        tree = _read_torch(file, os.fstat(file.fileno()).st_size)
        if tree is None:
            raise Refused("not a file of torch.save, or one of None")
        return tree


def _read_torch(file, size: int):
    """What torch.save wrote to an open file, or None (and the file is at its start) for another kind of file."""
    start = file.read(64)
    file.seek(0)
    if torch_file.is_legacy(start):
        return torch_file.read_legacy(file, size)
    if start[:2] == b"PK":
        with zipfile.ZipFile(file) as archive:
            if torch_file.is_zip(archive.namelist()):
                return torch_file.read_zip(archive, check_zip(archive, size, stored_only=True), size)
        file.seek(0)
    return None


# ---- files


@contextmanager
def atomic_write(path):
    """A binary file that becomes `path` when the block ends without an error, and vanishes otherwise.

    Written beside the destination, flushed, synced, renamed over it, and the folder synced."""
    path = os.path.abspath(os.fspath(path))
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name[:100]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _guard(path):
    """One error for everything that a damaged file can set off in zipfile, json, struct and NumPy's header parser; that of the
    system, with the path, for a file that cannot be read."""
    try:
        yield
    except CheckpointError:
        raise
    except Refused as error:
        raise CheckpointError(path, str(error)) from None
    except FileNotFoundError:
        raise CheckpointError(path, "no such file") from None
    except Exception as error:
        trouble = _trouble(error)
        if isinstance(trouble, MemoryError):  # what a file declares is held against its size, so this is no damage
            raise MemoryError(f"{os.fspath(path)}: too little memory to read it") from error
        if trouble is not None:
            reason = getattr(trouble, "strerror", None) or str(trouble)
            raise OSError(getattr(trouble, "errno", None), reason, os.fspath(path)) from error
        if isinstance(error, OSError):
            raise CheckpointError(path, error.strerror or str(error)) from error
        said = str(error)[:400] or type(error).__name__
        raise CheckpointError(path, f"damaged or not readable: {said}; take another copy of it") from error


def _trouble(error):
    """The error of the system behind an exception; None where what was read is wrong. zipfile calls both a bad zip, and what it
    and NumPy import when they are called may not be had either."""
    while error is not None:
        if isinstance(error, (MemoryError, ImportError)) or isinstance(error, OSError) and error.errno not in WRONG_KIND:
            return error
        error = error.__cause__ or error.__context__
    return None


def _write_zip(path, arrays: dict, texts: dict) -> None:
    try:
        with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, data in texts.items():
                archive.writestr(zipfile.ZipInfo(name), data)  # ZipInfo's date is 1980: equal trees, equal bytes
            for name, array in arrays.items():
                with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, np.asarray(array, order="C"), allow_pickle=False)
    except OSError as error:
        raise CheckpointError(path, f"cannot be written: {error.strerror or error}") from error


def _check_dtype(dtype, where: str) -> None:
    if dtype.hasobject:
        raise TypeError(f"{where} has dtype object, which only pickle could keep; use numbers or strings")
    try:
        plain = np.lib.format.descr_to_dtype(np.lib.format.dtype_to_descr(dtype)) == dtype
        str(dtype.descr).encode("latin-1")  # names of fields: .npy versions 1 and 2
    except (TypeError, ValueError):
        plain = False
    if not plain or dtype.itemsize == 0:
        raise TypeError(f"{where} has dtype {dtype}, which the .npy format cannot keep; view it as plain integers")


def _read_array(archive, info) -> np.ndarray:
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{info.filename}: unknown .npy version {version}")
        lib = np.lib.format
        shape, fortran, dtype = (lib.read_array_header_1_0 if version == (1, 0) else lib.read_array_header_2_0)(stream)
        if dtype.hasobject:
            raise ValueError(f"{info.filename}: dtype object, which only pickle could read")
        if dtype.itemsize == 0 or any(n < 0 for n in shape):
            raise ValueError(f"{info.filename}: impossible shape {shape} or dtype {dtype}")
        expected, declared = math.prod(shape) * dtype.itemsize, info.file_size - stream.tell()
        if expected != declared:
            raise ValueError(f"{info.filename}: {dtype} of shape {shape} needs {expected} bytes, it has {declared}")
        array = np.empty(shape, dtype, order="F" if fortran else "C")
        fill(stream, array.T if fortran else array)
        if stream.read(1):  # reading to the end also makes zipfile compare the CRC-32
            raise ValueError(f"{info.filename}: longer than declared")
    return array
