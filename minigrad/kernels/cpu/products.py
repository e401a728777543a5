"""Matrix products in float32: BLAS on one thread for the small ones, the register tile on all threads for the large.

A product of matrices is a convolution over one row of M pixels (`convolution.product`). Measured (Zen 5): BLAS takes half of the
tile's time for the products of linear layers and LSTMs (64 x 512 x 128), where packing the second matrix is most of the tile's
work; from some 10^7 multiplications on the tile is faster. A weight's gradient, A^T B with long columns, is a sum of outer
products, whose rows are copied into panels that lie in the L1 cache, CHUNK terms at a time: 2 KB apart, as in A, they would
all fall into the same few lines of it. A block is a few rows of the result. May import: numpy, and this folder.
"""
import numpy as np

from minigrad.kernels.cpu.blas import WORTH_THREADS, small_product
from minigrad.kernels.cpu.compiling import kernel
from minigrad.kernels.cpu.convolution import product
from minigrad.kernels.cpu.direct import outer1, outer2
from minigrad.kernels.cpu.threads import empty, launch, take
from minigrad.kernels.cpu.tile import AR, NR, VL

LONG = 512                          # terms of a sum from which `transposed` pays
CHUNK = 128                         # terms at a time
PANELS = 8                          # a block's rows, times AR, at most


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
    (terms, outs), columns = a.shape, b.shape[1]
    y, right = empty(outs, columns), empty(-(-columns // NR), terms, NR)
    launch(into_panels, -(-terms // CHUNK), b, right)
    rows = AR * max(1, min(PANELS, outs // (8 * AR)))
    launch(transposed, -(-outs // rows), a, right, y, rows)
    return y


@kernel
def into_panels(counter, b, panels):
    """panels[q, k] = b[k, q*NR:(q + 1)*NR], zeros beyond b's columns."""
    terms, columns = b.shape
    while True:
        start = take(counter) * CHUNK
        if start >= terms:
            break
        for k in range(start, min(start + CHUNK, terms)):
            for q in range(panels.shape[0]):
                source, target = b[k, q * NR:(q + 1) * NR], panels[q, k]
                if source.size == NR:
                    for c in range(NR):
                        target[c] = source[c]
                else:
                    for c in range(NR):
                        target[c] = source[c] if c < source.size else 0


@kernel
def transposed(counter, a, right, y, rows):
    """y[m, n] = sum over k of a[k, m] * b[k, n] with b in panels; a block is `rows` rows of y, a multiple of AR."""
    terms, outs, columns, panels = a.shape[0], a.shape[1], y.shape[1], right.shape[0]
    left, total = np.zeros((rows // AR, CHUNK, AR), np.float32), np.empty((rows, panels * NR), np.float32)
    lefts, rights = np.empty(CHUNK, np.int64), np.empty(CHUNK, np.int64)
    for k in range(CHUNK):
        lefts[k], rights[k] = left.ctypes.data + k * AR * 4, right.ctypes.data + k * NR * 4
    while True:
        first = take(counter) * rows
        if first >= outs:
            break
        total[...] = 0
        for start in range(0, terms, CHUNK):
            count = min(CHUNK, terms - start)
            for k in range(count):
                row = a[start + k, first:first + rows]
                for q in range(row.size // AR):
                    source, target = row[q * AR:(q + 1) * AR], left[q, k]
                    for c in range(AR):
                        target[c] = source[c]
                for c in range(row.size // AR * AR, row.size):
                    left[row.size // AR, k, c % AR] = row[c]
            for n in range(panels):
                offset = (n * terms + start) * NR * 4
                for m in range((min(rows, outs - first) + AR - 1) // AR):
                    place = total.ctypes.data + (m * AR * panels + n) * NR * 4
                    if columns - n * NR > VL:
                        outer2(lefts.ctypes.data, m * CHUNK * AR * 4, rights.ctypes.data, offset, count, place, panels * NR)
                    else:
                        outer1(lefts.ctypes.data, m * CHUNK * AR * 4, rights.ctypes.data, offset, count, place, panels * NR)
        for m in range(min(rows, outs - first)):
            for n in range(columns):
                y[first + m, n] = total[m, n]
