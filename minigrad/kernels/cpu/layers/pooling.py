"""Pooling in float32: the channels of a pixel are contiguous, so each step of a window is a vector loop over them.

A block is one row of output pixels where each output is written once. It is one image where values are added to an input's
gradient. The most common window, 2x2, has an instruction of its own, `largest_of_four`. It keeps the maximum and its place in
registers; Numba's loops would write and read both again for each pixel of the window.

Imports: llvmlite, numba, numpy, minigrad.kernels.reference, parts, registers, machine.
"""
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from minigrad.kernels import reference
from minigrad.kernels.cpu.machine.compiling import instruction, kernel
from minigrad.kernels.cpu.machine.threads import empty, launch, share, take
from minigrad.kernels.cpu.parts.layout import channels_first, channels_last
from minigrad.kernels.cpu.registers.emit import I64, VL, Emit, addresses, all_lanes, at


def _largest_of_four(upper, lower, channels, place, width, y, indices):
    best, found = at(y, channels), addresses(indices, channels)
    pixels = np.concatenate([at(row, 2 * channels).reshape(2, channels) for row in (upper, lower)])
    best[:], found[:] = pixels[0], place
    for pixel, offset in zip(pixels[1:], (1, width, width + 1), strict=True):
        wins = (pixel > best) | (pixel != pixel)
        best[wins], found[wins] = pixel[wins], place + offset


@instruction(_largest_of_four)
def largest_of_four(typing_context, upper, lower, channels, place, width, y, indices):
    """y[c] = the largest of two pixels of a row and the two below; indices[c] = where it was, `place` for the first of them.

    upper, lower, y, indices: addresses of (2, channels), (2, channels), (channels) floats and (channels) int64; channels: a
    multiple of VL. The first of equal maxima wins, and NaN over everything.
    """
    def codegen(context, b, signature, args):
        upper, lower, channels, place, width, y, indices = args
        e, words = Emit(b), ir.VectorType(I64, VL)
        next_place = b.add(place, I64(1))
        with cgutils.for_range(b, b.udiv(channels, I64(VL)), intp=I64) as c:
            offset = b.mul(c.index, I64(4 * VL))
            beside = b.add(offset, e.times4(channels))
            best, found = e.load(b.add(upper, offset)), all_lanes(b, place, words)
            for row, byte, where in ((upper, beside, next_place), (lower, offset, b.add(place, width)),
                                     (lower, beside, b.add(next_place, width))):
                x = e.load(b.add(row, byte))
                wins = b.or_(b.fcmp_ordered(">", x, best), b.fcmp_unordered("uno", x, x))
                best, found = b.select(wins, x, best), b.select(wins, all_lanes(b, where, words), found)
            e.store(best, b.add(y, offset))
            b.store(found, b.inttoptr(b.add(indices, b.shl(offset, I64(1))), words.as_pointer()), align=8)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 7), codegen


@kernel
def pool_maximum_2x2(counter, x, y, indices):
    """`pool_maximum` for 2x2 windows side by side that do not leave the image. Channels are a multiple of VL."""
    share(counter)
    n, h, w, channels = x.shape
    oh, ow = y.shape[1], y.shape[2]
    x0, y0, i0 = x.ctypes.data, y.ctypes.data, indices.ctypes.data
    while True:
        block = take(counter)
        if block >= n * oh:
            break
        b, i = block // oh, block % oh
        for j in range(ow):
            out, upper = (block * ow + j) * channels, x0 + ((b * h + 2 * i) * w + 2 * j) * channels * 4
            largest_of_four(upper, upper + w * channels * 4, channels, 2 * i * w + 2 * j, w, y0 + out * 4, i0 + out * 8)


@kernel
def pool_maximum(counter, x, kernel_h, kernel_w, stride_h, stride_w, top, left, dilation_h, dilation_w, y, indices):
    share(counter)
    n, h, w, channels = x.shape
    oh, ow = y.shape[1], y.shape[2]
    while True:
        block = take(counter)
        if block >= n * oh:
            break
        b, i = block // oh, block % oh
        for j in range(ow):
            best, at = y[b, i, j], indices[b, i, j]
            for c in range(channels):
                best[c], at[c] = -np.inf, -1
            for u in range(kernel_h):
                r = i * stride_h - top + u * dilation_h
                if 0 <= r < h:
                    for v in range(kernel_w):
                        s = j * stride_w - left + v * dilation_w
                        if 0 <= s < w:
                            source, place = x[b, r, s], r * w + s
                            for c in range(channels):
                                wins = source[c] > best[c] or source[c] != source[c] or at[c] < 0
                                best[c] = source[c] if wins else best[c]
                                at[c] = place if wins else at[c]


@kernel
def pool_scatter(counter, g, indices, x):
    """x (N, HW, C) = 0, then x[n, indices[n,i,c], c] += g[n,i,c]."""
    share(counter)
    while True:
        b = take(counter)
        if b >= x.shape[0]:
            break
        for r in range(x.shape[1]):
            for c in range(x.shape[2]):
                x[b, r, c] = 0
        for r in range(g.shape[1]):
            for c in range(g.shape[2]):
                x[b, indices[b, r, c], c] += g[b, r, c]


@kernel
def pool_gather(counter, x, indices, y):
    share(counter)
    while True:
        b = take(counter)
        if b >= y.shape[0]:
            break
        for r in range(y.shape[1]):
            for c in range(y.shape[2]):
                y[b, r, c] = x[b, indices[b, r, c], c]


@kernel
def pool_mean(counter, x, kernel_h, kernel_w, stride_h, stride_w, top, left, shares, y):
    """y = the sum of each window times shares[i, j]."""
    share(counter)
    n, h, w, channels = x.shape
    oh, ow = y.shape[1], y.shape[2]
    while True:
        block = take(counter)
        if block >= n * oh:
            break
        b, i = block // oh, block % oh
        for j in range(ow):
            total = y[b, i, j]
            for c in range(channels):
                total[c] = 0
            for r in range(max(0, i * stride_h - top), min(h, i * stride_h - top + kernel_h)):
                for s in range(max(0, j * stride_w - left), min(w, j * stride_w - left + kernel_w)):
                    source = x[b, r, s]
                    for c in range(channels):
                        total[c] += source[c]
            for c in range(channels):
                total[c] *= shares[i, j]


@kernel
def pool_mean_dx(counter, g, kernel_h, kernel_w, stride_h, stride_w, top, left, shares, x):
    """The adjoint of `pool_mean`."""
    share(counter)
    n, h, w, channels = x.shape
    while True:
        b = take(counter)
        if b >= n:
            break
        for r in range(h):
            for s in range(w):
                for c in range(channels):
                    x[b, r, s, c] = 0
        for i in range(g.shape[1]):
            for j in range(g.shape[2]):
                source, part = g[b, i, j], shares[i, j]
                for r in range(max(0, i * stride_h - top), min(h, i * stride_h - top + kernel_h)):
                    for s in range(max(0, j * stride_w - left), min(w, j * stride_w - left + kernel_w)):
                        target = x[b, r, s]
                        for c in range(channels):
                            target[c] += source[c] * part


def max_pool2d(x, kernel, stride, padding, dilation, out_size):
    n, c, _, _ = x.shape
    y, indices = empty(n, *out_size, c), empty(n, *out_size, c, dtype=np.int64)
    two = kernel == stride == (2, 2) and padding == (0, 0) and dilation == (1, 1)
    if two and c % VL == 0 and 2 * out_size[0] <= x.shape[2] and 2 * out_size[1] <= x.shape[3]:
        launch(pool_maximum_2x2, n * out_size[0], channels_last(x), y, indices)
        return channels_first(y), channels_first(indices)
    launch(pool_maximum, n * out_size[0], channels_last(x), *kernel, *stride, *padding, *dilation, y, indices)
    return channels_first(y), channels_first(indices)


def max_pool2d_scatter(g, indices, size):
    n, c, oh, ow = g.shape
    x = empty(n, size[0] * size[1], c)
    launch(pool_scatter, n, channels_last(g).reshape(n, oh * ow, c), channels_last(indices).reshape(n, oh * ow, c), x)
    return channels_first(x.reshape(n, *size, c))


def max_pool2d_gather(x, indices):
    n, c, h, w = x.shape
    oh, ow = indices.shape[2:]
    y = empty(n, oh * ow, c)
    launch(pool_gather, n, channels_last(x).reshape(n, h * w, c), channels_last(indices).reshape(n, oh * ow, c), y)
    return channels_first(y.reshape(n, oh, ow, c))


def avg_pool2d(x, kernel, stride, padding, out_size, count_include_pad, divisor):
    n, c, h, w = x.shape
    y = empty(n, *out_size, c)
    shares = shares_of(kernel, stride, padding, (h, w), out_size, count_include_pad, divisor)
    launch(pool_mean, n * out_size[0], channels_last(x), *kernel, *stride, *padding, shares, y)
    return channels_first(y)


def avg_pool2d_dx(g, kernel, stride, padding, size, count_include_pad, divisor):
    n, c, *out_size = g.shape
    x = empty(n, *size, c)
    shares = shares_of(kernel, stride, padding, size, out_size, count_include_pad, divisor)
    launch(pool_mean_dx, n, channels_last(g), *kernel, *stride, *padding, shares, x)
    return channels_first(x)


def shares_of(*geometry):
    return (1 / reference.pool_divisors(*geometry)[..., 0]).astype(np.float32)
