"""Winograd for many channels and few patches, where the transformed weights are the largest array: they are never written down.

512 filters of 256 channels, 4x4, are 8 MB of weights, but 52 MB of transformed ones. `winograd` would write these to memory and
read them again for each block of patches, although images of 4x4 pixels are one patch each. Here the order of the loops is turned
round. All inputs are transformed first, and then a block of work is a panel of NR filters:

    for each chunk of input channels:   W = G w G^T of the panel and the chunk          in the L2 cache, used at once
                                        M[f] += V[f] W[f]  for every frequency f
    y = A^T M A                                                                          of the panel's NR channels

The weight gradient goes likewise: S[f] = V[f]^T E[f] for a chunk of channels and a panel of filters over all patches, then
dw = G^T S G while S lies in the cache. There are no partial sums. Measured (Zen 4, two threads, 64 images of 8x8 to 4x4, 256 to 512
channels): 23 ms by direct summation become 12, and 28 ms for the gradient 13.

`winograd` explains the algorithm and the symbols. Here all patches are the largest, M x M. Every sum runs in a fixed order.

Imports: numpy, parts, registers, machine, plans, winograd_patches, winograd_transforms.
"""
import numpy as np

from minigrad.kernels.cpu.convolution.plans import COLS, IN_X, IN_Y, OUT_X, OUT_Y, ROWS
from minigrad.kernels.cpu.convolution.winograd_patches import grid, window
from minigrad.kernels.cpu.convolution.winograd_transforms import (
    GATHERED,
    PLANE_SPARE,
    TABLE_SPARE,
    M,
    chunk_weights,
    largest_inputs_of,
    largest_output_gradients_of,
    largest_outputs_of,
    weight_gradients_of,
)
from minigrad.kernels.cpu.machine.compiling import ONE, kernel
from minigrad.kernels.cpu.machine.threads import empty, launch, share, take
from minigrad.kernels.cpu.parts.layout import shared_zeros
from minigrad.kernels.cpu.registers.emit import AR, MR, NR, VL
from minigrad.kernels.cpu.registers.tiles import outer_narrow, outer_wide, panel_low, panel_tall

PANEL_PATCHES = 128                 # patches at most whose products with one panel stay in the L2 cache
SPAN = 1 << 21                      # floats of transformed inputs that stay in the L3 cache
PANEL_CHUNK = 4 * NR                # input channels whose transformed weights stay in the L2 cache
PANEL_SLICE = 64                    # input channels to a block of the weight gradient
SIDE = np.int64(M)                  # typed, like ONE


@kernel
def panels_transform_inputs(counter, x, problem, shifts, step, r, zeros, wide, begin, total, v):
    """v[chunk, f, t, p, c] = (B^T X B)[f] of the problem's patch begin + t, t < total, in channel c of the chunk, image p.

    A chunk is up to `wide` channels of each of the shifted images: shifts (P, 2); problem (6,), step: as in `winograd_convolve`.
    v flat. A block is one patch.
    """
    share(counter)
    a, channels, images = r + M - 1, x.shape[3], shifts.shape[0]
    area, x0, z0, v0 = a * a, x.ctypes.data, zeros.ctypes.data, v.ctypes.data
    down, across = (problem[ROWS] + M - 1) // M, (problem[COLS] + M - 1) // M
    near, edge, target = np.empty(area + TABLE_SPARE, np.int64), np.empty(area + TABLE_SPARE, np.int64), np.empty(area, np.int64)
    grid(x, step, a, a, near)
    while True:
        t = take(counter)
        if t >= total:
            break
        b, i, j = (begin + t) // (down * across), (begin + t) // across % down * M, (begin + t) % across * M
        for p in range(images):
            top, left = step * i + problem[IN_Y] + shifts[p, 0], step * j + problem[IN_X] + shifts[p, 1]
            for start in range(0, channels, wide):
                here = min(wide, channels - start)
                depth = images * here
                table, origin = window(x, x0, z0, b, top, left, step, a, a, start * 4, near, edge)
                first = start * images * area * total + t * depth + p * here
                for f in range(area):
                    target[f] = v0 + (first + f * total * depth) * 4
                largest_inputs_of(r, 0, table, origin, target.ctypes.data, 0, here)


@kernel
def panels_multiply(counter, scratches, v, w, places, q, out_stride, channels, y, problem, out_step, r, wide, begin, total,
                    most):
    """y from v. A block is a panel of NR filters and up to `most` patches. w flat, places as in `chunk_weights`, of problem q."""
    scratch = scratches[share(counter)]
    a, taps, images = r + M - 1, places.shape[1], places.shape[2] // channels
    area, oh, ow, depth = a * a, y.shape[1], y.shape[2], y.shape[3]
    panels, runs = (depth + NR - 1) // NR, (total + most - 1) // most
    down, across = (problem[ROWS] + M - 1) // M, (problem[COLS] + M - 1) // M
    m_plane, w_plane = (PANEL_PATCHES + MR) * NR + PLANE_SPARE, images * wide * NR + PLANE_SPARE
    v0, y0, m0 = v.ctypes.data, y.ctypes.data, scratch.ctypes.data
    w0 = m0 + area * m_plane * 4
    dump = w0 + area * w_plane * 4
    picked, taken = np.empty(GATHERED * images * taps, np.int64), np.zeros(GATHERED * images * taps * NR, np.float32)
    source, target = np.empty(area, np.int64), np.empty(area, np.int64)
    while True:
        block = take(counter)
        if block >= runs * panels:
            break
        first, panel = block // panels * most, block % panels
        count, width = min(most, total - first), min(NR, depth - panel * NR)
        for start in range(0, channels, wide):
            here = min(wide, channels - start)
            deep = images * here
            chunk_weights(w, places, q, start, here, channels, out_stride, panel * NR, width, r, picked, taken,
                          source, target, w0, w_plane, here)
            for f in range(area):
                base = v0 + ((start * images * area + f * deep) * total + first * deep) * 4
                weights, products = w0 + f * w_plane * 4, m0 + f * m_plane * 4
                for t in range(0, count, MR):
                    if count - t > AR:
                        panel_tall(base + t * deep * 4, deep, min(MR, count - t), weights, products + t * NR * 4, start)
                    else:
                        panel_low(base + t * deep * 4, deep, count - t, weights, products + t * NR * 4, start)
        for t in range(count):
            k = begin + first + t
            b, i, j = k // (down * across), k // across % down * M, k % across * M
            for f in range(area):
                source[f] = m0 + (f * m_plane + t * NR) * 4
            for u in range(M):
                yy = problem[OUT_Y] + out_step * (i + u)
                for k in range(M):
                    xx = problem[OUT_X] + out_step * (j + k)
                    inside = i + u < problem[ROWS] and j + k < problem[COLS]
                    target[u * M + k] = y0 + (((b * oh + yy) * ow + xx) * depth + panel * NR) * 4 if inside else dump
            largest_outputs_of(r, 0, source.ctypes.data, 0, target.ctypes.data, 0, width)


@kernel
def panels_transform_gradients(counter, g, r, zeros, total, e):
    """e[panel, f, t, o] = (A g A^T)[f] of patch t in the panel's channel o. g (N,OH,OW,O); a block is one patch."""
    share(counter)
    oh, ow, depth = g.shape[1], g.shape[2], g.shape[3]
    area, g0, z0, e0 = (r + M - 1) ** 2, g.ctypes.data, zeros.ctypes.data, e.ctypes.data
    down, across = (oh + M - 1) // M, (ow + M - 1) // M
    near, edge, target = np.empty(area + TABLE_SPARE, np.int64), np.empty(area + TABLE_SPARE, np.int64), np.empty(area, np.int64)
    grid(g, ONE, SIDE, SIDE, near)
    while True:
        t = take(counter)
        if t >= total:
            break
        b, i, j = t // (down * across), t // across % down * M, t % across * M
        for panel in range((depth + NR - 1) // NR):
            table, start = window(g, g0, z0, b, i, j, ONE, SIDE, SIDE, panel * NR * 4, near, edge)
            for f in range(area):
                target[f] = e0 + ((panel * area + f) * total + t) * NR * 4
            width = min(NR, depth - panel * NR)
            largest_output_gradients_of(r, 0, table, start, target.ctypes.data, 0, width)


@kernel
def panels_weight_gradient(counter, scratches, v, e, places, channels, r, wide, total, dw):
    """dw[o, places[p, t, c]] = (G^T S G)[t] with S[f, c, o] = sum over patches of v[f, ., c] e[f, ., o]. dw (O, C*kh*kw).

    A block is a chunk of channels (with all images) and a panel of filters.
    """
    scratch = scratches[share(counter)]
    images, taps, area, outs = places.shape[0], places.shape[1], (r + M - 1) ** 2, dw.shape[0]
    chunks, panels = (channels + wide - 1) // wide, (outs + NR - 1) // NR
    plane = (images * wide + AR) * NR + PLANE_SPARE
    v0, e0, s0 = v.ctypes.data, e.ctypes.data, scratch.ctypes.data
    left, right = np.empty(total, np.int64), np.empty(total, np.int64)
    kernels = np.empty((taps, NR), np.float32)
    source, target = np.empty(area, np.int64), np.empty(taps, np.int64)
    for t in range(total):
        right[t] = e0 + t * NR * 4
    for t in range(taps):
        target[t] = kernels.ctypes.data + t * NR * 4
    while True:
        block = take(counter)
        if block >= chunks * panels:
            break
        chunk, panel = block // panels, block % panels
        start = chunk * wide
        here, width = min(wide, channels - start), min(NR, outs - panel * NR)
        deep = images * here
        for t in range(total):
            left[t] = v0 + (start * images * area * total + t * deep) * 4
        for f in range(area):
            sums = scratch[f * plane:(f + 1) * plane]
            for c in range(sums.size):
                sums[c] = 0
            for c in range(0, deep, AR):
                place, v_at, e_at = s0 + (f * plane + c * NR) * 4, (f * total * deep + c) * 4, (panel * area + f) * total * NR * 4
                if width > VL:
                    outer_wide(left.ctypes.data, v_at, right.ctypes.data, e_at, total, place, NR)
                else:
                    outer_narrow(left.ctypes.data, v_at, right.ctypes.data, e_at, total, place, NR)
        for c in range(here):
            for p in range(images):
                for f in range(area):
                    source[f] = s0 + (f * plane + (p * here + c) * NR) * 4
                weight_gradients_of(r, 0, source.ctypes.data, 0, target.ctypes.data, 0, NR)
                for o in range(width):
                    for t in range(taps):
                        dw[panel * NR + o, places[p, t, start + c]] = kernels[t, o]


# ---------------------------------------------------------------------------------------------------------------- launches


def convolve_by_panels(x, w, y, problems, shifts, step, out_step, out_stride, places):
    """The convolution: x (N,H,W,C) to y (N,OH,OW,O). places (problems, taps, images*C)."""
    n, _, _, channels = x.shape
    count, taps, ins = places.shape
    r = 3 if taps == 9 else 2
    area, images = (r + M - 1) ** 2, ins // channels
    wide = max(VL, PANEL_CHUNK // images // VL * VL)
    span = max(PANEL_PATCHES, SPAN // (area * ins) // PANEL_PATCHES * PANEL_PATCHES)
    panels = -(-y.shape[3] // NR)
    v, zeros = empty(area * span * ins), shared_zeros(channels)
    scratch = area * ((PANEL_PATCHES + MR) * NR + images * wide * NR + 2 * PLANE_SPARE) + NR
    for q, problem in enumerate(problems):
        patches = n * -(-problem[0] // M) * -(-problem[1] // M)
        for begin in range(0, patches, span):
            total = min(span, patches - begin)
            most = -(-total // -(-total // PANEL_PATCHES))
            launch(panels_transform_inputs, total, x, problem, shifts, step, r, zeros, wide, begin, total, v)
            launch(panels_multiply, panels * -(-total // most), v, w.reshape(-1), places, q, out_stride, channels, y, problem,
                   out_step, r, wide, begin, total, most, scratch=scratch)


def weight_gradient_by_panels(x, g, dw, shifts, step, places):
    """The weight gradient: dw (O, C*kh*kw) from x (N,H,W,C) and g (N,OH,OW,O). places (images, taps, C)."""
    n, oh, ow, outs = g.shape
    images, taps, channels = places.shape
    r = 3 if taps == 9 else 2
    area, down, across = (r + M - 1) ** 2, -(-oh // M), -(-ow // M)
    wide, total, panels = max(VL, PANEL_SLICE // images // VL * VL), n * down * across, -(-outs // NR)
    v, e = empty(area * total * images * channels + AR), empty(panels * area * total * NR)
    zeros, whole = shared_zeros(max(channels, outs)), np.array((oh, ow, 0, 0, 0, 0))
    launch(panels_transform_inputs, total, x, whole, shifts, step, r, zeros, wide, 0, total, v)
    launch(panels_transform_gradients, total, g, r, zeros, total, e)
    launch(panels_weight_gradient, -(-channels // wide) * panels, v, e, places, channels, r, wide, total, dw,
           scratch=area * ((images * wide + AR) * NR + PLANE_SPARE))
