"""Where Winograd's patches lie: which pixels each of them reads, inside the image or beyond its edge, and in which order they go.

A patch is a square of neighbouring outputs that are computed together; its window is the pixels that it reads. The patches of a
problem are numbered along rows, then columns, then images.

Imports: registers, machine, plans, winograd_transforms.
"""
from minigrad.kernels.cpu.convolution.plans import ACROSS, COLS, DOWN, ROWS
from minigrad.kernels.cpu.convolution.winograd_transforms import clipped
from minigrad.kernels.cpu.machine.compiling import inner
from minigrad.kernels.cpu.registers.copies import prefetch


@inner
def place_of(t, problem):
    """The image and the first output of a problem's patch t."""
    down, across = problem[DOWN], problem[ACROSS]
    high, wide = (problem[ROWS] + down - 1) // down, (problem[COLS] + across - 1) // across
    return t // (high * wide), t // wide % high * down, t % wide * across


@inner
def following(b, i, j, problem):
    """`place_of` the patch after the one at (b, i, j), without its divisions."""
    j += problem[ACROSS]
    if j >= problem[COLS]:
        i, j = i + problem[DOWN], 0
        if i >= problem[ROWS]:
            b, i = b + 1, 0
    return b, i, j


@inner
def grid(x, step, down, across, source):
    """source[u, v] = where pixel (u, v) of a window of x lies, in bytes after the window's first pixel. Pixels are `step` apart."""
    for u in range(down):
        for v in range(across):
            source[u * across + v] = (u * x.shape[2] + v) * step * x.shape[3] * 4


@inner
def window(x, x0, z0, b, top, left, step, down, across, offset, near, edge):
    """Where the down x across pixels of a window lie, `step` apart: (the address of a table, what to add to its entries).

    Inside the image the table is `near`, which `grid` made. At an edge it is `edge`, made here, with z0 for pixels outside.
    Both tables have room for TABLE_SPARE entries more.
    """
    h, w, channels = x.shape[1], x.shape[2], x.shape[3]
    if top >= 0 and left >= 0 and top + (down - 1) * step < h and left + (across - 1) * step < w:
        return near.ctypes.data, x0 + ((b * h + top) * w + left) * channels * 4 + offset
    origin = x0 + ((b * h + top) * w + left) * channels * 4 + offset
    clipped(near.ctypes.data, edge.ctypes.data, down, across, origin, z0, top, left, step, h, w)
    return edge.ctypes.data, 0


@inner
def fetch(x, x0, b, i, j, problem, top, left, step, offset, size):
    """Prefetch what the patch at (b, i, j) needs and the patch before it did not: of DOWN x ACROSS pixels of x, `size` bytes each.

    They come into the cache while the patch before is transformed. For an input, (top, left) is the pixel r - 1 taps after the
    first window's first; for an output, the first output.
    """
    h, w, channels = x.shape[1], x.shape[2], x.shape[3]
    if b < x.shape[0]:
        for u in range(problem[DOWN]):
            row = top + (i + u) * step
            if 0 <= row < h:
                for v in range(problem[ACROSS]):
                    prefetch(x0 + ((b * h + row) * w + left + (j + v) * step) * channels * 4 + offset, size)
