"""Pooling: the largest value of each window, or the mean, and the adjoints of both.

Imports: numpy, minigrad.kernels.geometry, convolution.
"""

import numpy as np

from minigrad.kernels.geometry import transposed_size
from minigrad.kernels.reference.convolution import as_nchw, pad_image


def max_pool2d(x, kernel, stride, padding, dilation, out_size):
    """The largest value of each window and its place: (N,C,H,W) -> y (N,C,OH,OW), indices (N,C,OH,OW) int64, h*W + w as PyTorch's.

    Padding counts as minus infinity and is never picked. The first of equal maxima wins; NaN wins over everything.
    """
    n, c, h, w = x.shape
    oh, ow = out_size
    y = np.full_like(x, -np.inf, shape=(n, oh, ow, c), order="C")
    indices = np.full_like(x, -1, shape=(n, oh, ow, c), dtype=np.int64, order="C")
    pixels = x.transpose(0, 2, 3, 1)
    for u in range(kernel[0]):
        out_i, in_i = _overlap(oh, h, stride[0], u * dilation[0] - padding[0])
        for v in range(kernel[1]):
            out_j, in_j = _overlap(ow, w, stride[1], v * dilation[1] - padding[1])
            flat = np.arange(h * w).reshape(h, w)[in_i, in_j]
            value, flat = pixels[:, in_i, in_j], _like(x, flat)[None, :, :, None]
            best, at = y[:, out_i, out_j], indices[:, out_i, out_j]
            wins = (value > best) | (value != value) | (at < 0)                             # the third: all -inf so far
            best[...] = np.where(wins, value, best)
            at[...] = np.where(wins, flat, at)
    return as_nchw(y), as_nchw(indices)


def max_pool2d_scatter(g, indices, size):
    """x[n,c,indices[n,c,i,j]] += g[n,c,i,j], from zero: (N,C,OH,OW) -> (N,C,*size). Adjoint of `max_pool2d_gather`."""
    n, c, oh, ow = g.shape
    x = np.zeros_like(g, shape=(n, size[0] * size[1], c), order="C")
    sample, channel = _like(g, np.arange(n))[:, None, None], _like(g, np.arange(c))[None, None, :]
    at = indices.transpose(0, 2, 3, 1).reshape(n, oh * ow, c)
    np.add.at(x, (sample, at, channel), g.transpose(0, 2, 3, 1).reshape(n, oh * ow, c))
    return as_nchw(x.reshape(n, *size, c))


def max_pool2d_gather(x, indices):
    """x[n,c,indices[n,c,i,j]]: (N,C,H,W) -> (N,C,OH,OW)."""
    n, c, h, w = x.shape
    oh, ow = indices.shape[2:]
    at = indices.transpose(0, 2, 3, 1).reshape(n, oh * ow, c)
    return as_nchw(np.take_along_axis(x.transpose(0, 2, 3, 1).reshape(n, h * w, c), at, 1).reshape(n, oh, ow, c))


def avg_pool2d(x, kernel, stride, padding, out_size, count_include_pad, divisor):
    """The mean of each window: (N,C,H,W) -> (N,C,OH,OW). Divides by `divisor` if given, else by the number of pixels of the
    window inside the padded image (count_include_pad) or inside the image."""
    n, c, h, w = x.shape
    (oh, ow), (kh, kw), (sh, sw) = out_size, kernel, stride
    end = [max(0, (q - 1) * s + k - size - 2 * p)
           for q, s, k, size, p in zip(out_size, stride, kernel, (h, w), padding, strict=True)]
    padded = pad_image(x, padding, end).transpose(0, 2, 3, 1)
    y = np.zeros_like(x, shape=(n, oh, ow, c), order="C")
    for u in range(kh):
        for v in range(kw):
            y += padded[:, u:u + (oh - 1) * sh + 1:sh, v:v + (ow - 1) * sw + 1:sw]
    y /= _like(x, pool_divisors(kernel, stride, padding, (h, w), out_size, count_include_pad, divisor).astype(x.dtype))
    return as_nchw(y)


def avg_pool2d_dx(g, kernel, stride, padding, size, count_include_pad, divisor):
    """The adjoint of `avg_pool2d`: g (N,C,OH,OW) -> (N,C,*size)."""
    n, c, oh, ow = g.shape
    (kh, kw), (sh, sw), (ph, pw) = kernel, stride, padding
    divisors = pool_divisors(kernel, stride, padding, size, (oh, ow), count_include_pad, divisor)
    share = g.transpose(0, 2, 3, 1) / _like(g, divisors.astype(g.dtype))
    reach = [max(s + 2 * p, covered) for s, p, covered in
             zip(size, padding, map(transposed_size, (oh, ow), kernel, stride, (0, 0)), strict=True)]
    padded = np.zeros_like(g, shape=(n, *reach, c), order="C")
    for u in range(kh):
        for v in range(kw):
            padded[:, u:u + (oh - 1) * sh + 1:sh, v:v + (ow - 1) * sw + 1:sw] += share
    return as_nchw(np.ascontiguousarray(padded[:, ph:ph + size[0], pw:pw + size[1]]))


def pool_divisors(kernel, stride, padding, size, out_size, count_include_pad, divisor):
    """What each window of an average pool is divided by: (OH, OW, 1), a NumPy array."""
    counts = []
    for k, s, p, length, out in zip(kernel, stride, padding, size, out_size, strict=True):
        begin = np.arange(out) * s - p
        end = np.minimum(begin + k, length + p)                                             # ceil_mode may overshoot
        counts.append(end - begin if count_include_pad else np.minimum(end, length) - np.maximum(begin, 0))
    counts = counts[0][:, None, None] * counts[1][None, :, None]
    return np.full_like(counts, divisor) if divisor is not None else counts


def _overlap(out, size, stride, offset):
    """The output positions i whose tap i*stride + offset lies inside the image, and those taps, as two slices."""
    first, last = max(0, -(offset // stride)), min(out - 1, (size - 1 - offset) // stride)
    if last < first:
        return slice(0, 0), slice(0, 0)
    return slice(first, last + 1), slice(first * stride + offset, last * stride + offset + 1, stride)


def _like(x, values):
    """A NumPy array of constants, moved to where x lives."""
    return np.asarray(values, like=x)
