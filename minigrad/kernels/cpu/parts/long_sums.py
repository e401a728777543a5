"""A^T B with long columns: the weight gradient of a linear layer, of an LSTM, and of a 1x1 convolution.

It is a sum of outer products, of rows that are copied into panels, CHUNK terms at a time: 2 KB apart, as in A, they would all
fall into the same few lines of the L1 cache. A block's panels and sums stay in the L2 cache. It is as large as that allows, for
what a block does not cover is read again by the next; where that leaves too few blocks for the threads, each takes a part of the
terms, whose rows lie side by side in memory, and the parts are added up in order.
May import: numpy, and this folder.
"""
import numpy as np

from minigrad.kernels.cpu.convolution.direct import outer1, outer2
from minigrad.kernels.cpu.machine.compiling import inner, kernel
from minigrad.kernels.cpu.machine.threads import after, complete, empty, launch, share, take
from minigrad.kernels.cpu.registers.copies import prefetch, to_strips
from minigrad.kernels.cpu.registers.tiles import AR, NR, VL

LONG = 512                          # terms of a sum from which it pays
CHUNK = 128                         # terms at a time
SUMS, HEIGHT = 1 << 15, 264         # a block's sums, and its rows, at most
WIDTH = 8 * NR                      # its columns, at most
BLOCKS = 8                          # at least so many, for the threads to share
LINE = 16                           # floats of a cache line: so many rows of a sum of parts are one thread's
SPACE = CHUNK + 2                   # from panel to panel: 4 KB apart they too would share the same lines
left_panels, right_panels = to_strips(AR), to_strips(NR)


def transposed_product(a, b):
    """a^T b for contiguous a (K, M) and b (K, N)."""
    outs, columns = a.shape[1], b.shape[1]
    y = empty(outs, columns)
    turned = NR <= outs < columns
    if turned:                                                  # y^T = b^T a: the narrower matrix is packed again for every block
        a, b, outs, columns = b, a, columns, outs
    slices = -(-columns // WIDTH)
    heights = -(-outs // min(HEIGHT, SUMS // min(WIDTH, columns)))                          # equal blocks
    rows = AR * -(-outs // (heights * AR))
    heights = -(-outs // rows)
    parts = max(1, min(-(-BLOCKS // (heights * slices)), len(a) // (4 * CHUNK)))
    partial = empty(parts if parts > 1 else 0, outs, columns)
    scratch = SPACE * (rows + WIDTH) + rows * WIDTH
    launch(transposed, parts * heights * slices, a, b, y, turned, rows, slices, parts, partial, scratch=scratch)
    return y


@kernel
def transposed(counter, scratches, a, b, y, turned, rows, slices, parts, partial):
    """y[m, n], or y[n, m] if turned, = sum over k of a[k, m] * b[k, n]; a block is `rows` rows m, a multiple of AR, of a slice of
    WIDTH columns n, over one of `parts` of the terms k. partial (parts, M, N): the parts' sums, if there are several."""
    scratch = scratches[share(counter)]
    terms, outs, columns = a.shape[0], a.shape[1], b.shape[1]
    pieces = (outs + rows - 1) // rows * slices
    blocks, chunks = parts * pieces, (terms + CHUNK - 1) // CHUNK
    left = scratch[:SPACE * rows].reshape(rows // AR, SPACE, AR)
    right = scratch[SPACE * rows:SPACE * (rows + WIDTH)].reshape(WIDTH // NR, SPACE, NR)
    total = scratch[SPACE * (rows + WIDTH):SPACE * (rows + WIDTH) + rows * WIDTH].reshape(rows, WIDTH)
    lefts, rights = np.empty(CHUNK, np.int64), np.empty(CHUNK, np.int64)
    for k in range(CHUNK):
        lefts[k], rights[k] = left.ctypes.data + k * AR * 4, right.ctypes.data + k * NR * 4
    while True:
        block = take(counter)
        if block >= blocks:
            if parts == 1 or block >= blocks + (outs + LINE - 1) // LINE:
                break
            after(counter, blocks)
            add_parts(partial, (block - blocks) * LINE, turned, y)
            continue
        part, piece = block // pieces, block % pieces
        first, start = piece // slices * rows, piece % slices * WIDTH
        height, width = min(rows, outs - first), min(WIDTH, columns - start)
        left[height // AR:] = 0                                 # a panel that a or b does not fill
        right[width // NR:(width + NR - 1) // NR] = 0
        total[...] = 0
        last = min((part + 1) * chunks // parts * CHUNK, terms)
        for k0 in range(part * chunks // parts * CHUNK, last, CHUNK):
            count = min(CHUNK, last - k0)
            left_panels(a.ctypes.data + (k0 * outs + first) * 4, outs * 4, count, height // AR, left.ctypes.data, SPACE * AR * 4)
            right_panels(b.ctypes.data + (k0 * columns + start) * 4, columns * 4, count, width // NR, right.ctypes.data,
                         SPACE * NR * 4)
            for k in range(count):                              # what is left of rows and columns
                for m in range(height // AR * AR, height):
                    left[height // AR, k, m % AR] = a[k0 + k, first + m]
                for n in range(width // NR * NR, width):
                    right[width // NR, k, n % NR] = b[k0 + k, start + n]
            across, down = (width + NR - 1) // NR, (height + AR - 1) // AR
            ahead = (CHUNK + across * down - 1) // (across * down)
            for n in range(across):
                for m in range(down):
                    soon = k0 + CHUNK + (n * down + m) * ahead  # the next panels' rows come into the cache meanwhile
                    for k in range(soon, min(soon + ahead, last)):
                        prefetch(a.ctypes.data + (k * outs + first) * 4, height * 4)
                        prefetch(b.ctypes.data + (k * columns + start) * 4, width * 4)
                    place = total.ctypes.data + (m * AR * WIDTH + n * NR) * 4
                    x, z = m * SPACE * AR * 4, n * SPACE * NR * 4
                    if width - n * NR > VL:
                        outer2(lefts.ctypes.data, x, rights.ctypes.data, z, count, place, WIDTH)
                    else:
                        outer1(lefts.ctypes.data, x, rights.ctypes.data, z, count, place, WIDTH)
        target = y if parts == 1 else partial[part]
        if turned and parts == 1:
            for n in range(width):
                for m in range(height):
                    target[start + n, first + m] = total[m, n]
        else:
            for m in range(height):
                for n in range(width):
                    target[first + m, start + n] = total[m, n]
        complete(counter)


@inner
def add_parts(partial, first, turned, y):
    """LINE rows m of the sum, from `first` on, added to the first part's and written to y[m], or to y[:, m] if turned."""
    parts, rows, columns = partial.shape
    for m in range(first, min(first + LINE, rows)):
        row = partial[0, m]
        for part in range(1, parts):
            for n in range(columns):
                row[n] += partial[part, m, n]
        for n in range(columns):
            if turned:
                y[n, m] = row[n]
            else:
                y[m, n] = row[n]
