"""Convolution of few channels: the register tile fed from padded rows in the L1 cache.

The first layer of a network sees 1 or 3 channels. Then a tile has few products for each output, and the table of addresses that
`direct` uses costs as much as the products. Here a block copies the rows of the image that it reads, with their padding, to the
scratch. There window m lies at a place that does not depend on the block.

| symbol | meaning |
|---|---|
| m, o | an output pixel of the block, an output channel |
| (u, v), c | a tap of the kernel, an input channel |
| pitch | floats from one copied row to the next |
| begins[m] | where window m, the input that output m reads, begins in the copied rows |

    y[m, o] = sum over u and q = (v, c) of rows[begins[m] + u*d*pitch + q] * w[u, q, o]

One list of beginnings serves all blocks, and no padded image is written to memory. A row of a window must be contiguous, so the
dilation along it is 1. A block is a band of output rows of an image, or some small images. Every output is one sum in one order.

Imports: llvmlite, numba, numpy, minigrad.kernels.geometry, parts, registers, machine, plans.
"""
import functools
import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from minigrad.kernels.cpu.convolution.plans import MOST_PARTS
from minigrad.kernels.cpu.machine.compiling import inner, instruction, kernel, stage
from minigrad.kernels.cpu.machine.threads import after, complete, empty, launch, share, take
from minigrad.kernels.cpu.parts.activation import NOTHING
from minigrad.kernels.cpu.registers.copies import PIECES, copy_matrix, copy_rows, prefetch
from minigrad.kernels.cpu.registers.emit import AR, F32, I64, MR, NR, NV, STREAMED, VL, Emit, addresses, at, streams
from minigrad.kernels.cpu.registers.tiles import OUTER_LOW, outer_low, outer_narrow, outer_wide
from minigrad.kernels.geometry import transposed_size

PANEL_FLOATS = 7168                 # of a block's windows and of its rows of g, at most: the L1 cache has 8192
BLOCK_PIXELS = 512                  # outputs of a block, about: the rows that they read fit the L1 cache


def _window_twin(vectors):
    def twin(begins, base, kh, pitch, length, weights, weight_step, out, out_step, width, bias, slope, stream):
        x = np.array([[at(base + begin + 4 * u * pitch, length) for u in range(kh)] for begin in addresses(begins, MR)])
        y = x.reshape(MR, -1) @ np.stack([at(weights + k * weight_step, vectors * VL) for k in range(kh * length)])
        if bias:
            z = y + at(bias, vectors * VL)
            y = np.where(z <= 0, z * np.float32(slope) if slope else np.float32(0), z)
        for m, row in enumerate(y):
            at(out + m * out_step, width)[:] = row[:width]
    return twin


def window_tile(vectors):
    """Make tile(begins, base, kh, pitch, length, weights, weight_step, out, out_step, width, bias, slope, stream):

    out_row[m][n] = ending(sum over u < kh, q < length of window[m][u*pitch + q] * weights_row[u*length + q][n]), m < MR, n < width.

    begins: the address of MR numbers; window m lies at base + begins[m], in bytes. base, weights, out: addresses. weight_step,
    out_step: bytes from row to row; pitch: floats. width <= vectors*VL. bias: the address of vectors*VL floats, or 0 where no
    ending follows; slope: see `activation`. stream: see `streams`.
    """
    @instruction(_window_twin(vectors))
    def tile(typing_context, begins, base, kh, pitch, length, weights, weight_step, out, out_step, width, bias, slope, stream):
        def codegen(context, b, signature, args):
            begins, base, kh, pitch, length, weights, weight_step, out, out_step, width, bias, slope, stream = args
            e = Emit(b)
            rows = [b.add(base, e.word(begins, I64(m))) for m in range(MR)]
            acc = [[e.variable(e.zero) for _ in range(vectors)] for _ in range(MR)]
            weight = e.variable(weights)
            with cgutils.for_range(b, kh, intp=I64) as u:
                start = b.mul(u.index, pitch)

                def term(k):
                    address = b.load(weight)
                    w = [e.load(address, 4 * VL * v) for v in range(vectors)]
                    for m in range(MR):
                        x = e.scalar(rows[m], k)
                        for v in range(vectors):
                            e.accumulate(acc[m][v], x, w[v])
                    b.store(b.add(address, weight_step), weight)

                e.in_pairs(start, b.add(start, length), term)
            with b.if_then(b.icmp_signed("!=", bias, I64(0))):  # as in `activation.finish`
                slope = b.fptrunc(slope, F32)
                with b.if_else(b.fcmp_ordered("==", slope, ir.Constant(F32, 0.0))) as (relu, leaky):
                    for case, low in (relu, lambda z: e.zero), (leaky, lambda z: b.fmul(z, e.splat(slope))):
                        with case:
                            for v in range(vectors):
                                for m in range(MR):
                                    z = b.fadd(b.load(acc[m][v]), e.load(bias, 4 * VL * v))
                                    b.store(b.select(b.fcmp_ordered("<=", z, e.zero), low(z), z), acc[m][v])
            e.store_rows(acc, [b.add(out, b.mul(out_step, I64(m))) for m in range(MR)], width, stream)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 11, types.float64, types.intp), codegen

    return tile


window_wide, window_narrow = window_tile(NV), window_tile(1)


@stage
def rows_read(outputs, kh, step, dilation):
    """The input rows that so many output rows read: `geometry.transposed_size` without padding, for kernels."""
    return (outputs - 1) * step + dilation * (kh - 1) + 1


@inner
def pad_rows(x, first, images, top, rows, padding, pitch, target):
    """target[(b*rows + r)*pitch:][:pitch] = row top + r of image first + b, r < rows, with zeros above and below the image.

    The zeros to the left and right of the rows must be there already. Negative padding crops the image."""
    h, w, channels = x.shape[1], x.shape[2], x.shape[3]
    left, cropped = min(pitch, max(0, padding * channels)), max(0, -padding * channels)
    length = max(left, min(pitch, (padding + w) * channels)) - left
    low, high = min(rows, max(0, -top)), min(rows, max(0, h - top))                         # which of the rows the image has
    for b in range(images):
        start, source = b * rows * pitch, ((first + b) * h + top + low) * w * channels + cropped
        target[start:start + low * pitch] = 0
        target[start + high * pitch:start + rows * pitch] = 0
        copy_matrix(x.ctypes.data + source * 4, w * channels * 4, high - low, length,
                    target.ctypes.data + (start + low * pitch + left) * 4, pitch * 4)


@kernel
def few_channels_convolve(counter, scratches, x, weights, y, begins, dilation, step_h, padding_h, padding_w, images, height, pitch,
                          bias, slope, streamed):
    """y (N,OH,OW,O) from x (N,H,W,C) and weights (kh, kw, C, outs rounded up to NR). A block is `height` output rows of `images`
    images; several images only if these are all their rows.

    begins (images*height*OW or more): in bytes; pitch: floats of a padded row. Negative padding crops the image.
    bias (outs rounded up to NR), slope: see `activation`; streamed: see `streams`.
    """
    scratch = scratches[share(counter)]
    n, oh, ow, outs = y.shape
    kh, length, width = weights.shape[0], weights.shape[1] * weights.shape[2], weights.shape[3]
    bands, flat, below = (oh + height - 1) // height, y.reshape(y.size), outs * 4
    # Signed, because `target` is one of the two: a choice between a signed and an unsigned number is a float64 to Numba.
    y0, w0, b0, r0 = np.int64(y.ctypes.data), weights.ctypes.data, begins.ctypes.data, scratch.ctypes.data
    spill = np.empty((MR, outs), np.float32)
    s0, e0 = np.int64(spill.ctypes.data), np.int64(bias.ctypes.data)
    scratch[:images * rows_read(height, kh, step_h, dilation) * pitch] = 0
    while True:
        block = take(counter)
        if block >= (n + images - 1) // images * bands:
            break
        b, i = block // bands * images, block % bands * height
        many, count = min(images, n - b), min(height, oh - i)
        pad_rows(x, b, many, i * step_h - padding_h, rows_read(count, kh, step_h, dilation), padding_w, pitch, scratch)
        pixels, place = many * count * ow, y0 + (b * oh + i) * ow * below
        stream = streamed if pixels >= MR else 0
        for m in range(0, pixels, MR):
            start = max(0, min(m, pixels - MR))                 # the last tile ends with the last pixel
            if not stream:                                      # the lines that the next tile writes to
                prefetch(place + min(start + MR, max(0, pixels - MR)) * below, MR * below)
            target = place + start * below if pixels >= MR else s0
            for o in range(0, outs, NR):
                at_weights, at_out, size, at_bias = w0 + o * 4, target + o * 4, min(NR, outs - o), e0 + o * 4 if bias.size else 0
                if size > VL:
                    window_wide(b0 + start * 8, r0, kh, dilation * pitch, length, at_weights, width * 4, at_out, below, size,
                                at_bias, slope, stream)
                else:
                    window_narrow(b0 + start * 8, r0, kh, dilation * pitch, length, at_weights, width * 4, at_out, below, size,
                                  at_bias, slope, stream)
        if pixels < MR:
            for m in range(pixels):
                for o in range(outs):
                    flat[((b * oh + i) * ow + m) * outs + o] = spill[m, o]


@kernel
def few_channels_weight_gradient(counter, scratches, x, g, begins, kh, length, dilation, step_h, padding_h, padding_w, images,
                                 height, pitch, panel, across, spare, swapped, total, far, places, dw):
    """total[part, r, o] = sum over the part's outputs m of window[m, r] * g[m, o], where r = (u, q) numbers a window's floats.
    Then dw from it, by `few_channels_collect`.

    The whole weight gradient is one sum of outer products. If it went by rows of the kernel, with `length` = kw*C floats (3 to 12)
    each, rows of the outer tile would be idle, and g would be read kh times. So the windows are copied side by side, `across`
    floats apart, to a panel in the L1 cache. Rows of the tile beyond a window are not collected.

    panel, spare: where in the scratch the panel lies, and a copy of the last rows of g, because the tile reads beyond them.
    swapped: total[part, o, r] instead, with the windows in the lanes; it pays for fewer outputs than lanes. far: whether g lies in
    memory rather than in a cache.
    """
    scratch = scratches[share(counter)]
    n, oh, ow, outs = g.shape
    parts, a_up, b_up = total.shape
    bands, r0, g0, t0 = (oh + height - 1) // height, scratch.ctypes.data, g.ctypes.data, total.ctypes.data
    blocks, pixels = (n + images - 1) // images * bands, begins.size
    windows, gradients = np.empty(pixels, np.int64), np.empty(pixels, np.int64)
    left, right = (gradients, windows) if swapped else (windows, gradients)
    flat, a_width, b_width = g.reshape(g.size), kh * length, outs
    if swapped:
        a_width, b_width = outs, kh * length
    for m in range(pixels):
        windows[m], gradients[m] = (panel + m * across) * 4, m * outs * 4
    scratch[:images * rows_read(height, kh, step_h, dilation) * pitch] = 0
    collected = (outs + VL - 1) // VL
    while True:
        part = take(counter)
        if part >= parts:
            if part >= parts + collected:
                break
            after(counter, parts)
            few_channels_collect((part - parts) * VL, total, places, swapped, dw)
            continue
        for c in range(a_up):
            for o in range(b_up):
                total[part, c, o] = 0
        for block in range(part * blocks // parts, (part + 1) * blocks // parts):
            b, i = block // bands * images, block % bands * height
            many, count = min(images, n - b), min(height, oh - i)
            pad_rows(x, b, many, i * step_h - padding_h, rows_read(count, kh, step_h, dilation), padding_w, pitch, scratch)
            pixels, start = many * count * ow, (b * oh + i) * ow * outs
            for u in range(kh):                             # what exceeds a row is overwritten by the next one
                row, target = r0 + u * dilation * pitch * 4, r0 + (panel + u * length) * 4
                copy_rows(begins.ctypes.data, row, pixels, length, target, across * 4)
            from0 = g0 + start * 4
            if start + pixels * outs + NR > g.size:         # the tile reads up to NR floats from the last pixel on
                for k in range(pixels * outs):
                    scratch[spare + k] = flat[start + k]
                from0 = r0 + spare * 4
            left0, right0 = (from0, r0) if swapped else (r0, from0)
            tiles = (b_width + NR - 1) // NR * (a_up // AR)
            ahead = (pixels * outs * 4 + tiles - 1) // tiles
            soon = g0 + (start + pixels * outs) * 4         # the next block's rows of g come into the L2 cache meanwhile
            for o in range(0, b_width, NR):
                for c in range(0, a_up, AR):
                    if far:
                        prefetch(soon, ahead)
                        soon += ahead
                    place = t0 + ((part * a_up + c) * b_up + o) * 4
                    if b_width - o > VL and a_width - c <= OUTER_LOW:
                        outer_low(left.ctypes.data, left0 + c * 4, right.ctypes.data, right0 + o * 4, pixels, place, b_up)
                    elif b_width - o > VL:
                        outer_wide(left.ctypes.data, left0 + c * 4, right.ctypes.data, right0 + o * 4, pixels, place, b_up)
                    else:
                        outer_narrow(left.ctypes.data, left0 + c * 4, right.ctypes.data, right0 + o * 4, pixels, place, b_up)
        complete(counter)


@inner
def few_channels_collect(first, total, places, swapped, dw):
    """dw[o, places[r]] = the sum over parts, in order, of total[part, r, o], or total[part, o, r] if swapped; VL outputs o."""
    for o in range(first, min(first + VL, dw.shape[0])):
        for r in range(places.size):
            s = np.float32(0)
            for part in range(total.shape[0]):
                s += total[part, o, r] if swapped else total[part, r, o]
            dw[o, places[r]] = s


@functools.lru_cache(256)
def window_plan(n, out, kernel, stride, dilation, channels, pixels, whole):
    """(images and output rows of a block of about `pixels` outputs, pitch, floats of all a block's padded rows, begins).

    whole: the pixels of a tile. Rows are cut into whole tiles where possible. The shapes alone decide."""
    (oh, ow), pitch = out, transposed_size(out[1], kernel[1], stride[1], 0, dilation[1]) * channels
    rows = whole // math.gcd(whole, ow)                         # so many fill whole tiles
    height = max(1, pixels // ow)
    height = min(oh, height // rows * rows if height >= rows else height)
    images = max(1, min(pixels // (oh * ow), n // MOST_PARTS)) if height == oh else 1
    rows = transposed_size(height, kernel[0], stride[0], 0, dilation[0])
    m = np.arange(max(whole, images * height * ow)) % (images * height * ow)
    b, i, j = m // (height * ow), m // ow % height, m % ow
    return images, height, pitch, images * rows * pitch, ((b * rows + i * stride[0]) * pitch + j * stride[1] * channels) * 4


def convolve_few_channels(x, w, y, stride, padding, dilation, ending=NOTHING):
    """y (N,OH,OW,O) from x (N,H,W,C) of few channels and w (O,C,kh,kw). The horizontal dilation is 1."""
    n, oh, ow, outs = y.shape
    _, c, kh, kw = w.shape
    images, height, pitch, size, begins = window_plan(n, (oh, ow), (kh, kw), stride, dilation, c, BLOCK_PIXELS, MR)
    weights = empty(kh, kw, c, -(-outs // NR) * NR)
    weights[..., :outs] = w.transpose(2, 3, 1, 0)
    weights[..., outs:] = 0
    bias, slope = ending
    padded = empty(weights.shape[3] if bias.size else 0)
    if bias.size:
        padded[:outs], padded[outs:] = bias, 0
    launch(few_channels_convolve, -(-n // images) * -(-oh // height), x, weights, y, begins, dilation[0], stride[0], *padding,
           images, height, pitch, padded, slope, streams(y, outs), scratch=size)


def weight_gradient_of_few_channels(x, g, dw, kernel, stride, padding, dilation, places):
    """dw[o, places[r]] = sum over outputs of window[r] * g[o], for short windows. dw (O, kh*kw*C)."""
    (n, oh, ow, outs), c, (kh, kw) = g.shape, x.shape[3], kernel
    terms, excess = kh * kw * c, -(kw * c) % min(p for p in PIECES if p >= min(kw * c, PIECES[-1]))
    across = -(-(terms + excess) // AR) * AR
    images, height, pitch, size, begins = window_plan(n, (oh, ow), kernel, stride, dilation, c,
                                                       max(1, PANEL_FLOATS // (across + outs)), 1)
    # Whichever side leaves less of the tile idle lies along the lanes.
    swap = -(-outs // AR) * -(-terms // VL) < -(-terms // AR) * -(-outs // VL)
    a_width, b_width = (outs, terms) if swap else (terms, outs)
    total = empty(min(MOST_PARTS, -(-n // images) * -(-oh // height)), -(-a_width // AR) * AR, -(-b_width // NR) * NR)
    panel = -(-(size + excess) // VL) * VL
    spare = panel + -(-(begins.size * across + NR) // VL) * VL
    launch(few_channels_weight_gradient, len(total), x, g, begins, kh, kw * c, dilation[0], stride[0], *padding, images, height,
           pitch, panel, across, spare, swap, total, g.nbytes >= STREAMED, places, dw, scratch=spare + begins.size * outs + NR + AR)
