"""Matrix products in float32: BLAS on one thread for the small ones, the register tile for the large.

A product of matrices is a convolution over one row of M pixels. Measured (Zen 5): BLAS through NumPy takes half of the tile's time
for the products of linear layers and LSTMs (64 x 512 x 128), where packing the second matrix is most of the tile's work;
from some 10^8 multiplications on, with hundreds of rows, the tile on all threads is faster.
May import: numpy, and this folder.
"""
import numpy as np

from minigrad.kernels.cpu import convolution
from minigrad.kernels.cpu.blas import small_product
from minigrad.kernels.cpu.threads import empty

LARGE = 1 << 26                     # multiplications
ROWS = 256                          # rows that share the packed matrix


def matmul(a, b):
    if a.ndim > 2 and b.ndim == 2 and a.flags.c_contiguous:
        return matmul(a.reshape(-1, a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[-1])
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0] or len(a) < ROWS or a.size * b.shape[1] < LARGE:
        return small_product(a, b)
    (m, k), n = a.shape, b.shape[1]
    if not (b.flags.c_contiguous or b.flags.f_contiguous):
        b = np.ascontiguousarray(b)
    row, column = (n, 1) if b.flags.c_contiguous else (1, k)
    y = empty(m, n)
    convolution.products(np.ascontiguousarray(a).reshape(1, 1, m, k), b.ravel("K"), y.reshape(1, 1, m, n),
                         convolution.forward_phases(1, (1, m), (1, 1), (1, 1), (0, 0), (1, 1), k),
                         np.arange(k)[None, :] * row, column, 1)
    return y
