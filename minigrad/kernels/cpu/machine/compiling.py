"""How a Python function becomes a kernel: Numba's options, the cache on disk, and a word to the user while compiling.

    @kernel
    def double(counter, x, y): ...

    @inner
    def row(x, y): ...                                      what kernels call

* No GIL and no `parallel=True`: a kernel takes blocks from a shared counter (`threads`). A serial kernel compiles in a
  tenth of the time of a parallel one, and the first run of a program is mostly compilation.
* `fastmath` without `nnan` and `ninf`: NaN must stay NaN, and infinity must stay infinity.
* Compiled code is kept beside the source (or in NUMBA_CACHE_DIR, or the user's cache), in files that `cache` checks. Numba notices
  a change of the file that holds a kernel, but not of a function in another file that the kernel calls. So the version of every
  cache file includes a hash of all sources below `kernels/cpu`, and the versions of the compiler.
* Each kernel is called with one set of types only (C-contiguous float32 or int64 arrays, int, float), so it is compiled once.

`on_compile(callback)` lets a program say that it is compiling.

Imports: llvmlite, numba, numpy, cache.
"""
import contextlib
import gc
import hashlib
import pathlib

import llvmlite
import numba
import numpy as np
from numba.core import event
from numba.extending import intrinsic

from minigrad.kernels.cpu.machine.cache import keep

# Typed, because a literal argument would compile the function that it is handed to a second time.
ZERO, ONE = np.int64(0), np.int64(1)
SAFE = {"reassoc", "contract", "arcp", "nsz"}

_sources = sorted(pathlib.Path(__file__).parent.parent.rglob("*.py"))                 # kernels/cpu, all folders
SALT = (f"{numba.__version__} {llvmlite.__version__} {bool(numba.config.BOUNDSCHECK)} "
        + hashlib.sha256(b"".join(p.read_bytes() for p in _sources)).hexdigest())


def kernel(function, **more):
    """Compile `function` at its first call, to machine code that runs without the GIL."""
    compiled = numba.njit(nogil=True, fastmath=SAFE, error_model="numpy", **more)(function)
    keep(compiled, SALT)
    return compiled


def inner(function):
    """The same for a function that only kernels call. It gets no entry from Python, which would unpack and check all arguments, and
    may take longer to compile than the function itself: `grid` takes 0.1 s in place of 0.3."""
    return kernel(function, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def stage(function):
    """The same for a part of one kernel's text, under a name. Numba copies it into the kernel and does not compile it by itself."""
    return kernel(function, inline="always")


def instruction(plain):
    """Decorate an LLVM code generator as a Numba intrinsic; with NUMBA_DISABLE_JIT=1 the Python function `plain` stands in."""
    return (lambda definition: plain) if numba.config.DISABLE_JIT else intrinsic


def is_cached(compiled):
    """Whether a kernel's code is kept on disk."""
    return getattr(getattr(compiled, "_cache", None), "cache_path", None) is not None


class _Listener(event.Listener):
    """Calls back when a compilation begins. Meanwhile the garbage collector rests, because it would look at all that the compiler
    builds again and again, a tenth of the time."""

    def __init__(self, callback):
        self.callback, self.depth, self.collects = callback, 0, False

    def on_start(self, happened):
        if self.depth == 0:
            self.collects = gc.isenabled()
            gc.disable()
        self.depth += 1
        self.callback(happened.data["dispatcher"].py_func.__name__)

    def on_end(self, happened):
        self.depth -= 1
        if self.depth == 0:
            self.stop()

    def stop(self):
        if self.collects:
            gc.enable()
        self.collects = False


@contextlib.contextmanager
def on_compile(callback):
    """Within the block, callback(name) runs just before a kernel is compiled, but not when it comes from the cache. The garbage
    collector rests during compilation."""
    listener = _Listener(callback)
    event.register("numba:compile", listener)
    try:
        yield
    finally:
        event.unregister("numba:compile", listener)
        listener.stop()                                         # another thread may still be compiling
