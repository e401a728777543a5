"""Compiled kernels on disk: what is not whole is absent, and what cannot be written is compiled for this run only.

    keep(compiled, salt)        from now on the compiled function looks on disk before it compiles, and writes what it has compiled

A file holds the machine code of one kernel for one set of types and one processor:

    MAGIC (8 bytes) | length of the payload (8) | SHA-256 of version and payload (32) | payload: key and code, pickled

* Nothing is unpickled, and nothing is run, before the digest is right. A file that is cut off, changed in one bit, empty, of
  another version, unreadable, or no file at all (a folder, a pipe) is absent: the kernel is compiled again, and a whole file takes
  its place.
* A file's name is made from its key, so there is no index that several processes would have to keep up to date. The key stands in
  the file too. Files appear whole, because they are written under another name and then renamed.
* Where nothing can be written (a full disk, a read-only or vanished folder), one line on standard error says so, once.

Numba decides where the cache is and turns code into bytes. Only its two files, index and data, are replaced. For that, two of its
private names are used: a dispatcher's `_cache`, and `_cache_file` of what lies there. If a later Numba lacks them, kernels are
compiled in every run, because Numba's own files would keep code that is stale (see `compiling`) or damaged.

Imports: numba.
"""
import contextlib
import glob
import hashlib
import os
import pickle
import stat
import struct
import sys
import uuid
from typing import NamedTuple

from numba.core.serialize import dumps

MAGIC = b"mgkernel"
HEADER = struct.Struct("<8sQ32s")
LARGEST = 1 << 26                                               # bytes of a payload; the largest kernel has half a million
NONBLOCKING = getattr(os, "O_NONBLOCK", 0)                      # so that a pipe without a writer is opened, and refused
kept = []                                                       # the `KernelFiles` of every kernel of this process
_said = False


def keep(compiled, salt):
    """Let a function of `numba.njit` keep its code on disk. salt: a string that differs where the same source gives other code."""
    if not hasattr(compiled, "enable_caching"):                 # NUMBA_DISABLE_JIT=1
        return
    below, why = None, "no folder can be written"
    with contextlib.suppress(RuntimeError):                     # a read-only install without a home
        compiled.enable_caching()
        below, why = compiled._cache, f"Numba {salt.split()[0]} keeps its cache in another way"
    if all(hasattr(getattr(below, "_cache_file", None), name) for name in ("load", "save", "flush", "_source_stamp")):
        below._cache_file = KernelFiles(compiled.py_func, below.cache_path, f"{salt} {below._cache_file._source_stamp}")
        kept.append(below._cache_file)
    else:
        below = None
    compiled._cache = KernelCache(below, why)


class KernelCache:
    """What a dispatcher of Numba calls, in the place of Numba's own cache `below`, from which no failure gets through. Without one
    (None, and `why` not) nothing is kept."""

    def __init__(self, below, why):
        self.below, self.why = below, why

    @property
    def cache_path(self):
        return self.below and self.below.cache_path

    def load_overload(self, sig, target_context):
        if self.below is None:
            return None
        try:
            return self.below.load_overload(sig, target_context)
        except Exception:  # whatever is wrong with what lies there, the compiler can do without it
            return None

    def save_overload(self, sig, data):
        if self.below is None:
            say(self.why)
            return
        try:
            self.below.save_overload(sig, data)
        except Exception as error:  # the code is in memory and right, whatever kept it from the disk
            say(f"{self.cache_path}: {getattr(error, 'strerror', None) or error}")

    def enable(self):
        if self.below:
            self.below.enable()

    def disable(self):
        if self.below:
            self.below.disable()

    def flush(self):
        if self.below:
            self.below.flush()


class KernelFiles:
    """The files of one kernel: load(key) -> code or None, save(key, code), as in Numba's `IndexDataCacheFile`."""

    def __init__(self, function, folder, version):
        code = function.__code__
        module = os.path.splitext(os.path.basename(code.co_filename))[0]
        self.folder, self.name = folder, f"{module}.{function.__qualname__}".replace("<", "").replace(">", "")
        # With the line, because two local functions may have the same name, and with all that pickled code depends on.
        identity = f"{version} {self.name} {code.co_firstlineno} {sys.version_info[:2]} {getattr(sys, 'abiflags', '')}"
        self.version = hashlib.sha256(identity.encode()).digest()
        self.prefix = f"{self.name}.{self.version.hex()[:12]}."

    def path(self, key):
        return os.path.join(self.folder, f"{self.prefix}{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.nbc")

    def paths(self):
        """The files that there are."""
        return sorted(glob.glob(os.path.join(glob.escape(self.folder), glob.escape(self.prefix) + "*.nbc")))

    def load(self, key):
        payload = read(self.path(key), self.version)
        found, code = (None, None) if payload is None else pickle.loads(payload)
        return code if found == key else None

    def save(self, key, code):
        write(self.path(key), self.version, dumps((key, code)))

    def flush(self):
        for path in self.paths():
            os.unlink(path)


def read(path, version):
    """The payload of a file of this version; None unless it is there and whole."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | NONBLOCKING)) as file:
            about, header = os.fstat(file.fileno()), b""
            if stat.S_ISREG(about.st_mode):
                header = file.read(HEADER.size)
            if len(header) < HEADER.size:
                return None
            magic, length, digest = HEADER.unpack(header)
            if magic != MAGIC or length > LARGEST or about.st_size != HEADER.size + length:  # before memory is asked for
                return None
            payload = file.read(length)
    except (OSError, MemoryError):
        return None
    return payload if digest_of(version, payload) == digest else None


def write(path, version, payload):
    """Write such a file, whole or not at all. OSError if it cannot be written."""
    unfinished = f"{path}.tmp.{uuid.uuid4().hex[:16]}"
    try:
        with open(unfinished, "xb") as file:
            file.write(HEADER.pack(MAGIC, len(payload), digest_of(version, payload)) + payload)
        os.replace(unfinished, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        raise


def digest_of(version, payload):
    digest = hashlib.sha256(version)
    digest.update(payload)
    return digest.digest()


def say(why):
    """One line, once in a process: compiled code is not kept."""
    global _said
    if not _said and sys.stderr:
        _said = True
        with contextlib.suppress(OSError, ValueError):          # a closed standard error
            print(f"minigrad: compiled kernels cannot be kept ({why}), so they are compiled for this run only. "
                  "`python -m minigrad.doctor` says more.", file=sys.stderr, flush=True)


class Survey(NamedTuple):
    """What lies in the folders of the cache. good: files that will be loaded; damaged: that will be compiled again; other: of other
    versions, which nothing reads. Sizes in bytes."""

    folders: list
    good: int
    size: int
    damaged: list
    other: int
    other_size: int


def survey():
    """Look at the cache of every kernel that has been imported."""
    folders, good, size, damaged, other, other_size = sorted({files.folder for files in kept}), 0, 0, [], 0, 0
    ours = {path: files for files in kept for path in files.paths()}
    for folder in folders:
        names = glob.glob(os.path.join(glob.escape(folder), "*.nb[ci]*"))
        for path in names:
            try:
                bytes_ = os.lstat(path).st_size
            except OSError:                                     # gone meanwhile
                continue
            if path not in ours:
                other, other_size = other + 1, other_size + bytes_
            elif read(path, ours[path].version) is None:
                damaged.append(path)
            else:
                good, size = good + 1, size + bytes_
    return Survey(folders, good, size, damaged, other, other_size)
