"""Matrix products in float32: BLAS on one thread for the small ones, the register tile on all threads for the large.

A product of an M x K matrix is a convolution of one row of M pixels with K channels (`direct.product`). Measured (Zen 5): BLAS
takes half of the tile's time for the products of linear layers and LSTMs (64 x 512 x 128), where packing the second matrix is most
of the tile's work. From some 10^7 multiplications on the tile is faster. The gradient of a weight, A^T B with long columns, is a
sum of outer products (`long_sums`).

Imports: numpy, convolution, parts, machine.
"""
import numpy as np

from minigrad.kernels.cpu.convolution.direct import product
from minigrad.kernels.cpu.machine.compiling import kernel
from minigrad.kernels.cpu.machine.threads import empty, launch, share, take
from minigrad.kernels.cpu.parts.blas import WORTH_THREADS, small_product
from minigrad.kernels.cpu.parts.long_sums import LONG_SUM, sum_outer_products

ADDED_COLUMNS, ADDED_ALONE = 64, 1 << 15  # columns of a block of `add_rows`; numbers that one thread adds alone


def matmul(a, b):
    if a.ndim > 2 and b.ndim == 2 and a.flags.c_contiguous and a.size:
        return matmul(a.reshape(-1, a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[-1])
    if a.ndim == b.ndim == 2 and a.shape[1] == b.shape[0]:
        if len(b) >= LONG_SUM and a.size * b.shape[1] >= WORTH_THREADS and a.flags.f_contiguous and b.flags.c_contiguous:
            return sum_outer_products(a.T, b)
        return product(a, b)
    return small_product(a, b)


def add_rows(g, rows, count):
    y, few = empty(count, g.shape[1]), g.size < ADDED_ALONE
    launch(add_rows_by_columns, 1 if few else -(-g.shape[1] // ADDED_COLUMNS), np.ascontiguousarray(g),
           np.ascontiguousarray(rows, np.int64), y, max(1, g.shape[1]) if few else ADDED_COLUMNS)
    return y


@kernel
def add_rows_by_columns(counter, g, rows, y, width):
    """y[rows[k]] += g[k] for all k in order, on any number of threads: a block is `width` columns of y."""
    share(counter)
    while True:
        start = take(counter) * width
        if start >= y.shape[1]:
            break
        for m in range(y.shape[0]):
            y[m, start:start + width] = 0
        for k in range(rows.size):
            source, target = g[k, start:start + width], y[rows[k], start:start + width]
            for c in range(target.size):
                target[c] += source[c]
