"""Views and copies that bring an array into the one layout that a kernel is compiled for.

Imports: numpy, registers, machine.
"""
import math

import numpy as np

from minigrad.kernels.cpu.machine.compiling import kernel
from minigrad.kernels.cpu.machine.threads import address, empty, launch, share, take
from minigrad.kernels.cpu.registers.emit import AR, NR

BLOCK = 1 << 14                     # elements: about 10 microseconds of work, the least that is worth another thread

_LAST = [(0, *range(2, ndim), 1) for ndim in range(65)]         # np.moveaxis would take 20 microseconds
_FIRST = [(0, ndim - 1, *range(1, ndim - 1)) for ndim in range(65)]


def channels_last(x):
    """(N, C, ...) -> its contiguous (N, ..., C) side; a copy only if x does not lie in memory like this."""
    if x.ndim == 4 and x.flags.c_contiguous and x.shape[1] > 1 and x.size > BLOCK and x.dtype == np.float32:
        return swapped(x.reshape(*x.shape[:2], -1)).reshape(x.shape[0], *x.shape[2:], x.shape[1])
    return np.ascontiguousarray(x.transpose(_LAST[x.ndim])) if x.ndim > 2 else np.ascontiguousarray(x)


def channels_first(y):
    """The (N, C, ...) view of an (N, ..., C) buffer."""
    return y.transpose(_FIRST[y.ndim])


def dense(x):
    """The axes of x in the order of its memory if it is dense, else channels-last for an image and C order for the rest."""
    order = sorted(range(x.ndim), key=lambda a: -abs(x.strides[a]))
    if x.transpose(order).flags.c_contiguous:
        return order
    return [0, 2, 3, 1] if x.ndim == 4 else list(range(x.ndim))


def flat(x, order):
    """x as a contiguous vector, its axes in this order; a copy only if x does not lie in memory like this."""
    return np.ascontiguousarray(x.transpose(order)).reshape(-1)


def empty_like(x, order):
    """An uninitialised array of x's shape whose memory runs along `order`; (the array, its flat memory)."""
    memory = empty(*[x.shape[a] for a in order])
    return memory.transpose(np.argsort(order)), memory.reshape(-1)


@kernel
def swap(counter, source, target):
    """target[a, c, b] = source[a, b, c], square by square, so that both sides stay in the L1 cache."""
    share(counter)
    side = 32
    while True:
        a = take(counter)
        if a >= source.shape[0]:
            break
        for first in range(0, source.shape[1], side):
            for start in range(0, source.shape[2], side):
                piece = source[a, first:first + side, start:start + side]
                place = target[a, start:start + side, first:first + side]
                for c in range(piece.shape[1]):
                    for b in range(piece.shape[0]):
                        place[c, b] = piece[b, c]


def swapped(x):
    """(A, B, C) -> a contiguous (A, C, B)."""
    x = np.ascontiguousarray(x)
    y = empty(x.shape[0], x.shape[2], x.shape[1])
    launch(swap, len(x) if x.size > BLOCK else 1, x, y)
    return y


def padded(x, padding):
    """A copy of x (N,H,W,C) with zeros around it, which a tile may read beyond its end.

    padding: (before, after) of the rows, then of the columns; negative padding crops x."""
    n, h, w, c = x.shape
    (top, bottom), (left, right) = padding
    y = readable(np.zeros, n, h + top + bottom, w + left + right, c)
    rows, cols = slice(max(0, -top), min(h, h + bottom)), slice(max(0, -left), min(w, w + right))
    y[:, max(0, top):max(0, top) + rows.stop - rows.start, max(0, left):max(0, left) + cols.stop - cols.start] = x[:, rows, cols]
    return y


def with_slack(x, width, multiple):
    """x, or a copy of it, such that a tile may read it.

    A tile reads `multiple` channels at once. If the `width` channels of a group do not fill whole tiles, the last tile reads beyond
    the last channel, and at the last pixel that is beyond the end of x. If memory does not go on there for another tile, x is
    copied to where it does."""
    if width % multiple == 0 or has_slack(x):
        return x
    y = readable(np.empty, *x.shape)
    y[...] = x
    return y


def has_slack(x):
    """Whether x lies in a larger array that goes on for a tile or more after its end. Arrays made by `empty` do."""
    memory = x.base
    if type(memory) is not np.ndarray or memory.base is not None or not (memory.flags.c_contiguous and x.flags.c_contiguous):
        return False
    return address(x) + x.nbytes + 4 * (NR + AR) <= address(memory) + memory.nbytes


def readable(make, *shape):
    """make(shape), np.zeros or np.empty, in memory that goes on for a tile after its end."""
    size = math.prod(shape)
    return make(size + NR + AR, np.float32)[:size].reshape(shape)


_zeros = np.zeros(0, np.float32)


def shared_zeros(count):
    """At least `count` zeros, which all launches share: pixels outside an image."""
    global _zeros
    kept = _zeros
    if kept.size < count:
        kept = empty(count)
        kept[...] = 0
        _zeros = kept                                           # only now, because another thread may ask at any time
    return kept
