"""How a file that others may have made is opened, and how much it may ask for.

- Only a regular file is opened: reading a pipe or a device may never end, and opening one may do something.
- What a run adds lines to is opened at its own place: a link that lies there is not followed.
- What a compressed file unpacks to is known before memory is asked for, and is held against `most(size)`: 512 MiB in any
  case, so that compressed zeros load, and 64 times the file's size beyond that. Memory is filled as data comes, so a file
  that only says that it is large costs nothing.

Imports: numpy.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import zipfile

import numpy as np

try:
    import fcntl
except ImportError:  # not on Windows: there, a file is never locked
    fcntl = None

__all__ = ["AFFORDABLE", "RATIO", "Refused", "check_zip", "fill", "most", "open_append", "open_locked", "open_regular"]

AFFORDABLE = 1 << 29  # bytes that any file may unpack to
RATIO = 64  # and beyond that, bytes for each byte of the file
DEFLATE_RATIO = 1032  # zlib: no stream expands more
_CHUNK = 1 << 20


class Refused(ValueError):
    """What a whole file holds and what is not taken from it; the message says why and what to do."""


def open_regular(path):
    """open(path, "rb") for a regular file, links followed; OSError (EINVAL, IsADirectoryError, FileNotFoundError, ...)
    for anything else. Never waits, whatever stands there."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    _check_kind(os.stat(path), path)
    return _opened(path, flags, "rb")


def open_append(path):
    """open(path, "ab") for a regular file at this very place, made if it is not there; OSError for anything else, a link among it.
    Never waits."""
    if os.path.islink(path):
        raise OSError(errno.ELOOP, "a link, which is not followed: put the file itself in its place", os.fspath(path))
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_CLOEXEC"):
        flags |= getattr(os, name, 0)
    return _opened(path, flags, "ab")


def open_locked(path):
    """`open_append`, and the file is this process's until it is closed; BlockingIOError while it is another's."""
    file = open_append(path)
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        file.close()
        raise
    return file


def _opened(path, flags: int, mode: str):
    descriptor = os.open(path, flags, 0o666)
    try:
        _check_kind(os.fstat(descriptor), path)  # it may have been exchanged in between
        return os.fdopen(descriptor, mode)
    except BaseException:
        os.close(descriptor)
        raise


def _check_kind(status, path) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "a folder, not a file", os.fspath(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "a pipe, a device or a socket, not a file: copy what it gives into a file first",
                      os.fspath(path))


def most(size: int) -> int:
    """Bytes that a compressed file of `size` bytes may unpack to."""
    return max(AFFORDABLE, RATIO * size)


def fill(stream, array) -> None:
    """Read the bytes of a C-contiguous array from `stream`, bit by bit; EOFError when there are too few."""
    target, start = memoryview(array.reshape(-1).view(np.uint8)), 0
    while start < len(target):
        data = stream.read(min(_CHUNK, len(target) - start))
        if not data:
            raise EOFError("the file ends too early")
        target[start:start + len(data)] = data
        start += len(data)


def check_zip(archive, size: int, *, stored_only: bool) -> dict:
    """The entries of a ZipFile by name, after holding what its directory declares against the size of the file."""
    entries, packed, unpacked = {}, 0, 0
    for info in archive.infolist():
        if info.filename in entries:
            raise ValueError(f"two entries are called {info.filename[:80]!r}")
        if info.flag_bits & 0x1:
            raise ValueError(f"the entry {info.filename[:80]!r} is encrypted")
        stored = info.compress_type == zipfile.ZIP_STORED
        if not stored and (stored_only or info.compress_type != zipfile.ZIP_DEFLATED):
            raise ValueError(f"the entry {info.filename[:80]!r} is compressed by method {info.compress_type}")
        if stored and info.file_size != info.compress_size or info.file_size > DEFLATE_RATIO * info.compress_size:
            raise ValueError(f"the entry {info.filename[:80]!r} declares two different sizes")
        entries[info.filename] = info
        packed += info.compress_size
        unpacked += info.file_size
    if packed > size:
        raise ValueError(f"its entries declare {packed} bytes, the file has {size}")
    if unpacked > most(size):
        raise Refused(f"its entries unpack to {unpacked} bytes from a file of {size}: refused as a zip bomb (up to "
                      f"{AFFORDABLE >> 20} MiB and {RATIO} times the file are taken; numpy.savez does not compress)")
    _check_gaps(archive)
    return entries


def _check_gaps(archive) -> None:
    """The entries must fill the file from its start to the list of contents: a damaged list may lack some of them, and only
    the data betrays it. ValueError otherwise."""
    end, spare = 0, 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        if not 0 <= info.header_offset - end <= spare:
            raise ValueError(f"what stands before the entry {info.filename[:80]!r} is not in its list of contents")
        archive.fp.seek(info.header_offset)
        local = archive.fp.read(30)  # ends with the lengths of the name and of the extra field, which differ from the list's
        if len(local) < 30:
            raise EOFError("the file ends too early")
        name, extra = struct.unpack("<HH", local[26:])
        end = info.header_offset + 30 + name + extra + info.compress_size
        spare = 24 if info.flag_bits & 0x8 else 0  # sizes and CRC once more, behind the data
    if not 0 <= archive.start_dir - end <= spare:
        raise ValueError("its list of contents lacks what stands before it")
