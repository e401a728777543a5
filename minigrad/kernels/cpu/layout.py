"""Views and copies that bring an array into the one layout that a kernel is compiled for. May import: numpy, `threads`."""
import numpy as np

from minigrad.kernels.cpu.threads import empty

BLOCK = 1 << 14                     # elements: about 10 microseconds of work, the least that is worth another thread


def channels_last(x):
    """(N, C, ...) -> its contiguous (N, ..., C) side; a copy only if x does not lie so in memory."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if x.ndim > 2 else np.ascontiguousarray(x)


def channels_first(y):
    """The (N, C, ...) view of an (N, ..., C) buffer."""
    return np.moveaxis(y, -1, 1)


def dense(x):
    """The axes of x in the order of its memory if it is dense, else channels-last for an image and C order for the rest."""
    order = sorted(range(x.ndim), key=lambda a: -abs(x.strides[a]))
    if x.transpose(order).flags.c_contiguous:
        return order
    return [0, 2, 3, 1] if x.ndim == 4 else list(range(x.ndim))


def flat(x, order):
    """x along `order` of its axes, as a contiguous vector; a copy only if it does not lie so in memory."""
    return np.ascontiguousarray(x.transpose(order)).reshape(-1)


def empty_like(x, order):
    """An uninitialised array of x's shape whose memory runs along `order`; (the array, its flat memory)."""
    memory = empty(*[x.shape[a] for a in order])
    return memory.transpose(np.argsort(order)), memory.reshape(-1)
