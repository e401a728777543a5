"""A kernel as large as its image: the first layer of a DCGAN's generator, the last of its critic.

It is a product of matrices, but its two sides lie in memory in different orders: an image as (pixel, channel), a filter as
(channel, pixel). BLAS would need one of them turned round first, and does such thin products at half the peak. Here one side has
to be packed into panels anyway, and it is turned while it is packed, in squares of VL x VL that stay in registers:

    y[n, o] = sum of x[n, p, c] w[o, c, p]          a panel is NR images; the tile's rows are filters as they lie in memory
    x[n, p, c] = sum over o of g[n, o] w[o, c, p]   a panel is NR channels of a pixel; the tile's rows are rows of g

Imports: numpy, parts, registers, machine.
"""
import numpy as np

from minigrad.kernels.cpu.machine.compiling import inner, kernel
from minigrad.kernels.cpu.machine.threads import empty, launch, share, take
from minigrad.kernels.cpu.parts.layout import swapped
from minigrad.kernels.cpu.parts.packing import start_of
from minigrad.kernels.cpu.registers.copies import turn
from minigrad.kernels.cpu.registers.emit import LOW, MR, NR
from minigrad.kernels.cpu.registers.tiles import HEIGHT_STEP, lower_wide

BLOCK_ITEMS = 8                     # items of a block: pixels of images, or filters


@kernel
def pack_turned(counter, x, rows, row_step, item_step, packed):
    """packed[i, j, q, m] = x[q*item_step + (i*NR + m)*row_step + j], and 0 where i*NR + m is not one of the rows.

    x flat, packed (panels, columns, items, NR). An item is a pixel of the images, or a filter. A block is BLOCK_ITEMS of a panel.
    """
    share(counter)
    panels, columns, items, _ = packed.shape
    pieces, target = (items + BLOCK_ITEMS - 1) // BLOCK_ITEMS, packed.reshape(packed.size)
    while True:
        block = take(counter)
        if block >= panels * pieces:
            break
        panel, piece = block // pieces, block % pieces
        count = min(NR, rows - panel * NR)
        for q in range(piece * BLOCK_ITEMS, min((piece + 1) * BLOCK_ITEMS, items)):
            place = (panel * columns * items + q) * NR
            if count < NR:
                for j in range(columns):
                    target[place + j * items * NR + count:place + j * items * NR + NR] = 0
            turn(x, q * item_step + panel * NR * row_step, row_step, count, columns, target, place, items * NR)


@inner
def describe_tile_of(tile, matrix, width, rows, out):
    """The tables of one of the tiles that the rows of a matrix (R, K) are dealt out to: where its rows lie, and how many bytes
    after the first output theirs lie (`width` floats from row to row). Returns its height; rows beyond the last repeat it."""
    count = matrix.shape[0]
    tiles = (count + MR - 1) // MR
    start, stop = start_of(tile, tiles, count), start_of(tile + 1, tiles, count)
    rows[0], height = 0, MR - (MR - max(LOW, stop - start)) // HEIGHT_STEP * HEIGHT_STEP
    for m in range(height):
        row = min(start + m, stop - 1)
        rows[1 + m], out[m] = matrix.ctypes.data + row * matrix.shape[1] * 4, row * width * 4
    return height


@kernel
def filters_by_images(counter, w, packed, y):
    """y[o, i*NR + m] = sum over k of w[o, k] * packed[i, k, m]; a block is a tile of filters and a panel of images."""
    share(counter)
    terms, tiles = w.shape[1], (w.shape[0] + MR - 1) // MR
    rows, out = np.empty(MR + 1, np.int64), np.empty(MR, np.int64)
    while True:
        block = take(counter)
        if block >= packed.shape[0] * tiles:
            break
        panel, tile = block // tiles, block % tiles
        height = describe_tile_of(tile, w, y.shape[1], rows, out)
        lower_wide(rows.ctypes.data, 1, 0, terms, packed.ctypes.data + panel * terms * NR * 4, out.ctypes.data,
              y.ctypes.data + panel * NR * 4, NR, height)


@kernel
def pixels_by_filters(counter, g, packed, x):
    """x[n, p, i*NR + m] = sum over o of g[n, o] * packed[i, p, o, m]; a block is some pixels of a panel of channels."""
    share(counter)
    n, pixels, channels = x.shape
    outs, pieces, tiles = g.shape[1], (pixels + BLOCK_ITEMS - 1) // BLOCK_ITEMS, (n + MR - 1) // MR
    rows, out, heights = np.empty((tiles, MR + 1), np.int64), np.empty((tiles, MR), np.int64), np.empty(tiles, np.int64)
    for s in range(tiles):
        heights[s] = describe_tile_of(s, g, pixels * channels, rows[s], out[s])
    while True:
        block = take(counter)
        if block >= packed.shape[0] * pieces:
            break
        panel, piece = block // pieces, block % pieces
        for p in range(piece * BLOCK_ITEMS, min((piece + 1) * BLOCK_ITEMS, pixels)):
            weights = packed.ctypes.data + (panel * pixels + p) * outs * NR * 4
            place = x.ctypes.data + (p * channels + panel * NR) * 4
            for s in range(tiles):
                lower_wide(rows[s].ctypes.data, 1, 0, outs, weights, out[s].ctypes.data, place, min(NR, channels - panel * NR),
                      heights[s])


def panels_of(x, rows, row_step, item_step, columns, items):
    """The panels that `pack_turned` makes."""
    packed = empty(-(-rows // NR), columns, items, NR)
    launch(pack_turned, len(packed) * -(-items // BLOCK_ITEMS), x.reshape(-1), rows, row_step, item_step, packed)
    return packed


def images_by_filters(x, w):
    """y (N, O) from x (N, P, C) and w (O, C, P)."""
    n, pixels, channels = x.shape
    packed = panels_of(x, n, pixels * channels, channels, channels, pixels).reshape(-1, channels * pixels, NR)
    y = empty(len(w), len(packed) * NR)
    launch(filters_by_images, len(packed) * -(-len(w) // MR), w.reshape(len(w), -1), packed, y)
    return swapped(y[None])[0, :n]


def images_from_filters(g, w):
    """x (N, P, C) from g (N, O) and w (O, C, P)."""
    outs, channels, pixels = w.shape
    packed, x = panels_of(w, channels, pixels, channels * pixels, pixels, outs), empty(len(g), pixels, channels)
    launch(pixels_by_filters, len(packed) * -(-pixels // BLOCK_ITEMS), g, packed, x)
    return x
