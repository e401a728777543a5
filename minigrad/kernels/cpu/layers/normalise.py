"""Normalisation in float32, alone or with scale, shift and activation, forward and backward. Memory traffic bounds all of them.

x takes one of two forms:

    columns     (G, R, C): G groups of R rows of C channels, channels contiguous; each column of a group is normalised. Batch norm
                (over all but the channels) and instance norm (over the pixels). The kernels are in `normalise_kernels`.
    rows        (M, L): each of M rows is normalised. Layer norm (over trailing axes) and group norm. The kernels are here.

Imports: numpy, minigrad.kernels.reference, parts, machine, normalise_kernels.
"""
import math

import numpy as np

from minigrad.kernels import reference
from minigrad.kernels.cpu.layers import normalise_kernels
from minigrad.kernels.cpu.layers.normalise_kernels import TABLE_ROWS
from minigrad.kernels.cpu.machine.compiling import kernel
from minigrad.kernels.cpu.machine.threads import empty, launch, share, take
from minigrad.kernels.cpu.parts.layout import BLOCK, channels_first, channels_last

CACHED = 1 << 14                    # floats of x that are summed twice: the second time they are in the cache
JOINED = 64                         # blocks of a group at most, so that joining them costs nothing
WIDE = 256                          # a row of fewer channels is walked together with its neighbours: see `together`
NO_VECTOR, NO_MATRIX, NO_COLUMNS = (np.empty((0,) * ndim, np.float32) for ndim in (1, 2, 3))


@kernel
def rows_normalise(counter, x, eps, rows_per_block, y, mean, istd, var):
    """Each row of x (M, L) by itself."""
    share(counter)
    rows, length = x.shape
    while True:
        block = take(counter)
        if block * rows_per_block >= rows:
            break
        for r in range(block * rows_per_block, min((block + 1) * rows_per_block, rows)):
            source, target = x[r], y[r]
            total = 0.0
            for start in range(0, length, 4096):
                part = np.float32(0)
                for i in range(start, min(start + 4096, length)):
                    part += source[i]
                total += part
            centre = np.float32(total / length)
            total = 0.0
            for start in range(0, length, 4096):
                part = np.float32(0)
                for i in range(start, min(start + 4096, length)):
                    part += (source[i] - centre) * (source[i] - centre)
                total += part
            scale = np.float32(1 / math.sqrt(total / length + eps))
            mean[r], istd[r], var[r] = centre, scale, total / length
            for i in range(length):
                target[i] = (source[i] - centre) * scale


@kernel
def rows_normalise_dx(counter, g, xhat, istd, extra, rows_per_block, dx):
    """dx = istd*(g - mean(g) - xhat*(mean(g*xhat) + extra)), each row by itself."""
    share(counter)
    rows, length = g.shape
    while True:
        block = take(counter)
        if block * rows_per_block >= rows:
            break
        for r in range(block * rows_per_block, min((block + 1) * rows_per_block, rows)):
            slopes, source, target = g[r], xhat[r], dx[r]
            total, product = 0.0, 0.0
            for start in range(0, length, 4096):
                part, other = np.float32(0), np.float32(0)
                for i in range(start, min(start + 4096, length)):
                    part += slopes[i]
                    other += slopes[i] * source[i]
                total += part
                product += other
            centre, linear, scale = np.float32(total / length), np.float32(product / length + extra[r]), istd[r]
            for i in range(length):
                target[i] = scale * (slopes[i] - centre - source[i] * linear)


# ------------------------------------------------------------------------------------------------- the kernels' Python sides


def normalise(x, axes, eps):
    form = form_of(x, axes)
    if form == "columns":
        return norm_leaky_relu(x, None, None, axes, eps, 1)
    if form == "rows":
        order = row_order(x, axes)
        source = rows(x, order, axes)
        y, stats = empty(*source.shape), [empty(len(source)) for _ in range(3)]
        per_block = max(1, BLOCK // source.shape[1])
        launch(rows_normalise, -(-len(source) // per_block), source, float(eps), per_block, y, *stats)
        mean, istd, var = (s.reshape([1 if a in axes else n for a, n in enumerate(x.shape)]) for s in stats)
        return back(y, x, order), istd, mean, var
    return reference.normalise(x, axes, eps)


def normalise_dx(g, g_istd, xhat, istd, axes):
    form = form_of(xhat, axes)
    if g is None or form == "none":
        return reference.normalise_dx(g, g_istd, xhat, istd, axes)
    extra = None if g_istd is None else istd * g_istd / np.float32(math.prod(xhat.shape[a] for a in axes))
    if form == "columns":
        return columns_back(g, xhat, None, istd, None, None, axes, 1, extra)[0]
    order = row_order(xhat, axes)
    source, slopes = rows(xhat, order, axes), rows(g, order, axes)
    dx, istd = empty(*source.shape), np.ascontiguousarray(istd).reshape(-1)
    extra = np.zeros_like(istd) if extra is None else np.ascontiguousarray(extra).reshape(-1)
    per_block = max(1, BLOCK // source.shape[1])
    launch(rows_normalise_dx, -(-len(source) // per_block), slopes, source, istd, extra, per_block, dx)
    return back(dx, xhat, order)


def norm_leaky_relu(x, weight, bias, axes, eps, slope, other=None):
    if form_of(x, axes) != "columns" or slope < 0:
        return reference.norm_leaky_relu(x, weight, bias, axes, eps, slope, other)
    (groups, rows, width), k = wide_shape(x, axes)
    source, (y, memory) = wide(x, (groups, rows, width)), output(x, (groups, rows, width))
    cached, per_block, blocks = blocking(rows, width)
    means, squares = np.empty((2, groups, blocks, width))
    table, (istd, mean, var) = empty(TABLE_ROWS, groups, width), np.empty((3, groups, width // k), np.float32)
    others, mapped, maps = NO_COLUMNS if other is None else wide(other, (groups, rows, width)), *mapping(rows, width)
    launch(normalise_kernels.columns_normalise, groups * max(blocks, maps), source, others, vector(weight), vector(bias),
           float(eps), float(slope), k, cached, per_block, mapped, means, squares, table, istd, mean, var, memory)
    keep = [1 if a in axes else s for a, s in enumerate(x.shape)]
    return y, istd.reshape(keep), mean.reshape(keep), var.reshape(keep)


def norm_leaky_relu_dx(g, x, weight, bias, istd, mean, axes, slope, y=None):
    if form_of(x, axes) != "columns" or slope < 0:
        return reference.norm_leaky_relu_dx(g, x, weight, bias, istd, mean, axes, slope, y)
    return columns_back(g, x, mean, istd, weight, bias, axes, slope, None, y)


def columns_back(g, x, mean, istd, weight, bias, axes, slope, extra, y=None):
    """(dx, dweight, dbias[, dother]), see `settle`; mean is None where x is normalised already."""
    (groups, rows, width), k = wide_shape(x, axes)
    source, slopes, (dx, memory) = (f(a, (groups, rows, width)) for f, a in ((wide, x), (wide, g), (output, x)))
    cached, per_block, blocks = blocking(rows, width)
    sums, products = np.empty((2, groups, blocks, width))
    table, dweight, dbias = empty(TABLE_ROWS, groups, width), np.empty(x.shape[1], np.float32), np.empty(x.shape[1], np.float32)
    signs, (dother, kept) = (NO_COLUMNS, (None, NO_COLUMNS)) if y is None else (wide(y, slopes.shape), output(x, slopes.shape))
    mapped, maps = mapping(rows, width)
    launch(normalise_kernels.columns_normalise_dx, groups * max(blocks, maps), slopes, source, signs, matrix(mean, groups),
           matrix(istd, groups), vector(weight), vector(bias), matrix(extra, groups), mean is None, float(slope), k, cached,
           per_block, mapped, sums, products, table, dweight, dbias, kept, memory)
    return (dx, dweight, dbias) if y is None else (dx, dweight, dbias, dother)


def bias_leaky_relu(x, bias, slope):
    if slope < 0 or not x.size:
        return reference.bias_leaky_relu(x, bias, slope)
    shape, k = wide_shape(x, (0,))
    y, memory = output(x, shape)
    (mapped, maps), sums = mapping(*shape[1:]), np.empty((1, 0, 0))
    launch(normalise_kernels.columns_normalise, maps, wide(x, shape), NO_COLUMNS, NO_VECTOR, vector(bias), 0.0, float(slope), k, 1,
           1, mapped, sums, sums, empty(TABLE_ROWS, *shape[::2]), NO_MATRIX, NO_MATRIX, NO_MATRIX, memory)
    return y


def bias_leaky_relu_dx(g, y, slope):
    if slope < 0 or not y.size:
        return reference.bias_leaky_relu_dx(g, y, slope)
    shape, k = wide_shape(y, (0,))
    slopes = wide(g, shape)
    source, (dx, memory) = (slopes, (g, slopes)) if slope == 1 else (wide(y, shape), output(y, shape))
    cached, per_block, blocks = blocking(*shape[1:])
    sums = np.empty((blocks, shape[2]))
    launch(normalise_kernels.columns_bias_dx, blocks, slopes[0], source[0], float(slope), per_block, cached, memory[0], sums)
    return dx, sums.reshape(blocks * k, y.shape[1]).sum(0).astype(np.float32)


# ------------------------------------------------------------------------------------------------------ layout of arrays


def form_of(x, axes):
    """"columns" or "rows", as above; "none" for the shapes without a fast path."""
    if not x.size:
        return "none"
    axes = tuple(sorted(a % x.ndim for a in axes))
    if x.ndim >= 2 and axes == (0, *range(2, x.ndim)) or x.ndim >= 3 and axes == tuple(range(2, x.ndim)):
        return "columns"
    return "rows" if axes and axes == tuple(range(x.ndim - len(axes), x.ndim)) else "none"


def wide_shape(x, axes):
    """x in columns, k neighbouring rows walked as one, and k: (G, R/k, k*C), k."""
    groups, channels = 1 if 0 in axes else len(x), x.shape[1]
    rows = x.size // (groups * channels)
    k = together(rows, channels)
    return (groups, rows // k, k * channels), k


def together(rows, channels):
    """How many rows of few channels are walked as one. A row of 16 channels is a single vector, and the loop around it would cost
    several times what the vector costs. So k neighbours become one row of k*16 channels, each with its own sums until the end."""
    return math.gcd(rows, 1 << max(0, (WIDE // channels).bit_length() - 1))


def wide(x, shape):
    return channels_last(x).reshape(shape)


def output(x, shape):
    """An uninitialised array like x, and its memory as columns."""
    memory = empty(*shape)
    y = memory.reshape(x.shape[0], *x.shape[2:], x.shape[1])
    return channels_first(y) if x.ndim > 2 else y, memory


def blocking(rows, channels):
    """(rows summed from the cache, rows of a block, blocks of a group); multiples of each other."""
    cached = max(1, CACHED // channels)
    per_block = cached * max(1, -(-rows // (cached * JOINED)))
    return cached, per_block, -(-rows // per_block)


def mapping(rows, channels):
    """(rows of a block of a map, blocks of a group)"""
    per_block = max(1, BLOCK // channels)
    return per_block, -(-rows // per_block)


def vector(values):
    return NO_VECTOR if values is None else np.ascontiguousarray(values)


def matrix(values, groups):
    """(1, C, 1, ...) or (G, C, 1, ...) -> (G, C)"""
    return NO_MATRIX if values is None else np.ascontiguousarray(values).reshape(groups, -1)


def row_order(x, axes):
    """The order of the axes in memory for `rows`. Reduced axes may run in any order, so an image normalised as a whole stays
    channels-last."""
    return [0, 2, 3, 1] if x.ndim == 4 and len(axes) == 3 else list(range(x.ndim))


def rows(x, order, axes):
    """x as (M, L)"""
    length = math.prod(x.shape[a] for a in axes)
    return np.ascontiguousarray(x.transpose(order)).reshape(-1, length)


def back(y, x, order):
    """(M, L) in the shape of x"""
    return y.reshape([x.shape[a] for a in order]).transpose(np.argsort(order))
