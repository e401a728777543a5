"""BLAS, one thread of it for each of ours.

BLAS must not use threads of its own beside our pool. They spin while they wait for each other, and after each product, on the
cores where the pool runs. On a busy machine a product of 0.1 ms then takes 100 ms (measured). So NumPy's OpenBLAS is told before
each call to keep to the calling thread, which costs a microsecond. A large product is cut into blocks of rows or columns of a
fixed size, and each thread of the pool hands BLAS its blocks.

Imports: numpy, machine.
"""
import contextlib
import ctypes
import itertools
import pathlib

import numpy as np

from minigrad.kernels.cpu.machine.threads import empty, launch

WORTH_THREADS = 1 << 23             # multiplications from which threads pay
BLAS_WIDTH = 512                    # rows or columns of a block
BLAS_NARROW = 64                    # the same where that would be a single block, but of
LATENT_TERMS = 2048                 # so many terms to a sum or more, as in the layer behind a latent vector


class _Blocks:
    """A kernel in Python, for `launch`. BLAS runs without the GIL."""
    overloads = ("any",)

    def __call__(self, counter, tickets, blocks, width, a, b, y):
        while (block := next(tickets)) < blocks:
            part = slice(block * width, (block + 1) * width)
            if len(a) > b.shape[1]:
                np.matmul(a[part], b, out=y[part])
            else:
                np.matmul(a, b[:, part], out=y[:, part])


def small_product(a, b):
    """np.matmul for float32, without BLAS's own threads."""
    with one_thread():
        if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0] or a.size * b.shape[1] < WORTH_THREADS:
            return np.matmul(a, b)
        y = empty(len(a), b.shape[1])
        width = BLAS_NARROW if max(y.shape) <= BLAS_WIDTH and len(b) >= LATENT_TERMS else BLAS_WIDTH
        blocks = -(-max(y.shape) // width)
        launch(_Blocks(), blocks, itertools.count(), blocks, width, a, b, y)
        return y


@contextlib.contextmanager
def one_thread():
    """Within the block BLAS keeps to the calling thread."""
    threads = get_blas_threads()
    if threads > 1:
        set_blas_threads(1)
    try:
        yield
    finally:
        if threads > 1:
            set_blas_threads(threads)


def _openblas():
    """The functions that read and set the number of threads of NumPy's own OpenBLAS; without effect for another BLAS."""
    folder = pathlib.Path(np.__file__).parent
    for path in [*folder.parent.glob("numpy.libs/*openblas*"), *folder.glob(".dylibs/*openblas*")]:
        for name in ("scipy_openblas_{}_num_threads64_", "scipy_openblas_{}_num_threads", "openblas_{}_num_threads64_"):
            with contextlib.suppress(OSError, AttributeError):
                library = ctypes.CDLL(str(path))
                return getattr(library, name.format("get")), getattr(library, name.format("set"))
    return (lambda: 1), (lambda threads: None)


get_blas_threads, set_blas_threads = _openblas()
