"""Readers of the file formats of MNIST (IDX) and CIFAR-10 (binary version). Nothing is trusted, nothing is unpickled.

Every size that a file declares is held against what the file can hold, and a compressed one against `files.most`, before
memory is asked for; a compressed file is read to its end, so that its checksum and length are compared. Whatever is wrong
raises one `DataError` that says what, and how to get a good copy. IDX: http://yann.lecun.com/exdb/mnist/ (its end).
CIFAR-10: https://www.cs.toronto.edu/~kriz/cifar.html ("binary version": records of 1 label byte and 3072 pixels).
Files that are not compressed have no checksum: there a changed pixel cannot be seen.

Imports: numpy, minigrad.files, dataset.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib

import numpy as np

from minigrad.data.dataset import DataError
from minigrad.files import fill, most, open_regular

__all__ = ["read_cifar10", "read_idx"]

_IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_AGAIN = "Delete it and download it again with --download"
_UNREADABLE = (OSError, zlib.error, MemoryError, ValueError)  # ValueError: a shape that NumPy cannot count


def read_idx(path, *, ndim: int | None = None) -> np.ndarray:
    """The array in an IDX file, gzipped or not (told by its first bytes).

    ndim: how many axes it must have. DataError when magic, sizes, length or gzip checksum are wrong."""
    try:
        with open_regular(path) as raw:
            size = os.fstat(raw.fileno()).st_size
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with gzip.GzipFile(fileobj=raw) if packed else raw as file:
                return _idx(path, file, most(size) if packed else size, ndim)
    except FileNotFoundError:
        raise DataError(path, "no such file", _AGAIN) from None
    except EOFError as error:
        raise DataError(path, "truncated", _AGAIN) from error
    except _UNREADABLE as error:
        raise DataError(path, f"damaged or not readable: {_said(error)}", _AGAIN) from error


def _said(error) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__)[:200]


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
    array = np.empty(shape, dtype)
    try:
        fill(file, array)
    except EOFError as error:
        why = "" if str(error).startswith("the file") else " gzip file"
        raise DataError(path, f"truncated{why}: shape {shape} needs {expected} bytes", _AGAIN) from error
    if file.read(1):  # also makes gzip compare its checksum
        raise DataError(path, f"longer than its shape {shape} says", _AGAIN)
    return array if dtype.isnative else array.byteswap(inplace=True).view(dtype.newbyteorder("="))


CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR_RECORD = 1 + 3 * 32 * 32
_CIFAR_MOST = 1 << 28  # bytes; the archive unpacks to 184,340,480


def read_cifar10(path, train: bool) -> tuple[np.ndarray, np.ndarray]:
    """(x uint8 (N, 3, 32, 32), y int64 (N,)) of the training or test set, from `cifar-10-binary.tar.gz` or a folder
    with its `.bin` files. The archive is read to its end, never unpacked to disk."""
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] if train else ["test_batch.bin"]
    if os.path.isdir(path):
        batches = {name: _file_batch(os.path.join(path, name)) for name in names}
    else:
        batches = _tar_batches(path, names)
    records = [_cifar_records(path, name, batches[name]) for name in names]
    x = np.empty((sum(map(len, records)), _CIFAR_RECORD - 1), np.uint8)
    np.concatenate([r[:, 1:] for r in records], out=x)
    return x.reshape(-1, 3, 32, 32), np.concatenate([r[:, 0] for r in records]).astype(np.int64)


def _file_batch(path) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(10_000 * _CIFAR_RECORD + 1)
    except OSError as error:
        raise DataError(path, _said(error), _AGAIN) from None


def _tar_batches(path, names) -> dict[str, np.ndarray]:
    """The members called `names`; the archive is read to its end, whatever it holds, for gzip's checksum and length."""
    try:
        with open_regular(path) as raw, gzip.GzipFile(fileobj=raw) as file:
            batches = _members(path, file, names)
            left = _CIFAR_MOST - file.tell()
            while left > 0 and (block := file.read(min(left, 1 << 20))):
                left -= len(block)
                if block.count(0) != len(block):
                    raise DataError(path, "something stands behind the end of the archive", _AGAIN)
            if left <= 0:
                raise DataError(path, f"unpacks to more than the {_CIFAR_MOST} bytes that CIFAR-10 has", _AGAIN)
    except FileNotFoundError:
        raise DataError(path, "no such file", _AGAIN) from None
    except EOFError as error:
        raise DataError(path, "truncated", _AGAIN) from error
    except _UNREADABLE as error:
        raise DataError(path, f"damaged or not readable: {_said(error)}", _AGAIN) from error
    missing = [name for name in names if name not in batches]
    if missing:
        raise DataError(path, f"has no {', '.join(missing)}", _AGAIN)
    return batches


def _members(path, file, names) -> dict[str, np.ndarray]:
    """Of a stream of tar's blocks of 512 bytes (POSIX.1-1988, ustar): each member a header, then its bytes, filled up.

    A header: name (100 bytes), at 124 the size and at 148 the sum of the header's bytes, both in octal, at 156 the type."""
    batches: dict[str, np.ndarray] = {}
    while True:
        header = file.read(512)
        if len(header) < 512:
            raise EOFError
        if not any(header):
            return batches
        counted = sum(header) - sum(header[148:156]) + 8 * ord(" ")
        if _octal(header[148:156]) != counted:
            raise DataError(path, "its list of contents is damaged (a checksum differs)", _AGAIN)
        size = _octal(header[124:136])
        name = header[:100].split(b"\0")[0].decode("latin-1").rsplit("/", 1)[-1]
        if name == "data_batch_1":
            raise DataError(path, "the pickled version, which can run code and is not read",
                            "Get cifar-10-binary.tar.gz: --download does")
        wanted = name in names and header[156:157] in (b"0", b"\0")
        if wanted and (size != 10_000 * _CIFAR_RECORD or name in batches):
            what = "stands there twice" if name in batches else f"has {size} bytes, not {10_000 * _CIFAR_RECORD}"
            raise DataError(path, f"{name} {what}", _AGAIN)
        if file.tell() + size > _CIFAR_MOST:
            raise DataError(path, f"declares a member {name[:40]!r} of {size} bytes", _AGAIN)
        left = size + -size % 512
        if wanted:
            content = np.empty(size, np.uint8)
            fill(file, content)
            batches[name] = content
            left -= size
        while left:
            block = file.read(min(left, 1 << 20))
            if not block:
                raise EOFError
            left -= len(block)


def _octal(field: bytes) -> int:
    text = field.strip(b" \0")
    if not text or text.strip(b"01234567"):
        raise ValueError("its list of contents is damaged (a number that is none)")
    return int(text, 8)


def _cifar_records(path, name: str, content) -> np.ndarray:
    if not len(content) or len(content) % _CIFAR_RECORD or len(content) > 10_000 * _CIFAR_RECORD:
        raise DataError(path, f"{name} has {len(content)} bytes; records have {_CIFAR_RECORD}, at most 10,000", _AGAIN)
    records = np.frombuffer(content, np.uint8).reshape(-1, _CIFAR_RECORD)
    if records[:, 0].max() > 9:
        raise DataError(path, f"{name} holds the label {records[:, 0].max()}, labels are 0 to 9", _AGAIN)
    return records
