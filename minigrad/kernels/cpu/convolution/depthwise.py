"""Depthwise convolution: one filter for each channel. There are no sums over channels, so the loops run along the channels.

`direct` explains phases and taps. A pixel has few multiply-adds, so no address is looked up for it: both images are walked row by
row at fixed steps. A run of pixels ends only where a tap enters or leaves the image. Channels are a multiple of VL.

Imports: numpy, registers, machine, plans.
"""
import numpy as np

from minigrad.kernels.cpu.convolution.plans import (
    COLS,
    FIRST_BLOCK,
    FIRST_TAP,
    LAST_TAP,
    MOST_PARTS,
    OUT_X,
    OUT_Y,
    ROWS,
    row_of,
    taps_of,
)
from minigrad.kernels.cpu.machine.compiling import kernel
from minigrad.kernels.cpu.machine.threads import empty, launch, share, take
from minigrad.kernels.cpu.registers.copies import channel_sums, channelwise
from minigrad.kernels.cpu.registers.emit import NR

DEPTHWISE_BLOCKS = 64               # of a convolution, about


@kernel
def depthwise_convolve(counter, x, weights, y, phases, taps, steps, rows_per_block, blocks):
    """y[n, OUT_Y + i*steps[2], OUT_X + j*steps[3], c] = sum over taps of x[n, i*steps[0] + dy, j*steps[1] + dx, c]*weights[tap, c].

    taps (T, 3): dy, dx and the place of the tap's weights in bytes. A block is some rows of a phase's outputs. Along a row, the set
    of taps that lie inside the image changes at a few places only; between them x is read at a fixed step.
    """
    share(counter)
    n, h, w, channels = x.shape
    x0, y0, w0 = x.ctypes.data, y.ctypes.data, weights.ctypes.data
    pixel, oh, ow = channels * 4, y.shape[1], y.shape[2]
    sides, table = np.empty((taps.shape[0], 2), np.int64), np.empty((taps.shape[0], 2), np.int64)
    for p in range(phases.shape[0]):
        for tap in range(phases[p, FIRST_TAP], phases[p, LAST_TAP]):            # the columns j with 0 <= j*step + dx < w
            sides[tap, 0] = max(0, (steps[1] - 1 - taps[tap, 1]) // steps[1])
            sides[tap, 1] = min(phases[p, COLS], (w - taps[tap, 1] + steps[1] - 1) // steps[1])
    while True:
        block = take(counter)
        if block >= blocks:
            break
        p = row_of(phases, block)
        rows, cols, first = phases[p, ROWS], phases[p, COLS], (block - phases[p, FIRST_BLOCK]) * rows_per_block
        for row in range(first, min(first + rows_per_block, n * rows)):
            b, i = row // rows, row % rows
            target = y0 + ((b * oh + phases[p, OUT_Y] + i * steps[2]) * ow + phases[p, OUT_X]) * pixel
            j = 0
            while j < cols:
                end, used = cols, 0
                for tap in range(phases[p, FIRST_TAP], phases[p, LAST_TAP]):
                    yy, xx = i * steps[0] + taps[tap, 0], j * steps[1] + taps[tap, 1]
                    if 0 <= yy < h and sides[tap, 0] <= j < sides[tap, 1]:
                        table[used, 0], table[used, 1] = x0 + ((b * h + yy) * w + xx) * pixel, w0 + taps[tap, 2]
                        end, used = min(end, sides[tap, 1]), used + 1
                    elif sides[tap, 0] > j:
                        end = min(end, sides[tap, 0])
                channelwise(table.ctypes.data, used, steps[1] * pixel, end - j, channels, target + j * steps[3] * pixel,
                            steps[3] * pixel)
                j = end


@kernel
def depthwise_weight_gradient(counter, x, g, taps, step_h, step_w, total):
    """total[part, t, c] = sum over the part's pixels (n, i, j) of x[n, i*step + dy, j*step + dx, c] * g[n, i, j, c].

    A part is a run of g's rows (n, i). Along a row both images are read at a fixed step, and the j whose tap lies inside the image
    are a range. So no table of addresses is needed, which would cost as much as the few multiply-adds of a pixel.
    """
    share(counter)
    n, h, w, channels = x.shape
    oh, ow, parts, rows = g.shape[1], g.shape[2], total.shape[0], g.shape[0] * g.shape[1]
    while True:
        part = take(counter)
        if part >= parts:
            break
        for t in range(taps.shape[0]):
            for c in range(channels):
                total[part, t, c] = 0
        for row in range(part * rows // parts, (part + 1) * rows // parts):
            b, i = row // oh, row % oh
            for t in range(taps.shape[0]):
                y, dx = i * step_h + taps[t, 0], taps[t, 1]
                first, last = max(0, (step_w - 1 - dx) // step_w), min(ow, (w - dx + step_w - 1) // step_w)
                if 0 <= y < h and first < last:
                    left = x.ctypes.data + ((b * h + y) * w + first * step_w + dx) * channels * 4
                    right = g.ctypes.data + (row * ow + first) * channels * 4
                    place = total.ctypes.data + (part * taps.shape[0] + t) * channels * 4
                    channel_sums(left, step_w * channels * 4, right, channels * 4, last - first, channels, place)


# ---------------------------------------------------------------------------------------------------------------- launches


def convolve_depthwise(x, w, y, plan):
    """y (N,OH,OW,C) from x (N,H,W,C) and w (C,1,kh,kw) over a plan (see `plans`)."""
    weights = np.ascontiguousarray(w.reshape(w.shape[0], -1).T)
    places = plan[1] * np.array([1, 1, w.shape[0]]) // np.array([1, 1, NR])
    rows = x.shape[0] * plan[0][:, 0]
    per_block = max(1, int(rows.sum()) // DEPTHWISE_BLOCKS)
    blocks = -(-rows // per_block)
    phases = np.column_stack([plan[0], np.cumsum(blocks) - blocks])
    launch(depthwise_convolve, int(blocks.sum()), x, weights, y, phases, places, plan[2], per_block, int(blocks.sum()))


def weight_gradient_depthwise(x, g, size, stride, padding, dilation):
    """(C,1,kh,kw) from x (N,H,W,C) and g (N,OH,OW,C)."""
    parts = min(MOST_PARTS, g.shape[0] * g.shape[1])
    total = empty(parts, size[0] * size[1], x.shape[3])
    launch(depthwise_weight_gradient, parts, x, g, taps_of(size, padding, dilation, 0), *stride, total)
    return np.ascontiguousarray(total.sum(0).T).reshape(-1, 1, *size)
