"""Direct convolution: the register tile fed from the image itself, through a table of addresses.

| symbol | meaning |
|---|---|
| i, j | an output's row and column |
| (u, v) | a tap of the kernel |
| s, p, d | stride, padding, dilation |
| t | the number of a tap in a phase's list |

A forward convolution and the transposed one (`conv2d_dx`) are the same loop. Both are a set of *phases*. A phase is a grid of
outputs (i, j) and a list of taps; tap t reads the input pixel (i*step + dy[t], j*step + dx[t]):

    forward           one phase; step = s; tap (u, v) has dy = u*d - p
    transposed        s^2 phases, one for each remainder r of the output row and column by the stride; step = 1;
                      tap u belongs to the phase where r + p - u*d is a multiple of s, and has dy = (r + p - u*d) / s.
                      No product is wasted on the zeros that a textbook would insert.

A tile is MR outputs of one phase. Its table holds, for each tap, the addresses of the MR pixels that it reads. A tap that falls
outside the image reads zeros. A tap that falls outside for all MR outputs is left out. Small images are walked with the batch
innermost, so that this happens often (it saves a quarter of the work for a 4x4 kernel of stride 2 on 8x8 pixels).

The result does not depend on how the blocks fall to the threads, because each output is one sum in one order.

Imports: numpy, parts, registers, machine, plans.
"""
import numpy as np

from minigrad.kernels.cpu.convolution.plans import (
    COLS,
    FIRST_BLOCK,
    FIRST_TAP,
    LAST_TAP,
    LEAST_BLOCKS,
    OUT_X,
    OUT_Y,
    ROWS,
    blocked,
    forward_phases,
    row_of,
    with_panels_of,
)
from minigrad.kernels.cpu.machine.compiling import inner, kernel
from minigrad.kernels.cpu.machine.threads import after, complete, empty, launch, share, take
from minigrad.kernels.cpu.parts.activation import NOTHING, finish, finish_output
from minigrad.kernels.cpu.parts.blas import small_product
from minigrad.kernels.cpu.parts.layout import shared_zeros, with_slack
from minigrad.kernels.cpu.parts.packing import pack
from minigrad.kernels.cpu.registers.copies import REACHED, reach
from minigrad.kernels.cpu.registers.emit import AR, MR, NR, VL, streams
from minigrad.kernels.cpu.registers.tiles import (
    DOT4_ROWS,
    dot_to_four,
    dot_to_one,
    outer_narrow,
    outer_wide,
    product_narrow,
    product_wide,
)

ALL_ROWS = np.int64(MR)             # typed, because a literal would compile `fill` a second time
NOWHERE = -(1 << 40)                # the row and column of a pixel that a tile does not have
PARTIAL = 1 << 20                   # floats in the partial sums of a weight gradient, at most
LARGE_PRODUCT = 1 << 26             # multiplications of a matrix product from which the tile beats BLAS (see `matmul`), if at least
SHARING_ROWS = 256                  # so many rows share the packed matrix, and
MOST_TERMS = 2048                   # sums have no more terms: a longer panel of packed weights does not stay in the cache
DOT_OUTS = 4                        # output channels that the dot tile serves, at most


@inner
def fill(x, x0, z0, y, y0, s0, phases, p, taps, steps, first, count, batch_inner, rows_per_tile, table, used, out, origin):
    """The tables of `count` tiles of phase p from tile `first` on: for each tap its pixels and its weights, and where results go.

    Rows of a tile beyond the last pixel repeat it, and their results go to s0. The pixels are walked in order, run by run, because
    a division for each pixel would cost as much as a short tile.
    """
    n, h, w, channels = x.shape
    oh, ow, depth = y.shape[1], y.shape[2], y.shape[3]
    rows, cols, table0 = phases[p, ROWS], phases[p, COLS], table.ctypes.data
    pixels, r = n * rows * cols, first * rows_per_tile
    if batch_inner:
        b, i, j = r % n, r // (n * cols), r // n % cols
    else:
        b, i, j = r // (rows * cols), r % (rows * cols) // cols, r % cols
    if batch_inner:
        x_step, column_step, y_step = h * w * channels * 4, 0, oh * ow * depth * 4
    else:
        x_step, column_step, y_step = steps[1] * channels * 4, steps[1], steps[3] * depth * 4
    for t in range(count):
        m = 0
        while m < rows_per_tile:
            run = min(rows_per_tile - m, pixels - r, n - b if batch_inner else cols - j)
            if run == 0:
                out[t, m] = s0
                for field in range(3):
                    origin[field, m] = origin[field, m - 1]
                m += 1
                continue
            iy, ix = i * steps[0], j * steps[1]
            x_at = x0 + ((b * h + iy) * w + ix) * channels * 4
            y_at = y0 + ((b * oh + phases[p, OUT_Y] + i * steps[2]) * ow + phases[p, OUT_X] + j * steps[3]) * depth * 4
            for q in range(run):
                origin[0, m + q], origin[1, m + q], origin[2, m + q] = x_at + q * x_step, iy, ix + q * column_step
                out[t, m + q] = y_at + q * y_step
            m, r = m + run, r + run
            if batch_inner:
                b += run
                if b == n:
                    b, j = 0, j + 1
                    if j == cols:
                        j, i = 0, i + 1
            else:
                j += run
                if j == cols:
                    j, i = 0, i + 1
                    if i == rows:
                        i, b = 0, b + 1
        k = 0
        for tap in range(phases[p, FIRST_TAP], phases[p, LAST_TAP]):
            dy, dx = taps[tap, 0], taps[tap, 1]
            # `reach` writes REACHED words. What exceeds the row is overwritten by the next one, or falls into the table's slack.
            row = table0 + ((t * taps.shape[0] + k) * (MR + 1) + 1) * 8
            if reach(origin.ctypes.data, dy, dx, h, w, (dy * w + dx) * channels * 4, z0, row):
                table[t, k, 0] = taps[tap, 2]
                k += 1
        used[t] = k


@kernel
def direct_convolve(counter, x, w, places, out_stride, packed, y, phases, taps, steps, groups, outs, zeros, tiles_per_block,
                    batch_inner, bias, slope, stream, blocks):
    """y[n, oy + i*steps[2], ox + j*steps[3], :] = sum over the phase's taps of x[n, i*steps[0] + dy, j*steps[1] + dx, :] @ w[tap].

    x (N,H,W,C), y (N,OH,OW,groups*outs), w flat, packed (groups*panels, taps, ins, NR): room for `pack`, whose blocks come first;
    phases (P, 7), taps (T, 3): dy, dx and the place of the tap's weights in a panel, in bytes. ins is C/groups, or more where a tap
    is several pixels in a row. bias, slope: see `activation`. stream: see `streams`; 0 where an ending follows.
    """
    share(counter)
    ins, panels = packed.shape[2], packed.shape[0] // groups
    x0, y0, w0, z0 = x.ctypes.data, y.ctypes.data, packed.ctypes.data, zeros.ctypes.data
    panel_bytes = packed.shape[1] * ins * NR * 4
    table = np.empty((tiles_per_block + REACHED, taps.shape[0], MR + 1), np.int64)            # with slack: see `fill`
    used, out = np.empty(tiles_per_block, np.int64), np.empty((tiles_per_block, MR), np.int64)
    origin, dump = np.full((3, REACHED), NOWHERE), np.empty(y.shape[3] + VL, np.float32)
    nowhere = dump[VL - dump.ctypes.data // 4 % VL:].ctypes.data  # aligned, as y is
    while True:
        block = take(counter)
        if block < packed.shape[0]:
            pack(block, w, places, w.size // groups, out_stride, outs, panels, packed)
            complete(counter)
            continue
        block -= packed.shape[0]
        if block >= blocks:
            break
        p = row_of(phases, block)
        first = (block - phases[p, FIRST_BLOCK]) * tiles_per_block
        tiles = (x.shape[0] * phases[p, ROWS] * phases[p, COLS] + MR - 1) // MR
        count = min(tiles_per_block, tiles - first)
        fill(x, x0, z0, y, y0, nowhere, phases, p, taps, steps, first, count, batch_inner, ALL_ROWS, table, used, out, origin)
        after(counter, packed.shape[0])
        for panel in range(groups * panels):
            q, o = panel // panels, panel % panels * NR
            weights, width = w0 + panel * panel_bytes, min(NR, outs - o)
            offset, place = q * ins * 4, (q * outs + o) * 4
            for t in range(count):
                if width > VL:
                    product_wide(table[t].ctypes.data, used[t], offset, ins, weights, out[t].ctypes.data, place, width, stream)
                else:
                    product_narrow(table[t].ctypes.data, used[t], offset, ins, weights, out[t].ctypes.data, place, width, stream)
        if bias.size:
            for t in range(count):
                finish(out[t].ctypes.data, 0, MR, y.shape[3], bias.ctypes.data, slope)


@kernel
def direct_to_few(counter, x, weights, y, phases, taps, steps, zeros, tiles_per_block, batch_inner, blocks):
    """`direct_convolve` for at most DOT_OUTS output channels: weights (taps, 1 or 4, ins), ins a multiple of VL."""
    share(counter)
    outs, channels, depth = weights.shape[1], weights.shape[2], y.shape[3]                  # channels of a tap, not of x
    rows_per_tile = MR if outs == 1 else DOT4_ROWS
    x0, y0, w0, z0 = x.ctypes.data, y.ctypes.data, weights.ctypes.data, zeros.ctypes.data
    table = np.empty((tiles_per_block + REACHED, taps.shape[0], MR + 1), np.int64)            # with slack: see `fill`
    used, out = np.empty(tiles_per_block, np.int64), np.empty((tiles_per_block, MR), np.int64)
    origin, spill_out, spill = np.full((3, REACHED), NOWHERE), np.empty(MR, np.int64), np.empty((MR, 4), np.float32)
    for m in range(MR):
        spill_out[m] = spill.ctypes.data + m * 16
    flat = y.reshape(y.size)
    while True:
        block = take(counter)
        if block >= blocks:
            break
        p = row_of(phases, block)
        pixels = x.shape[0] * phases[p, ROWS] * phases[p, COLS]
        first = (block - phases[p, FIRST_BLOCK]) * tiles_per_block
        count = min(tiles_per_block, (pixels + rows_per_tile - 1) // rows_per_tile - first)
        fill(x, x0, z0, y, y0, y0, phases, p, taps, steps, first, count, batch_inner, rows_per_tile, table, used, out, origin)
        for t in range(count):
            if outs == 1:
                dot_to_one(table[t].ctypes.data, used[t], channels, w0, spill_out.ctypes.data)
            else:
                dot_to_four(table[t].ctypes.data, used[t], channels, w0, spill_out.ctypes.data)
            for m in range(min(rows_per_tile, pixels - (first + t) * rows_per_tile)):
                for v in range(depth):
                    flat[(out[t, m] - y0) // 4 + v] = spill[m, v]


@inner
def locate(start, size, oh, ow, h, w, step_h, step_w, origin):
    """For `size` outputs from number `start` on: the index of the input pixel under the tap (0, 0), its row and its column."""
    b, i, j = start // (oh * ow), start % (oh * ow) // ow, start % ow
    for k in range(size):
        origin[0, k], origin[1, k], origin[2, k] = (b * h + i * step_h) * w + j * step_w, i * step_h, j * step_w
        j += 1
        if j == ow:
            j, i = 0, i + 1
            if i == oh:
                i, b = 0, b + 1


@inner
def meet(origin, size, h, w, dy, dx, a0, channels, b0, depth, left, right):
    """The outputs of `locate` whose tap (dy, dx) meets an input pixel: addresses of the pairs (input, output), and their number."""
    top, bottom, first, last = origin[1, 0], origin[1, 0], origin[2, 0], origin[2, 0]
    for r in range(size):
        top, bottom = min(top, origin[1, r]), max(bottom, origin[1, r])
        first, last = min(first, origin[2, r]), max(last, origin[2, r])
    start = a0 + (dy * w + dx) * channels * 4
    if top + dy >= 0 and bottom + dy < h and first + dx >= 0 and last + dx < w:             # all of them, the common case
        for r in range(size):
            left[r] = start + origin[0, r] * (channels * 4)
        for r in range(size):
            right[r] = b0 + r * (depth * 4)
        return size
    k = 0
    for r in range(size):
        i, j = origin[1, r] + dy, origin[2, r] + dx
        left[k] = start + origin[0, r] * (channels * 4)
        right[k] = b0 + r * (depth * 4)
        k += (i >= 0) & (i < h) & (j >= 0) & (j < w)
    return k


@kernel
def direct_weight_gradient(counter, a, b, taps, step_h, step_w, groups, a_width, b_width, total, parts, slices, pixels_per_block,
                           places, dw):
    """total[part, q, t, c, o] = sum over the part's pixels (n, i, j) of a[n, i*step + dy, j*step + dx, c] * b[n, i, j, o]. Then dw
    from it, by `direct_collect`.

    a (N,H,W,.), b (N,OH,OW,.): group q's channels begin at q*a_width and q*b_width. Both arrays may be read a tile beyond their
    last element. total (parts, groups, T, a_width rounded up to AR, b_width rounded up to NR). A block is a part of the pixels and
    a slice of the taps. Parts and slices follow from the shapes alone, so the sums are the same for any number of threads.
    """
    share(counter)
    n, h, w, channels = a.shape
    oh, ow, depth = b.shape[1], b.shape[2], b.shape[3]
    a0, b0, t0 = a.ctypes.data, b.ctypes.data, total.ctypes.data
    count, a_up, b_up = taps.shape[0], total.shape[3], total.shape[4]
    pixels = n * oh * ow
    runs = (pixels + pixels_per_block - 1) // pixels_per_block
    left, right = np.empty(pixels_per_block, np.int64), np.empty(pixels_per_block, np.int64)
    origin = np.empty((3, pixels_per_block), np.int64)
    l0, r0, row = left.ctypes.data, right.ctypes.data, np.empty(VL, np.float32)
    blocks, collected = parts * slices, groups * ((b_width + VL - 1) // VL)
    while True:
        block = take(counter)
        if block >= blocks:
            if block >= blocks + collected:
                break
            after(counter, blocks)
            direct_collect(block - blocks, total, places, b_width, row, dw)
            continue
        part, piece = block // slices, block % slices
        first_tap, last_tap = piece * count // slices, (piece + 1) * count // slices
        for q in range(groups):
            for t in range(first_tap, last_tap):
                for c in range(a_up):
                    for o in range(b_up):
                        total[part, q, t, c, o] = 0
        for run in range(part * runs // parts, (part + 1) * runs // parts):
            start = run * pixels_per_block
            size = min(pixels_per_block, pixels - start)
            locate(start, size, oh, ow, h, w, step_h, step_w, origin)
            for t in range(first_tap, last_tap):
                k = meet(origin, size, h, w, taps[t, 0], taps[t, 1], a0, channels, b0 + start * depth * 4, depth, left, right)
                for q in range(groups):
                    base = t0 + ((part * groups + q) * count + t) * a_up * b_up * 4
                    for o in range(0, b_width, NR):
                        for c in range(0, a_width, AR):
                            place = base + (c * b_up + o) * 4
                            if b_width - o > VL:
                                outer_wide(l0, (q * a_width + c) * 4, r0, (q * b_width + o) * 4, k, place, b_up)
                            else:
                                outer_narrow(l0, (q * a_width + c) * 4, r0, (q * b_width + o) * 4, k, place, b_up)
        complete(counter)


@inner
def direct_collect(block, total, places, outs, row, dw):
    """dw[q*outs + o, places[t, c]] = the sum over parts, in order, of total[part, q, t, c, o], for VL of a group's outputs o.
    dw (groups*outs, C/groups*kh*kw); row (VL): room."""
    parts, taps, width = total.shape[0], places.shape[0], places.shape[1]
    chunks = (outs + VL - 1) // VL
    q, first = block // chunks, block % chunks * VL
    size = min(VL, outs - first)
    for t in range(taps):
        for c in range(width):
            for o in range(size):
                row[o] = total[0, q, t, c, first + o]
            for part in range(1, parts):
                for o in range(size):
                    row[o] += total[part, q, t, c, first + o]
            for o in range(size):
                dw[q * outs + first + o, places[t, c]] = row[o]


# --------------------------------------------------------------------------------------------------------- launches


def few_outputs(outs, ins, groups):
    """One to four outputs would leave most of a tile's lanes idle. The dot tile's lanes run over the inputs instead."""
    return groups == 1 and outs <= DOT_OUTS and ins % VL == 0


def convolve_directly(x, w, y, plan, places, out_stride, groups, ending=NOTHING):
    """Pack the weights and run the tile over a plan. places, out_stride: see `plans`; ending: see `activation`."""
    taps, ins = places.shape
    outs = y.shape[3] // groups
    if few_outputs(outs, ins, groups):
        weights = np.zeros((taps, 1 if outs == 1 else 4, ins), np.float32)
        weights[:, :outs] = w.reshape(-1)[places[:, None] + np.arange(outs)[:, None] * out_stride]
        plan = with_panels_of(weights.shape[1], plan)
        phases, taps, steps, per_block, small, blocks = blocked(plan, x.shape, MR if outs == 1 else DOT4_ROWS)
        launch(direct_to_few, blocks, x, weights, y, phases, taps, steps, shared_zeros(ins), per_block, small, blocks)
        finish_output(y, *ending)
        return
    panels = -(-outs // NR)
    packed = empty(groups * panels, taps, ins, NR)
    phases, taps, steps, per_block, small, blocks = blocked(plan, x.shape, MR)
    launch(direct_convolve, max(blocks, groups * panels), x, w.reshape(-1), places, out_stride, packed, y, phases, taps, steps,
           groups, outs, shared_zeros(max(ins, x.shape[3])), per_block, small, *ending,
           0 if ending[0].size else streams(y, outs, 2), blocks)


def product(a, b):
    """a @ b for matrices: small ones by BLAS, others by the tile, which takes the rows of a for the pixels of an image."""
    (m, k), n = a.shape, b.shape[1]
    if k == 1:
        return a * b
    if m < SHARING_ROWS or m * k * n < LARGE_PRODUCT or k > MOST_TERMS:
        return small_product(a, b)
    if not (b.flags.c_contiguous or b.flags.f_contiguous):
        b = np.ascontiguousarray(b)
    row, column = (n, 1) if b.flags.c_contiguous else (1, k)
    y = empty(m, n)
    convolve_directly(np.ascontiguousarray(a).reshape(1, 1, m, k), b.ravel("K"), y.reshape(1, 1, m, n),
             forward_phases(1, (1, m), (1, 1), (1, 1), (0, 0), (1, 1), k), np.arange(k)[None, :] * row, column, 1)
    return y


def weight_gradient_directly(x, g, dw, taps, places, stride, groups, a_width, b_width):
    """Partial sums over blocks of pixels and slices of taps, then their sum in order. dw (groups*b_width, a_width*taps)."""
    g = with_slack(g, b_width, VL)
    pixels, count = g.shape[0] * g.shape[1] * g.shape[2], len(taps)
    a_up, b_up = -(-a_width // AR) * AR, -(-b_width // NR) * NR
    per_block = 128
    runs = -(-pixels // per_block)
    parts = max(1, min(LEAST_BLOCKS, runs, PARTIAL // (groups * count * a_up * b_up)))
    slices = min(count, -(-LEAST_BLOCKS // parts))
    total = empty(parts, groups, count, a_up, b_up)
    launch(direct_weight_gradient, parts * slices, x, g, taps, *stride, groups, a_width, b_width, total, parts, slices, per_block,
           places, dw)
