"""Matrix products in float32: BLAS on one thread for the small ones, the register tile on all threads for the large.

A product of matrices is a convolution over one row of M pixels (`convolution.product`). Measured (Zen 5): BLAS takes half of the
tile's time for the products of linear layers and LSTMs (64 x 512 x 128), where packing the second matrix is most of the tile's
work; from some 10^7 multiplications on the tile is faster. A weight's gradient, A^T B with long columns, is the gradient of a
1x1 convolution: there the threads share the sum, not the result, which is too small to share. May import: this folder.
"""
import numpy as np

from minigrad.kernels.cpu.blas import WORTH_THREADS, small_product
from minigrad.kernels.cpu.convolution import places_of_inputs, product, sums, taps_of, with_slack
from minigrad.kernels.cpu.tile import AR

LONG = 512                          # terms of a sum from which threads share it


def matmul(a, b):
    if a.ndim > 2 and b.ndim == 2 and a.flags.c_contiguous and a.size:
        return matmul(a.reshape(-1, a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[-1])
    if a.ndim == b.ndim == 2 and a.shape[1] == b.shape[0]:
        if len(b) >= LONG and a.size * b.shape[1] >= WORTH_THREADS and a.flags.f_contiguous and b.flags.c_contiguous:
            return transposed_product(a.T, b)
        return product(a, b)
    return small_product(a, b)


def transposed_product(a, b):
    """a^T b for contiguous a (K, M) and b (K, N)."""
    (k, m), n = a.shape, b.shape[1]
    y = np.empty((m, n), np.float32)
    sums(with_slack(b.reshape(1, 1, k, n), AR), a.reshape(1, 1, k, m), y, taps_of((1, 1), (0, 0), (1, 1), 0),
         places_of_inputs(n, 1, 1), (1, 1), 1, n, m)
    return y
