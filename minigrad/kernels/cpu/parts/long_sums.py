"""A^T B with long columns: the weight gradient of a linear layer, of an LSTM, and of a 1x1 convolution.

    y[m, n] = sum over k of a[k, m] * b[k, n]           the sum of the outer products of the rows a[k] and b[k]; k counts terms

TERM_CHUNK terms at a time, the rows are copied into panels. Left in a, where they are 2 KB apart, they would all fall into the same
few lines of the L1 cache. A block's panels and sums stay in the L2 cache. A block is as large as that allows, because what it does
not cover is read again by the next block. Where this leaves too few blocks for the threads, the terms are cut into parts, whose
rows lie side by side in memory, and the sums of the parts are added up in order.

Imports: numpy, registers, machine.
"""
import numpy as np

from minigrad.kernels.cpu.machine.compiling import inner, kernel
from minigrad.kernels.cpu.machine.threads import after, complete, empty, launch, share, take
from minigrad.kernels.cpu.registers.copies import prefetch, to_strips
from minigrad.kernels.cpu.registers.emit import AR, NR, VL
from minigrad.kernels.cpu.registers.tiles import outer_narrow, outer_wide

LONG_SUM = 512                      # terms of a sum from which this pays
TERM_CHUNK = 128                    # terms that are copied into panels at a time
BLOCK_SUMS, BLOCK_HEIGHT = 1 << 15, 264                         # sums of a block, and its rows, at most
BLOCK_WIDTH = 8 * NR                # columns of a block, at most
LEAST_SHARES = 8                    # blocks at least, for the threads to share
LINE_FLOATS = 16                    # floats of a cache line; a block that adds up parts takes so many rows
PANEL_TERMS = TERM_CHUNK + 2        # from panel to panel; 4 KB apart, panels too would share the same lines
left_panels, right_panels = to_strips(AR), to_strips(NR)


def sum_outer_products(a, b):
    """a^T b for contiguous a (K, M) and b (K, N)."""
    outs, columns = a.shape[1], b.shape[1]
    y = empty(outs, columns)
    turned = NR <= outs < columns
    if turned:                                                  # y^T = b^T a: for every block the narrower matrix is packed anew
        a, b, outs, columns = b, a, columns, outs
    slices = -(-columns // BLOCK_WIDTH)
    heights = -(-outs // min(BLOCK_HEIGHT, BLOCK_SUMS // min(BLOCK_WIDTH, columns)))                          # equal blocks
    rows = AR * -(-outs // (heights * AR))
    heights = -(-outs // rows)
    parts = max(1, min(-(-LEAST_SHARES // (heights * slices)), len(a) // (4 * TERM_CHUNK)))
    partial = empty(parts if parts > 1 else 0, outs, columns)
    scratch = PANEL_TERMS * (rows + BLOCK_WIDTH) + rows * BLOCK_WIDTH
    launch(outer_sums, parts * heights * slices, a, b, y, turned, rows, slices, parts, partial, scratch=scratch)
    return y


@kernel
def outer_sums(counter, scratches, a, b, y, turned, rows, slices, parts, partial):
    """y[m, n], or y[n, m] if turned, = sum over k of a[k, m] * b[k, n].

    A block is `rows` rows m, a multiple of AR, of a slice of BLOCK_WIDTH columns n, over one of `parts` of the terms k.
    partial (parts, M, N): the sums of the parts, if there are several."""
    scratch = scratches[share(counter)]
    terms, outs, columns = a.shape[0], a.shape[1], b.shape[1]
    pieces = (outs + rows - 1) // rows * slices
    blocks, chunks = parts * pieces, (terms + TERM_CHUNK - 1) // TERM_CHUNK
    left = scratch[:PANEL_TERMS * rows].reshape(rows // AR, PANEL_TERMS, AR)
    right = scratch[PANEL_TERMS * rows:PANEL_TERMS * (rows + BLOCK_WIDTH)].reshape(BLOCK_WIDTH // NR, PANEL_TERMS, NR)
    total = scratch[PANEL_TERMS * (rows + BLOCK_WIDTH):][:rows * BLOCK_WIDTH].reshape(rows, BLOCK_WIDTH)
    lefts, rights = np.empty(TERM_CHUNK, np.int64), np.empty(TERM_CHUNK, np.int64)
    for k in range(TERM_CHUNK):
        lefts[k], rights[k] = left.ctypes.data + k * AR * 4, right.ctypes.data + k * NR * 4
    while True:
        block = take(counter)
        if block >= blocks:
            if parts == 1 or block >= blocks + (outs + LINE_FLOATS - 1) // LINE_FLOATS:
                break
            after(counter, blocks)
            add_parts(partial, (block - blocks) * LINE_FLOATS, turned, y)
            continue
        part, piece = block // pieces, block % pieces
        first, start = piece // slices * rows, piece % slices * BLOCK_WIDTH
        height, width = min(rows, outs - first), min(BLOCK_WIDTH, columns - start)
        left[height // AR:] = 0                                 # the last panels, which a or b may not fill
        right[width // NR:(width + NR - 1) // NR] = 0
        total[...] = 0
        last = min((part + 1) * chunks // parts * TERM_CHUNK, terms)
        for k0 in range(part * chunks // parts * TERM_CHUNK, last, TERM_CHUNK):
            count = min(TERM_CHUNK, last - k0)
            left_panels(a.ctypes.data + (k0 * outs + first) * 4, outs * 4, count, height // AR, left.ctypes.data,
                        PANEL_TERMS * AR * 4)
            right_panels(b.ctypes.data + (k0 * columns + start) * 4, columns * 4, count, width // NR, right.ctypes.data,
                         PANEL_TERMS * NR * 4)
            for k in range(count):                              # columns of a and b beyond whole panels
                for m in range(height // AR * AR, height):
                    left[height // AR, k, m % AR] = a[k0 + k, first + m]
                for n in range(width // NR * NR, width):
                    right[width // NR, k, n % NR] = b[k0 + k, start + n]
            across, down = (width + NR - 1) // NR, (height + AR - 1) // AR
            ahead = (TERM_CHUNK + across * down - 1) // (across * down)
            for n in range(across):
                for m in range(down):
                    soon = k0 + TERM_CHUNK + (n * down + m) * ahead  # prefetch rows of the next panels
                    for k in range(soon, min(soon + ahead, last)):
                        prefetch(a.ctypes.data + (k * outs + first) * 4, height * 4)
                        prefetch(b.ctypes.data + (k * columns + start) * 4, width * 4)
                    place = total.ctypes.data + (m * AR * BLOCK_WIDTH + n * NR) * 4
                    x, z = m * PANEL_TERMS * AR * 4, n * PANEL_TERMS * NR * 4
                    if width - n * NR > VL:
                        outer_wide(lefts.ctypes.data, x, rights.ctypes.data, z, count, place, BLOCK_WIDTH)
                    else:
                        outer_narrow(lefts.ctypes.data, x, rights.ctypes.data, z, count, place, BLOCK_WIDTH)
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
    """Rows m of the sum of parts, LINE_FLOATS of them from `first` on, to y[m], or to y[:, m] if turned."""
    parts, rows, columns = partial.shape
    for m in range(first, min(first + LINE_FLOATS, rows)):
        row = partial[0, m]
        for part in range(1, parts):
            for n in range(columns):
                row[n] += partial[part, m, n]
        for n in range(columns):
            if turned:
                y[n, m] = row[n]
            else:
                y[m, n] = row[n]
