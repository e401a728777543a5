"""Trees of arrays to one `.npz` file and back; weights in `.npz` or `.safetensors`. Never pickle.

`save(path, tree)` takes nested dicts, lists and tuples of NumPy arrays and scalars, int, float, str, bool and None, and
`load(path)` returns an equal tree: same types, dict order, dtypes, NaNs and memory order of the axes. The file is a
plain `.npz` (`numpy.load` opens it) with one more entry, `tree.json`, for the structure. Equal trees, equal bytes.

- A file is written beside its destination, synced and renamed (`atomic_write`): at every moment, also after `kill -9`
  or a power cut, the path holds the old file or the new one, whole.
- Whatever is wrong with a file raises `CheckpointError(path, reason)`. Contents are guarded by the zip's CRC-32, and
  every declared size is held against the size of the file before memory is asked for.

Imports: numpy.
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import struct
import zipfile
from contextlib import contextmanager

import numpy as np

__all__ = ["CheckpointError", "atomic_write", "load", "load_weights", "save", "save_weights"]

TREE = "tree.json"
MAX_DEPTH = 100
_CHUNK = 1 << 24


class CheckpointError(Exception):
    """A file that cannot be read or written. `.path` names it, `.reason` says why."""

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
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps({"format": "minigrad tree 1", "tree": _encode(tree, "tree", 0, arrays)}, ensure_ascii=True)
    _write_zip(path, arrays, {TREE: text.encode()})


def load(path):
    """The tree that `save` wrote. CheckpointError when the file is missing, damaged or not such a file."""
    with _guard(path), open(path, "rb") as file:
        with zipfile.ZipFile(file) as archive:
            entries = _check_entries(archive, os.fstat(file.fileno()).st_size, stored_only=True)
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
        _write_safetensors(path, checked)
    else:
        raise ValueError(f"save_weights: the name must end in .npz or .safetensors, got {os.fspath(path)!r}")


def load_weights(path) -> dict:
    """{name: array} from a `.npz` (also a compressed one) or a `.safetensors` file, told apart by their first bytes.

    bfloat16, which NumPy lacks, comes back as float32 with the same values. CheckpointError on any damage; safetensors
    has no checksum, so there only the structure can be checked."""
    with _guard(path), open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        magic = file.read(2)
        file.seek(0)
        if magic != b"PK":
            return _read_safetensors(file, size)
        with zipfile.ZipFile(file) as archive:
            entries = _check_entries(archive, size, stored_only=False)
            if any(name.endswith("data.pkl") for name in entries):
                raise ValueError("a PyTorch pickle, which can run code and is not read; write it with safetensors, or "
                                 "in PyTorch with numpy.savez(path, **{k: v.numpy() for k, v in weights.items()})")
            if TREE in entries:
                raise ValueError("a checkpoint of a whole tree: read it with minigrad.checkpoint.load")
            if any(not name.endswith(".npy") for name in entries):
                raise ValueError(f"an entry that is no array: {next(n for n in entries if not n.endswith('.npy'))!r}")
            return {name.removesuffix(".npy"): _read_array(archive, info) for name, info in entries.items()}


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
    """One error for everything that a damaged file can set off in zipfile, json, struct and NumPy's header parser."""
    try:
        yield
    except CheckpointError:
        raise
    except FileNotFoundError:
        raise CheckpointError(path, "no such file") from None
    except OSError as error:
        raise CheckpointError(path, error.strerror or str(error)) from error
    except MemoryError as error:
        raise CheckpointError(path, f"damaged, or too large for this machine's memory: {error}") from error
    except Exception as error:
        raise CheckpointError(path, f"damaged or not readable: {error or type(error).__name__}") from error


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


def _check_entries(archive, size: int, *, stored_only: bool) -> dict:
    """The entries by name, after holding what the directory declares against the size of the file."""
    entries, packed, unpacked = {}, 0, 0
    for info in archive.infolist():
        if info.filename in entries:
            raise ValueError(f"two entries are called {info.filename!r}")
        if info.flag_bits & 0x1:
            raise ValueError(f"the entry {info.filename!r} is encrypted")
        stored = info.compress_type == zipfile.ZIP_STORED
        if not stored and (stored_only or info.compress_type != zipfile.ZIP_DEFLATED):
            raise ValueError(f"the entry {info.filename!r} is compressed by method {info.compress_type}")
        if stored and info.file_size != info.compress_size:
            raise ValueError(f"the entry {info.filename!r} declares two different sizes")
        entries[info.filename] = info
        packed += info.compress_size
        unpacked += info.file_size
    if packed > size:
        raise ValueError(f"its entries declare {packed} bytes, the file has {size}")
    if unpacked > 64 * size + (1 << 24):
        raise ValueError(f"its entries unpack to {unpacked} bytes from a file of {size}: refused as a zip bomb")
    return entries


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
        _fill(stream, array.T if fortran else array, expected)
        if stream.read(1):  # reading to the end also makes zipfile compare the CRC-32
            raise ValueError(f"{info.filename}: longer than declared")
    return array


def _fill(stream, array, nbytes: int) -> None:
    target = array.reshape(-1).view(np.uint8)
    for start in range(0, nbytes, _CHUNK):
        stop = min(start + _CHUNK, nbytes)
        while start < stop:
            data = stream.read(stop - start)
            if not data:
                raise EOFError("the file ends too early")
            target[start:start + len(data)] = np.frombuffer(data, np.uint8)
            start += len(data)


# ---- safetensors: 8 bytes little-endian length, that much JSON {name: {dtype, shape, data_offsets}}, the data

_SAFE = {"BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
         "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8", "BF16": "<u2"}


def _write_safetensors(path, weights: dict) -> None:
    kinds = {np.dtype(code): kind for kind, code in _SAFE.items() if kind != "BF16"}
    offsets, position = {}, 0
    order = sorted(weights, key=lambda name: -weights[name].itemsize)  # the widest first keeps every array aligned
    for name in order:
        array = weights[name]
        if array.dtype.newbyteorder("<") not in kinds or name == "__metadata__":
            raise TypeError(f"save_weights: safetensors cannot keep {name!r} of dtype {array.dtype}")
        offsets[name] = [position, position + array.nbytes]
        position += array.nbytes
    header = json.dumps({name: {"dtype": kinds[array.dtype.newbyteorder("<")], "shape": list(array.shape),
                                "data_offsets": offsets[name]} for name, array in weights.items()})
    header += " " * (-len(header) % 8)
    try:
        with atomic_write(path) as file:
            file.write(struct.pack("<Q", len(header)) + header.encode())
            for name in order:
                array = weights[name]
                file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    except OSError as error:
        raise CheckpointError(path, f"cannot be written: {error.strerror or error}") from error


def _read_safetensors(file, size: int) -> dict:
    start = file.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else -1
    if not 2 <= length <= min(size - 8, 100_000_000):
        raise ValueError("neither a .npz nor a .safetensors file (a header length that does not fit the file)")
    header = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=_unique)
    if not isinstance(header, dict):
        raise ValueError("the safetensors header is not a JSON object")
    header.pop("__metadata__", None)
    data = np.fromfile(file, np.uint8, size - 8 - length)
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = entry["data_offsets"]
        shape = entry["shape"]
        if entry["dtype"] not in _SAFE:
            raise ValueError(f"{name!r} has dtype {entry['dtype']!r}, which is not supported")
        if any(type(n) is not int or n < 0 for n in (begin, stop, *shape)) or begin != end or not begin <= stop:
            raise ValueError(f"{name!r}: impossible shape {shape} or offsets {begin}, {stop}")
        expected = math.prod(shape) * np.dtype(_SAFE[entry["dtype"]]).itemsize
        if stop - begin != expected:
            raise ValueError(f"{name!r}: {entry['dtype']} of shape {shape} needs {expected} bytes, not {stop - begin}")
        end = stop
    if end != data.size:
        raise ValueError(f"its tensors cover {end} bytes of the {data.size} that follow the header")
    return {name: _safe_array(name, entry, data) for name, entry in header.items()}


def _safe_array(name: str, entry: dict, data) -> np.ndarray:
    raw = data[slice(*entry["data_offsets"])]
    if entry["dtype"] == "BOOL" and raw.size and raw.max() > 1:
        raise ValueError(f"{name!r}: a bool that is neither 0 nor 1")
    array = np.frombuffer(raw.tobytes(), _SAFE[entry["dtype"]]).reshape(entry["shape"]).copy()
    if entry["dtype"] == "BF16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _unique(pairs: list) -> dict:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a name occurs twice in the header")
    return dict(pairs)
