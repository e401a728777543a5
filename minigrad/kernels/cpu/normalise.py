"""Normalisation in float32, alone or with scale, shift and activation, forward and backward: each a matter of memory traffic.

Batch norm (over all but the channels) and instance norm (over the pixels) see x as (G, R, C): G groups of R rows of C channels,
channels contiguous. Layer norm (over trailing axes) and group norm see it as (M, L): each of M rows is normalised by itself.

Statistics take one pass. A block of rows is small enough to stay in the cache while its mean and then the squares around that
mean are summed; blocks are joined by Chan's formula, which unlike E[x^2] - E[x]^2 does not cancel:
    delta = mean_b - mean_a,  M2 = M2_a + M2_b + delta^2 n_a n_b / (n_a + n_b)      (Chan, Golub, LeVeque 1979)
Blocks have a fixed size and are joined in order, in float64: same bits for any number of threads.
May import: numpy, `reference` for the shapes that have no fast path, and this folder.
"""
import math

import numpy as np

from minigrad.kernels import reference
from minigrad.kernels.cpu.compiling import kernel
from minigrad.kernels.cpu.layout import BLOCK, channels_first, channels_last
from minigrad.kernels.cpu.threads import empty, launch, take

CACHED = 1 << 14                    # floats of x that are summed twice, from the cache
JOINED = 64                         # blocks to a group at most, so that joining them costs nothing
WIDE = 256                          # a row shorter than this many channels is joined with its neighbours: see `widened`


@kernel
def moments(counter, x, rows_per_block, rows_cached, means, squares):
    """means, squares (G, B, C): the mean of each block of rows, and the sum of squares around it."""
    groups, rows, channels = x.shape
    blocks = means.shape[1]
    mean, square = np.empty(channels, np.float32), np.empty(channels, np.float32)
    while True:
        block = take(counter)
        if block >= groups * blocks:
            break
        q, b = block // blocks, block % blocks
        first, last = b * rows_per_block, min((b + 1) * rows_per_block, rows)
        total_mean, total_square = means[q, b], squares[q, b]
        for start in range(first, last, rows_cached):
            stop = min(start + rows_cached, last)
            for c in range(channels):
                mean[c] = 0
                square[c] = 0
            for r in range(start, stop):
                row = x[q, r]
                for c in range(channels):
                    mean[c] += row[c]
            share = np.float32(1 / (stop - start))
            for c in range(channels):
                mean[c] *= share
            for r in range(start, stop):
                row = x[q, r]
                for c in range(channels):
                    square[c] += (row[c] - mean[c]) * (row[c] - mean[c])
            join(total_mean, total_square, start - first, mean, square, stop - start)


@kernel
def join(mean, square, count, other_mean, other_square, other_count):
    """Chan's formula, in place."""
    part = other_count / (count + other_count)
    for c in range(mean.size):
        if count == 0:
            mean[c], square[c] = other_mean[c], other_square[c]
        else:
            delta = other_mean[c] - mean[c]
            mean[c] += delta * part
            square[c] += other_square[c] + delta * delta * count * part


@kernel
def join_blocks(means, squares, rows_per_block, rows):
    """All blocks of each group into its first."""
    for q in range(means.shape[0]):
        for b in range(1, means.shape[1]):
            join(means[q, 0], squares[q, 0], b * rows_per_block, means[q, b], squares[q, b],
                 min(rows_per_block, rows - b * rows_per_block))


@kernel
def affine(counter, x, mean, scale, shift, slope, rows_per_block, y):
    """y = leaky_relu((x - mean)*scale + shift): x, y (G, R, C), the others (G, C)."""
    groups, rows, channels = x.shape
    blocks = (rows + rows_per_block - 1) // rows_per_block
    slope32 = np.float32(slope)
    while True:
        block = take(counter)
        if block >= groups * blocks:
            break
        q, b = block // blocks, block % blocks
        m, a, s = mean[q], scale[q], shift[q]
        for r in range(b * rows_per_block, min((b + 1) * rows_per_block, rows)):
            source, target = x[q, r], y[q, r]
            if slope == 1:
                for c in range(channels):
                    target[c] = (source[c] - m[c]) * a[c] + s[c]
            else:
                for c in range(channels):
                    z = (source[c] - m[c]) * a[c] + s[c]
                    low = slope32 * z if slope != 0 else np.float32(0)
                    target[c] = low if z <= 0 else z


@kernel
def gradient_sums(counter, g, x, mean, scale, shift, slope, rows_per_block, rows_cached, sums, products):
    """sums, products (G, B, C): over a block's rows, of h and of h*(x - mean), with h = g where (x - mean)*scale + shift > 0,
    else slope*g."""
    groups, rows, channels = x.shape
    blocks = sums.shape[1]
    slope32 = np.float32(slope)
    first_sum, second_sum = np.empty(channels, np.float32), np.empty(channels, np.float32)
    while True:
        block = take(counter)
        if block >= groups * blocks:
            break
        q, b = block // blocks, block % blocks
        m, a, s = mean[q], scale[q], shift[q]
        total, total_product = sums[q, b], products[q, b]
        for c in range(channels):
            total[c], total_product[c] = 0, 0
        last = min((b + 1) * rows_per_block, rows)
        for start in range(b * rows_per_block, last, rows_cached):
            for c in range(channels):
                first_sum[c], second_sum[c] = 0, 0
            for r in range(start, min(start + rows_cached, last)):
                source, slopes = x[q, r], g[q, r]
                if slope == 1:
                    for c in range(channels):
                        first_sum[c] += slopes[c]
                        second_sum[c] += slopes[c] * (source[c] - m[c])
                else:
                    for c in range(channels):
                        z = source[c] - m[c]
                        low = slope32 * slopes[c] if slope != 0 else np.float32(0)
                        h = slopes[c] if z * a[c] + s[c] > 0 else low
                        first_sum[c] += h
                        second_sum[c] += h * z
            for c in range(channels):
                total[c] += first_sum[c]
                total_product[c] += second_sum[c]


@kernel
def gradient(counter, g, x, mean, scale, shift, slope, constant, linear, rows_per_block, dx):
    """dx = scale*(h - constant - linear*(x - mean)) with h as in `gradient_sums`; constant, linear (G, C)."""
    groups, rows, channels = x.shape
    blocks = (rows + rows_per_block - 1) // rows_per_block
    slope32 = np.float32(slope)
    while True:
        block = take(counter)
        if block >= groups * blocks:
            break
        q, b = block // blocks, block % blocks
        m, a, s, k, l = mean[q], scale[q], shift[q], constant[q], linear[q]
        for r in range(b * rows_per_block, min((b + 1) * rows_per_block, rows)):
            source, slopes, target = x[q, r], g[q, r], dx[q, r]
            if slope == 1:
                for c in range(channels):
                    target[c] = a[c] * (slopes[c] - k[c] - l[c] * (source[c] - m[c]))
            else:
                for c in range(channels):
                    z = source[c] - m[c]
                    low = slope32 * slopes[c] if slope != 0 else np.float32(0)
                    h = slopes[c] if z * a[c] + s[c] > 0 else low
                    target[c] = a[c] * (h - k[c] - l[c] * z)


@kernel
def bias_gradient(counter, g, y, slope, rows_per_block, rows_cached, dx, sums):
    """dx = g where y > 0, else slope*g; sums (B, C): dx over each block's rows. All (R, C)."""
    rows, channels = g.shape
    slope32 = np.float32(slope)
    part = np.empty(channels, np.float32)
    while True:
        b = take(counter)
        if b >= sums.shape[0]:
            break
        total, last = sums[b], min((b + 1) * rows_per_block, rows)
        for c in range(channels):
            total[c] = 0
        for start in range(b * rows_per_block, last, rows_cached):
            for c in range(channels):
                part[c] = 0
            for r in range(start, min(start + rows_cached, last)):
                source, slopes, target = y[r], g[r], dx[r]
                if slope == 1:
                    for c in range(channels):
                        part[c] += slopes[c]
                else:
                    for c in range(channels):
                        low = slope32 * slopes[c] if slope != 0 else np.float32(0)
                        h = slopes[c] if source[c] > 0 else low
                        target[c] = h
                        part[c] += h
            for c in range(channels):
                total[c] += part[c]


@kernel
def rows_forward(counter, x, eps, rows_per_block, y, mean, istd, var):
    """Each row of x (M, L) by itself."""
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
def rows_backward(counter, g, xhat, istd, extra, rows_per_block, dx):
    """dx = istd*(g - mean(g) - xhat*(mean(g*xhat) + extra)), each row by itself."""
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
        launch(rows_forward, -(-len(source) // per_block), source, float(eps), per_block, y, *stats)
        mean, istd, var = (s.reshape([1 if a in axes else n for a, n in enumerate(x.shape)]) for s in stats)
        return back(y, x, order), istd, mean, var
    return reference.normalise(x, axes, eps)


def normalise_dx(g, g_istd, xhat, istd, axes):
    form = form_of(xhat, axes)
    if g is None or form == "none":
        return reference.normalise_dx(g, g_istd, xhat, istd, axes)
    count = math.prod(xhat.shape[a] for a in axes)
    extra = np.zeros_like(istd) if g_istd is None else istd * g_istd / np.float32(count)
    if form == "rows":
        order = row_order(xhat, axes)
        source, slopes = rows(xhat, order, axes), rows(g, order, axes)
        dx = empty(*source.shape)
        per_block = max(1, BLOCK // source.shape[1])
        launch(rows_backward, -(-len(source) // per_block), slopes, source, np.ascontiguousarray(istd).reshape(-1),
               np.ascontiguousarray(extra).reshape(-1), per_block, dx)
        return back(dx, xhat, order)
    source, (dx, memory) = columns_with_output(xhat, axes)
    slopes, shape = columns(g, axes), (source.shape[0], source.shape[2])
    scale, zero = np.ascontiguousarray(istd).reshape(shape), np.zeros(shape, np.float32)
    total, product = column_sums(slopes, source, zero, scale, zero, 1)
    apply_gradient(slopes, source, zero, scale, zero, 1, total / count, product / count + extra.reshape(shape), memory)
    return dx


def norm_leaky_relu(x, weight, bias, axes, eps, slope):
    if form_of(x, axes) != "columns" or slope < 0:
        return reference.norm_leaky_relu(x, weight, bias, axes, eps, slope)
    source, (y, memory) = columns_with_output(x, axes)
    mean, var = statistics(source)
    istd = 1 / np.sqrt(var + eps)
    mean32, scale = mean.astype(np.float32), (istd if weight is None else istd * weight).astype(np.float32)
    apply_affine(source, mean32, scale, along_groups(bias, mean32), slope, memory)
    keep = [1 if a in axes else s for a, s in enumerate(x.shape)]
    return y, *(a.astype(np.float32).reshape(keep) for a in (istd, mean, var))


def norm_leaky_relu_dx(g, x, weight, bias, istd, mean, axes, slope):
    if form_of(x, axes) != "columns" or slope < 0:
        return reference.norm_leaky_relu_dx(g, x, weight, bias, istd, mean, axes, slope)
    source, (dx, memory) = columns_with_output(x, axes)
    slopes, shape, count = columns(g, axes), (source.shape[0], source.shape[2]), source.shape[1]
    istd, mean = np.ascontiguousarray(istd).reshape(shape), np.ascontiguousarray(mean).reshape(shape)
    scale, shift = istd if weight is None else istd * weight, along_groups(bias, istd)
    total, product = column_sums(slopes, source, mean, scale, shift, slope)
    linear = product * np.square(istd, dtype=np.float64) / count
    apply_gradient(slopes, source, mean, scale, shift, slope, total / count, linear, memory)
    return dx, (product * istd).sum(0).astype(np.float32), total.sum(0).astype(np.float32)


def bias_leaky_relu(x, bias, slope):
    if slope < 0:
        return reference.bias_leaky_relu(x, bias, slope)
    axes = (0, *range(2, x.ndim))
    source, (y, memory) = columns_with_output(x, axes)
    zero = np.zeros((1, x.shape[1]), np.float32)
    apply_affine(source, zero, zero + 1, along_groups(bias, zero), slope, memory)
    return y


def bias_leaky_relu_dx(g, y, slope):
    if slope < 0:
        return reference.bias_leaky_relu_dx(g, y, slope)
    axes = (0, *range(2, y.ndim))
    slopes = columns(g, axes)[0]
    source, (dx, memory) = (slopes[None], (g, slopes[None])) if slope == 1 else columns_with_output(y, axes)
    k = together(*slopes.shape)
    slopes, source, memory = widened(k, slopes[None], source, memory)
    cached, per_block, blocks = blocking(slopes)
    sums = np.empty((blocks, slopes.shape[2]))
    launch(bias_gradient, blocks, slopes[0], source[0], float(slope), per_block, cached, memory[0], sums)
    return dx, sums.reshape(blocks * k, y.shape[1]).sum(0).astype(np.float32)


def form_of(x, axes):
    """columns: reduced over rows of channels, (G, R, C). rows: over the last axes of memory, (M, L). none: no fast path."""
    if not x.size:
        return "none"
    axes = tuple(sorted(a % x.ndim for a in axes))
    if x.ndim >= 2 and axes == (0, *range(2, x.ndim)) or x.ndim >= 3 and axes == tuple(range(2, x.ndim)):
        return "columns"
    return "rows" if axes and axes == tuple(range(x.ndim - len(axes), x.ndim)) else "none"


def columns(x, axes):
    memory = channels_last(x)
    return memory.reshape(1 if 0 in axes else len(x), -1, x.shape[1])


def columns_with_output(x, axes):
    source = columns(x, axes)
    memory = empty(*source.shape)
    y = memory.reshape(x.shape[0], *x.shape[2:], x.shape[1])
    return source, (channels_first(y) if x.ndim > 2 else y, memory)


def row_order(x, axes):
    """Reduced axes may run in any order: an image normalised as a whole stays channels-last."""
    return [0, 2, 3, 1] if x.ndim == 4 and len(axes) == 3 else list(range(x.ndim))


def rows(x, order, axes):
    length = math.prod(x.shape[a] for a in axes)
    return np.ascontiguousarray(x.transpose(order)).reshape(-1, length)


def back(y, x, order):
    return y.reshape([x.shape[a] for a in order]).transpose(np.argsort(order))


def along_groups(values, like):
    """(C,) or None -> (G, C), contiguous float32"""
    result = np.empty_like(like)
    result[...] = 0 if values is None else values
    return result


def blocking(x):
    """(rows summed from the cache, rows of a block, blocks of a group) for x (G, R, C); multiples of each other."""
    _, rows, channels = x.shape
    cached = max(1, CACHED // channels)
    per_block = cached * max(1, -(-rows // (cached * JOINED)))
    return cached, per_block, -(-rows // per_block)


def together(rows, channels):
    """How many rows of few channels are walked as one. A row of 16 channels is a single vector, and the loop around it would cost
    several times what the vector does; k neighbours are one row of k*16 channels, each with its own sums until the end."""
    return math.gcd(rows, 1 << max(0, (WIDE // channels).bit_length() - 1))


def widened(k, *images):
    return [x.reshape(x.shape[0], x.shape[1] // k, k * x.shape[2]) for x in images]


def repeated(k, *values):
    return values if k == 1 else [np.concatenate([v] * k, 1) for v in values]


def statistics(x):
    """Mean and biased variance of the rows of each group, float64 (G, C)."""
    groups, rows, channels = x.shape
    k = together(rows, channels)
    (x,) = widened(k, x)
    cached, per_block, blocks = blocking(x)
    means, squares = np.empty((2, groups, blocks, k * channels))
    launch(moments, groups * blocks, x, per_block, cached, means, squares)
    join_blocks(means, squares, per_block, x.shape[1])
    means, squares = (a[:, 0].reshape(groups, k, channels) for a in (means, squares))
    mean = means.mean(1)
    return mean, (squares.sum(1) + np.square(means - mean[:, None]).sum(1) * (rows // k)) / rows       # Chan, k equal parts


def column_sums(g, x, mean, scale, shift, slope):
    groups, rows, channels = x.shape
    k = together(rows, channels)
    g, x = widened(k, g, x)
    cached, per_block, blocks = blocking(x)
    sums, products = np.empty((2, groups, blocks, k * channels))
    launch(gradient_sums, groups * blocks, g, x, *repeated(k, mean, scale, shift), float(slope), per_block, cached, sums, products)
    return (a.reshape(groups, blocks * k, channels).sum(1) for a in (sums, products))


def apply_affine(x, mean, scale, shift, slope, y):
    k = together(x.shape[1], x.shape[2])
    (x, y), (mean, scale, shift) = widened(k, x, y), repeated(k, mean, scale, shift)
    per_block = max(1, BLOCK // x.shape[2])
    launch(affine, x.shape[0] * -(-x.shape[1] // per_block), x, mean, scale, shift, float(slope), per_block, y)


def apply_gradient(g, x, mean, scale, shift, slope, constant, linear, dx):
    k = together(x.shape[1], x.shape[2])
    g, x, dx = widened(k, g, x, dx)
    mean, scale, shift, constant, linear = repeated(k, mean, scale, shift, constant, linear)
    per_block = max(1, BLOCK // x.shape[2])
    constant, linear = constant.astype(np.float32), linear.astype(np.float32)
    launch(gradient, x.shape[0] * -(-x.shape[1] // per_block), g, x, mean, scale, shift, float(slope), constant, linear,
           per_block, dx)
