"""Readers of the file formats of MNIST (IDX) and CIFAR-10 (binary version). Nothing is trusted, nothing is unpickled.

Every size that a file declares is held against what the file can hold before memory is asked for; whatever is wrong
raises one `DataError` that says what, and how to get a good copy. IDX: http://yann.lecun.com/exdb/mnist/ (its end).
CIFAR-10: https://www.cs.toronto.edu/~kriz/cifar.html ("binary version": records of 1 label byte and 3072 pixels).

Imports: numpy, dataset.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib

import numpy as np

from minigrad.data.dataset import DataError

__all__ = ["read_cifar10", "read_idx"]

_IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_DEFLATE_RATIO = 1032  # zlib: no stream expands more
_AGAIN = "Delete it and download it again with --download"


def read_idx(path, *, ndim: int | None = None) -> np.ndarray:
    """The array in an IDX file, gzipped or not (told by its first bytes).

    ndim: how many axes it must have. DataError when magic, sizes, length or gzip checksum are wrong."""
    try:
        with open(path, "rb") as raw:
            size = os.fstat(raw.fileno()).st_size
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            limit = size * _DEFLATE_RATIO if packed else size
            with gzip.GzipFile(fileobj=raw) if packed else raw as file:
                return _idx(path, file, limit, ndim)
    except FileNotFoundError:
        raise DataError(path, "no such file", _AGAIN) from None
    except EOFError as error:
        raise DataError(path, "truncated gzip file", _AGAIN) from error
    except (OSError, zlib.error, MemoryError) as error:
        raise DataError(path, f"damaged or not readable: {error}", _AGAIN) from error


def _idx(path, file, limit: int, ndim):
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _IDX_DTYPES:
        raise DataError(path, f"not an IDX file: it begins with {head.hex(' ') or 'nothing'}, an IDX file with 00 00 "
                              "and a known type", _AGAIN)
    if ndim is not None and head[3] != ndim:
        raise DataError(path, f"holds an array of {head[3]} axes, expected {ndim}", "Images and labels swapped?")
    if head[3] > 32:
        raise DataError(path, f"declares {head[3]} axes", _AGAIN)
    sizes = file.read(4 * head[3])
    if len(sizes) < 4 * head[3]:
        raise DataError(path, "truncated in its header", _AGAIN)
    shape = tuple(np.frombuffer(sizes, ">u4").tolist())
    dtype = np.dtype(_IDX_DTYPES[head[2]])
    expected = math.prod(shape) * dtype.itemsize
    if expected + 4 + len(sizes) > limit:
        raise DataError(path, f"declares shape {shape}, {expected} bytes, more than the file can hold", _AGAIN)
    content = file.read(expected)
    if len(content) < expected:
        raise DataError(path, f"truncated: shape {shape} needs {expected} bytes, it has {len(content)}", _AGAIN)
    if file.read(1):  # also makes gzip compare its checksum
        raise DataError(path, f"longer than its shape {shape} says", _AGAIN)
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))


CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR_RECORD = 1 + 3 * 32 * 32


def read_cifar10(path, train: bool) -> tuple[np.ndarray, np.ndarray]:
    """(x uint8 (N, 3, 32, 32), y int64 (N,)) of the training or test set, from `cifar-10-binary.tar.gz` or a folder
    with its `.bin` files. The archive is read, never unpacked to disk."""
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] if train else ["test_batch.bin"]
    if os.path.isdir(path):
        batches = {name: _file_batch(os.path.join(path, name)) for name in names}
    else:
        batches = _tar_batches(path, names)
    records = np.concatenate([_cifar_records(path, name, batches[name]) for name in names])
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)


def _file_batch(path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(10_000 * _CIFAR_RECORD + 1)
    except OSError as error:
        raise DataError(path, error.strerror or str(error), _AGAIN) from None


def _tar_batches(path, names) -> dict[str, bytes]:
    import tarfile

    batches: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                name = member.name.rsplit("/", 1)[-1]
                if name == "data_batch_1":
                    raise DataError(path, "the pickled version, which can run code and is not read",
                                    "Get cifar-10-binary.tar.gz: --download does")
                if name in names and member.isreg() and name not in batches:
                    if member.size != 10_000 * _CIFAR_RECORD:
                        raise DataError(path, f"{name} has {member.size} bytes, not {10_000 * _CIFAR_RECORD}", _AGAIN)
                    batches[name] = archive.extractfile(member).read()
                    if len(batches) == len(names):
                        break
                elif member.size > 1 << 28:
                    raise DataError(path, f"declares a member {name!r} of {member.size} bytes", _AGAIN)
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, MemoryError) as error:
        raise DataError(path, f"damaged or not readable: {error}", _AGAIN) from error
    missing = [name for name in names if name not in batches]
    if missing:
        raise DataError(path, f"has no {', '.join(missing)}", _AGAIN)
    return batches


def _cifar_records(path, name: str, content: bytes) -> np.ndarray:
    if not content or len(content) % _CIFAR_RECORD or len(content) > 10_000 * _CIFAR_RECORD:
        raise DataError(path, f"{name} has {len(content)} bytes; records have {_CIFAR_RECORD}, at most 10,000", _AGAIN)
    records = np.frombuffer(content, np.uint8).reshape(-1, _CIFAR_RECORD)
    if records[:, 0].max() > 9:
        raise DataError(path, f"{name} holds the label {records[:, 0].max()}, labels are 0 to 9", _AGAIN)
    return records
