"""Matrix products in float32: BLAS on one thread for the small ones, the register tile on all threads for the large.

A product of matrices is a convolution over one row of M pixels (`convolution.product`). Measured (Zen 5): BLAS takes half of the
tile's time for the products of linear layers and LSTMs (64 x 512 x 128), where packing the second matrix is most of the tile's
work; from some 10^7 multiplications on the tile is faster. May import: this folder.
"""
from minigrad.kernels.cpu.blas import small_product
from minigrad.kernels.cpu.convolution import product


def matmul(a, b):
    if a.ndim > 2 and b.ndim == 2 and a.flags.c_contiguous and a.size:
        return matmul(a.reshape(-1, a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[-1])
    if a.ndim == b.ndim == 2 and a.shape[1] == b.shape[0]:
        return product(a, b)
    return small_product(a, b)
