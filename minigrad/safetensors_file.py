"""The format `.safetensors`: 8 bytes little-endian length, so many bytes of JSON, then the data without a gap.

    {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ..., "__metadata__": {"text": "text"}}

It has no checksum: what is checked is the structure, before memory is asked for; a changed number in the data cannot be
seen. Source: https://github.com/huggingface/safetensors, "Format". ValueError tells what is wrong.

Imports: numpy, files.
"""

from __future__ import annotations

import json
import struct

import numpy as np

from minigrad.files import fill

__all__ = ["pieces", "read"]

DTYPES = {"BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
          "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8", "BF16": "<u2"}
MOST_HEADER = 1 << 23  # bytes; 80,000 tensors or so. Parsed, it takes some twenty times that
_AXES = 64


def pieces(weights: dict):
    """The bytes of a file of {name: array}, piece by piece; TypeError, before the first, for what it cannot keep."""
    kinds = {np.dtype(code): kind for kind, code in DTYPES.items() if kind != "BF16"}
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
    if len(header) > MOST_HEADER:
        raise ValueError(f"save_weights: the names and shapes take {len(header)} bytes, at most {MOST_HEADER} are read back")
    return _pieces(weights, order, header)


def _pieces(weights, order, header):
    yield struct.pack("<Q", len(header)) + header.encode()
    for name in order:
        array = weights[name]
        yield np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def read(file, size: int) -> dict:
    """{name: array} from an open file of `size` bytes, in the order of its header."""
    start = file.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else -1
    if not 2 <= length <= size - 8:
        raise ValueError("none of .npz, .safetensors and PyTorch's .pth by its first bytes")
    if length > MOST_HEADER:
        raise ValueError(f"its header declares {length} bytes, at most {MOST_HEADER} are read")
    header = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=_unique)
    if not isinstance(header, dict):
        raise ValueError("the safetensors header is not a JSON object")
    notes = header.pop("__metadata__", {})
    if not isinstance(notes, dict) or any(type(value) is not str for value in notes.values()):
        raise ValueError("__metadata__ is not a dict of texts")
    for name, entry in header.items():
        _check(name, entry)
    end = 0
    order = sorted(header, key=lambda name: header[name]["data_offsets"])
    for name in order:
        begin, stop = header[name]["data_offsets"]
        if begin != end:
            raise ValueError(f"{name[:80]!r}: its data begins at {begin}, that before it ends at {end}")
        end = stop
    if end != size - 8 - length:
        raise ValueError(f"its tensors cover {end} bytes of the {size - 8 - length} that follow the header")
    arrays = {name: _array(file, name, header[name]) for name in order}
    return {name: arrays[name] for name in header}


def _check(name: str, entry) -> None:
    """ValueError unless the entry is complete and its offsets span what dtype and shape need."""
    short = f"{name[:80]!r}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{short} has not exactly dtype, shape and data_offsets")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if type(kind) is not str or kind not in DTYPES:
        raise ValueError(f"{short} has dtype {str(kind)[:40]!r}, which is not supported")
    if not isinstance(shape, list) or len(shape) > _AXES or any(type(n) is not int or not 0 <= n < 2**63 for n in shape):
        raise ValueError(f"{short}: impossible shape {str(shape)[:80]}")
    if not isinstance(offsets, list) or len(offsets) != 2 or any(type(n) is not int for n in offsets) \
            or not 0 <= offsets[0] <= offsets[1] < 2**63:
        raise ValueError(f"{short}: impossible offsets {str(offsets)[:80]}")
    expected = np.dtype(DTYPES[kind]).itemsize
    for n in shape:
        expected *= n
    if offsets[1] - offsets[0] != expected:
        raise ValueError(f"{short}: {kind} of shape {str(tuple(shape))[:80]} needs {expected} bytes, not {offsets[1] - offsets[0]}")


def _array(file, name: str, entry: dict) -> np.ndarray:
    array = np.empty(entry["shape"], DTYPES[entry["dtype"]])
    fill(file, array)
    if entry["dtype"] == "BOOL" and array.size and array.view(np.uint8).max() > 1:
        raise ValueError(f"{name[:80]!r}: a bool that is neither 0 nor 1")
    if entry["dtype"] == "BF16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _unique(pairs: list) -> dict:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a name occurs twice in the header")
    return dict(pairs)
