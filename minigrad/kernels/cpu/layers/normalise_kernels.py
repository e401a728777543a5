"""The kernels of normalisation by columns: statistics, the affine map and the sums of its gradient, each in one pass over memory.

x is (G, R, C): G groups of R rows of C channels, channels contiguous. What holds for a whole column stands in a table (5, G, C) of
float32, so that the passes over x do no more than they must:

    y = leaky_relu((x - MEAN)*SCALE + SHIFT [+ other])
    dx = SCALE*(h - CONSTANT - LINEAR*(x - MEAN))           h: the gradient behind the activation

k neighbouring rows of few channels are walked as one row of k*C channels (see `normalise.together`). Then the table holds
everything k times, and the sums over each of the k parts are joined at the end.

Statistics take one pass over memory. A block of rows is small enough to stay in the cache while first its mean and then the squares
around that mean are summed. Two blocks a and b, of n_a and n_b rows, with sums of squares M2_a and M2_b around their means, are
joined by Chan's formula, which does not cancel as E[x^2] - E[x]^2 does:

    delta = mean_b - mean_a,  M2 = M2_a + M2_b + delta^2 n_a n_b / (n_a + n_b)      (Chan, Golub, LeVeque 1979)

Blocks have a fixed size and are joined in order, in float64, so the bits are the same for any number of threads.

Imports: numpy, machine.
"""
import math

import numpy as np

from minigrad.kernels.cpu.machine.compiling import ONE, inner, kernel
from minigrad.kernels.cpu.machine.threads import after, complete, share, take

MEAN, SCALE, SHIFT, CONSTANT, LINEAR = range(5)                 # rows of the table
TABLE_ROWS = 5


@kernel
def columns_normalise(counter, x, other, weight, bias, eps, slope, k, rows_cached, rows_summed, rows_mapped, means, squares, table,
                      istd, mean, var, y):
    """y = leaky_relu((x - mean)*istd*weight + bias + other), and istd, mean, var (G, C).

    x, y (G, R, k*C), and other too; empty for zeros. weight, bias (C); empty for ones and zeros. rows_summed: of a block of the
    statistics, of which rows_cached at a time stay in the cache. rows_mapped: of a block of the map. means, squares (G, B, k*C),
    table: room. With B = 0 there are no statistics: mean and istd are used as they are, or as 0 and 1 where they are empty."""
    share(counter)
    groups, rows, width = x.shape
    part_mean, part_square = np.empty(width, np.float32), np.empty(width, np.float32)
    sums, maps = groups * means.shape[1], groups * ((rows + rows_mapped - 1) // rows_mapped)
    while True:
        block = take(counter)
        if block < sums:
            moments(block, x, rows_cached, rows_summed, part_mean, part_square, means, squares)
            complete(counter)
        elif block == sums:
            after(counter, sums)
            if sums:
                summarise(means, squares, rows_summed, rows, k, eps, istd, mean, var)
            describe(mean, istd, weight, bias, k, table)
            complete(counter)
        elif block <= sums + maps:
            after(counter, sums + 1)
            affine(block - sums - 1, x, other, table, slope, rows_mapped, y)
        else:
            break


@kernel
def columns_normalise_dx(counter, g, x, y, mean, istd, weight, bias, extra, normalised, slope, k, rows_cached, rows_summed,
                         rows_mapped, sums, products, table, dweight, dbias, kept, dx):
    """The derivative of `columns_normalise`: dx, dweight, dbias from g. Where there was an `other`, y is the output, and
    kept its gradient.

    Without `other`, y and kept are empty. mean, istd (G, C): mean is empty for zeros. weight, bias (C) or empty. extra: see
    `settle`."""
    share(counter)
    groups, rows, width = x.shape
    first_sum, second_sum = np.empty(width, np.float32), np.empty(width, np.float32)
    summed, maps = groups * sums.shape[1], groups * ((rows + rows_mapped - 1) // rows_mapped)
    while True:
        block = take(counter)
        if block == 0:
            describe(mean, istd, weight, bias, k, table)
            complete(counter)
        elif block <= summed:
            after(counter, ONE)
            columns_dx_sums(block - 1, g, x, y, table, slope, rows_cached, rows_summed, first_sum, second_sum, sums, products, kept)
            complete(counter)
        elif block == summed + 1:
            after(counter, summed + 1)
            settle(sums, products, istd, normalised, extra, rows * k, k, table, dweight, dbias)
            complete(counter)
        elif block <= summed + 1 + maps:
            after(counter, summed + 2)
            if y.size:                                          # the gradient behind the activation is there already
                columns_dx(block - summed - 2, kept, x, table, 1.0, rows_mapped, dx)
            else:
                columns_dx(block - summed - 2, g, x, table, slope, rows_mapped, dx)
        else:
            break


# ------------------------------------------------------------------------------------------------------------------ their blocks


@inner
def moments(block, x, rows_cached, rows_summed, mean, square, means, squares):
    """means, squares (G, B, C) of one block of rows: the mean, and the sum of squares around it. mean, square (C): room."""
    groups, rows, channels = x.shape
    blocks = means.shape[1]
    q, b = block // blocks, block % blocks
    first, last = b * rows_summed, min((b + 1) * rows_summed, rows)
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
        fraction = np.float32(1 / (stop - start))
        for c in range(channels):
            mean[c] *= fraction
        for r in range(start, stop):
            row = x[q, r]
            for c in range(channels):
                square[c] += (row[c] - mean[c]) * (row[c] - mean[c])
        join(total_mean, total_square, start - first, mean, square, stop - start)


@inner
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


@inner
def summarise(means, squares, rows_per_block, rows, k, eps, istd, mean, var):
    """All blocks of `moments` joined: istd, mean, var (G, C). means, squares (G, B, k*C), over `rows` rows."""
    groups, channels = mean.shape
    for q in range(groups):
        for b in range(1, means.shape[1]):
            join(means[q, 0], squares[q, 0], b * rows_per_block, means[q, b], squares[q, b],
                 min(rows_per_block, rows - b * rows_per_block))
        for c in range(channels):
            centre, square, apart = 0.0, 0.0, 0.0               # Chan's formula for k equal parts
            for part in range(c, k * channels, channels):
                centre += means[q, 0, part]
            centre /= k
            for part in range(c, k * channels, channels):
                square += squares[q, 0, part]
                apart += (means[q, 0, part] - centre) * (means[q, 0, part] - centre)
            variance = (square + apart * rows) / (rows * k)
            istd[q, c], mean[q, c], var[q, c] = 1 / math.sqrt(variance + eps), centre, variance


@inner
def describe(mean, istd, weight, bias, k, table):
    """The table's first rows: MEAN, SCALE = istd*weight and SHIFT = bias. mean, istd (G, C), weight, bias (C): each may be empty,
    for zeros or ones. The forward and the backward kernel both use this function, so that both see the same sign."""
    _, groups, width = table.shape
    channels = width // k
    for q in range(groups):
        for c in range(channels):
            centre, scale = mean[q, c] if mean.size else np.float32(0), istd[q, c] if istd.size else np.float32(1)
            if weight.size:
                scale *= weight[c]
            for part in range(c, width, channels):
                table[MEAN, q, part], table[SCALE, q, part] = centre, scale
                table[SHIFT, q, part] = bias[c] if bias.size else np.float32(0)


@inner
def settle(sums, products, istd, normalised, extra, rows, k, table, dweight, dbias):
    """From `columns_dx_sums` to the table's last rows and the gradients of weight and bias (C).

    CONSTANT = mean(h) and LINEAR = istd^2 mean(h*(x - mean)) + extra, with 1 for istd^2 where x is `normalised` already.
    sums, products (G, B, k*C); istd (G, C); extra (G, C), or empty for zeros; rows: how many the means are taken over."""
    groups, channels = istd.shape
    for q in range(groups):
        first, second = sums[q, 0], products[q, 0]
        for b in range(1, sums.shape[1]):
            for part in range(k * channels):
                first[part] += sums[q, b, part]
                second[part] += products[q, b, part]
    for c in range(channels):
        slope, offset = 0.0, 0.0
        for q in range(groups):
            total, product = 0.0, 0.0
            for part in range(c, k * channels, channels):
                total += sums[q, 0, part]
                product += products[q, 0, part]
            offset += total
            slope += product * istd[q, c]
            square = 1.0 if normalised else np.float64(istd[q, c]) * istd[q, c]
            linear = product * square / rows
            if extra.size:
                linear += extra[q, c]
            for part in range(c, k * channels, channels):
                table[CONSTANT, q, part], table[LINEAR, q, part] = total / rows, linear
        dweight[c], dbias[c] = slope, offset


@inner
def affine(block, x, other, table, slope, rows_mapped, y):
    """y = leaky_relu((x - mean)*scale + shift + other) of a block of rows: x, y (G, R, C), other too, or empty for zeros."""
    groups, rows, channels = x.shape
    blocks = (rows + rows_mapped - 1) // rows_mapped
    slope32 = np.float32(slope)
    q, b = block // blocks, block % blocks
    m, a, s = table[MEAN, q], table[SCALE, q], table[SHIFT, q]
    for r in range(b * rows_mapped, min((b + 1) * rows_mapped, rows)):
        source, target = x[q, r], y[q, r]
        if other.size:
            addend = other[q, r]
            for c in range(channels):
                z = (source[c] - m[c]) * a[c] + s[c] + addend[c]
                low = slope32 * z if slope != 0 else np.float32(0)
                target[c] = low if z <= 0 else z
        else:
            for c in range(channels):
                z = (source[c] - m[c]) * a[c] + s[c]
                low = slope32 * z if slope != 0 else np.float32(0)
                target[c] = low if z <= 0 else z


@inner
def columns_dx_sums(block, g, x, y, table, slope, rows_cached, rows_summed, first_sum, second_sum, sums, products, kept):
    """sums, products (G, B, C): the sums over a block's rows of h and of h*(x - mean).

    h = g where the activation's input (x - mean)*scale + shift > 0, else slope*g. If y is not empty, its sign decides instead, and
    kept = h (G, R, C). first_sum, second_sum (C): room."""
    groups, rows, channels = x.shape
    blocks = sums.shape[1]
    slope32 = np.float32(slope)
    q, b = block // blocks, block % blocks
    m, a, s = table[MEAN, q], table[SCALE, q], table[SHIFT, q]
    total, total_product = sums[q, b], products[q, b]
    for c in range(channels):
        total[c], total_product[c] = 0, 0
    last = min((b + 1) * rows_summed, rows)
    for start in range(b * rows_summed, last, rows_cached):
        for c in range(channels):
            first_sum[c], second_sum[c] = 0, 0
        for r in range(start, min(start + rows_cached, last)):
            source, slopes = x[q, r], g[q, r]
            if y.size:
                signs, target = y[q, r], kept[q, r]
                for c in range(channels):
                    low = slope32 * slopes[c] if slope != 0 else np.float32(0)
                    h = slopes[c] if signs[c] > 0 else low
                    target[c] = h
                    first_sum[c] += h
                    second_sum[c] += h * (source[c] - m[c])
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


@inner
def columns_dx(block, g, x, table, slope, rows_mapped, dx):
    """dx = scale*(h - constant - linear*(x - mean)) of a block of rows, with h as in `columns_dx_sums`."""
    groups, rows, channels = x.shape
    blocks = (rows + rows_mapped - 1) // rows_mapped
    slope32 = np.float32(slope)
    q, b = block // blocks, block % blocks
    m, a, s = table[MEAN, q], table[SCALE, q], table[SHIFT, q]
    k, l = table[CONSTANT, q], table[LINEAR, q]
    for r in range(b * rows_mapped, min((b + 1) * rows_mapped, rows)):
        source, slopes, target = x[q, r], g[q, r], dx[q, r]
        for c in range(channels):
            z = source[c] - m[c]
            low = slope32 * slopes[c] if slope != 0 else np.float32(0)
            h = slopes[c] if z * a[c] + s[c] > 0 else low
            target[c] = a[c] * (h - k[c] - l[c] * z)


@kernel
def columns_bias_dx(counter, g, y, slope, rows_per_block, rows_cached, dx, sums):
    """dx = g where y > 0, else slope*g; sums (B, C): dx over each block's rows. All (R, C)."""
    share(counter)
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
