"""A kernel as large as its image: the first layer of a DCGAN's generator, the last of its critic.

It is a product of matrices, but one whose sides lie in memory in different orders: an image as (pixel, channel), a filter as
(channel, pixel). For BLAS one of them must be turned round first, and it does such thin products at half the peak. Here the side
that has to be packed into panels anyway is turned while it is packed, in squares of VL x VL that stay in registers:

    y[n, o] = sum of x[n, p, c] w[o, c, p]          lanes run over NR images; the tile's rows are filters as they lie in memory
    x[n, p, c] = sum over o of g[n, o] w[o, c, p]   lanes run over NR channels of a pixel; the tile's rows are rows of g

May import: numpy, and this folder.
"""
import numpy as np

from minigrad.kernels.cpu.compiling import kernel
from minigrad.kernels.cpu.lanes import turn
from minigrad.kernels.cpu.layout import swapped
from minigrad.kernels.cpu.threads import empty, launch, take
from minigrad.kernels.cpu.tile import LOW, MR, NR
from minigrad.kernels.cpu.winograd import STEPS, start_of, tile2

PIECE = 8                           # pixels, or filters, of a block


@kernel
def pack_images(counter, x, packed):
    """packed[i, c*P + p, m] = x[i*NR + m, p, c], zeros beyond the last image: x (N, P, C), packed (panels, C*P, NR)."""
    n, pixels, channels = x.shape
    pieces, source, target = (pixels + PIECE - 1) // PIECE, x.reshape(x.size), packed.reshape(packed.size)
    while True:
        block = take(counter)
        if block >= packed.shape[0] * pieces:
            break
        panel, piece = block // pieces, block % pieces
        count = min(NR, n - panel * NR)
        for p in range(piece * PIECE, min((piece + 1) * PIECE, pixels)):
            place = (panel * channels * pixels + p) * NR
            if count < NR:
                for c in range(channels):
                    target[place + c * pixels * NR + count:place + c * pixels * NR + NR] = 0
            turn(source, (panel * NR * pixels + p) * channels, pixels * channels, count, channels, target, place, pixels * NR)


@kernel
def filters_by_images(counter, w, packed, y):
    """y[o, i*NR + m] = sum over k of w[o, k] * packed[i, k, m]; a block is a tile of filters and a panel of images."""
    outs, terms = w.shape
    groups = (outs + MR - 1) // MR
    rows, out = np.empty(MR + 1, np.int64), np.empty(MR, np.int64)
    while True:
        block = take(counter)
        if block >= packed.shape[0] * groups:
            break
        panel, group = block // groups, block % groups
        start, stop = start_of(group, groups, outs), start_of(group + 1, groups, outs)
        rows[0], height = 0, MR - (MR - max(LOW, stop - start)) // STEPS * STEPS
        for m in range(height):                                 # rows that a tile does not have repeat its last one
            row = min(start + m, stop - 1)
            rows[1 + m] = w.ctypes.data + row * terms * 4
            out[m] = y.ctypes.data + (row * y.shape[1] + panel * NR) * 4
        tile2(rows.ctypes.data, 1, 0, terms, packed.ctypes.data + panel * terms * NR * 4, out.ctypes.data, 0, NR, height)


@kernel
def pack_filters(counter, w, packed):
    """packed[i, p, o, m] = w[o, i*NR + m, p], zeros beyond the last channel: w (O, C, P), packed (panels, P, O, NR)."""
    outs, channels, pixels = w.shape
    pieces, source, target = (outs + PIECE - 1) // PIECE, w.reshape(w.size), packed.reshape(packed.size)
    while True:
        block = take(counter)
        if block >= packed.shape[0] * pieces:
            break
        panel, piece = block // pieces, block % pieces
        count = min(NR, channels - panel * NR)
        for o in range(piece * PIECE, min((piece + 1) * PIECE, outs)):
            place = (panel * pixels * outs + o) * NR
            if count < NR:
                for p in range(pixels):
                    target[place + p * outs * NR + count:place + p * outs * NR + NR] = 0
            turn(source, (o * channels + panel * NR) * pixels, pixels, count, pixels, target, place, outs * NR)


@kernel
def pixels_by_filters(counter, g, packed, x):
    """x[n, p, i*NR + m] = sum over o of g[n, o] * packed[i, p, o, m]; a block is a pixel."""
    n, pixels, channels = x.shape
    outs, groups = g.shape[1], (n + MR - 1) // MR
    rows, out, heights = np.empty((groups, MR + 1), np.int64), np.empty((groups, MR), np.int64), np.empty(groups, np.int64)
    for s in range(groups):
        start, stop = start_of(s, groups, n), start_of(s + 1, groups, n)
        rows[s, 0], heights[s] = 0, MR - (MR - max(LOW, stop - start)) // STEPS * STEPS
        for m in range(heights[s]):
            row = min(start + m, stop - 1)
            rows[s, 1 + m] = g.ctypes.data + row * outs * 4
            out[s, m] = x.ctypes.data + row * pixels * channels * 4
    while True:
        p = take(counter)
        if p >= pixels:
            break
        for s in range(groups):
            for panel in range(packed.shape[0]):
                weights, place = packed.ctypes.data + (panel * pixels + p) * outs * NR * 4, (p * channels + panel * NR) * 4
                tile2(rows[s].ctypes.data, 1, 0, outs, weights, out[s].ctypes.data, place, min(NR, channels - panel * NR),
                      heights[s])


def images_by_filters(x, w):
    """y (N, O) from x (N, P, C) and w (O, C, P)."""
    n, pixels, channels = x.shape
    panels = -(-n // NR)
    packed, y = empty(panels, channels * pixels, NR), empty(len(w), panels * NR)
    launch(pack_images, panels * -(-pixels // PIECE), x, packed)
    launch(filters_by_images, panels * -(-len(w) // MR), w.reshape(len(w), -1), packed, y)
    return swapped(y[None])[0, :n]


def images_from_filters(g, w):
    """x (N, P, C) from g (N, O) and w (O, C, P)."""
    outs, channels, pixels = w.shape
    panels = -(-channels // NR)
    packed, x = empty(panels, pixels, outs, NR), empty(len(g), pixels, channels)
    launch(pack_filters, panels * -(-outs // PIECE), w, packed)
    launch(pixels_by_filters, pixels, g, packed, x)
    return x
