"""Convolution of few channels: the register tile fed from padded rows in the L1 cache.

The first layer of a network sees 1 or 3 channels. A tile then has few products for each output, and its table of addresses
(`direct.py`) costs as much as they do. Here a block copies the rows of the image that it reads, with their padding, so that
window m lies at a place that does not depend on the block, and row u of every window u*d*pitch floats after the window's begin:

    y[m, o] = sum over u and q = (v, c) of rows[begins[m] + u*d*pitch + q] * w[u, q, o]

One list of beginnings serves all blocks, and no padded image is written to memory. A row of a window must be contiguous: a dilation
of 1 along it. A block is a band of output rows of one image. Every output is one sum in one order.
May import: numpy, numba, llvmlite, `compiling`, `endings`, `lanes`, `threads`, `tile`.
"""
import functools
import math

import numpy as np
from numba import types
from numba.core import cgutils

from minigrad.kernels.cpu.compiling import kernel
from minigrad.kernels.cpu.endings import NOTHING, finish_rows
from minigrad.kernels.cpu.lanes import prefetch
from minigrad.kernels.cpu.threads import empty, instruction, launch, take
from minigrad.kernels.cpu.tile import I64, MR, NR, NV, VL, Emit, addresses, at

PIXELS = 256                        # outputs of a block, about: the rows that they read fit the L1 cache


def _window_twin(vectors):
    def twin(begins, base, kh, pitch, length, weights, weight_step, out, out_step, width):
        x = np.array([[at(base + begin + 4 * u * pitch, length) for u in range(kh)] for begin in addresses(begins, MR)])
        w = np.stack([at(weights + k * weight_step, vectors * VL) for k in range(kh * length)])
        for m, row in enumerate(x.reshape(MR, -1) @ w):
            at(out + m * out_step, width)[:] = row[:width]
    return twin


def window_tile(vectors):
    """Make tile(begins, base, kh, pitch, length, weights, weight_step, out, out_step, width):

    out_row[m][n] = sum over u < kh, q < length of window[m][u*pitch + q] * weights_row[u*length + q][n],  m < MR, n < width.

    begins: the address of MR numbers of bytes: window m lies at base + begins[m]. base, weights, out: addresses; weight_step,
    out_step: bytes from row to row; pitch: floats. width <= vectors*VL.
    """
    @instruction(_window_twin(vectors))
    def tile(typing_context, begins, base, kh, pitch, length, weights, weight_step, out, out_step, width):
        def codegen(context, b, signature, args):
            begins, base, kh, pitch, length, weights, weight_step, out, out_step, width = args
            e = Emit(b)
            rows = [b.add(base, e.word(begins, I64(m))) for m in range(MR)]
            acc = [[e.variable(e.zero) for _ in range(vectors)] for _ in range(MR)]
            weight = e.variable(weights)
            with cgutils.for_range(b, kh, intp=I64) as u:
                start = b.mul(u.index, pitch)
                with cgutils.for_range_slice(b, start, b.add(start, length), I64(1), intp=I64) as (k, _):
                    address = b.load(weight)
                    w = [e.load(address, 4 * VL * v) for v in range(vectors)]
                    for m in range(MR):
                        x = e.scalar(rows[m], k)
                        for v in range(vectors):
                            e.accumulate(acc[m][v], x, w[v])
                    b.store(b.add(address, weight_step), weight)
            for m in range(MR):
                place = b.add(out, b.mul(out_step, I64(m)))
                for v in range(vectors):
                    e.store_first(b.load(acc[m][v]), place, 4 * VL * v, b.sub(width, I64(VL * v)))
            return context.get_dummy_value()

        return types.void(*[types.intp] * 10), codegen

    return tile


tile2, tile1 = window_tile(NV), window_tile(1)


@kernel
def convolve(counter, scratch, x, weights, y, begins, dilation, step_h, padding_h, padding_w, height, pitch, bias, slope):
    """y (N,OH,OW,O) from x (N,H,W,C) and weights (kh, kw, C, outs rounded up to NR). A block is `height` rows of an image.

    begins (height*OW or more): bytes, as above; pitch: floats of a padded row. Negative padding crops the image. bias, slope: see
    `endings`.
    """
    n, h, w, channels = x.shape
    oh, ow, outs = y.shape[1], y.shape[2], y.shape[3]
    kh, length, width = weights.shape[0], weights.shape[1] * channels, weights.shape[3]
    bands, flat, reach = (oh + height - 1) // height, x.reshape(x.size), dilation * (kh - 1) + 1
    y0, w0, b0, r0 = y.ctypes.data, weights.ctypes.data, begins.ctypes.data, scratch.ctypes.data
    spill = np.empty((MR, outs), np.float32)
    left, cropped = min(pitch, max(0, padding_w * channels)), max(0, -padding_w * channels)
    right = max(left, min(pitch, (padding_w + w) * channels))
    while True:
        block = take(counter)
        if block >= n * bands:
            break
        b, i = block // bands, block % bands * height
        count = min(height, oh - i)
        top = i * step_h - padding_h
        for r in range((count - 1) * step_h + reach):
            row = scratch[r * pitch:(r + 1) * pitch]
            if 0 <= top + r < h:
                start = (b * h + top + r) * w * channels + cropped
                source, inner = flat[start:start + right - left], row[left:right]
                for k in range(inner.size):
                    inner[k] = source[k]
                row[:left] = 0
                row[right:] = 0
            else:
                row[:] = 0
        pixels, place, below = count * ow, y0 + (b * oh + i) * ow * outs * 4, outs * 4
        for m in range(0, pixels, MR):
            start = max(0, min(m, pixels - MR))                 # the last tile ends with the last pixel
            prefetch(place + min(start + MR, max(0, pixels - MR)) * below, MR * below)           # where the next tile writes
            target = place + start * below if pixels >= MR else spill.ctypes.data
            for o in range(0, outs, NR):
                at_weights, at_out, size = w0 + o * 4, target + o * 4, min(NR, outs - o)
                if size > VL:
                    tile2(b0 + start * 8, r0, kh, dilation * pitch, length, at_weights, width * 4, at_out, below, size)
                else:
                    tile1(b0 + start * 8, r0, kh, dilation * pitch, length, at_weights, width * 4, at_out, below, size)
        if pixels < MR:
            for m in range(pixels):
                for o in range(outs):
                    y[b, i + m // ow, m % ow, o] = spill[m, o]
        if bias.size:
            for u in range(i, i + count):
                finish_rows(y[b, u], bias, slope)


@functools.lru_cache(256)
def plan(out, kernel, stride, dilation, channels):
    """(rows of a block, floats of a padded row, where each window of a block begins in them). Only what the shapes say."""
    (oh, ow), pitch = out, ((out[1] - 1) * stride[1] + dilation[1] * (kernel[1] - 1) + 1) * channels
    whole = MR // math.gcd(MR, ow)                              # so many rows fill whole tiles
    height = PIXELS // ow
    height = min(oh, max(1, height // whole * whole if height >= whole else height))
    i, j = np.divmod(np.arange(max(MR, height * ow)) % (height * ow), ow)
    return height, pitch, (i * stride[0] * pitch + j * stride[1] * channels) * 4


def convolution(x, w, y, stride, padding, dilation, ending=NOTHING):
    """y (N,OH,OW,O) from x (N,H,W,C) of few channels and w (O,C,kh,kw), whose rows must be whole: a dilation of 1 along them."""
    n, oh, ow, outs = y.shape
    _, c, kh, kw = w.shape
    height, pitch, begins = plan((oh, ow), (kh, kw), stride, dilation, c)
    weights = empty(kh, kw, c, -(-outs // NR) * NR)
    weights[..., :outs] = w.transpose(2, 3, 1, 0)
    weights[..., outs:] = 0
    launch(convolve, n * -(-oh // height), x, weights, y, begins, dilation[0], stride[0], *padding, height, pitch,
           *ending, scratch=((height - 1) * stride[0] + dilation[0] * (kh - 1) + 1) * pitch)
