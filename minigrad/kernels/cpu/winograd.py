"""Winograd convolution: fewer multiplications for more additions.

m neighbouring outputs of a correlation with r taps need m*r products when computed one by one, but m + r - 1 are enough. The
outputs are the coefficients of a product of two polynomials, transposed, and a polynomial of degree m + r - 2 is fixed by its
values at m + r - 1 points, where a product of polynomials is just a product of numbers (Toom-Cook). In matrices, with the
points 0, 1, -1, 2, -2 and infinity,

    y = A^T [ (G w) * (B^T x) ]          A, G: values of polynomials at the points; B^T: the inverse, transposed

and in two dimensions Y = A^T [ (G w G^T) * (B^T X B) ] A. For 3x3 kernels and 4x4 outputs 36 products do the work of 144.
Over channels the products become 36 products of matrices, the register tile's work. (Winograd 1980; Lavin and Gray 2016)

* A kernel of stride 2 is four kernels of stride 1, its even and odd rows and columns, on the even and odd pixels: a 4x4 kernel of
  stride 2 is a 2x2 kernel with four times the channels, F(4,2) with 25 products for 64. The transposed convolution of stride 2
  is four separate 2x2 kernels, one for each remainder of the output pixel ("problems" below).
* The weight gradient is the same bilinear form seen from the weights: G^T [ (A g A^T) * (B^T X B) ] G, summed over tiles.
* The price is rounding: the transforms multiply by up to 5 and subtract again. Against float64, relative to the result's root mean
  square, the error's root mean square is 1e-6 to 4e-6 for 64 to 256 channels (direct: 2e-7 to 1e-6) and the largest error 8e-5
  (direct: 1.5e-5); tests/kernels/test_winograd.py bounds it. set_conv_precision("exact") avoids it.
* Work is cut into blocks of tiles whose transforms stay in the L2 cache between the three steps. A transform writes one vector to
  each of 36 planes; planes a multiple of 4096 bytes apart would all fall into one set of the L1 cache, and the transform take three
  times as long (measured: 200 against 65 ns), so each plane is a cache line longer than it need be.
May import: numpy, `compiling`, `threads`, `tile`.
"""
from fractions import Fraction

import numpy as np

from minigrad.kernels.cpu.compiling import kernel
from minigrad.kernels.cpu.lanes import sandwich
from minigrad.kernels.cpu.threads import take
from minigrad.kernels.cpu.tile import AR, MR, NR, VL, outer_tile, product_tile

POINTS = (0, 1, -1, 2, -2)
M = 4                               # outputs along each side of a tile
ZERO, ONE, SIDE = np.int64(0), np.int64(1), np.int64(M)          # typed, for literal arguments would compile `window` a second time


def matrices(m, r, points=POINTS):
    """A^T (m, a), G (a, r), B^T (a, a) of F(m, r), a = m + r - 1, from a - 1 points and infinity."""
    points = [Fraction(p) for p in points[:m + r - 2]]

    def values(degree):
        """Powers 0 .. degree-1 of each point; infinity sees the leading coefficient only."""
        return np.array([[float(p**j) for j in range(degree)] for p in points] + [[0.0] * (degree - 1) + [1.0]])

    return values(m).T, values(r), np.linalg.inv(values(m + r - 1)).T


AT3, G3, BT3 = matrices(M, 3)
AT2, G2, BT2 = matrices(M, 2)
input3, input2 = sandwich(BT3), sandwich(BT2)
output3, output2 = sandwich(AT3), sandwich(AT2)
weights3, weights2 = sandwich(G3), sandwich(G2)
spread3, spread2 = sandwich(AT3.T), sandwich(AT2.T)
collect3, collect2 = sandwich(G3.T), sandwich(G2.T)
outer2, outer1 = outer_tile(AR, NR // VL), outer_tile(AR, 1)
tile2, tile1 = product_tile(NR // VL), product_tile(1)

# Columns of the table of problems.
ROWS, COLS, OUT_Y, OUT_X, IN_Y, IN_X, FIRST_BLOCK = range(7)
PLANE = VL                          # floats between one frequency's plane and the next, beyond its size: see below
CHUNK = 32                          # input channels whose weights a block transforms
SLICE = 64                          # input channels, and output channels, whose weight gradient a block sums: it fits the L2 cache


@kernel
def transform_weights(counter, w, places, out_stride, outs, r, packed):
    """packed[q, f] = (G w G^T)[f] of problem q as (panels, K, NR): panels of NR output channels, all input channels k.

    w flat; the tap t of (o, k) lies at o*out_stride + places[q, t, k]. packed (Q, a*a, panels*K*NR + PLANE).
    """
    problems, area, plane, depth = packed.shape[0], packed.shape[1], packed.shape[2], places.shape[2]
    panels = plane // (depth * NR)
    chunks, taps = (depth + CHUNK - 1) // CHUNK, r * r
    taken = np.zeros((taps, NR), np.float32)
    source, out = np.empty(taps, np.int64), np.empty(area, np.int64)
    for t in range(taps):
        source[t] = taken.ctypes.data + t * NR * 4
    while True:
        block = take(counter)
        if block >= problems * panels * chunks:
            break
        q, panel, chunk = block // (panels * chunks), block // chunks % panels, block % chunks
        first, width = panel * NR, min(NR, outs - panel * NR)
        for k in range(chunk * CHUNK, min((chunk + 1) * CHUNK, depth)):
            for t in range(taps):
                at = first * out_stride + places[q, t, k]
                for o in range(width):
                    taken[t, o] = w[at + o * out_stride]
                for o in range(width, NR):
                    taken[t, o] = 0
            for f in range(area):
                out[f] = packed.ctypes.data + ((q * area + f) * plane + (panel * depth + k) * NR) * 4
            if r == 3:
                weights3(source.ctypes.data, out.ctypes.data, NR)
            else:
                weights2(source.ctypes.data, out.ctypes.data, NR)


@kernel
def window(x, x0, z0, b, top, left, step, a, offset, source):
    """The addresses of the a x a pixels of an input window, `step` apart; z0 for those outside the image."""
    h, w, channels = x.shape[1], x.shape[2], x.shape[3]
    all_columns = left >= 0 and left + (a - 1) * step < w
    for u in range(a):
        i = top + u * step
        row = x0 + ((b * h + i) * w + left) * channels * 4 + offset
        if i < 0 or i >= h:
            for v in range(a):
                source[u * a + v] = z0
        elif all_columns:
            for v in range(a):
                source[u * a + v] = row + v * (step * channels * 4)
        else:
            for v in range(a):
                j = left + v * step
                source[u * a + v] = row + v * (step * channels * 4) if j >= 0 and j < w else z0


@kernel
def convolve(counter, scratch, x, packed, y, problems, inputs, step, out_step, r, zeros, tiles_per_block, blocks):
    """y[n, OUT_Y + out_step*i, OUT_X + out_step*j, :] = sum over u, v, p of w[u, v, p] x[n, step*(i + u) + IN_Y + inputs[p, 0], .].

    x (N,H,W,C), y (N,OH,OW,O), packed as in `transform_weights`, problems (Q, 7), inputs (P, 2), step: a problem's
    outputs form one grid of tiles; its input channels are those of P shifted, subsampled images, one after the other.
    """
    a, count_in = r + M - 1, inputs.shape[0]
    area, channels = a * a, x.shape[3]
    n, oh, ow, depth = y.shape
    limit, ins = tiles_per_block, count_in * channels
    panels = packed.shape[2] // (ins * NR)
    plane, w_plane = (limit * max(ins, depth) + PLANE) * 4, packed.shape[2] * 4
    x0, y0, w0, z0, m0 = x.ctypes.data, y.ctypes.data, packed.ctypes.data, zeros.ctypes.data, scratch.ctypes.data
    v0 = m0 + plane                                             # products of frequency f replace inputs of f - 1, used up by then
    dump = v0 + area * plane
    source, target = np.empty(area, np.int64), np.empty(area, np.int64)
    groups = limit // MR
    # The tables of the products are those of frequency 0; the others lie whole planes further.
    table, out = np.empty((groups, MR + 1), np.int64), np.empty((groups, MR), np.int64)
    while True:
        block = take(counter)
        if block >= blocks:
            break
        q = 0
        while q + 1 < problems.shape[0] and problems[q + 1, FIRST_BLOCK] <= block:
            q += 1
        rows, cols = problems[q, ROWS], problems[q, COLS]
        down, across = (rows + M - 1) // M, (cols + M - 1) // M
        first = (block - problems[q, FIRST_BLOCK]) * limit
        count = min(limit, n * down * across - first)
        for t in range(count):
            b, i, j = (first + t) // (down * across), (first + t) // across % down * M, (first + t) % across * M
            for p in range(count_in):
                window(x, x0, z0, b, step * i + problems[q, IN_Y] + inputs[p, 0], step * j + problems[q, IN_X] + inputs[p, 1],
                       step, a, ZERO, source)
                for f in range(area):
                    target[f] = v0 + f * plane + (t * ins + p * channels) * 4
                if r == 3:
                    input3(source.ctypes.data, target.ctypes.data, channels)
                else:
                    input2(source.ctypes.data, target.ctypes.data, channels)
        for s in range((count + MR - 1) // MR):
            table[s, 0] = 0
            for m in range(MR):
                t = s * MR + m
                table[s, 1 + m] = v0 + min(t, count - 1) * ins * 4
                out[s, m] = m0 + t * depth * 4
        for f in range(area):
            for panel in range(panels):
                weights, place = w0 + (q * area + f) * w_plane + panel * ins * NR * 4, f * plane + panel * NR * 4
                for s in range((count + MR - 1) // MR):
                    if depth - panel * NR > VL:
                        tile2(table[s].ctypes.data, 1, f * plane, ins, weights, out[s].ctypes.data, place, NR)
                    else:
                        tile1(table[s].ctypes.data, 1, f * plane, ins, weights, out[s].ctypes.data, place, VL)
        for t in range(count):
            b, i, j = (first + t) // (down * across), (first + t) // across % down * M, (first + t) % across * M
            for f in range(area):
                source[f] = m0 + f * plane + t * depth * 4
            for u in range(M):
                yy = problems[q, OUT_Y] + out_step * (i + u)
                for v in range(M):
                    xx = problems[q, OUT_X] + out_step * (j + v)
                    inside = i + u < rows and j + v < cols
                    target[u * M + v] = y0 + ((b * oh + yy) * ow + xx) * depth * 4 if inside else dump
            if r == 3:
                output3(source.ctypes.data, target.ctypes.data, depth)
            else:
                output2(source.ctypes.data, target.ctypes.data, depth)


@kernel
def gradient(counter, scratch, x, g, inputs, step, r, zeros, total, tiles_per_block, blocks):
    """total[part, piece, f, c, o] = sum over the part's tiles of (B^T X B)[f, c] * (A g A^T)[f, o].

    x (N,H,W,C), g (N,OH,OW,O). A piece is one of the shifted images (inputs, as in `convolve`), up to SLICE of its channels and
    up to SLICE of the outputs. total (parts, pieces, a*a, SLICE rounded up to AR, SLICE rounded up to NR).
    """
    a, channels = r + M - 1, x.shape[3]
    area, parts, pieces, limit = a * a, total.shape[0], total.shape[1], tiles_per_block
    n, oh, ow, depth = g.shape
    height, width = total.shape[3], total.shape[4]
    out_slices = (depth + SLICE - 1) // SLICE
    per_image = pieces // inputs.shape[0] // out_slices
    x0, g0, z0, t0, v0 = x.ctypes.data, g.ctypes.data, zeros.ctypes.data, total.ctypes.data, scratch.ctypes.data
    v_plane, e_plane = (limit * height + PLANE) * 4, (limit * width + PLANE) * 4
    e0 = v0 + area * v_plane
    source, target = np.empty(area, np.int64), np.empty(area, np.int64)
    left, right = np.empty(limit, np.int64), np.empty(limit, np.int64)
    down, across = (oh + M - 1) // M, (ow + M - 1) // M
    steps = (n * down * across + limit - 1) // limit
    for t in range(limit):
        left[t], right[t] = v0 + t * height * 4, e0 + t * width * 4
    while True:
        block = take(counter)
        if block >= blocks:
            break
        part, piece = block // pieces, block % pieces
        p, start, o0 = piece // out_slices // per_image, piece // out_slices % per_image * SLICE, piece % out_slices * SLICE
        rows, outs = min(SLICE, channels - start), min(SLICE, depth - o0)
        mine = total[part, piece]
        for f in range(area):
            for c in range(height):
                for o in range(width):
                    mine[f, c, o] = 0
        for chunk in range(part * steps // parts, (part + 1) * steps // parts):
            first = chunk * limit
            count = min(limit, n * down * across - first)
            for t in range(count):
                b, i, j = (first + t) // (down * across), (first + t) // across % down * M, (first + t) % across * M
                window(x, x0, z0, b, step * i + inputs[p, 0], step * j + inputs[p, 1], step, a, start * 4, source)
                for f in range(area):
                    target[f] = v0 + f * v_plane + t * height * 4
                if r == 3:
                    input3(source.ctypes.data, target.ctypes.data, rows)
                else:
                    input2(source.ctypes.data, target.ctypes.data, rows)
                window(g, g0, z0, b, i, j, ONE, SIDE, o0 * 4, source)
                for f in range(area):
                    target[f] = e0 + f * e_plane + t * width * 4
                if r == 3:
                    spread3(source.ctypes.data, target.ctypes.data, outs)
                else:
                    spread2(source.ctypes.data, target.ctypes.data, outs)
            for f in range(area):
                base = t0 + ((part * pieces + piece) * area + f) * height * width * 4
                for o in range(0, outs, NR):
                    for c in range(0, rows, AR):
                        place = base + (c * width + o) * 4
                        left_at, right_at = f * v_plane + c * 4, f * e_plane + o * 4
                        if outs - o > VL:
                            outer2(left.ctypes.data, left_at, right.ctypes.data, right_at, count, place, width)
                        else:
                            outer1(left.ctypes.data, left_at, right.ctypes.data, right_at, count, place, width)


@kernel
def collect(counter, total, places, r, w):
    """w[o, places[p, t, c]] = (G^T S G)[t] with S the sum of `gradient`'s parts, in order. w (O, C*kh*kw)."""
    parts, pieces, area, width = total.shape[0], total.shape[1], total.shape[2], total.shape[4]
    images, taps, channels = places.shape
    out_slices = (w.shape[0] + SLICE - 1) // SLICE
    per_image = pieces // images // out_slices
    added, kernels = np.empty((area, width), np.float32), np.empty((taps, width), np.float32)
    source, target = np.empty(area, np.int64), np.empty(taps, np.int64)
    for f in range(area):
        source[f] = added.ctypes.data + f * width * 4
    for t in range(taps):
        target[t] = kernels.ctypes.data + t * width * 4
    while True:
        block = take(counter)
        if block >= images * channels * out_slices:
            break
        p, c, slice_ = block // channels // out_slices, block // out_slices % channels, block % out_slices
        piece, row = (p * per_image + c // SLICE) * out_slices + slice_, c % SLICE
        outs = min(SLICE, w.shape[0] - slice_ * SLICE)
        for f in range(area):
            into, first = added[f], total[0, piece, f, row]
            for o in range(outs):
                into[o] = first[o]
            for part in range(1, parts):
                more = total[part, piece, f, row]
                for o in range(outs):
                    into[o] += more[o]
        if r == 3:
            collect3(source.ctypes.data, target.ctypes.data, outs)
        else:
            collect2(source.ctypes.data, target.ctypes.data, outs)
        for o in range(outs):
            for t in range(taps):
                w[slice_ * SLICE + o, places[p, t, c]] = kernels[t, o]
