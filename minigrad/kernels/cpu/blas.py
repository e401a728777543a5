"""BLAS on one thread.

BLAS must not use threads of its own beside our pool. They spin while they wait, for each other and after each product, on the
cores where the pool runs: on a busy machine a product of 0.1 ms then takes 100 ms (measured). So NumPy's OpenBLAS is told
around each call to keep to the calling thread, which costs a microsecond. May import: numpy.
"""
import contextlib
import ctypes
import pathlib

import numpy as np


def small_product(a, b):
    """np.matmul on the calling thread."""
    threads = _get()
    if threads <= 1:
        return np.matmul(a, b)
    _set(1)
    try:
        return np.matmul(a, b)
    finally:
        _set(threads)


def _openblas():
    """The functions that read and set the number of threads of NumPy's own OpenBLAS; without effect for another BLAS."""
    folder = pathlib.Path(np.__file__).parent
    for path in [*folder.parent.glob("numpy.libs/*openblas*"), *folder.glob(".dylibs/*openblas*")]:
        for name in ("scipy_openblas_{}_num_threads64_", "scipy_openblas_{}_num_threads", "openblas_{}_num_threads64_"):
            with contextlib.suppress(OSError, AttributeError):
                library = ctypes.CDLL(str(path))
                return getattr(library, name.format("get")), getattr(library, name.format("set"))
    return (lambda: 1), (lambda threads: None)


_get, _set = _openblas()
