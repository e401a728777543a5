"""Pixels in other places: pad, unfold and fold, pixel_shuffle and pixel_unshuffle. All linear, each rule the adjoint:

    pad reflect, replicate, circular    a map along one axis (`pooling.axis_map`) <-> the transposed map
    unfold <-> fold                     windows as columns <-> columns added up as windows
    pixel_shuffle <-> pixel_unshuffle   channels as pixels and back; inverse and adjoint are the same

Imports: numpy, minigrad.autograd, minigrad.kernels.geometry, common, indexing, pooling, shape.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np

from minigrad.autograd import primitive
from minigrad.functional.common import integer, pair, real, require_float, require_tensor
from minigrad.functional.indexing import pad_constant
from minigrad.functional.pooling import Taps, axis_map
from minigrad.functional.shape import reshape, squeeze, unsqueeze
from minigrad.kernels.geometry import window_count

# ---- padding ---------------------------------------------------------------------------------------------------------


def pad(input, pad, mode="constant", value=None):
    """input with new elements around its last axes: pad = (left, right, top, bottom, ...), the LAST axis first.

    mode 'constant' (filled with `value`, default 0), 'reflect' (mirrored without repeating the border; less than the
    length), 'replicate' (the border repeated), 'circular' (the other end; at most the length). Negative widths cut, and
    'circular' repeats what they leave.
    """
    require_tensor("pad", input=input)
    widths = [integer("pad: width", w) for w in pad]
    if len(widths) % 2 or len(widths) > 2 * input.ndim:
        raise ValueError(f"pad: {tuple(pad)} must hold a pair for each padded axis of input {input.shape}, last first")
    pairs = [(0, 0)] * (input.ndim - len(widths) // 2) + list(zip(widths[::2], widths[1::2], strict=True))[::-1]
    for (before, after), n in zip(pairs, input.shape, strict=True):
        if n + before + after < 0:
            raise ValueError(f"pad: {tuple(pad)} cuts more than input {input.shape} holds")
    if mode == "constant":
        return pad_constant(input, tuple(pairs), 0.0 if value is None else real("pad: value", value))
    if mode not in ("reflect", "replicate", "circular"):
        raise ValueError(f"pad: mode must be 'constant', 'reflect', 'replicate' or 'circular', got {mode!r}")
    if value is not None:
        raise ValueError(f"pad: value={value} works with mode 'constant' only, not with {mode!r}")
    require_float("pad", input=input)
    for axis, (before, after) in enumerate(pairs):
        n = input.shape[axis]
        kept = max(0, n + min(before, 0) + min(after, 0))
        limit = {"reflect": max(n - 1, 0), "replicate": math.inf if n else 0, "circular": kept}[mode]
        if max(before, after) > limit:
            raise ValueError(f"pad: {tuple(pad)} in mode {mode!r} may add at most {limit} on each side of axis {axis} "
                             f"of input {input.shape}")
        if before or after:
            input = axis_map(input, axis, _pad_taps(mode, n, before, after))
    return input


@functools.lru_cache(maxsize=256)
def _pad_taps(mode, length, before, after):
    at = np.arange(-before, length + after)
    if mode == "reflect":
        at = length - 1 - np.abs(length - 1 - np.abs(at))
    elif mode == "replicate":
        at = np.clip(at, 0, length - 1)
    else:  # what negative widths leave is repeated
        first, last = max(0, -before), length - max(0, -after)
        at = first + (at - first) % (last - first) if last > first else at[:0]
    return Taps(np.arange(len(at)), at, None, len(at), length)


# ---- windows as columns ----------------------------------------------------------------------------------------------


def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    """The windows of images as columns (im2col): (N, C, H, W) -> (N, C * kh * kw, L), or the same without N."""
    require_float("unfold", input=input)
    if input.ndim not in (3, 4) or 0 in input.shape[-3:]:
        raise ValueError(f"unfold: input must be (N, C, H, W) or (C, H, W) with pixels in it, got {input.shape}")
    x = unsqueeze(input, 0) if input.ndim == 3 else input
    geometry, _ = _windows("unfold", x.shape[2:], kernel_size, dilation, padding, stride)
    columns = _unfold(x, **geometry)
    return squeeze(columns, 0) if input.ndim == 3 else columns


def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """Columns (N, C * kh * kw, L) added up as windows of images (N, C, *output_size): the adjoint of unfold."""
    require_float("fold", input=input)
    size = pair("fold: output_size", output_size, 1)
    geometry, (rows, columns) = _windows("fold", size, kernel_size, dilation, padding, stride)
    taps = math.prod(geometry["kernel"])
    if input.ndim not in (2, 3) or input.shape[-2] % taps or input.shape[-2] == 0 or input.shape[-1] != rows * columns:
        raise ValueError(f"fold: input {input.shape} must be (N, C * {taps}, {rows * columns}): kernel "
                         f"{geometry['kernel']} has {rows} x {columns} windows in output_size {size}")
    x = unsqueeze(input, 0) if input.ndim == 2 else input
    image = _fold(x, size=size, **geometry)
    return squeeze(image, 0) if input.ndim == 2 else image


def _windows(name, size, kernel, dilation, padding, stride):
    kernel, stride = pair(f"{name}: kernel_size", kernel, 1), pair(f"{name}: stride", stride, 1)
    dilation, padding = pair(f"{name}: dilation", dilation, 1), pair(f"{name}: padding", padding)
    counts = tuple(map(window_count, size, kernel, stride, padding, dilation))
    if min(counts) < 1:
        raise ValueError(f"{name}: no window of kernel {kernel} and dilation {dilation} fits into {size} with padding "
                         f"{padding}")
    return {"kernel": kernel, "dilation": dilation, "padding": padding, "stride": stride}, counts


def _taps_of(padded, kernel, dilation, stride, counts):
    """(u, v, what tap (u, v) of all windows sees of the padded image), as views."""
    for u, v in itertools.product(*map(range, kernel)):
        yield u, v, padded[:, :, u * dilation[0] : u * dilation[0] + (counts[0] - 1) * stride[0] + 1 : stride[0],
                           v * dilation[1] : v * dilation[1] + (counts[1] - 1) * stride[1] + 1 : stride[1]]


@primitive
def _unfold(x, **geometry):
    """y[n, (c,u,v), (i,j)] = x[n, c, i*s - p + u*d, j*s - p + v*d], and 0 outside the image."""
    (kh, kw), (ph, pw) = geometry["kernel"], geometry["padding"]
    _, counts = _windows("unfold", x.shape[2:], **geometry)
    n, c = x.shape[:2]
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw))) if ph or pw else x
    columns = np.empty_like(x, shape=(n, c, kh, kw, *counts), order="C")
    for u, v, seen in _taps_of(padded, geometry["kernel"], geometry["dilation"], geometry["stride"], counts):
        columns[:, :, u, v] = seen
    return columns.reshape(n, c * kh * kw, math.prod(counts))


@_unfold.vjp
def _(node, needs, g, **geometry):
    return (_fold(g, size=node.specs[0][0][2:], **geometry),)


@primitive
def _fold(g, size, **geometry):
    """The adjoint of unfold: every column is added at the pixels that it came from."""
    (kh, kw), (ph, pw) = geometry["kernel"], geometry["padding"]
    _, counts = _windows("fold", size, **geometry)
    n, c = g.shape[0], g.shape[1] // (kh * kw)
    columns = g.reshape(n, c, kh, kw, *counts)
    buffer = np.zeros_like(g, shape=(n, size[0] + 2 * ph, size[1] + 2 * pw, c), order="C").transpose(0, 3, 1, 2)
    for u, v, seen in _taps_of(buffer, geometry["kernel"], geometry["dilation"], geometry["stride"], counts):
        seen += columns[:, :, u, v]
    image = buffer.transpose(0, 2, 3, 1)[:, ph : ph + size[0], pw : pw + size[1]]
    return np.ascontiguousarray(image).transpose(0, 3, 1, 2)


@_fold.vjp
def _(node, needs, u, size, **geometry):
    return (_unfold(u, **geometry),)


# ---- channels as pixels ----------------------------------------------------------------------------------------------


def pixel_shuffle(input, upscale_factor):
    """(..., C * r^2, H, W) -> (..., C, H * r, W * r): channels become the pixels of r x r blocks (Shi et al. 2016)."""
    r = _factor("pixel_shuffle", input, upscale_factor)
    if input.shape[-3] % (r * r):
        raise ValueError(f"pixel_shuffle: the {input.shape[-3]} channels of input {input.shape} must divide by "
                         f"upscale_factor^2 = {r * r}")
    out = _shuffle(_flat_batch(input), factor=r)
    return reshape(out, (*input.shape[:-3], *out.shape[1:]))


def pixel_unshuffle(input, downscale_factor):
    """(..., C, H * r, W * r) -> (..., C * r^2, H, W): the inverse of pixel_shuffle."""
    r = _factor("pixel_unshuffle", input, downscale_factor)
    if input.shape[-2] % r or input.shape[-1] % r:
        raise ValueError(f"pixel_unshuffle: height and width of input {input.shape} must divide by "
                         f"downscale_factor {r}")
    out = _unshuffle(_flat_batch(input), factor=r)
    return reshape(out, (*input.shape[:-3], *out.shape[1:]))


def _factor(name, input, factor):
    require_float(name, input=input)
    if input.ndim < 3:
        raise ValueError(f"{name}: input must be (..., C, H, W), got {input.shape}")
    return integer(f"{name}: factor", factor, 1)


def _flat_batch(x):
    return reshape(x, (math.prod(x.shape[:-3]), *x.shape[-3:]))


@primitive
def _shuffle(x, factor):
    """y[n, c, i*r + u, j*r + v] = x[n, (c,u,v), i, j] with r = factor."""
    n, c, h, w = x.shape
    c //= factor * factor
    blocks = x.transpose(0, 2, 3, 1).reshape(n, h, w, c, factor, factor).transpose(0, 1, 4, 2, 5, 3)
    return np.ascontiguousarray(blocks).reshape(n, h * factor, w * factor, c).transpose(0, 3, 1, 2)


@_shuffle.vjp
def _(node, needs, g, factor):
    return (_unshuffle(g, factor=factor),)


@primitive
def _unshuffle(x, factor):
    """y[n, (c,u,v), i, j] = x[n, c, i*r + u, j*r + v] with r = factor: the adjoint of shuffle."""
    n, c, h, w = x.shape
    h, w = h // factor, w // factor
    blocks = x.transpose(0, 2, 3, 1).reshape(n, h, factor, w, factor, c).transpose(0, 1, 3, 5, 2, 4)
    return np.ascontiguousarray(blocks).reshape(n, h, w, c * factor * factor).transpose(0, 3, 1, 2)


@_unshuffle.vjp
def _(node, needs, g, factor):
    return (_shuffle(g, factor=factor),)
